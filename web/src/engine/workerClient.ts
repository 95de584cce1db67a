/** The page's end of `messages.ts`. */

import type { Analyzer, AnalyzerOptions, Tracker } from './api.ts';
import { type BrowserImage, toTransferable } from './browserImages.ts';
import { DEFAULT_MODEL, modelFolder } from './defaults.ts';
import type { Request, Response, WorkerImage } from './messages.ts';

/** Requests without their `id`, for each member of the union. */
type Body<T = Request> = T extends { id: number } ? Omit<T, 'id'> : never;

/**
 * Load the models in a worker that runs `serveAnalyzer`, and return an analyzer; it ends the worker when it is closed.
 * Rejects with a message for the user.
 */
export async function connectWorker(worker: Worker, options: AnalyzerOptions = {}): Promise<Analyzer<BrowserImage>> {
  const { model = DEFAULT_MODEL, threads, onProgress } = options;
  const channel = new Channel(worker, onProgress);
  try {
    const models = modelFolder(options.models).href;
    const body = { type: 'open', models, model, ...(threads && { threads }) } as const;
    const { runtime, labels } = await channel.request(body, 'opened');
    return new WorkerAnalyzer(channel, model, labels, runtime);
  } catch (error) {
    channel.close();
    throw error;
  }
}

class WorkerAnalyzer implements Analyzer<BrowserImage> {
  private trackers = 0;

  constructor(
    private readonly channel: Channel,
    readonly model: string,
    readonly labels: readonly string[],
    readonly runtime: string,
  ) {}

  async analyze(image: BrowserImage) {
    const source = await toTransferable(image);
    return (await this.channel.request({ type: 'image', image: source }, 'image', transferred(source))).result;
  }

  createTracker(): Tracker<BrowserImage> {
    const { channel } = this;
    const tracker = this.trackers++;
    return {
      async analyze(image, timestamp_s = performance.now() / 1000) {
        const source = await toTransferable(image);
        const body = { type: 'frame', tracker, image: source, timestamp_s } as const;
        return (await channel.request(body, 'frame', transferred(source))).result;
      },
      async reset() {
        await channel.request({ type: 'reset', tracker }, 'reset');
      },
    };
  }

  async close() {
    this.channel.close();
  }
}

function transferred(image: WorkerImage): Transferable[] {
  return image instanceof ImageBitmap ? [image] : [];
}

interface Pending {
  resolve(response: Response): void;
  reject(error: Error): void;
}

/** Requests to a worker, and its responses. */
class Channel {
  private readonly pending = new Map<number, Pending>();
  private lastId = 0;
  private failure: Error | null = null;

  constructor(
    private readonly worker: Worker,
    onProgress: ((fraction: number) => void) | undefined,
  ) {
    worker.onmessage = ({ data }: MessageEvent<Response>) => {
      if (data.type === 'progress') onProgress?.(data.fraction);
      else this.settle(data);
    };
    worker.onerror = ({ message }) => this.fail(message || 'The analysis worker could not be started.');
  }

  request<Type extends Response['type']>(
    body: Body,
    _: Type,
    transfer: Transferable[] = [],
  ): Promise<Response & { type: Type }> {
    if (this.failure) return Promise.reject(this.failure);
    const id = ++this.lastId;
    this.worker.postMessage({ id, ...body } satisfies Request, transfer);
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve: resolve as Pending['resolve'], reject });
    });
  }

  close(): void {
    this.worker.terminate();
    this.fail('The analyzer was closed.');
  }

  private settle(response: Response): void {
    const pending = this.pending.get(response.id);
    this.pending.delete(response.id);
    if (response.type === 'error') pending?.reject(new Error(response.message));
    else pending?.resolve(response);
  }

  /** Reject all pending and later requests. */
  private fail(message: string): void {
    this.failure ??= new Error(message);
    for (const { reject } of this.pending.values()) reject(this.failure);
    this.pending.clear();
  }
}
