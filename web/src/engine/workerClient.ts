/** The page's end of `messages.ts`. */

import type { Analyzer, AnalyzerOptions, Tracker, TrackerOptions } from './api.ts';
import { type BrowserImage, toTransferable } from './browserImages.ts';
import { DEFAULT_MODEL, modelFolder } from './defaults.ts';
import type { Request, Response, WorkerImage } from './messages.ts';
import { Queue } from './queue.ts';
import { WorkerError } from './workerError.ts';

/** Requests without their `id`, for each member of the union. */
type Body<T = Request> = T extends { id: number } ? Omit<T, 'id'> : never;

/**
 * Load the models in a worker that runs `serveAnalyzer`, and return an analyzer; it ends the worker when it is closed.
 * Rejects with a message for the user, and once the worker has failed with a `WorkerError`.
 */
export async function connectWorker(worker: Worker, options: AnalyzerOptions = {}): Promise<Analyzer<BrowserImage>> {
  const { model = DEFAULT_MODEL, threads, maxFaces, onProgress } = options;
  const channel = new Channel(worker, onProgress);
  try {
    const models = modelFolder(options.models).href;
    const limit = maxFaces === undefined ? {} : { maxFaces };
    const body = { type: 'open', models, model, ...(threads && { threads }), ...limit } as const;
    return new WorkerAnalyzer(channel, model, await channel.request(body, 'opened'));
  } catch (error) {
    channel.close();
    throw error;
  }
}

class WorkerAnalyzer implements Analyzer<BrowserImage> {
  readonly labels: readonly string[];
  readonly abstainBelow: number;
  readonly runtime: string;
  private trackers = 0;
  /** Requests are sent in the order of the calls, however long the conversion of an image takes. */
  private readonly sending = new Queue();

  constructor(
    private readonly channel: Channel,
    readonly model: string,
    { labels, abstainBelow, runtime }: Response & { type: 'opened' },
  ) {
    this.labels = labels;
    this.abstainBelow = abstainBelow;
    this.runtime = runtime;
  }

  async analyze(image: BrowserImage) {
    const { channel } = this;
    const response = await this.send(toTransferable(image), (source) =>
      channel.request({ type: 'image', image: source }, 'image', transferred(source)),
    );
    return response.result;
  }

  createTracker({ live = true }: TrackerOptions = {}): Tracker<BrowserImage> {
    const { channel } = this;
    const tracker = this.trackers++;
    return {
      analyze: async (image, timestamp_s = performance.now() / 1000) => {
        const response = await this.send(toTransferable(image), (source) => {
          const body = { type: 'frame', tracker, image: source, timestamp_s, live } as const;
          return channel.request(body, 'frame', transferred(source));
        });
        return response.result;
      },
      reset: async () => {
        await this.send(Promise.resolve(), () => channel.request({ type: 'reset', tracker }, 'reset'));
      },
    };
  }

  async close() {
    this.channel.close();
  }

  /** Send a request once its image is converted, after all earlier ones, and wait for its response. */
  private async send<Source, Result>(
    conversion: Promise<Source>,
    post: (source: Source) => Promise<Result>,
  ): Promise<Result> {
    // A failure is reported when it is the image's turn.
    conversion.catch(() => undefined);
    // An object, as the queue would wait for the response itself.
    const { response } = await this.sending.run(async () => ({ response: post(await conversion) }));
    return response;
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
  private failure: WorkerError | null = null;

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
    this.failure ??= new WorkerError(message);
    for (const { reject } of this.pending.values()) reject(this.failure);
    this.pending.clear();
  }
}
