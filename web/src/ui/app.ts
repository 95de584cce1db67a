/** Application state: source, mode, model, and the analysis loop. */

import type { Backend } from '../backend';
import { WorkerError } from '../engine/workerError';
import type { FaceTurn } from '../fusion/turn';
import { scaleFace } from '../scaling';
import { setToken } from '../server/endpoints';
import { BusyError, TokenError } from '../server/errors';
import { sleep, unlessAborted } from '../waiting';
import { ActiveBackend, type Mode } from './activeBackend';
import { describeCamera, openCamera, stopCamera } from './camera';
import { askConsent } from './consent';
import type { Report } from './downloads';
import { decodeImage } from './files';
import { FrameSource } from './frameSource';
import { Gallery, type GalleryImage, GalleryList } from './gallery';
import { listModels } from './models';
import { Notices } from './notices';
import { Results } from './results';
import type { Source, SourceKind } from './sources';
import { Viewer } from './viewer';

/** Delays between retries; the last one repeats. */
const RETRY_DELAYS_S = [1, 2, 4, 8, 15];
const MIN_RETRY_DELAY_S = 0.5;

export class App {
  readonly viewer = new Viewer((message) => this.notices.show(message));
  readonly results = new Results(this.viewer);
  private readonly notices = new Notices((token) => {
    setToken(token);
    void this.restart();
  });
  private readonly backend = new ActiveBackend();
  private readonly list = new GalleryList((index) => void this.selectImage(index));
  private readonly consents = new Set<Mode>();
  private source: Source | null = null;
  /** Number of discarded sources. */
  private discards = 0;
  /** The backend of the results. */
  private resultBackend: Backend | null = null;
  private controller = new AbortController();
  private lastRun: Promise<void> = Promise.resolve();
  private mode: Mode = 'device';
  private actionUnits = false;
  /** Null selects the default model. */
  private model: string | null = null;

  /** @param onSourceChange called with the kind of the new source, or null, and the camera's device id. */
  constructor(private readonly onSourceChange: (kind: SourceKind | null, deviceId: string) => void) {}

  /** Analyze images and show the first one. */
  async openImages(files: File[]): Promise<void> {
    const gallery = new Gallery(files);
    await this.start({ kind: 'image', gallery }, () => this.showImage(gallery));
  }

  /** Play and analyze a video. */
  async openVideo(file: File): Promise<void> {
    const name = file.name || 'The video';
    await this.start({ kind: 'video', name }, () => this.viewer.showVideo(file, name));
  }

  /** The current results for a download; null without any. */
  get report(): Report | null {
    const { source, viewer } = this;
    const { media } = viewer.source;
    if (!source || !this.resultBackend || !viewer.frame) return null;
    const { model, labels } = this.resultBackend;
    const name = source.kind === 'image' ? source.gallery.current.name : source.kind;
    const done = ({ frame, error }: GalleryImage) => frame !== null || error !== null;
    const frame = viewer.frame;
    const images = source.kind === 'image' ? source.gallery.images.filter(done) : [{ name, frame, error: null }];
    return { model, labels, images, shown: { media, name, frame } };
  }

  /** The face that the camera showed during a time; null without a camera. */
  faceDuring(start_s: number, end_s: number): FaceTurn | 'several' | null {
    return this.source?.kind === 'camera' ? this.results.faceDuring(start_s, end_s) : null;
  }

  /** Start a camera after consent. */
  async openCamera(deviceId = ''): Promise<void> {
    if (!(await this.hasConsent())) return;
    // Some devices open another camera only after this one is released. Its menu keeps the keyboard focus.
    if (this.source?.kind === 'camera') this.discard();
    this.notices.clear();
    const { discards } = this;
    // Another source may be opened, or this one closed, while the camera opens.
    const isOutdated = () => discards !== this.discards;
    try {
      const stream = await openCamera(deviceId);
      if (isOutdated()) stopCamera(stream);
      else await this.startCamera(stream, deviceId);
    } catch (error) {
      if (isOutdated()) return;
      if (!this.source) this.stop();
      this.notices.showError(error);
    }
  }

  private async startCamera(stream: MediaStream, deviceId: string): Promise<void> {
    if (!this.consents.has(this.mode)) {
      // The mode was changed while the camera opened.
      stopCamera(stream);
      if (!this.source) this.stop();
      await this.openCamera(deviceId);
      return;
    }
    const camera = describeCamera(stream);
    stream.getVideoTracks()[0].addEventListener('ended', () => this.handleDisconnect(stream));
    const show = () => this.viewer.showCamera(stream, camera.isUserFacing);
    await this.start({ kind: 'camera', stream }, show, camera.deviceId);
  }

  /** Stop the analysis, release the camera and discard all results. */
  stop(): void {
    this.discard();
    this.onSourceChange(null, '');
  }

