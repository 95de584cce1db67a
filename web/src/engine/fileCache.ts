/**
 * Downloaded files in the browser's Cache Storage, by name and version. Storage is optional: where the browser refuses it
 * (insecure context, private window, no space), files are downloaded on every visit.
 */

import type { Progress } from './download.ts';

const CACHE_NAME = 'mien-files';

type Bytes = Uint8Array<ArrayBuffer>;

/** Return this version of a file: the stored one, or else the result of `load`, which is then stored. */
export async function loadCached(
  url: string | URL,
  version: string,
  progress: Progress,
  load: () => Promise<Bytes>,
): Promise<Bytes> {
  const stored = await read(url, version);
  if (stored) {
    progress.add(stored.length)(stored.length);
    return stored;
  }
  const bytes = await load();
  void write(url, version, bytes);
  return bytes;
}

async function read(url: string | URL, version: string): Promise<Bytes | null> {
  try {
    const response = await (await caches.open(CACHE_NAME)).match(keyOf(url, version));
    return response ? new Uint8Array(await response.arrayBuffer()) : null;
  } catch {
    return null;
  }
}

/** Store a file, and delete its other versions. */
async function write(url: string | URL, version: string, bytes: Bytes): Promise<void> {
  try {
    const cache = await caches.open(CACHE_NAME);
    for (const request of await cache.keys(keyOf(url, version), { ignoreSearch: true })) await cache.delete(request);
    await cache.put(keyOf(url, version), new Response(bytes));
  } catch {
    // Not stored: the next visit downloads it again.
  }
}

/** Return the key of a version. It is an address that is never requested. */
function keyOf(url: string | URL, version: string): string {
  const key = new URL(url);
  key.search = new URLSearchParams({ version }).toString();
  return key.href;
}
