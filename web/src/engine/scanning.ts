/** Detection of the faces of a video, mostly in reduced frames: port of `mien/video/scanning.py`. */

import type { Detection } from './detection.ts';
import type { Box, Point } from './geometry.ts';
import { averageBlocks, type Pixels } from './imaging.ts';

/** Minimum long side of a reduced frame, in pixels. */
const REDUCED_SIZE = 320;
/** Minimum longer side of a large face, as a share of the frame's long side. */
const LARGE_LENGTH = 0.17;
/** `LARGE_LENGTH` while frames are reduced; lower, so that the kind of scan does not alternate. */
const LARGE_LENGTH_AGAIN = 0.15;
/** Minimum confidence of a large face for which a reduced frame suffices. */
const CERTAIN_CONFIDENCE = 0.8;
/** Time from one full scan to the next while frames are reduced, and from a disagreement to the next reduced frame. */
const FULL_SCAN_S = 1;

/** Detects the faces of one video: while all are large and certain, mostly in reduced frames. */
export class FaceScanner {
  private largeCount = 0;
  private full_s = 0;
  private fullUntil_s = 0;

  constructor(private readonly scan: (image: Pixels) => Promise<Detection[]>) {}

  /** Return the faces of the next frame, largest first. */
  async detect(image: Pixels, time_s: number): Promise<Detection[]> {
    const k = Math.floor(Math.max(image.width, image.height) / REDUCED_SIZE);
    const isReduced = k > 1 && this.largeCount > 0 && time_s >= this.fullUntil_s;
    const minLength = isReduced ? LARGE_LENGTH_AGAIN : LARGE_LENGTH;
    let quick = isReduced ? await this.scanReduced(image, k) : [];
    if (!areLarge(quick, image, minLength)) quick = [];
    if (isReduced && quick.length === this.largeCount && time_s < this.full_s + FULL_SCAN_S) return quick;
    const faces = await this.scan(image);
    this.full_s = time_s;
    this.largeCount = areLarge(faces, image, minLength) ? faces.length : 0;
    // the boxes of the two scans differ a little
    if (isReduced && quick.length === this.largeCount && quick.length > 0) return quick;
    if (isReduced || this.largeCount === 0) this.fullUntil_s = time_s + FULL_SCAN_S;
    return faces;
  }

  /** Begin a scene: its first frame is scanned in full. */
  restart(): void {
    this.largeCount = 0;
    this.full_s = 0;
    this.fullUntil_s = 0;
  }

  /** Return the faces of an image whose blocks of k x k pixels are averaged, in pixels of the image. */
  private async scanReduced(image: Pixels, k: number): Promise<Detection[]> {
    const faces = await this.scan(averageBlocks(image, 0, 0, image.width, image.height, k));
    return faces.map(({ box, landmarks, confidence }) => ({
      box: box.map((value) => k * value) as Box,
      landmarks: landmarks.map(([x, y]): Point => [k * x, k * y]),
      confidence,
    }));
  }
}

/** Return whether all faces are certain, and at least as long as a share of the image's long side. */
function areLarge(faces: readonly Detection[], image: Pixels, minLength: number): boolean {
  const min_px = minLength * Math.max(image.width, image.height);
  return faces.every(
    ({ box: [x1, y1, x2, y2], confidence }) => confidence >= CERTAIN_CONFIDENCE && Math.max(x2 - x1, y2 - y1) >= min_px,
  );
}
