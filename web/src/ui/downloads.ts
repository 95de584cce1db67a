/** Downloads of the results: JSON, CSV, and the image with its annotations. */

import type { Frame } from '../backend';
import { reduceSize } from '../scaling';
import { byId } from './dom';
import { MAX_IMAGE_SIZE } from './files';
import { drawOverlay } from './overlay';
import { type NamedFrame, toCsv, toJson } from './table';

/** What the results consist of at the moment. */
export interface Report {
  model: string;
  labels: readonly string[];
  images: readonly NamedFrame[];
  /** The displayed image and its faces. */
  shown: { media: CanvasImageSource; name: string; frame: Frame };
}

/** Width of an image, in pixels, whose labels have the size that they have on the page. */
const LABEL_SCALE_PX = 1000;

/** Connect the buttons; `report` returns null without results. */
export function connectDownloads(report: () => Report | null, onError: (error: unknown) => void): void {
  const connect = (id: string, save: (report: Report) => Promise<void> | void) =>
    byId(id, HTMLButtonElement).addEventListener('click', async () => {
      const current = report();
      try {
        if (current) await save(current);
      } catch (error) {
        onError(error);
      }
    });
  connect('save-json', ({ model, images }) => saveText('mien.json', 'application/json', toJson(model, images)));
  connect('save-csv', ({ labels, images }) => saveText('mien.csv', 'text/csv', toCsv(labels, images)));
  connect('save-image', async ({ shown }) => save(`${stem(shown.name)}-mien.png`, await annotate(shown)));
}

export function showDownloads(isShown: boolean): void {
  byId('downloads', HTMLElement).hidden = !isShown;
}

/** Draw the annotations on the image at its full size, or reduced where it exceeds the canvas of some browsers. */
async function annotate({ media, frame }: Report['shown']): Promise<Blob> {
  const { width, height } = reduceSize(frame, MAX_IMAGE_SIZE);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d');
  if (!context) throw new Error('This browser cannot draw the annotated image.');
  context.drawImage(media, 0, 0, width, height);
  const scale = Math.max(width, height) / LABEL_SCALE_PX;
  context.scale(scale, scale);
  const size = { width: width / scale, height: height / scale };
  drawOverlay(context, size, frame, { mirrored: false, highlighted: null });
  return canvas.convertToBlob({ type: 'image/png' });
}

function saveText(name: string, type: string, text: string): void {
  save(name, new Blob([text], { type: `${type};charset=utf-8` }));
}

function save(name: string, data: Blob): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(data);
  link.download = name;
  link.click();
  // The browser reads the data after the click has been handled.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** The name of a file without its last suffix. */
function stem(name: string): string {
  return name.replace(/\.[^.]*$/, '') || 'image';
}
