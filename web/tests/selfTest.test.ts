import { expect, test } from 'vitest';
import { outputsAgree, testNumbers, testPixels } from '../src/engine/selfTest';

test('test numbers are deterministic and fill their range', () => {
  const numbers = testNumbers([1, 3, 8, 8]);
  expect(numbers).toEqual(testNumbers([1, 3, 8, 8]));
  expect(numbers.length).toBe(192);
  expect(Math.min(...numbers)).toBeLessThan(10);
  expect(Math.max(...numbers)).toBeGreaterThan(245);
  expect(Math.max(...numbers)).toBeLessThan(255);
  expect(testPixels([1, 3, 8, 8])).toEqual(Uint8Array.from(numbers));
});

test('large inputs repeat the numbers of small ones', () => {
  const numbers = testNumbers([1, 64, 65, 3]);
  expect(numbers).toHaveLength(64 * 65 * 3);
  expect([...numbers.subarray(0, 192)]).toEqual([...testNumbers([192])]);
  expect([...numbers.subarray(3 * 4096)]).toEqual([...numbers.subarray(0, 192)]);
  expect(new Set(numbers).size).toBeGreaterThan(4000);
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
