import { expect, test } from 'vitest';
import { outputsAgree, testInput } from '../src/engine/selfTest';

test('test input is deterministic and fills its range', () => {
  const input = testInput([1, 3, 8, 8], 255);
  expect(input).toEqual(testInput([1, 3, 8, 8], 255));
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
])('outputs may differ by 1% of the largest value: %j', (output, agrees) => {
  expect(outputsAgree([Float32Array.from(output)], [Float32Array.of(100, -50)])).toBe(agrees);
});

test('the tolerance of every output depends on its own largest value', () => {
  const expected = [Float32Array.of(100), Float32Array.of(0.5)];
  expect(outputsAgree([Float32Array.of(100), Float32Array.of(0.6)], expected)).toBe(false);
});

test('values that are not finite never agree, even with themselves', () => {
  for (const value of [NaN, Infinity]) {
    expect(outputsAgree([Float32Array.of(value)], [Float32Array.of(value)])).toBe(false);
  }
});
