/** The open images: their results, the one that is shown, and the list to step through them. */

import type { Frame } from '../backend';
import type { ErrorRecord } from '../generated/results';
import { byId, create, setText } from './dom';
import { formatFaceCount } from './format';

export interface GalleryImage {
  readonly file: Blob;
  readonly name: string;
  /** Null until the image is analyzed, and when it failed. */
  frame: Frame | null;
  /** Why the image could not be analyzed, or null. */
  error: ErrorRecord | null;
}

/** Return whether an image has a result or has failed. */
export function isAnalyzed({ frame, error }: GalleryImage): boolean {
  return frame !== null || error !== null;
}

export class Gallery {
  readonly images: readonly GalleryImage[];
  private index = 0;

  constructor(files: readonly File[]) {
    this.images = files.map((file, index) => ({
      file,
      name: file.name || `Image ${index + 1}`,
      frame: null,
      error: null,
    }));
  }

  get current(): GalleryImage {
    return this.images[this.index];
  }

  get position(): number {
    return this.index;
  }

  /** Select an image; false when there is none at this position or it is already selected. */
  select(index: number): boolean {
    if (index === this.index || !this.images[index]) return false;
    this.index = index;
    return true;
  }

  /** The image to analyze next: the selected one, else the first without a result; null when all have one. */
  get next(): GalleryImage | null {
    return [this.current, ...this.images].find((image) => !isAnalyzed(image)) ?? null;
  }

  /** Forget all results, before an analysis with another model or elsewhere. */
  reset(): void {
    for (const image of this.images) Object.assign(image, { frame: null, error: null });
  }
}

/** The list of images below the viewer; hidden for a single image. */
export class GalleryList {
  private readonly root = byId('gallery', HTMLElement);
  private readonly list = byId('gallery-list', HTMLElement);
  private readonly position = byId('gallery-position', HTMLElement);
  private readonly previous = byId('gallery-previous', HTMLButtonElement);
  private readonly next = byId('gallery-next', HTMLButtonElement);
  private gallery: Gallery | null = null;

  /** @param onSelect called with the position of the image that the user chooses. */
  constructor(private readonly onSelect: (index: number) => void) {
    this.previous.addEventListener('click', () => this.step(-1));
    this.next.addEventListener('click', () => this.step(1));
    this.root.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      // With a modifier they are shortcuts of the browser.
      if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      this.step(step);
    });
  }

  /** Show a gallery; null hides the list. */
  open(gallery: Gallery | null): void {
    this.gallery = gallery;
    this.root.hidden = !gallery || gallery.images.length < 2;
    // The buttons stay in place while the user steps through images of different shapes.
    byId('viewer', HTMLElement).classList.toggle('steady', !this.root.hidden);
    this.list.replaceChildren(
      ...(gallery?.images ?? []).map((image, index) => {
        const button = create('button', '', create('span', 'name', image.name), create('span', 'status'));
        button.type = 'button';
        button.addEventListener('click', () => this.onSelect(index));
        return create('li', '', button);
      }),
    );
    this.update();
  }

  /** Show the selection and the state of every image. */
  update(): void {
    const { gallery } = this;
    if (!gallery) return;
    const { images, position } = gallery;
    setText(this.position, `Image ${position + 1} of ${images.length}`);
    // Not the attribute `disabled`, which would move the keyboard focus away.
    this.previous.setAttribute('aria-disabled', String(position === 0));
    this.next.setAttribute('aria-disabled', String(position === images.length - 1));
    [...this.list.children].forEach((item, index) => {
      const [button] = item.children;
      if (index === position) button.setAttribute('aria-current', 'true');
      else button.removeAttribute('aria-current');
      setText(button.children[1], formatStatus(images[index]));
      button.classList.toggle('failed', images[index].error !== null);
    });
    if (!this.root.hidden) scrollIntoList(this.list, this.list.children[position]);
  }

  private step(by: number): void {
    const index = (this.gallery?.position ?? 0) + by;
    if (this.gallery?.images[index]) this.onSelect(index);
  }
}

/** Scroll a list sideways to an item; `scrollIntoView` would move the page too. */
function scrollIntoList(list: Element, item: Element): void {
  const { left, right } = item.getBoundingClientRect();
  const bounds = list.getBoundingClientRect();
  if (left < bounds.left) list.scrollLeft += left - bounds.left;
  else if (right > bounds.right) list.scrollLeft += right - bounds.right;
}

function formatStatus({ frame, error }: GalleryImage): string {
  if (error !== null) return 'failed';
  return frame ? formatFaceCount(frame.faces.length) : 'waiting';
}
