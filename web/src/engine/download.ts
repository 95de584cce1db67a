/** Files from beside the page: whole, checked, and with word of how far they are. */

/** How much of several files has arrived, 0..1; it never goes back. */
export class Progress {
  private readonly files: { loaded: number; size: number }[] = [];
  private share = 0;

  constructor(private readonly tell: (share: number) => void) {}

  /** Another file of so many bytes, 0 when nobody knows; returns what is to be told the bytes that arrived. */
  add(size: number): (bytes: number) => void {
    const file = { loaded: 0, size };
    this.files.push(file);
    return (bytes) => {
      file.loaded = Math.min(file.size, file.loaded + bytes);
      const sum = (key: 'loaded' | 'size') => this.files.reduce((all, one) => all + one[key], 0);
      this.share = Math.max(this.share, sum('loaded') / Math.max(1, sum('size')));
      this.tell(this.share);
    };
  }
}

/** The bytes of a file; rejects with a message for people. */
export async function download(address: string | URL, progress: Progress): Promise<Uint8Array<ArrayBuffer>> {
  const response = await request(address);
  const note = progress.add(Number(response.headers.get('Content-Length')));
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  const reader = response.body!.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    chunks.push(next.value);
    note(next.value.length);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

export async function downloadJson<T>(address: string | URL): Promise<T> {
  return (await request(address)).json() as Promise<T>;
}

async function request(address: string | URL): Promise<Response> {
  const response = await fetch(address).catch(() => null);
  if (!response) throw new Error(`${nameOf(address)} could not be loaded: is the server still there?`);
  if (!response.ok) throw new Error(`${nameOf(address)} could not be loaded: the server answered ${response.status}.`);
  return response;
}

/** Unpacks what is compressed with gzip; servers may have done so already. */
export async function unpack(bytes: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes.buffer;
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();
}

/** Refuses a file that is not the one its manifest describes, where the browser lets us look (secure contexts alone). */
export async function check(bytes: Uint8Array<ArrayBuffer>, sha256: string, address: string | URL): Promise<void> {
  if (!globalThis.crypto.subtle) return;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (found !== sha256) throw new Error(`${nameOf(address)} is not the file that its manifest describes: load the page again.`);
}

function nameOf(address: string | URL): string {
  return new URL(address, globalThis.location?.href).pathname.split('/').at(-1)!;
}
