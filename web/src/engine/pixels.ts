/** Raw RGB and RGBA images. */

import { blank, type Pixels } from './imaging.ts';

/** Decoded pixels, upright, row by row from the top left. */
export interface RawImage {
  /** In pixels. */
  readonly width: number;
  /** In pixels. */
  readonly height: number;
  /** RGB or RGBA, 3 or 4 bytes per pixel; transparent pixels are shown on white. */
  readonly data: Uint8Array | Uint8ClampedArray;
}

/** Convert raw pixels. Throws a TypeError when the number of bytes fits neither RGB nor RGBA. */
export function rawPixels({ width, height, data }: RawImage): Pixels {
  const channels = data.length / (width * height);
  if (!(width > 0 && height > 0 && (channels === 3 || channels === 4))) {
    throw new TypeError(
      `image of ${width} x ${height} pixels has ${data.length} bytes; expected RGB (3 per pixel) or RGBA (4 per pixel)`,
    );
  }
  const image = blank(width, height);
  for (let from = 0, to = 0; from < data.length; from += channels, to += 4) {
    const alpha = channels === 4 ? data[from + 3] / 255 : 1;
    const white = 255 * (1 - alpha);
    for (let channel = 0; channel < 3; channel++) {
      image.data[to + channel] = data[from + channel] * alpha + white;
    }
    image.data[to + 3] = 255;
  }
  return image;
}
