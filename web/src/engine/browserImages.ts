/** Images of a browser. */

import type { Pixels } from './imaging.ts';
import { bitmapPixels, type RawImage, rawPixels } from './pixels.ts';

/**
 * An image or video element, canvas, `ImageBitmap`, `VideoFrame`, `Blob` with an image file, `ImageData` or raw pixels.
 * An `ImageBitmap` can be used once: it is closed.
 */
export type BrowserImage = ImageBitmapSource | RawImage;

/** Convert an image to a bitmap; raw pixels are returned as they are. */
export async function toTransferable(image: BrowserImage): Promise<ImageBitmap | RawImage> {
  if ('data' in image || image instanceof ImageBitmap) return image;
  return createImageBitmap(image);
}

export async function toPixels(image: BrowserImage): Promise<Pixels> {
  const source = await toTransferable(image);
  return 'data' in source ? rawPixels(source) : bitmapPixels(source);
}
