/** File downloads with progress and hash verification. */

/** Fraction of several files that has arrived, 0..1; never decreases. */
export class Progress {
  private readonly files: { loaded: number; size: number }[] = [];
  private fraction = 0;

  constructor(private readonly report: (fraction: number) => void) {}

  /** Add a file of `size` bytes (0 if unknown); returns a callback for the number of bytes that arrived. */
  add(size: number): (bytes: number) => void {
    const file = { loaded: 0, size };
    this.files.push(file);
    return (bytes) => {
      file.loaded = Math.min(file.size, file.loaded + bytes);
      const sum = (key: 'loaded' | 'size') => this.files.reduce((total, each) => total + each[key], 0);
      this.fraction = Math.max(this.fraction, sum('loaded') / Math.max(1, sum('size')));
      this.report(this.fraction);
    };
  }
}

export interface DownloadOptions {
  /** Size of the file in bytes, by default that of the response. */
  size?: number;
  fetch?: typeof fetch;
}

export interface JsonOptions {
  fetch?: typeof fetch;
  /** By default `JSON.parse`. */
  parse?: (text: string) => unknown;
}

/** Download a file. Rejects with a message for the user. */
export async function download(
  url: string | URL,
  progress: Progress,
  { size, fetch = globalThis.fetch }: DownloadOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  return request(url, fetch, async (response) => {
    const addBytes = progress.add(size ?? Number(response.headers.get('Content-Length')));
    if (!response.body) return new Uint8Array(await response.arrayBuffer());
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    const reader = response.body.getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      chunks.push(next.value);
      addBytes(next.value.length);
    }
    return concatenate(chunks);
  });
}

function concatenate(chunks: Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}

/** Download a JSON file. Rejects with a message for the user. */
export async function downloadJson<T>(
  url: string | URL,
  { fetch = globalThis.fetch, parse = JSON.parse }: JsonOptions = {},
): Promise<T> {
  const text = await request(url, fetch, (response) => response.text());
  try {
    return parse(text) as T;
  } catch (cause) {
    // Some servers answer with a page where a file is missing.
    throw new Error(`${nameOf(url)} could not be loaded: there is no JSON file at ${url}.`, { cause });
  }
}

/** Request a file and read its response. */
async function request<T>(
  url: string | URL,
  fetch: typeof globalThis.fetch,
  read: (response: Response) => Promise<T>,
): Promise<T> {
  const fail = (problem: string) => (cause: Error) => {
    // By their standard, both steps reject with a TypeError when the network fails.
    const reason = cause instanceof TypeError ? problem : cause.message;
    throw new Error(`${nameOf(url)} could not be loaded: ${reason}.`, { cause });
  };
  const response = await fetch(url).catch(fail('the server cannot be reached'));
  if (!response.ok) throw new Error(`${nameOf(url)} could not be loaded: HTTP status ${response.status}.`);
  return read(response).catch(fail('the connection was lost'));
}

/** Verify a file against the SHA-256 of its manifest. Skipped outside secure contexts, where browsers cannot hash. */
export async function verify(bytes: Uint8Array<ArrayBuffer>, sha256: string, url: string | URL): Promise<void> {
  if (!globalThis.crypto.subtle) return;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  const hash = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (hash !== sha256.toLowerCase()) throw new Error(`${nameOf(url)} does not match the SHA-256 of its manifest.`);
}

function nameOf(url: string | URL): string {
  const { pathname } = new URL(url, globalThis.location?.href);
  return pathname.slice(pathname.lastIndexOf('/') + 1);
}
