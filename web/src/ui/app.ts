/** Application state: source, mode, model, and the analysis loop. */

import { type Backend, CodedError, unreadableImage } from '../backend';
import { WorkerError } from '../engine/workerError';
import type { FaceTurn } from '../fusion/turn';
import type { ErrorRecord } from '../generated/results';
import { scaleFrame } from '../scaling';
import { setToken } from '../server/endpoints';
import { TokenError } from '../server/errors';
import { unlessAborted } from '../waiting';
import { ActiveBackend, type Mode } from './activeBackend';
import { describeCamera, openCamera, stopCamera } from './camera';
import { askForCamera, askToSend } from './consent';
import type { Report } from './downloads';
import { decodeImage } from './files';
import { FrameSource } from './frameSource';
import { Gallery, type GalleryImage, GalleryList, isAnalyzed } from './gallery';
import { Notices } from './notices';
import { Results } from './results';
import { Retries } from './retries';
import { nameOf, type Source, type SourceKind } from './sources';
import { Viewer } from './viewer';

/** What the rest of the page does for the application. */
export interface AppHost {
  /** Called with the kind of the new source, or null, and the camera's device id. */
  onSourceChange(kind: SourceKind | null, deviceId: string): void;
  /** Return the selected model. Rejects with a message for the user. */
  loadModel(): Promise<string>;
}

export class App {
  readonly viewer = new Viewer((message) => this.notices.show(message));
  readonly results = new Results(this.viewer);
  private readonly notices = new Notices((token) => {
    setToken(token);
    void this.restart();
  });
  private readonly retries = new Retries(
    (message) => this.interrupt(message),
    () => this.notices.clear(),
  );
  private readonly backend = new ActiveBackend();
  private readonly list = new GalleryList((index) => void this.selectImage(index));
  private readonly consents = new Set<Mode>();
  private source: Source | null = null;
  /** Number of discarded sources. */
  private discards = 0;
  /** The backend of the results. */
  private resultBackend: Backend | null = null;
  private controller = new AbortController();
  /** The analysis has failed; its message stays visible. */
  private hasFailed = false;
  private lastRun: Promise<void> = Promise.resolve();
  private mode: Mode = 'device';
  private actionUnits = false;

