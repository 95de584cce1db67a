/** Viewer of the image or video with its overlay and progress. */

import { type Frame, unreadableImage } from '../backend';
import { byId, setText } from './dom';
import { Overlay } from './overlay';

/** Minimum time until the faces of a moving image disappear when no newer frame arrives. */
const MIN_EXPIRY_MS = 2000;
const PLAYBACK_ERROR = 'The video cannot be played further: it is damaged, or this browser does not support it.';
/** Names of the errors of a video that is paused while it starts, or that may not start by itself. */
const STAYS_PAUSED = ['AbortError', 'NotAllowedError'];

export class Viewer {
  private readonly root = byId('viewer', HTMLElement);
  private readonly image = byId('image', HTMLImageElement);
  readonly video = byId('video', HTMLVideoElement);
  private readonly overlay = new Overlay(byId('overlay', HTMLCanvasElement));
  private readonly progress = byId('progress', HTMLProgressElement);
  private objectUrl = '';
  /** The drawn faces; null without any. */
  frame: Frame | null = null;
  private highlighted: number | null = null;
  private expiry = 0;
  mirrored = false;

  /** @param onPlaybackError called with a message for the user when a video that is shown cannot be played further. */
  constructor(onPlaybackError: (message: string) => void) {
    new ResizeObserver(() => this.redraw()).observe(this.root);
    this.video.addEventListener('resize', () => this.setAspectRatio(this.video.videoWidth, this.video.videoHeight));
    this.video.addEventListener('playing', () => this.startExpiry());
    this.video.addEventListener('error', () => {
      if (!this.video.hidden) onPlaybackError(PLAYBACK_ERROR);
    });
  }

  /** Show an image file. Rejects with a message for the user. */
  async showImage(file: Blob, name: string): Promise<void> {
    this.clear();
    this.objectUrl = URL.createObjectURL(file);
    this.image.src = this.objectUrl;
    this.image.alt = name;
    try {
      await this.image.decode();
    } catch (error) {
      throw unreadableImage(name, error);
    }
    this.setAspectRatio(this.image.naturalWidth, this.image.naturalHeight);
    this.reveal(this.image);
  }

  /** Show the first frame of a video file. Rejects with a message for the user. */
  async showVideo(file: Blob, name: string): Promise<void> {
    this.clear();
    this.objectUrl = URL.createObjectURL(file);
    this.video.src = this.objectUrl;
    this.video.controls = true;
    const error = new Error(`${name} cannot be played by this browser. Use MP4 (H.264) or WebM.`);
    await new Promise<void>((resolve, reject) => {
      this.video.addEventListener('loadeddata', () => resolve(), { once: true });
      this.video.addEventListener('error', () => reject(error), { once: true });
    });
    // A browser that cannot decode the images still plays the sound.
    if (!this.video.videoWidth) throw error;
    this.reveal(this.video);
  }

  /**
   * Play a video that is at its start; one that the user has moved or paused is left as it is, also one that the browser
   * plays only when the user starts it.
   */
  async play(): Promise<void> {
    if (!this.video.paused || this.video.currentTime !== 0) return;
    await this.video.play().catch((error: unknown) => {
      if (!(error instanceof DOMException && STAYS_PAUSED.includes(error.name))) throw error;
    });
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

  /** Remove the image or video and release its data. */
  clear(): void {
    this.clearFaces();
    this.highlighted = null;
    this.mirrored = false;
    this.video.pause();
    this.video.srcObject = null;
    this.video.removeAttribute('src');
    this.video.load();
    this.video.classList.remove('mirrored');
    this.image.removeAttribute('src');
    if (this.objectUrl) URL.revokeObjectURL(this.objectUrl);
    this.objectUrl = '';
    this.root.classList.remove('active');
    this.root.style.removeProperty('--aspect-ratio');
    for (const media of [this.image, this.video]) media.hidden = true;
    byId('empty', HTMLElement).hidden = false;
  }

  /** The displayed image or video and its width in pixels. */
  get source(): { media: HTMLImageElement | HTMLVideoElement; width: number } {
    if (!this.image.hidden) return { media: this.image, width: this.image.naturalWidth };
    return { media: this.video, width: this.video.videoWidth };
  }

  draw(frame: Frame): void {
    this.clearFaces();
    this.frame = frame;
    this.redraw();
  }

  /** Draw the faces of a moving image; unless it is paused, they disappear after a time without a newer frame. */
  drawLive(frame: Frame): void {
    this.frame = frame;
    this.redraw();
    this.startExpiry();
  }

  /** Remove the drawn faces. */
  clearFaces(): void {
    clearTimeout(this.expiry);
    this.frame = null;
    this.overlay.clear();
  }

  /** Highlight one face; null highlights none. */
  highlight(number: number | null): void {
    this.highlighted = number;
    this.redraw();
  }

  /** Show a progress text, with a fraction 0..1 if known; null hides it. */
  showProgress(text: string | null, fraction: number | null = null): void {
    byId('loading', HTMLElement).hidden = text === null;
    setText(byId('loading-text', HTMLElement), text ?? '');
    if (fraction === null) this.progress.removeAttribute('value');
    else this.progress.value = fraction;
  }

  /** Set the alternative text of the image. */
  setDescription(text: string): void {
    this.image.alt = text;
  }

  private startExpiry(): void {
    clearTimeout(this.expiry);
    const expire = () => {
      if (!this.video.paused && !this.video.ended) this.clearFaces();
    };
    this.expiry = window.setTimeout(expire, Math.max(MIN_EXPIRY_MS, 2 * (this.frame?.latency_ms ?? 0)));
  }

  private redraw(): void {
    const { mirrored, highlighted } = this;
    if (this.frame) this.overlay.draw(this.frame, { mirrored, highlighted });
  }

  private reveal(media: HTMLElement): void {
    media.hidden = false;
    this.root.classList.add('active');
    byId('empty', HTMLElement).hidden = true;
  }

  private setAspectRatio(width: number, height: number): void {
    if (width && height) this.root.style.setProperty('--aspect-ratio', (width / height).toFixed(4));
    this.redraw();
  }
}
