/** Images of a browser. */

import type { Pixels } from './imaging.ts';
import { type RawImage, rawPixels } from './pixels.ts';

/** Decode a file without color conversion, as Python does. */
export const FILE_OPTIONS: ImageBitmapOptions = { colorSpaceConversion: 'none', premultiplyAlpha: 'none' };

let context: OffscreenCanvasRenderingContext2D | null = null;

/**
 * An image or video element, canvas, `ImageBitmap`, `VideoFrame`, `Blob` with an image file, `ImageData` or raw pixels.
 * An `ImageBitmap` can be used once: it is closed.
 */
export type BrowserImage = ImageBitmapSource | RawImage;

/** Convert an image to a bitmap; files and raw pixels are returned as they are. */
export async function toTransferable(image: BrowserImage): Promise<ImageBitmap | Blob | RawImage> {
  if ('data' in image || image instanceof Blob || image instanceof ImageBitmap) return image;
  return createImageBitmap(image);
}

/** Return the pixels of an image; bitmaps are shown on white, and closed. */
export async function toPixels(image: BrowserImage): Promise<Pixels> {
  const source = await toTransferable(image);
  if ('data' in source) return rawPixels(source);
  return bitmapPixels(source instanceof Blob ? await createImageBitmap(source, FILE_OPTIONS) : source);
}

/** Return the pixels of a bitmap over a white background, and close the bitmap. */
function bitmapPixels(bitmap: ImageBitmap): Pixels {
  const { width, height } = bitmap;
  context ??= new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  if (!context) throw new Error('This browser does not support 2D canvas drawing.');
  const { canvas } = context;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  context.fillStyle = 'white';
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}