  /** Discard the source and its results; the page's controls stay as they are. */
  private discard(): void {
    this.discards++;
    this.controller.abort();
    if (this.source?.kind === 'camera') stopCamera(this.source.stream);
    this.source = null;
    this.resultBackend = null;
    this.list.open(null);
    this.viewer.clear();
    this.viewer.showProgress(null);
    this.results.clear();
    this.notices.clear();
  }

  /**
   * Switch between device and server. A running camera continues only with consent for the new mode, and an open file
   * is sent to the server only with consent.
   *
   * @returns the mode that is in effect: without consent to send the open file, the former one.
   */
  async setMode(mode: Mode): Promise<Mode> {
    const { source } = this;
    if (source && source.kind !== 'camera' && mode === 'server' && !(await this.maySend(source))) return this.mode;
    this.mode = mode;
    this.notices.clear();
    if (this.source?.kind === 'camera' && !this.consents.has(mode)) {
      const { deviceId } = describeCamera(this.source.stream);
      this.stop();
      void this.openCamera(deviceId);
    } else void this.restart();
    return mode;
  }

  async setModel(model: string): Promise<void> {
    this.model = model;
    await this.restart();
  }

  /** Switch the action units on or off, which the server estimates. */
  async setActionUnits(isOn: boolean): Promise<void> {
    this.actionUnits = isOn;
    await this.restart();
  }

  showNotice(text: string): void {
    this.notices.show(text);
  }

  private async hasConsent(): Promise<boolean> {
    const mode = this.mode;
    if (this.consents.has(mode)) return true;
    const text =
      mode === 'server'
        ? `Camera images are sent to ${location.host}, which analyzes them and does not store them.`
        : 'Camera images stay on this device: they are analyzed in this browser and are not sent anywhere.';
    if (!(await askConsent('camera', text))) return false;
    this.consents.add(mode);
    return true;
  }

  /** Ask before an open file is sent to the server. */
  private maySend(source: Exclude<Source, { kind: 'camera' }>): Promise<boolean> {
    const count = source.kind === 'image' ? source.gallery.images.length : 1;
    const name = source.kind === 'image' ? source.gallery.current.name : source.name;
    const subject = count === 1 ? name : `The ${count} open images`;
    const text = `${subject} will be sent to ${location.host}, which analyzes the faces and stores nothing.`;
    return askConsent(source.kind, text);
  }

  /** Show another image of the gallery. */
  private async selectImage(index: number): Promise<void> {
    if (this.source?.kind !== 'image' || !this.source.gallery.select(index)) return;
    const { gallery } = this.source;
    this.list.update();
    this.notices.clear();
    await this.showImage(gallery);
    if (gallery.current.frame || gallery.current.error) this.showResult(gallery);
  }

  /** Show the selected image. One of several that cannot be opened is marked; a single one rejects. */
  private async showImage(gallery: Gallery): Promise<void> {
    const image = gallery.current;
    try {
      await this.viewer.showImage(image.file, image.name);
    } catch (error) {
      if (gallery.images.length === 1) throw error;
      if (gallery.current === image) image.error = messageOf(error);
    }
    const isWaiting = gallery.current === image && !image.frame && image.error === null;
    if (isWaiting) this.viewer.showProgress('Analyzing the image');
  }

  /** Show the result of the selected image, or why it has none. */
  private showResult(gallery: Gallery): void {
    const { frame, name, error } = gallery.current;
    this.viewer.showProgress(null);
    if (frame) this.results.showImage(frame, name);
    else {
      this.results.clear();
      if (error !== null) this.notices.show(error);
    }
  }

  private async start(source: Source, show: () => Promise<void>, deviceId = ''): Promise<void> {
    this.discard();
    this.source = source;
    if (source.kind === 'image') this.list.open(source.gallery);
    this.onSourceChange(source.kind, deviceId);
    try {
      await show();
    } catch (error) {
      if (this.source !== source) return;
      this.stop();
      this.notices.showError(error);
      return;
    }
    if (this.source === source) await this.restart();
  }

  private handleDisconnect(stream: MediaStream): void {
    if (this.source?.kind !== 'camera' || this.source.stream !== stream) return;
    this.stop();
    this.notices.show('The camera was disconnected. Reconnect it and press Camera.');
  }

  /** Analyze the source from its start, after the running analysis has ended. */
  private async restart(): Promise<void> {
    this.controller.abort();
    this.controller = new AbortController();
    const { signal } = this.controller;
    this.lastRun = this.lastRun
      .then(() => this.analyze(signal))
      .catch((error: unknown) => this.handleError(error, signal));
    await this.lastRun;
  }

  private async analyze(signal: AbortSignal): Promise<void> {
    const source = this.source;
    if (signal.aborted || !source) return;
    const backend = await this.withRetries(() => this.openBackend(signal), signal);
    if (!backend) return;
    this.resultBackend = backend;
    this.results.start(backend, source.kind !== 'image');
    if (source.kind === 'image') await this.analyzeImages(source.gallery, signal);
    else await this.analyzeVideo(backend, signal);
  }

