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

/** Download a file of a known size, by default that of the response. Rejects with a message for the user. */
export async function download(url: string | URL, progress: Progress, size?: number): Promise<Uint8Array<ArrayBuffer>> {
  const response = await request(url);
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

export async function downloadJson<T>(url: string | URL): Promise<T> {
  return (await request(url)).json() as Promise<T>;
}

async function request(url: string | URL): Promise<Response> {
  const response = await fetch(url).catch(() => null);
  if (!response) throw new Error(`${nameOf(url)} could not be loaded: the server cannot be reached.`);
  if (!response.ok) throw new Error(`${nameOf(url)} could not be loaded: HTTP status ${response.status}.`);
  return response;
}

/** Verify a file against the SHA-256 of its manifest. Skipped outside secure contexts, where browsers cannot hash. */
export async function verify(bytes: Uint8Array<ArrayBuffer>, sha256: string, url: string | URL): Promise<void> {
  if (!globalThis.crypto.subtle) return;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  const hash = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (hash !== sha256) throw new Error(`${nameOf(url)} does not match its manifest. Reload the page.`);
}

function nameOf(url: string | URL): string {
  const { pathname } = new URL(url, globalThis.location?.href);
  return pathname.slice(pathname.lastIndexOf('/') + 1);
}
