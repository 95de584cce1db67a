/** The backend that sends images to the server: single images over HTTP, video frames over a WebSocket. */

import { type Backend, CodedError, type Frame, type OpenBackend } from '../backend';
import type { ResultRecord } from '../generated/results';
import { scaleFace } from '../scaling';
import { encodeFrame, encodeImage } from './encode';
import { authorization, endpoint } from './endpoints';
import { request } from './errors';
import { listServedModels, type ServedModel } from './health';
import { CLOSED, Stream } from './stream';

/** Maximum time for uploading and analyzing an image. */
const ANALYSIS_TIMEOUT_S = 120;

/** Open a backend on the server next to the page. Rejects with a `BusyError`, a `TokenError` or a message for the user. */
export const openServerBackend: OpenBackend = async ({ model, actionUnits, progress, signal }) => {
  const models = await listServedModels(signal);
  const served = models.find(({ name }) => name === model);
  if (!served) throw new Error(`The server has no model “${model}”.`);
  progress?.(1);
  return new ServerBackend(served, actionUnits);
};

class ServerBackend implements Backend {
  readonly mode = 'server';
  readonly runtime = `server ${location.host}`;
  readonly model: string;
  readonly labels: readonly string[];
  readonly abstainBelow: number;
  private readonly stream: Stream;
  /** Aborted when the backend is closed. */
  private readonly closing = new AbortController();

  constructor(
    { name, labels, abstain_below }: ServedModel,
    private readonly actionUnits: boolean,
  ) {
    this.model = name;
    this.labels = labels;
    this.abstainBelow = abstain_below;
    this.stream = new Stream(name, actionUnits);
  }

  async analyzeImage(image: ImageBitmap): Promise<Frame> {
    const size = { width: image.width, height: image.height };
    const start = performance.now();
    const { bytes, scale } = await encodeImage(image);
    const url = endpoint('v1/analyze');
    url.searchParams.set('model', this.model);
    if (this.actionUnits) url.searchParams.set('action_units', 'true');
    const headers = { ...authorization(), 'Content-Type': bytes.type };
    const { results } = await request<{ results: ResultRecord[] }>(
      url,
      { method: 'POST', headers, body: bytes },
      { signal: this.closing.signal, timeout_s: ANALYSIS_TIMEOUT_S },
    );
    const [result] = results;
    if (result.error) throw new CodedError(result.error.message, result.error.code);
    const faces = result.faces.map((face) => scaleFace(face, scale));
    return { frame_index: 0, timestamp_s: 0, ...size, faces, latency_ms: performance.now() - start };
  }

  async analyzeFrame(image: ImageBitmap, timestamp_s: number): Promise<Frame> {
    const size = { width: image.width, height: image.height };
    const start = performance.now();
    const { bytes, scale } = await encodeFrame(image);
    const message = await this.stream.request(JSON.stringify({ type: 'frame', timestamp_s }), bytes);
    if (message.type === 'error') throw new Error(message.message);
    if (message.type !== 'frame') throw new Error(`The server answered an image with “${message.type}”.`);
    const faces = message.faces.map((face) => scaleFace(face, scale));
    const { frame_index } = message;
    return { frame_index, timestamp_s, ...size, faces, latency_ms: performance.now() - start };
  }

  async reset(): Promise<void> {
    if (this.stream.isOpen) await this.stream.request(JSON.stringify({ type: 'reset' }));
  }

  close(): void {
    this.closing.abort(new Error(CLOSED));
    this.stream.close();
  }
}