  constructor(private readonly page: AppHost) {}

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
    const name = nameOf(source);
    const { frame } = viewer;
    const images = source.kind === 'image' ? source.gallery.images.filter(isAnalyzed) : [{ name, frame, error: null }];
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
    this.page.onSourceChange(null, '');
  }

  /** Discard the source and its results; the page's controls stay as they are. */
  private discard(): void {
    this.discards++;
    this.hasFailed = false;
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
    if (source && source.kind !== 'camera' && mode === 'server') {
      const isAllowed = await askToSend(source);
      // The consent is for this source only.
      if (!isAllowed || source !== this.source) return this.mode;
    }
    this.mode = mode;
    if (this.source?.kind === 'camera' && !this.consents.has(mode)) {
      const { deviceId } = describeCamera(this.source.stream);
      this.stop();
      void this.openCamera(deviceId);
    } else void this.restart();
    return mode;
  }

  /** Switch the action units on or off, which the server estimates. */
  async setActionUnits(isOn: boolean): Promise<void> {
    this.actionUnits = isOn;
    await this.restart();
  }

  /** Show a message, or that of an error. */
  showNotice(problem: unknown): void {
    this.notices.showError(problem);
  }

  private async hasConsent(): Promise<boolean> {
    const mode = this.mode;
    if (this.consents.has(mode)) return true;
    if (!(await askForCamera(mode))) return false;
    this.consents.add(mode);
    return true;
  }

  /** Show another image of the gallery. */
  private async selectImage(index: number): Promise<void> {
    const { source } = this;
    if (source?.kind !== 'image' || !source.gallery.select(index)) return;
    const { gallery } = source;
    this.list.update();
    if (!this.hasFailed) this.notices.clear();
    if (!isAnalyzed(gallery.current)) this.results.suspend('This image has not been analyzed.');
    await this.showImage(gallery);
    if (this.source === source && isAnalyzed(gallery.current)) this.showResult(gallery);
  }

  /** Show the selected image. One of several that cannot be opened is marked; a single one rejects. */
  private async showImage(gallery: Gallery): Promise<void> {
    const image = gallery.current;
    try {
      await this.viewer.showImage(image.file, image.name);
    } catch (error) {
      if (gallery.images.length === 1) throw error;
      if (gallery.current === image) image.error = toErrorRecord(error);
    }
    const isWaiting = gallery.current === image && !isAnalyzed(image) && !this.hasFailed;
    if (isWaiting) this.viewer.showProgress('Analyzing the image');
  }

  /** Show the result of the selected image, or why it has none. */
  private showResult(gallery: Gallery): void {
    const { frame, name, error } = gallery.current;
    this.viewer.showProgress(null);
    if (frame) this.results.showImage(frame, name);
    if (!error) return;
    this.results.suspend('This image could not be analyzed.');
    if (!this.hasFailed) this.notices.show(error.message);
  }

  private async start(source: Source, show: () => Promise<void>, deviceId = ''): Promise<void> {
    this.discard();
    this.source = source;
    if (source.kind === 'image') this.list.open(source.gallery);
    this.page.onSourceChange(source.kind, deviceId);
    try {
      await show();
    } catch (error) {
      if (this.source !== source) return;
      this.stop();
      this.notices.showError(error);
      return;
    }
    if (this.source === source) await this.run();
  }

  private handleDisconnect(stream: MediaStream): void {
    if (this.source?.kind !== 'camera' || this.source.stream !== stream) return;
    this.stop();
    this.notices.show('The camera was disconnected. Reconnect it and press Camera.');
  }

  /** Analyze the source again with other options; messages of the former analysis disappear. */
  async restart(): Promise<void> {
    this.notices.clear();
    await this.run();
  }

  /** Analyze the source from its start, after the running analysis has ended. */
  private async run(): Promise<void> {
    this.controller.abort();
    this.controller = new AbortController();
    this.hasFailed = false;
    const { signal } = this.controller;
    // A request to a server that hangs must not delay the next analysis.
    const closeServer = () => this.backend.current?.mode === 'server' && this.backend.close();
    signal.addEventListener('abort', closeServer);
    this.lastRun = this.lastRun
      .then(() => this.analyze(signal))
      .catch((error: unknown) => this.handleError(error, signal))
      .finally(() => signal.removeEventListener('abort', closeServer));
    await this.lastRun;
  }

  private async analyze(signal: AbortSignal): Promise<void> {
    const source = this.source;
    if (signal.aborted || !source) return;
    const backend = await this.retries.run(() => this.openBackend(signal), signal);
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
      const model = await this.page.loadModel();
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
      image.frame = await this.retries.run(async () => {
        const backend = this.backend.current ?? (await this.reopenBackend(signal));
        if (image === gallery.current) this.viewer.showProgress('Analyzing the image');
        const decoded = await decodeImage(image.file).catch((cause: unknown) => {
          throw unreadableImage(image.name, cause);
        });
        return scaleFrame(await backend.analyzeImage(decoded.bitmap), decoded);
      }, signal);
    } catch (error) {
      if (gallery.images.length === 1 || error instanceof TokenError || signal.aborted) throw error;
      // The next image opens another backend.
      if (error instanceof WorkerError) this.backend.close();
      image.error = toErrorRecord(error);
    }
  }

  private async analyzeVideo(backend: Backend, signal: AbortSignal): Promise<void> {
    // Playback starts only now, so that a short video is not over before the models are loaded.
    await this.viewer.play();
    const frames = new FrameSource(this.viewer.video, signal);
    let last_s = Infinity;
    while (!signal.aborted) {
      const frame = await this.retries.run(async () => {
        const next = await frames.next();
        if (!next) return null;
        // The first frame, or a seek backwards.
        if (next.time_s < last_s) {
          await backend.reset();
          this.results.forgetFaces();
        }
        last_s = next.time_s;
        return scaleFrame(await backend.analyzeFrame(next.bitmap, next.time_s), next);
      }, signal);
      if (frame && !signal.aborted) this.results.showFrame(frame);
    }
  }

  private handleError(error: unknown, signal: AbortSignal): void {
    // The next run opens another backend.
    if (error instanceof WorkerError) this.backend.close();
    if (signal.aborted) return;
    this.hasFailed = true;
    this.controller.abort();
    this.backend.close();
    this.viewer.showProgress(null);
    this.interrupt(error);
  }

  /** Show why the analysis stops, and remove the faces of a moving image, which are no longer current. */
  private interrupt(problem: unknown): void {
    if (this.source?.kind !== 'image') this.results.suspend('The analysis is interrupted.');
    this.notices.showError(problem);
  }
}

function toErrorRecord(error: unknown): ErrorRecord {
  if (error instanceof CodedError) return { code: error.code, message: error.message };
  return { code: 'error', message: error instanceof Error ? error.message : String(error) };
}
