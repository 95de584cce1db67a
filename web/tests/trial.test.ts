import { expect, test } from 'vitest';
import { agree, trialInput } from '../src/engine/trial';

test('the trial input is the same every time, and fills its range', () => {
  const input = trialInput([1, 3, 8, 8], 255);
  expect(input).toEqual(trialInput([1, 3, 8, 8], 255));
  expect(input.length).toBe(192);
  expect(Math.min(...input)).toBeLessThan(10);
  expect(Math.max(...input)).toBeGreaterThan(245);
  expect(Math.max(...input)).toBeLessThan(255);
});

test.each([
  [[100, -50], true],
  [[100.9, -50.9], true],
  [[101.1, -50], false],
  [[100, 50], false],
  [[NaN, -50], false],
  [[Infinity, -50], false],
  [[100], false],
])('one in a hundred of the largest number is allowed: %j', (found, is_right) => {
  expect(agree([Float32Array.from(found)], [Float32Array.of(100, -50)])).toBe(is_right);
});

test('every output counts, each by its own largest number', () => {
  const expected = [Float32Array.of(100), Float32Array.of(0.5)];
  expect(agree([Float32Array.of(100), Float32Array.of(0.6)], expected)).toBe(false);
});

test('numbers that are not finite never agree, not even with themselves', () => {
  for (const value of [NaN, Infinity]) expect(agree([Float32Array.of(value)], [Float32Array.of(value)])).toBe(false);
});
