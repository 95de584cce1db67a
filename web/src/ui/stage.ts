/** The place where the picture stands, with what is drawn over it. */

import type { Frame } from '../reader';
import { element, write } from './elements';
import { Overlay } from './overlay';

export class Stage {
  private readonly root = element('stage', HTMLElement);
  private readonly image = element('picture', HTMLImageElement);
  readonly video = element('video', HTMLVideoElement);
  private readonly overlay = new Overlay(element('overlay', HTMLCanvasElement));
  private readonly progress = element('progress', HTMLProgressElement);
  private address = '';
  private frame: Frame | null = null;
  private pointed: number | null = null;
  mirrored = false;

  constructor() {
    new ResizeObserver(() => this.redraw()).observe(this.root);
    this.video.addEventListener('resize', () => this.fit(this.video.videoWidth, this.video.videoHeight));
  }

  /** Shows a picture file. Rejects with a message for people. */
  async showPicture(file: Blob, name: string): Promise<void> {
    this.clear();
    this.address = URL.createObjectURL(file);
    this.image.src = this.address;
    this.image.alt = name;
    try {
      await this.image.decode();
    } catch (error) {
      throw new Error(`${name} cannot be opened as a picture by this browser. JPEG, PNG and WebP always can.`, { cause: error });
    }
    this.fit(this.image.naturalWidth, this.image.naturalHeight);
    this.reveal(this.image);
  }

  /** Opens a video file at its first picture. Rejects with a message for people. */
  async showVideo(file: Blob, name: string): Promise<void> {
    this.clear();
    this.address = URL.createObjectURL(file);
    this.video.src = this.address;
    this.video.controls = true;
    await new Promise<void>((resolve, reject) => {
      const problem = `${name} cannot be played by this browser. MP4 (H.264) and WebM usually can.`;
      this.video.addEventListener('loadeddata', () => resolve(), { once: true });
      this.video.addEventListener('error', () => reject(new Error(problem)), { once: true });
    });
    this.reveal(this.video);
  }

  /** Plays a video that stands at its beginning; one that somebody has moved on or paused is left alone. */
  async begin(): Promise<void> {
    if (this.video.paused && this.video.currentTime === 0) await this.video.play();
  }

  async showCamera(stream: MediaStream, mirrored: boolean): Promise<void> {
    this.clear();
    this.video.srcObject = stream;
    this.video.controls = false;
    this.mirrored = mirrored;
    this.video.classList.toggle('mirrored', mirrored);
    this.reveal(this.video);
    await this.video.play();
  }

  /** Nothing is shown, and nothing of what was is kept. */
  clear(): void {
    this.frame = null;
    this.pointed = null;
    this.mirrored = false;
    this.video.pause();
    this.video.srcObject = null;
    this.video.removeAttribute('src');
    this.video.load();
    this.video.classList.remove('mirrored');
    this.image.removeAttribute('src');
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = '';
    this.overlay.clear();
    this.root.classList.remove('live');
    this.root.style.removeProperty('--ratio');
    for (const media of [this.image, this.video]) media.hidden = true;
    element('empty', HTMLElement).hidden = false;
  }

  /** What was read is drawn from this: pixels, and how wide they are. */
  get source(): { pixels: HTMLImageElement | HTMLVideoElement; wide: number } {
    if (!this.image.hidden) return { pixels: this.image, wide: this.image.naturalWidth };
    return { pixels: this.video, wide: this.video.videoWidth };
  }

  draw(frame: Frame): void {
    this.frame = frame;
    this.redraw();
  }

  /** Brings one face out; null brings all. */
  point(number: number | null): void {
    this.pointed = number;
    this.redraw();
  }

  /** Tells in words what is being waited for, and how far it is (0..1); null when it is over. */
  wait(text: string | null, share: number | null = null): void {
    element('busy', HTMLElement).hidden = text === null;
    write(element('busy-text', HTMLElement), text ?? '');
    if (share === null) this.progress.removeAttribute('value');
    else this.progress.value = share;
  }

  describe(text: string): void {
    this.image.alt = text;
  }

  private redraw(): void {
    if (this.frame) this.overlay.draw(this.frame, { mirrored: this.mirrored, pointed: this.pointed });
  }

  private reveal(media: HTMLElement): void {
    media.hidden = false;
    this.root.classList.add('live');
    element('empty', HTMLElement).hidden = true;
  }

  private fit(wide: number, high: number): void {
    if (wide && high) this.root.style.setProperty('--ratio', (wide / high).toFixed(4));
    this.redraw();
  }
}
