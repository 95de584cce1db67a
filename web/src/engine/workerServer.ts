/** The worker's end of `messages.ts`. */

import type { Analyzer, Tracker } from './api.ts';
import { toPixels } from './browserImages.ts';
import { toError } from './failure.ts';
import { openLocalAnalyzer } from './local.ts';
import type { Request, Response, WorkerImage } from './messages.ts';
import type { OpenRuntime } from './network.ts';
import { Stopwatch } from './stopwatch.ts';

/** Answer the requests of `connectWorker` in this worker, with the first runtime that runs all models correctly. */
export function serveAnalyzer(runtimes: readonly OpenRuntime[]): void {
  const server = new AnalyzerServer(runtimes);
  addEventListener('message', async ({ data: request }: MessageEvent<Request>) => {
    const { id } = request;
    const response = await server.handle(request).catch((error: unknown) => {
      return { id, type: 'error', message: toError(error).message };
    });
    postMessage(response);
  });
}

class AnalyzerServer {
  private readonly stopwatch = new Stopwatch();
  private readonly trackers = new Map<number, Tracker<WorkerImage>>();
  private analyzer!: Analyzer<WorkerImage>;

  constructor(private readonly runtimes: readonly OpenRuntime[]) {}

  async handle(request: Request): Promise<Response> {
    const { id } = request;
    switch (request.type) {
      case 'open':
        return this.open(request);
      case 'image': {
        const result = await this.analyzer.analyze(request.image);
        return { id, type: 'image', result, timings_ms: this.stopwatch.take() };
      }
      case 'frame': {
        const result = await this.tracker(request).analyze(request.image, request.timestamp_s);
        return { id, type: 'frame', result, timings_ms: this.stopwatch.take() };
      }
      case 'reset':
        this.trackers.delete(request.tracker);
        return { id, type: 'reset' };
    }
  }

  private async open({ id, models, model, threads, maxFaces }: Request & { type: 'open' }): Promise<Response> {
    const { runtimes, stopwatch } = this;
    const report = (fraction: number) => postMessage({ id, type: 'progress', fraction } satisfies Response);
    const options = { folder: models, model, runtimes, threads, fetch: globalThis.fetch, report, stopwatch };
    const analyzer = await openLocalAnalyzer<WorkerImage>(options, toPixels, { live: true, maxFaces });
    this.analyzer = analyzer;
    this.trackers.clear();
    const { runtime, labels, abstainBelow } = analyzer;
    return { id, type: 'opened', runtime, labels, abstainBelow, timings_ms: stopwatch.take() };
  }

  private tracker({ tracker: number, live }: Request & { type: 'frame' }): Tracker<WorkerImage> {
    const tracker = this.trackers.get(number) ?? this.analyzer.createTracker(live === undefined ? {} : { live });
    this.trackers.set(number, tracker);
    return tracker;
  }
}
