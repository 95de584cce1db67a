import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Progress } from '../src/engine/download';
import { loadCached } from '../src/engine/fileCache';

const FILE = 'http://page/models/some.onnx';
const OLD = Uint8Array.of(1, 2, 3);
const NEW = Uint8Array.of(4, 5);

/** Cache Storage in memory, as far as `fileCache.ts` uses it. */
class MemoryCache {
  readonly files = new Map<string, Response>();

  async match(key: string): Promise<Response | undefined> {
    return this.files.get(key)?.clone();
  }

  async keys(key: string, { ignoreSearch }: { ignoreSearch: boolean }): Promise<string[]> {
    expect(ignoreSearch).toBe(true);
    return [...this.files.keys()].filter((each) => each.split('?')[0] === key.split('?')[0]);
  }

  async delete(key: string): Promise<void> {
    this.files.delete(key);
  }

  async put(key: string, response: Response): Promise<void> {
    this.files.set(key, response);
  }
}

let cache: MemoryCache;
const fractions: number[] = [];
const progress = () => new Progress((fraction) => fractions.push(fraction));

beforeEach(() => {
  cache = new MemoryCache();
  fractions.length = 0;
  vi.stubGlobal('caches', { open: async () => cache });
});

afterEach(() => vi.unstubAllGlobals());

test('a stored version is not loaded again, and counts as progress', async () => {
  expect(await loadCached(FILE, 'old', progress(), async () => OLD)).toEqual(OLD);
  await vi.waitFor(() => expect(cache.files.size).toBe(1));
  expect(await loadCached(FILE, 'old', progress(), () => Promise.reject(new Error('loaded')))).toEqual(OLD);
  expect(fractions).toEqual([1]);
});

test('another version is loaded and replaces the stored one', async () => {
  await loadCached(FILE, 'old', progress(), async () => OLD);
  await loadCached('http://page/models/other.onnx', 'old', progress(), async () => OLD);
  await vi.waitFor(() => expect(cache.files.size).toBe(2));
  expect(await loadCached(FILE, 'new', progress(), async () => NEW)).toEqual(NEW);
  await vi.waitFor(() => expect([...cache.files.keys()].join()).toContain('some.onnx?version=new'));
  expect([...cache.files.keys()].join()).not.toContain('some.onnx?version=old');
  expect([...cache.files.keys()].join()).toContain('other.onnx?version=old');
});

test('files that fail to load are not stored', async () => {
  await expect(loadCached(FILE, 'old', progress(), () => Promise.reject(new Error('broken')))).rejects.toThrow(
    'broken',
  );
  expect(cache.files.size).toBe(0);
});

test.each([
  ['missing', undefined],
  ['refused', { open: () => Promise.reject(new DOMException('', 'SecurityError')) }],
])('files are loaded where the cache is %s', async (_, caches) => {
  vi.stubGlobal('caches', caches);
  expect(await loadCached(FILE, 'old', progress(), async () => OLD)).toEqual(OLD);
});
