/** Faces read by the server: pictures over HTTP, moving pictures over a WebSocket. */

import type { Face, Frame, OpenReader, Quality, Reader } from '../reader';
import { authorization, endpoint } from './address';
import { encodeFrame, encodePicture } from './encode';
import { servedModels } from './probe';
import { request } from './refusals';
import { type FrameAnswer, Stream } from './stream';

interface AnalyzeAnswer {
  results: { width: number; height: number; faces: Face[]; error: { message: string } | null }[];
}

/** Opens a reader on the server beside the page. Rejects with a `BusyError`, a `TokenError` or a message for people. */
export const openServer: OpenReader = async ({ model, progress }) => {
  const models = await servedModels();
  const served = models.find(({ name }) => name === model);
  if (!served) throw new Error(`The server has no model “${model}”.`);
  progress?.(1);
  return new ServerReader(model, served.labels);
};

class ServerReader implements Reader {
  readonly where = 'server';
  readonly backend = `server ${location.host}`;
  private readonly stream: Stream;

  constructor(
    readonly model: string,
    readonly labels: readonly string[],
  ) {
    this.stream = new Stream(model);
  }

  async picture(image: ImageBitmap): Promise<Frame> {
    const size = { width: image.width, height: image.height };
    const begin = performance.now();
    const { bytes, scale } = await encodePicture(image);
    const url = endpoint('v1/analyze');
    url.searchParams.set('model', this.model);
    const headers = { ...authorization(), 'Content-Type': bytes.type };
    const answer = await request(url, { method: 'POST', headers, body: bytes });
    const [result] = ((await answer.json()) as AnalyzeAnswer).results;
    if (result.error) throw new Error(result.error.message);
    const faces = result.faces.map((face) => scaleFace(face, scale));
    return { frame_index: 0, timestamp_s: 0, ...size, faces, latency_ms: performance.now() - begin };
  }

  async frame(image: ImageBitmap, timestamp_s: number): Promise<Frame> {
    const size = { width: image.width, height: image.height };
    const begin = performance.now();
    const { bytes, scale } = await encodeFrame(image);
    const answer = await this.stream.ask(JSON.stringify({ type: 'frame', timestamp_s }), bytes);
    if (answer.type === 'error') throw new Error(answer.message);
    const told = answer.type === 'frame' ? answer : missing();
    const faces = told.faces.map((face) => scaleFace(face, scale));
    return { frame_index: told.frame_index, timestamp_s, ...size, faces, latency_ms: performance.now() - begin };
  }

  async reset(): Promise<void> {
    if (this.stream.is_open) await this.stream.ask(JSON.stringify({ type: 'reset' }));
  }

  close(): void {
    this.stream.close();
  }
}

/** With one picture under way at a time none is dropped. */
function missing(): FrameAnswer {
  throw new Error('The server left a picture unanswered.');
}

/** A face in the coordinates of the picture as it was handed over. */
function scaleFace(face: Face, scale: number): Face {
  if (scale === 1) return face;
  const [left, top, right, bottom] = face.bbox_xyxy;
  const landmarks_xy = face.landmarks_xy.map(([x, y]): [number, number] => [x * scale, y * scale]);
  const quality: Quality | null = face.quality && { ...face.quality, size_px: face.quality.size_px * scale };
  return { ...face, bbox_xyxy: [left * scale, top * scale, right * scale, bottom * scale], landmarks_xy, quality };
}
