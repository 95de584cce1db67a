/** Image and video files that the user selects, drops or pastes. */

import type { FileKind } from './sources';

/** Maximum long side of an analyzed image; larger images are reduced. */
const MAX_IMAGE_SIZE = 4096;

/** Return the kind of a file by its media type; null for other files. */
export function fileKind(file: File): FileKind | null {
  if (file.type.startsWith('image/')) return 'image';
  return file.type.startsWith('video/') ? 'video' : null;
}

/** Call `open` for every file dropped on the page or pasted. */
export function watchFiles(viewer: HTMLElement, open: (file: File) => void): void {
  const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes('Files') ?? false;
  let depth = 0;
  const setDepth = (value: number) => {
    depth = Math.max(0, value);
    viewer.classList.toggle('drag-over', depth > 0);
  };
  document.addEventListener('dragenter', (event) => {
    if (hasFiles(event)) setDepth(depth + 1);
  });
  document.addEventListener('dragleave', (event) => {
    if (hasFiles(event)) setDepth(depth - 1);
  });
  document.addEventListener('dragover', (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  document.addEventListener('drop', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    setDepth(0);
    const file = event.dataTransfer?.files[0];
    if (file) open(file);
  });
  document.addEventListener('paste', (event) => {
    const file = event.clipboardData?.files[0];
    if (!file) return;
    event.preventDefault();
    open(file);
  });
}

/** Decode an image upright and without color conversion, as Python does. */
export async function decodeImage(file: Blob): Promise<ImageBitmap> {
  const image = await createImageBitmap(file, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });
  const scale = MAX_IMAGE_SIZE / Math.max(image.width, image.height);
  if (scale >= 1) return image;
  const size = {
    resizeWidth: Math.round(image.width * scale),
    resizeHeight: Math.round(image.height * scale),
  };
  return createImageBitmap(image, { ...size, resizeQuality: 'high' }).finally(() => image.close());
}
