/** Encoding of images for upload to the server. */

import { type ReducedSize, reduceSize } from '../scaling';

/** Maximum long side of a video frame. */
const MAX_FRAME_SIZE = 1280;
const FRAME_QUALITY = 0.9;
/** Maximum size of an image that is uploaded losslessly, for the same predictions as on this device. */
const MAX_LOSSLESS_PIXELS = 4_000_000;
const IMAGE_QUALITY = 0.95;

export interface EncodedImage {
  bytes: Blob;
  /** Factor from coordinates of the response to coordinates of the original image. */
  scale: number;
}

/** Encode a video frame as a small JPEG. Takes ownership of the bitmap. */
export function encodeFrame(image: ImageBitmap): Promise<EncodedImage> {
  return encode(image, reduceSize(image, MAX_FRAME_SIZE), 'image/jpeg', FRAME_QUALITY);
}

/** Encode a single image: PNG up to `MAX_LOSSLESS_PIXELS`, else JPEG. Takes ownership of the bitmap. */
export function encodeImage(image: ImageBitmap): Promise<EncodedImage> {
  const isLossless = image.width * image.height <= MAX_LOSSLESS_PIXELS;
  const { width, height } = image;
  return encode(image, { width, height, scale: 1 }, isLossless ? 'image/png' : 'image/jpeg', IMAGE_QUALITY);
}

async function encode(image: ImageBitmap, size: ReducedSize, type: string, quality: number): Promise<EncodedImage> {
  const { width, height, scale } = size;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d', { alpha: false });
  if (!context) throw new Error('This browser cannot encode images for the server.');
  // Transparent images get a white background, as in Python.
  context.fillStyle = 'white';
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = 'high';
  context.drawImage(image, 0, 0, width, height);
  image.close();
  return { bytes: await canvas.convertToBlob({ type, quality }), scale };
}
