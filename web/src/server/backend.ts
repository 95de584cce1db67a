/** The backend that sends images to the server: single images over HTTP, video frames over a WebSocket. */

import type { Backend, Face, Frame, OpenBackend, Quality } from '../backend';
import type { ResultRecord } from '../generated/results';
import { encodeFrame, encodeImage } from './encode';
import { authorization, endpoint } from './endpoints';
import { request } from './errors';
import { listServedModels } from './health';
import { Stream } from './stream';

/** Open a backend on the server next to the page. Rejects with a `BusyError`, a `TokenError` or a message for the user. */
export const openServerBackend: OpenBackend = async ({ model, actionUnits, progress }) => {
  const models = await listServedModels();
  const served = models.find(({ name }) => name === model);
  if (!served) throw new Error(`The server has no model “${model}”.`);
  progress?.(1);
  return new ServerBackend(model, served.labels, actionUnits);
};

class ServerBackend implements Backend {
  readonly mode = 'server';
  readonly runtime = `server ${location.host}`;
  private readonly stream: Stream;

  constructor(
    readonly model: string,
    readonly labels: readonly string[],
    private readonly actionUnits: boolean,
  ) {
    this.stream = new Stream(model, actionUnits);
  }

  async analyzeImage(image: ImageBitmap): Promise<Frame> {
    const size = { width: image.width, height: image.height };
    const start = performance.now();
    const { bytes, scale } = await encodeImage(image);
    const url = endpoint('v1/analyze');
    url.searchParams.set('model', this.model);
    if (this.actionUnits) url.searchParams.set('action_units', 'true');
    const headers = { ...authorization(), 'Content-Type': bytes.type };
    const response = await request(url, { method: 'POST', headers, body: bytes });
    const { results } = (await response.json()) as { results: ResultRecord[] };
    const [result] = results;
    if (result.error) throw new Error(result.error.message);
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
    this.stream.close();
  }
}

/** Scale a face to the coordinates of the original image. */
function scaleFace(face: Face, scale: number): Face {
  if (scale === 1) return face;
  const [left, top, right, bottom] = face.bbox_xyxy;
  const landmarks_xy = face.landmarks_xy.map(([x, y]): [number, number] => [x * scale, y * scale]);
  const quality: Quality | null = face.quality && { ...face.quality, size_px: face.quality.size_px * scale };
  return {
    ...face,
    bbox_xyxy: [left * scale, top * scale, right * scale, bottom * scale],
    landmarks_xy,
    quality,
  };
}
