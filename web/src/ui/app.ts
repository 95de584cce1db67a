/** Application state: source, mode, model, and the analysis loop. */

import type { Backend } from '../backend';
import { setToken } from '../server/endpoints';
import { BusyError } from '../server/errors';
import { ActiveBackend, type Mode } from './activeBackend';
import { describeCamera, openCamera, stopCamera } from './camera';
import { askConsent } from './consent';
import { decodeImage } from './files';
import { FrameSource } from './frameSource';
import { listModels } from './models';
import { Notices } from './notices';
import { Results } from './results';
import type { FileKind, Source, SourceKind } from './sources';
import { Viewer } from './viewer';

/** Delays between retries; the last one repeats. */
const RETRY_DELAYS_S = [1, 2, 4, 8, 15];
const MIN_RETRY_DELAY_S = 0.5;

export class App {
  readonly viewer = new Viewer();
  readonly results = new Results(this.viewer);
  private readonly notices = new Notices((token) => {
    setToken(token);
    void this.restart();
  });
  private readonly backend = new ActiveBackend();
  private readonly consents = new Set<Mode>();
  private source: Source | null = null;
  private controller = new AbortController();
  private lastRun: Promise<void> = Promise.resolve();
  private mode: Mode = 'device';
  /** Null selects the default model. */
  private model: string | null = null;

  /** @param onSourceChange called with the kind of the new source, or null, and the camera's device id. */
  constructor(private readonly onSourceChange: (kind: SourceKind | null, deviceId: string) => void) {}

  /** Analyze an image or play a video. */
  async openFile(kind: FileKind, file: File): Promise<void> {
    const name = file.name || `The ${kind}`;
    await this.start({ kind, file, name }, () =>
      kind === 'image' ? this.viewer.showImage(file, name) : this.viewer.showVideo(file, name),
    );
  }

  /** Start a camera after consent. */
  async openCamera(deviceId = ''): Promise<void> {
    if (!(await this.hasConsent())) return;
    this.stop();
    try {
      const stream = await openCamera(deviceId);
      if (!this.consents.has(this.mode)) {
        // The mode was changed while the camera opened.
        stopCamera(stream);
        await this.openCamera(deviceId);
        return;
      }
      const camera = describeCamera(stream);
      stream.getVideoTracks()[0].addEventListener('ended', () => this.handleDisconnect(stream));
      const show = () => this.viewer.showCamera(stream, camera.isUserFacing);
      await this.start({ kind: 'camera', stream }, show, camera.deviceId);
    } catch (error) {
      this.notices.showError(error);
    }
  }

  /** Stop the analysis, release the camera and discard all results. */
  stop(): void {
    this.controller.abort();
    if (this.source?.kind === 'camera') stopCamera(this.source.stream);
    this.source = null;
    this.viewer.clear();
    this.viewer.showProgress(null);
    this.results.clear();
    this.notices.clear();
    this.onSourceChange(null, '');
  }

  /** Switch between device and server. A running camera continues only with consent for the new mode. */
  async setMode(mode: Mode): Promise<void> {
    this.mode = mode;
    this.notices.clear();
    if (this.source?.kind === 'camera' && !this.consents.has(mode)) {
      const { deviceId } = describeCamera(this.source.stream);
      this.stop();
      await this.openCamera(deviceId);
    } else await this.restart();
  }

  async setModel(model: string): Promise<void> {
    this.model = model;
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
    if (!(await askConsent(text))) return false;
    this.consents.add(mode);
    return true;
  }

  private async start(source: Source, show: () => Promise<void>, deviceId = ''): Promise<void> {
    this.stop();
    this.source = source;
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
    const backend = await this.withRetries(() => this.openBackend(), signal);
    if (!backend) return;
    this.results.start(backend, source.kind !== 'image');
    if (source.kind === 'image') await this.analyzeImage(backend, source.file, source.name, signal);
    else await this.analyzeVideo(backend, signal);
  }

  private async openBackend(): Promise<Backend> {
    const isDevice = this.mode === 'device';
    const text = isDevice ? 'Loading models' : 'Connecting to the server';
    this.viewer.showProgress(text, isDevice ? 0 : null);
    try {
      const model = this.model ?? (await listModels()).default;
      return await this.backend.open(this.mode, model, (fraction) => this.viewer.showProgress(text, fraction));
    } finally {
      this.viewer.showProgress(null);
    }
  }

  private async analyzeImage(backend: Backend, file: Blob, name: string, signal: AbortSignal): Promise<void> {
    this.viewer.showProgress('Analyzing the image');
    try {
      const frame = await this.withRetries(async () => backend.analyzeImage(await decodeImage(file)), signal);
      if (frame) this.results.showImage(frame, name);
    } finally {
      if (!signal.aborted) this.viewer.showProgress(null);
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
        if (next.time_s <= last_s) await backend.reset();
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
    const default_s = RETRY_DELAYS_S[Math.min(retries, RETRY_DELAYS_S.length - 1)];
    const delay_s = Math.max(MIN_RETRY_DELAY_S, error.retryAfter_s ?? default_s);
    this.notices.show(`${error.message} Trying again in ${Math.ceil(delay_s)} s.`);
    await sleep(1000 * delay_s, signal);
  }

  private handleError(error: unknown, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.controller.abort();
    this.backend.close();
    this.viewer.showProgress(null);
    this.notices.showError(error);
  }
}

/** Wait for a time or until aborted. */
function sleep(time_ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, time_ms);
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
