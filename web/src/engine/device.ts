/** Reads faces on this device: nothing of a picture leaves it. */

import type { Frame, OpenReader, Reader } from '../reader';
import type { Answer, Request } from './messages';

type Asked = Request extends infer One ? (One extends { id: number } ? Omit<One, 'id'> : never) : never;

/** Opens the reader of this device; its models come from models/ beside the page. */
export const openDevice: OpenReader = async ({ model, progress }) => {
  const line = new Line(progress);
  try {
    const models = new URL('models/', document.baseURI).href;
    const opened = await line.ask({ type: 'open', models, model }, 'opened');
    return deviceReader(line, model, opened.backend, opened.labels);
  } catch (error) {
    line.close();
    throw error;
  }
};

function deviceReader(line: Line, model: string, backend: string, labels: string[]): Reader {
  const see = async (asked: Asked & { image: ImageBitmap }): Promise<Frame> => {
    const start = performance.now();
    const { frame } = await line.ask(asked, 'frame', [asked.image]);
    return { ...frame, latency_ms: performance.now() - start };
  };
  return {
    where: 'device',
    backend,
    model,
    labels,
    picture: (image) => see({ type: 'picture', image }),
    frame: (image, timestamp_s) => see({ type: 'frame', image, timestamp_s }),
    reset: async () => void (await line.ask({ type: 'reset' }, 'reset')),
    close: () => line.close(),
  };
}

interface Waiting {
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

/** The line to the worker: questions out, answers back. */
class Line {
  private readonly worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'mien' });
  private readonly waiting = new Map<number, Waiting>();
  private asked = 0;
  private broken: Error | null = null;

  constructor(progress: ((share: number) => void) | undefined) {
    this.worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      if (data.type === 'progress') progress?.(data.share);
      else this.settle(data);
    };
    this.worker.onerror = ({ message }) => this.fail(message || 'The part of the page that reads faces could not be started.');
  }

  ask<Type extends Answer['type']>(asked: Asked, _: Type, transfer: Transferable[] = []): Promise<Answer & { type: Type }> {
    if (this.broken) return Promise.reject(this.broken);
    const id = ++this.asked;
    this.worker.postMessage({ id, ...asked } satisfies Request, transfer);
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve: resolve as Waiting['resolve'], reject }));
  }

  close(): void {
    this.worker.terminate();
    this.fail('The reader was closed.');
  }

  private settle(answer: Answer): void {
    const waiting = this.waiting.get(answer.id);
    this.waiting.delete(answer.id);
    if (answer.type === 'error') waiting?.reject(new Error(answer.message));
    else waiting?.resolve(answer);
  }

  /** From here on nothing is answered. */
  private fail(message: string): void {
    this.broken ??= new Error(message);
    for (const { reject } of this.waiting.values()) reject(this.broken);
    this.waiting.clear();
  }
}
