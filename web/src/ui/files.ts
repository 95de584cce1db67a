/** Image and video files that the user selects, drops or pastes. */

import { FILE_OPTIONS } from '../engine/browserImages';
import { type DecodedImage, reduceSize } from '../scaling';
import { byId } from './dom';
import type { FileKind } from './sources';

/** Maximum long side of an analyzed image; larger images are reduced. */
export const MAX_IMAGE_SIZE = 4096;

/** Return the kind of a file by its media type; null for other files. */
export function fileKind(file: File): FileKind | null {
  if (file.type.startsWith('image/')) return 'image';
  return file.type.startsWith('video/') ? 'video' : null;
}

export interface Selection {
  images: File[];
  /** The first video, when there is no image. */
  video: File | null;
  /** What was left out, or null. */
  notice: string | null;
}

/** Choose the files to open: all images, or one video. */
export function selectFiles(files: readonly File[]): Selection {
  const images = files.filter((file) => fileKind(file) === 'image');
  const videos = files.filter((file) => fileKind(file) === 'video');
  const others = files.filter((file) => fileKind(file) === null);
  const video = images.length > 0 ? null : (videos[0] ?? null);
  const unopened = videos.length - (video ? 1 : 0);
  const parts: string[] = [];
  if (others.length > 0) {
    const names = others.map(({ name }) => name || 'The file').join(', ');
    parts.push(
      `${names} ${others.length === 1 ? 'is neither an image nor a video' : 'are neither images nor videos'}.`,
    );
  }
  if (unopened > 0) parts.push('One video is analyzed at a time, without images; the others were not opened.');
  return { images, video, notice: parts.join(' ') || null };
}

/** Call `open` with the files dropped on the page or pasted, except while the consent dialog is open. */
export function watchFiles(viewer: HTMLElement, open: (files: File[]) => void): void {
  const dialog = byId('consent', HTMLDialogElement);
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
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length > 0 && !dialog.open) open(files);
  });
  document.addEventListener('paste', (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0 || dialog.open) return;
    event.preventDefault();
    open(files);
  });
}

/** Decode an image upright and without color conversion, as Python does. */
export async function decodeImage(file: Blob): Promise<DecodedImage> {
  const image = await createImageBitmap(file, FILE_OPTIONS);
  const size = { width: image.width, height: image.height };
  const reduced = reduceSize(size, MAX_IMAGE_SIZE);
  if (reduced.scale === 1) return { bitmap: image, size, scale: 1 };
  const options: ImageBitmapOptions = {
    resizeWidth: reduced.width,
    resizeHeight: reduced.height,
    resizeQuality: 'high',
  };
  const bitmap = await createImageBitmap(image, options).finally(() => image.close());
  return { bitmap, size, scale: reduced.scale };
}
