/** Detection of the faces of a video, mostly in reduced frames: port of `mien/video/scanning.py`. */

import { areLarge, type Detection, detectReduced, LARGE_LENGTH, reduction } from './detection.ts';
import type { Pixels } from './imaging.ts';

/** `LARGE_LENGTH` while frames are reduced; lower, so that the kind of scan does not alternate. */
const LARGE_LENGTH_AGAIN = 0.15;
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
    const k = reduction(image);
    const isReduced = k > 1 && this.largeCount > 0 && time_s >= this.fullUntil_s;
    const minLength = isReduced ? LARGE_LENGTH_AGAIN : LARGE_LENGTH;
    let quick = isReduced ? await detectReduced(image, k, this.scan) : [];
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
}
