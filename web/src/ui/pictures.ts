/** Pictures and videos that people choose, drop or paste. */

import type { FileKind } from './sources';

/** Pictures are read at their own size up to this long side. */
const MOST_SIDE = 4096;

/** What a file is, by its type; null for anything else. */
export function fileKind(file: File): FileKind | null {
  if (file.type.startsWith('image/')) return 'picture';
  return file.type.startsWith('video/') ? 'video' : null;
}

/** Calls back with every picture or video that is dropped anywhere or pasted. */
export function watchFiles(stage: HTMLElement, take: (file: File) => void): void {
  const carries = (event: DragEvent) => event.dataTransfer?.types.includes('Files') ?? false;
  let depth = 0;
  const hover = (change: number) => {
    depth = change === 0 ? 0 : Math.max(0, depth + change);
    stage.classList.toggle('over', depth > 0);
  };
  document.addEventListener('dragenter', (event) => carries(event) && hover(1));
  document.addEventListener('dragleave', (event) => carries(event) && hover(-1));
  document.addEventListener('dragover', (event) => carries(event) && event.preventDefault());
  document.addEventListener('drop', (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    hover(0);
    const file = event.dataTransfer?.files[0];
    if (file) take(file);
  });
  document.addEventListener('paste', (event) => {
    const file = event.clipboardData?.files[0];
    if (!file) return;
    event.preventDefault();
    take(file);
  });
}

/** The pixels of a picture that the browser can show, upright, in its own colours as mien reads them. */
export async function openPicture(file: Blob): Promise<ImageBitmap> {
  const image = await createImageBitmap(file, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });
  const scale = MOST_SIDE / Math.max(image.width, image.height);
  if (scale >= 1) return image;
  const size = { resizeWidth: Math.round(image.width * scale), resizeHeight: Math.round(image.height * scale) };
  return createImageBitmap(image, { ...size, resizeQuality: 'high' }).finally(() => image.close());
}
