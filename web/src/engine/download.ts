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

/** Download a file. Rejects with a message for the user. */
export async function download(
  url: string | URL,
  progress: Progress,
  { size, fetch = globalThis.fetch }: DownloadOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const response = await request(url, fetch);
  const addBytes = progress.add(size ?? Number(response.headers.get('Content-Length')));
  if (!response.body) return new Uint8Array(await response.arrayBuffer());
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  const reader = response.body.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    chunks.push(next.value);
    addBytes(next.value.length);
  }
  return concatenate(chunks);
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
export async function downloadJson<T>(url: string | URL, fetch = globalThis.fetch): Promise<T> {
  return (await request(url, fetch)).json() as Promise<T>;
}

async function request(url: string | URL, fetch: typeof globalThis.fetch): Promise<Response> {
  const response = await fetch(url).catch((cause: Error) => {
    // By its standard, fetch rejects with a TypeError when there is no response.
    const reason = cause instanceof TypeError ? 'the server cannot be reached' : cause.message;
    throw new Error(`${nameOf(url)} could not be loaded: ${reason}.`, { cause });
  });
  if (!response.ok) throw new Error(`${nameOf(url)} could not be loaded: HTTP status ${response.status}.`);
  return response;
}

/** Verify a file against the SHA-256 of its manifest. Skipped outside secure contexts, where browsers cannot hash. */
export async function verify(bytes: Uint8Array<ArrayBuffer>, sha256: string, url: string | URL): Promise<void> {
  if (!globalThis.crypto.subtle) return;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  const hash = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (hash !== sha256) throw new Error(`${nameOf(url)} does not match the SHA-256 of its manifest.`);
}

function nameOf(url: string | URL): string {
  const { pathname } = new URL(url, globalThis.location?.href);
  return pathname.slice(pathname.lastIndexOf('/') + 1);
}