  /** Open the backend; rejects at once when aborted, so that a stalled download does not delay the next run. */
  private async openBackend(signal: AbortSignal): Promise<Backend> {
    const { mode } = this;
    const isDevice = mode === 'device';
    const text = isDevice ? 'Loading models' : 'Connecting to the server';
    const progress = (fraction: number) => {
      if (!signal.aborted) this.viewer.showProgress(text, fraction);
    };
    const open = async () => {
      const model = this.model ?? (await listModels()).default;
      return this.backend.open(mode, { model, actionUnits: this.actionUnits && !isDevice, progress, signal });
    };
    this.viewer.showProgress(text, isDevice ? 0 : null);
    try {
      return await unlessAborted(open(), signal);
    } finally {
      if (!signal.aborted) this.viewer.showProgress(null);
    }
  }

  /** Open the backend again after it has failed. */
  private async reopenBackend(signal: AbortSignal): Promise<Backend> {
    const backend = await this.openBackend(signal);
    this.resultBackend = backend;
    this.results.showRuntime(backend);
    return backend;
  }

  /** Analyze all images, the selected one first. */
  private async analyzeImages(gallery: Gallery, signal: AbortSignal): Promise<void> {
    gallery.reset();
    this.list.update();
    for (let image = gallery.next; image && !signal.aborted; image = gallery.next) {
      await this.analyzeImage(gallery, image, signal);
      if (signal.aborted) return;
      this.list.update();
      if (image === gallery.current) this.showResult(gallery);
    }
  }

  /** Analyze one image. When it is one of several, its failure is recorded instead of thrown. */
  private async analyzeImage(gallery: Gallery, image: GalleryImage, signal: AbortSignal): Promise<void> {
    try {
      image.frame = await this.withRetries(async () => {
        const backend = this.backend.current ?? (await this.reopenBackend(signal));
        if (image === gallery.current) this.viewer.showProgress('Analyzing the image');
        const { bitmap, size, scale } = await decodeImage(image.file).catch((cause: unknown) => {
          throw new Error(`${image.name} cannot be opened as an image by this browser.`, { cause });
        });
        const frame = await backend.analyzeImage(bitmap);
        return { ...frame, ...size, faces: frame.faces.map((face) => scaleFace(face, scale)) };
      }, signal);
    } catch (error) {
      if (gallery.images.length === 1 || error instanceof TokenError || signal.aborted) throw error;
      // The next image opens another backend.
      if (error instanceof WorkerError) this.backend.close();
      image.error = messageOf(error);
    }
  }

  private async analyzeVideo(backend: Backend, signal: AbortSignal): Promise<void> {
    // Playback starts only now, so that a short video is not over before the models are loaded.
    await this.viewer.play();
    const frames = new FrameSource(this.viewer.video, signal);
    let last_s = Infinity;
    while (!signal.aborted) {
      const frame = await this.withRetries(async () => {
        const next = await frames.next();
        if (!next) return null;
        // The first frame, or a seek backwards.
        if (next.time_s <= last_s) {
          await backend.reset();
          this.results.forgetFaces();
        }
        last_s = next.time_s;
        return backend.analyzeFrame(next.image, next.time_s);
      }, signal);
      if (frame && !signal.aborted) this.results.showFrame(frame);
    }
  }

  /** Run a task, repeated while the server is busy; null when aborted. */
  private async withRetries<T>(task: () => Promise<T>, signal: AbortSignal): Promise<T | null> {
    for (let retries = 0; !signal.aborted; retries++) {
      try {
        const result = await task();
        if (retries > 0) this.notices.clear();
        return signal.aborted ? null : result;
      } catch (error) {
        if (signal.aborted || !(error instanceof BusyError)) throw error;
        await this.waitForRetry(error, retries, signal);
      }
    }
    return null;
  }

  private async waitForRetry(error: BusyError, retries: number, signal: AbortSignal): Promise<void> {
    if (this.source?.kind !== 'image') this.results.interrupt();
    const default_s = RETRY_DELAYS_S[Math.min(retries, RETRY_DELAYS_S.length - 1)];
    const delay_s = Math.max(MIN_RETRY_DELAY_S, error.retryAfter_s ?? default_s);
    this.notices.show(`${error.message} Trying again in ${Math.ceil(delay_s)} s.`);
    await sleep(1000 * delay_s, signal);
  }

  private handleError(error: unknown, signal: AbortSignal): void {
    // The next run opens another backend.
    if (error instanceof WorkerError) this.backend.close();
    if (signal.aborted) return;
    this.controller.abort();
    this.backend.close();
    this.viewer.showProgress(null);
    if (this.source?.kind !== 'image') this.results.interrupt();
    this.notices.showError(error);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
