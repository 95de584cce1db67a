/** The backend that analyzes images in a worker on this device; no image data leaves it. */

import type { Backend, Frame, OpenBackend } from '../backend';
import type { Request, Response } from './messages';

/** Requests without their `id`, for each member of the union. */
type Body<T = Request> = T extends { id: number } ? Omit<T, 'id'> : never;

/** Open the on-device backend; its models are loaded from models/ next to the page. */
export const openDeviceBackend: OpenBackend = async ({ model, progress }) => {
  const client = new WorkerClient(progress);
  try {
    const models = new URL('models/', document.baseURI).href;
    const { runtime, labels } = await client.request({ type: 'open', models, model }, 'opened');
    return deviceBackend(client, model, runtime, labels);
  } catch (error) {
    client.close();
    throw error;
  }
};

function deviceBackend(client: WorkerClient, model: string, runtime: string, labels: string[]): Backend {
  const analyze = async (body: Body & { image: ImageBitmap }): Promise<Frame> => {
    const start = performance.now();
    const { frame } = await client.request(body, 'frame', [body.image]);
    return { ...frame, latency_ms: performance.now() - start };
  };
  return {
    mode: 'device',
    runtime,
    model,
    labels,
    analyzeImage: (image) => analyze({ type: 'image', image }),
    analyzeFrame: (image, timestamp_s) => analyze({ type: 'frame', image, timestamp_s }),
    reset: async () => {
      await client.request({ type: 'reset' }, 'reset');
    },
    close: () => client.close(),
  };
}

interface Pending {
  resolve(response: Response): void;
  reject(error: Error): void;
}

/** Request-response client of the worker. */
class WorkerClient {
  private readonly worker = new Worker(new URL('./worker.ts', import.meta.url), {
    type: 'module',
    name: 'mien',
  });
  private readonly pending = new Map<number, Pending>();
  private lastId = 0;
  private failure: Error | null = null;

  constructor(progress: ((fraction: number) => void) | undefined) {
    this.worker.onmessage = ({ data }: MessageEvent<Response>) => {
      if (data.type === 'progress') progress?.(data.fraction);
      else this.settle(data);
    };
    this.worker.onerror = ({ message }) => this.fail(message || 'The analysis worker could not be started.');
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
    this.fail('The backend was closed.');
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
