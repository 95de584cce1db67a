/** Speech segments of a stream of audio: port of `mien/voice/analyzer.py`. */

import type { Network } from '../engine/network';
import { type SpeechAudio, SpeechDetector, SpeechSegmenter } from './activity';
import { predictVoice, type VoiceManifest, type VoicePrediction } from './classifier';
import { Resampler, SAMPLE_RATE_HZ } from './resampler';

/** Absolute value from which a sample counts as clipped. */
const CLIPPED = 0.999;

/** A speech segment, in seconds on the clock of the audio that was passed in. */
export interface VoiceSegment extends VoicePrediction {
  start_s: number;
  end_s: number;
  /** Share of samples at full scale, 0..1. */
  clipped: number;
}

/** Result of analyzing a block of audio. */
export interface VoiceUpdate {
  segments: VoiceSegment[];
  /** Time up to which the sound is analyzed. */
  end_s: number;
  /** Start of the speech that continues; null in a pause. */
  speechStart_s: number | null;
}

export interface VoiceModels {
  activity: Network;
  expression: Network;
  manifest: VoiceManifest;
}

export class VoiceAnalyzer {
  private readonly resampler: Resampler;
  private readonly detector: SpeechDetector;
  private readonly segmenter = new SpeechSegmenter();
  /** Samples so far, at 16 kHz. */
  private count = 0;

  /** @param rate_hz sample rate of the audio that is passed in. */
  constructor(
    private readonly models: VoiceModels,
    rate_hz: number,
  ) {
    this.resampler = new Resampler(rate_hz);
    this.detector = new SpeechDetector(models.activity);
  }

  /** Add consecutive mono samples; `end_s` is the time of the last one. */
  async push(samples: Float32Array, end_s: number): Promise<VoiceUpdate> {
    const resampled = this.resampler.push(samples);
    this.count += resampled.length;
    const timeOf = (sample: number) => end_s - (this.count - sample) / SAMPLE_RATE_HZ;
    const segments: VoiceSegment[] = [];
    for (const frame of await this.detector.push(resampled)) {
      const audio = this.segmenter.push(frame);
      if (audio) segments.push(await this.predict(audio, timeOf));
    }
    const { openStart } = this.segmenter;
    return { segments, end_s, speechStart_s: openStart === null ? null : timeOf(openStart) };
  }

  private async predict({ start, samples }: SpeechAudio, timeOf: (sample: number) => number): Promise<VoiceSegment> {
    return {
      ...(await predictVoice(this.models.expression, this.models.manifest, samples)),
      start_s: timeOf(start),
      end_s: timeOf(start + samples.length),
      clipped: samples.filter((value) => Math.abs(value) >= CLIPPED).length / samples.length,
    };
  }
}
