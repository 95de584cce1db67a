/** Detection of the faces of a video, mostly in reduced frames: port of `mien/video/scanning.py`. */

import { DOUBTFUL_CONFIDENCE } from './analyzer.ts';
import { type Detection, isDuplicate } from './detection.ts';
import { type Box, boxArea, type Point } from './geometry.ts';
import { averageBlocks, type Pixels } from './imaging.ts';

/** Minimum long side of the reduced frame, in pixels. */
const QUICK_SIZE = 320;
/** Minimum longer side of a large face, as a fraction of the frame's long side. */
const MIN_LENGTH = 0.17;
/** The same for a face of a quick scan; lower, so that a face does not alternate between the scans. */
const KEPT_LENGTH = 0.15;
/** Maximum time between two full scans where detections are more frequent. */
const FULL_SCAN_S = 1;

/** Detects the faces of one video: while all are large and certain, mostly by a quick scan of the reduced frame. */
export class FaceScanner {
  private largeCount = 0;
  private last_s = 0;
  private full_s = 0;

  constructor(private readonly scan: (image: Pixels) => Promise<Detection[]>) {}

  /** Return the faces of the next frame, largest first. */
  async detect(image: Pixels, time_s: number): Promise<Detection[]> {
    const isDue = time_s + (time_s - this.last_s) - this.full_s > FULL_SCAN_S;
    this.last_s = time_s;
    let found: Detection[] = [];
    let large: Detection[] = [];
    const k = Math.floor(Math.max(image.width, image.height) / QUICK_SIZE);
    const isQuick = this.largeCount > 0 && k > 1;
    if (isQuick) {
      found = await this.scanReduced(image, k);
      large = found.filter((face) => isLarge(face, image, KEPT_LENGTH));
    }
    if (isDue || !isQuick || found.length > large.length || large.length < this.largeCount) {
      this.full_s = time_s;
      found = addMissing(large, await this.scan(image));
    }
    const minLength = large.length > 0 ? KEPT_LENGTH : MIN_LENGTH;
    this.largeCount = found.every((face) => isLarge(face, image, minLength)) ? found.length : 0;
    return found;
  }

  /** Begin a scene: its first frame is scanned in full. */
  restart(): void {
    this.largeCount = 0;
    this.last_s = 0;
    this.full_s = 0;
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

/** Return the faces of a quick scan, and those of a full scan that are not among them, largest first. */
function addMissing(quick: readonly Detection[], full: readonly Detection[]): Detection[] {
  const missing = full.filter((face) => !quick.some((other) => isDuplicate(face, other)));
  return [...quick, ...missing].sort((one, other) => boxArea(other.box) - boxArea(one.box));
}

/** Return whether a face is certain, and at least as long as a fraction of the frame's long side. */
function isLarge({ box: [x1, y1, x2, y2], confidence }: Detection, image: Pixels, minLength: number): boolean {
  const length = Math.max(x2 - x1, y2 - y1);
  return confidence >= DOUBTFUL_CONFIDENCE && length >= minLength * Math.max(image.width, image.height);
}
