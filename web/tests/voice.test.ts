import { describe, expect, test } from 'vitest';
import type { Input, Tensor } from '../src/engine/network';
import { FRAME, type Frame, SpeechDetector, SpeechSegmenter } from '../src/voice/activity';
import { VoiceAnalyzer } from '../src/voice/analyzer';
import { calibrateVoice } from '../src/voice/classifier';
import { logMel } from '../src/voice/logMel';
import { Resampler } from '../src/voice/resampler';
import { fixture, unpack } from './fixtures';

const python = fixture('voice');
const MANIFEST = { labels: ['neutral', 'anger'], temperature: 2, abstain_below: 0.6 };

/** A sine of amplitude 0.5. */
function tone(seconds: number, frequency_hz: number, rate_hz: number): Float32Array {
  return Float32Array.from(
    { length: Math.round(seconds * rate_hz) },
    (_, index) => 0.5 * Math.sin((2 * Math.PI * frequency_hz * index) / rate_hz),
  );
}

function resample(samples: Float32Array, rate_hz: number, block: number): number[] {
  const resampler = new Resampler(rate_hz);
  const output: number[] = [];
  for (let start = 0; start < samples.length; start += block) {
    output.push(...resampler.push(samples.slice(start, start + block)));
  }
  return output;
}

function greatestDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  return Array.from(actual).reduce((max, value, index) => Math.max(max, Math.abs(value - expected[index])), 0);
}

test('log-mel spectrograms equal those of Python', () => {
  for (const { samples, log_mel } of python.sounds) {
    const actual = logMel(unpack(samples) as Float32Array);
    expect(actual.length).toBe(log_mel.shape[0] * log_mel.shape[1]);
    expect(greatestDifference(actual, unpack(log_mel))).toBeLessThan(1e-4);
  }
});

test('speech segments equal those of Python, with bounded memory', () => {
  const segmenter = new SpeechSegmenter();
  const segments = python.probabilities.flatMap((probability: number, index: number) => {
    const segment = segmenter.push({ samples: new Float32Array(FRAME).fill(index), probability });
    expect((segmenter as unknown as { frames: Frame[] }).frames.length).toBeLessThan(200);
    return segment ? [{ start: segment.start, frames: [...segment.samples.filter((_, at) => at % FRAME === 0)] }] : [];
  });
  expect(segments).toEqual(python.segments);
});

test('the start of the speech that continues is known', () => {
  const segmenter = new SpeechSegmenter();
  const push = (probability: number) => segmenter.push({ samples: new Float32Array(FRAME), probability });
  for (const probability of [0.1, 0.1, 0.1, 0.1, 0.1]) push(probability);
  expect(segmenter.openStart).toBeNull();
  push(0.9);
  push(0.9);
  expect(segmenter.openStart).toBe(5 * FRAME);
});

test('frames do not depend on the blocks in which audio arrives', async () => {
  const inputs: number[] = [];
  const states: number[] = [];
  const network = {
    /** The first value is the probability; the state counts the passes. */
    async run(input: Input, [count]: readonly number[], _?: readonly string[], others: Record<string, Tensor> = {}) {
      inputs.push(...input);
      states.push(others.h.values[0]);
      const state = others.h.values.map((value) => value + 1);
      return [Float32Array.from({ length: count }, (_, frame) => input[576 * frame]), state, state];
    },
  };
  const samples = Float32Array.from({ length: 3 * FRAME + 100 }, (_, index) => index);
  await new SpeechDetector(network).push(samples);
  const whole = inputs.splice(0);
  const detector = new SpeechDetector(network);
  const frames: Frame[] = [];
  for (let start = 0; start < samples.length; start += 700) {
    frames.push(...(await detector.push(samples.slice(start, start + 700))));
  }
  expect(inputs).toEqual(whole);
  expect(frames.map(({ probability }) => probability)).toEqual([0, FRAME - 64, 2 * FRAME - 64]);
  expect(states).toEqual([0, 0, 1, 2]);
});

describe('resampling to 16 kHz', () => {
  test.each([48000, 44100, 22050, 16000, 8000])('keeps a tone of %i Hz', (rate_hz) => {
    const output = resample(tone(0.5, 440, rate_hz), rate_hz, 2048);
    const expected = tone(0.5, 440, 16000);
    expect(expected.length - output.length).toBeLessThan(40);
    expect(greatestDifference(output.slice(100), expected.slice(100))).toBeLessThan(0.002);
  });

  test('removes what 16 kHz cannot hold', () => {
    const output = resample(tone(0.5, 12000, 48000), 48000, 2048);
    expect(greatestDifference(output.slice(100), new Float32Array(output.length))).toBeLessThan(0.002);
  });

  test('does not depend on the size of the blocks', () => {
    const samples = tone(0.2, 440, 44100);
    const whole = resample(samples, 44100, samples.length);
    for (const block of [1, 128, 1000]) expect(resample(samples, 44100, block)).toEqual(whole);
  });
});

test('probabilities are calibrated, and a doubtful class has no label', () => {
  const { probabilities } = calibrateVoice(Float32Array.from([0, 2]), MANIFEST);
  expect(probabilities.anger).toBeCloseTo(1 / (1 + Math.exp(-1)), 6);
  expect(calibrateVoice(Float32Array.from([0, 2]), MANIFEST).label).toBe('anger');
  expect(calibrateVoice(Float32Array.from([0, 0.2]), MANIFEST)).toMatchObject({ label: null });
});

test('segments are on the clock of the audio, and clipping is noted', async () => {
  const activity = {
    async run(input: Input, [count]: readonly number[]) {
      const state = new Float32Array(128);
      return [Float32Array.from({ length: count }, (_, frame) => Math.abs(input[576 * frame + 300])), state, state];
    },
  };
  const expression = { run: async () => [Float32Array.from([0, 4]), Float32Array.from([-2])] };
  const analyzer = new VoiceAnalyzer({ activity, expression, manifest: MANIFEST }, 16000);
  const second = (value: number) => new Float32Array(16000).fill(value);
  expect(await analyzer.push(second(0), 101)).toEqual({ segments: [], end_s: 101, speechStart_s: null });
  const during = await analyzer.push(second(1), 102);
  expect(during.speechStart_s).toBeCloseTo(101, 1);
  const { segments } = await analyzer.push(second(0), 103);
  expect(segments).toHaveLength(1);
  expect(segments[0].start_s).toBeCloseTo(100.9, 1);
  expect(segments[0].end_s).toBeCloseTo(102.1, 1);
  expect(segments[0].arousal).toBeCloseTo(Math.tanh(-1), 6);
  expect(segments[0].label).toBe('anger');
  expect(segments[0].clipped).toBeGreaterThan(0.7);
});
