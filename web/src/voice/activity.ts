/** Voice activity, and the segments of speech in a stream of audio: port of `mien/voice/activity.py`. */

import type { Network } from '../engine/network';

/** Samples of a frame, 32 ms. */
export const FRAME = 512;
/** Samples before a frame that the network also needs. */
const CONTEXT = 64;
const STATE = 128;

/** Speech probability at which a segment starts. */
const MIN_SPEECH_PROBABILITY = 0.5;
/** Speech probability below which a segment may end. */
const MIN_CONTINUED_PROBABILITY = 0.35;
/** Shortest segment without its margins, and shortest pause between two segments: 0.32 s. */
const MIN_SPEECH_FRAMES = 10;
const MIN_PAUSE_FRAMES = 10;
/** Audio before and after the speech of a segment, 0.1 s. */
const MARGIN_FRAMES = 3;
/** Longest segment, 6 s; longer speech is divided at its least probable frame. */
const MAX_SEGMENT_FRAMES = 187;
/** Shortest first part of a divided segment, 2 s. */
const MIN_PART_FRAMES = 62;

/** A frame of audio and the probability that it is speech. */
export interface Frame {
  samples: Float32Array;
  probability: number;
}

/** A segment of speech; `start` counts samples since the beginning. */
export interface SpeechAudio {
  start: number;
  samples: Float32Array;
}

/** Speech probability of every frame of a stream of audio, by Silero VAD 6. */
export class SpeechDetector {
  private hidden = new Float32Array(STATE);
  private cell = new Float32Array(STATE);
  private context = new Float32Array(CONTEXT);
  private rest = new Float32Array(0);

  constructor(private readonly network: Network) {}

  /** Add consecutive samples at 16 kHz; return the frames that are complete. */
  async push(samples: Float32Array): Promise<Frame[]> {
    const joined = concatenate([this.rest, samples]);
    const count = Math.floor(joined.length / FRAME);
    this.rest = joined.slice(FRAME * count);
    if (count === 0) return [];
    const frames = Array.from({ length: count }, (_, index) => joined.slice(FRAME * index, FRAME * (index + 1)));
    const probabilities = await this.run(frames);
    return frames.map((frame, index) => ({ samples: frame, probability: probabilities[index] }));
  }

  /** Return the probabilities of frames and update the state of the network. */
  private async run(frames: readonly Float32Array[]): Promise<Float32Array> {
    const size = CONTEXT + FRAME;
    const input = new Float32Array(size * frames.length);
    frames.forEach((frame, index) => {
      input.set(this.context, size * index);
      input.set(frame, size * index + CONTEXT);
      this.context = frame.slice(-CONTEXT);
    });
    const dims = [1, 1, STATE];
    const [probabilities, hidden, cell] = await this.network.run(
      input,
      [frames.length, size],
      ['speech_probs', 'hn', 'cn'],
      { h: { values: this.hidden, dims }, c: { values: this.cell, dims } },
    );
    this.hidden = Float32Array.from(hidden);
    this.cell = Float32Array.from(cell);
    return probabilities;
  }
}

/**
 * Segments of speech from frames, with bounded memory.
 *
 * A segment starts at a probable frame and ends at a pause. It is divided when it becomes too long, and gets a margin on
 * both sides where there is audio that is not part of another segment.
 */
export class SpeechSegmenter {
  private frames: Frame[] = [];
  /** Number of frames before `frames`. */
  private offset = 0;
  private start = -1;
  private lastSpeech = 0;

  /** First sample of the segment that has not ended; null in a pause. */
  get openStart(): number | null {
    return this.start < 0 ? null : FRAME * (this.offset + this.start);
  }

  /** Add a frame; return the segment that ends in it, or null. */
  push(frame: Frame): SpeechAudio | null {
    this.frames.push(frame);
    const now = this.frames.length - 1;
    if (this.start < 0) {
      if (frame.probability >= MIN_SPEECH_PROBABILITY) this.start = this.lastSpeech = now;
      else if (this.frames.length > MARGIN_FRAMES) this.drop(1);
      return null;
    }
    if (frame.probability >= MIN_CONTINUED_PROBABILITY) this.lastSpeech = now;
    if (now - this.lastSpeech >= MIN_PAUSE_FRAMES) return this.close();
    return now - this.start + 1 >= MAX_SEGMENT_FRAMES ? this.divide() : null;
  }

  /** Return the first part of a segment that is too long. */
  private divide(): SpeechAudio {
    // the speech so far makes the rest long enough: a shorter one would be lost
    const last = this.lastSpeech + 1 - MIN_SPEECH_FRAMES;
    let cut = last;
    for (let index = last; index >= this.start + MIN_PART_FRAMES; index--) {
      if (this.frames[index].probability < this.frames[cut].probability) cut = index;
    }
    const part = this.take(cut);
    this.drop(cut);
    this.start = 0;
    this.lastSpeech = Math.max(this.lastSpeech - cut, 0);
    return part;
  }

  /** Return the segment up to its last frame of speech, or null if it is too short. */
  private close(): SpeechAudio | null {
    const stop = this.lastSpeech + 1;
    const isLong = stop - this.start >= MIN_SPEECH_FRAMES;
    const segment = isLong ? this.take(Math.min(stop + MARGIN_FRAMES, this.frames.length)) : null;
    this.drop(Math.max(this.frames.length - MARGIN_FRAMES, stop));
    this.start = -1;
    return segment;
  }

  private take(stop: number): SpeechAudio {
    const start = Math.max(this.start - MARGIN_FRAMES, 0);
    const frames = this.frames.slice(start, stop).map(({ samples }) => samples);
    return { start: FRAME * (this.offset + start), samples: concatenate(frames) };
  }

  private drop(count: number): void {
    this.frames.splice(0, count);
    this.offset += count;
  }
}

function concatenate(parts: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  const joined = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}
