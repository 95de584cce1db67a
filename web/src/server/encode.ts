/** Pictures as bytes for the server. */

const FRAME_SIDE = 1280;
const FRAME_QUALITY = 0.9;
/** Pictures up to this many pixels travel without loss, so that the server reads what this device would. */
const EXACT_PIXELS = 4_000_000;
const PICTURE_QUALITY = 0.95;

export interface Encoded {
  bytes: Blob;
  /** Multiplies coordinates of the answer to those of the picture that was handed over. */
  scale: number;
}

/** A frame of a moving picture: small and quick. Takes the bitmap over. */
export function encodeFrame(image: ImageBitmap): Promise<Encoded> {
  return encode(image, Math.min(1, FRAME_SIDE / Math.max(image.width, image.height)), 'image/jpeg', FRAME_QUALITY);
}

/** A picture on its own: exact where that is not too much. Takes the bitmap over. */
export function encodePicture(image: ImageBitmap): Promise<Encoded> {
  const exact = image.width * image.height <= EXACT_PIXELS;
  return encode(image, 1, exact ? 'image/png' : 'image/jpeg', PICTURE_QUALITY);
}

async function encode(image: ImageBitmap, share: number, type: string, quality: number): Promise<Encoded> {
  const [wide, high] = [Math.round(image.width * share), Math.round(image.height * share)];
  const scale = image.width / wide;
  const canvas = new OffscreenCanvas(wide, high);
  const context = canvas.getContext('2d', { alpha: false });
  if (!context) throw new Error('This browser cannot prepare pictures for the server.');
  context.fillStyle = '#ffffff'; // where a picture is transparent, as mien does
  context.fillRect(0, 0, wide, high);
  context.imageSmoothingQuality = 'high';
  context.drawImage(image, 0, 0, wide, high);
  image.close();
  return { bytes: await canvas.convertToBlob({ type, quality }), scale };
}
