/** What is read, where, and with which model: the page's one state. */

import type { Reader } from '../reader';
import { BusyError } from '../server/refusals';
import { useToken } from '../server/address';
import { closeCamera, describeCamera, openCamera } from './camera';
import { askConsent } from './consent';
import { FrameSource } from './frames';
import { listModels } from './models';
import { Notices } from './notices';
import { openPicture } from './pictures';
import { Readers, type Where } from './readers';
import { Results } from './results';
import type { FileKind, Kind, Source } from './sources';
import { Stage } from './stage';

const RETRY_S = [1, 2, 4, 8, 15];
const LEAST_RETRY_S = 0.5;

export class App {
  readonly stage = new Stage();
  readonly results = new Results(this.stage);
  private readonly notices = new Notices((token) => {
    useToken(token);
    void this.read();
  });
  private readonly readers = new Readers();
  private readonly agreed = new Set<Where>();
  private source: Source | null = null;
  private reading = new AbortController();
  private turn: Promise<void> = Promise.resolve();
  private where: Where = 'device';
  /** null until somebody has said which: then it is the usual one. */
  private model: string | null = null;

  /** @param changed told whenever another source is read, or none. */
  constructor(private readonly changed: (kind: Kind | null, device: string) => void) {}

  /** Reads a picture or plays a video. */
  async useFile(kind: FileKind, file: File): Promise<void> {
    const name = file.name || `The ${kind}`;
    await this.begin({ kind, file, name }, () =>
      kind === 'picture' ? this.stage.showPicture(file, name) : this.stage.showVideo(file, name),
    );
  }

  /** Starts a camera, after its consent. */
  async useCamera(device = ''): Promise<void> {
    if (!(await this.hasConsent())) return;
    this.stop();
    try {
      const stream = await openCamera(device);
      if (!this.agreed.has(this.where)) {
        closeCamera(stream); // while it opened, another place was chosen
        await this.useCamera(device);
        return;
      }
      const { device: opened, faces_user } = describeCamera(stream);
      stream.getVideoTracks()[0].addEventListener('ended', () => this.lose(stream));
      await this.begin({ kind: 'camera', stream }, () => this.stage.showCamera(stream, faces_user), opened);
    } catch (error) {
      this.notices.problem(error);
    }
  }

  /** Ends what is read: the camera's light goes out, nothing is kept. */
  stop(): void {
    this.reading.abort();
    if (this.source?.kind === 'camera') closeCamera(this.source.stream);
    this.source = null;
    this.stage.clear();
    this.stage.wait(null);
    this.results.clear();
    this.notices.clear();
    this.changed(null, '');
  }

  /** Reads on this device or on the server from now on. A camera goes on only with consent to that. */
  async setWhere(where: Where): Promise<void> {
    this.where = where;
    this.notices.clear();
    if (this.source?.kind === 'camera' && !this.agreed.has(where)) {
      const { device } = describeCamera(this.source.stream);
      this.stop();
      await this.useCamera(device);
    } else await this.read();
  }

  async setModel(model: string): Promise<void> {
    this.model = model;
    await this.read();
  }

  tell(text: string): void {
    this.notices.tell(text);
  }

  private async hasConsent(): Promise<boolean> {
    if (this.agreed.has(this.where)) return true;
    const where = this.where;
    const sent = `Its pictures are sent to ${location.host}, which reads them and does not keep them.`;
    const kept = 'Its pictures stay on this device: they are read in this browser and sent nowhere.';
    if (!(await askConsent(where === 'server' ? sent : kept))) return false;
    this.agreed.add(where);
    return true;
  }

  private async begin(source: Source, show: () => Promise<void>, device = ''): Promise<void> {
    this.stop();
    this.source = source;
    this.changed(source.kind, device);
    try {
      await show();
    } catch (error) {
      if (this.source !== source) return;
      this.stop();
      this.notices.problem(error);
      return;
    }
    if (this.source === source) await this.read();
  }

  private lose(stream: MediaStream): void {
    if (this.source?.kind !== 'camera' || this.source.stream !== stream) return;
    this.stop();
    this.notices.tell('The camera was disconnected. Connect it and press Camera again.');
  }

  /** Reads the source from its beginning; what was being read before is ended first. */
  private async read(): Promise<void> {
    this.reading.abort();
    const { signal } = (this.reading = new AbortController());
    const before = this.turn;
    this.turn = before.then(() => this.readSource(signal)).catch((error: unknown) => this.failed(error, signal));
    await this.turn;
  }

  private async readSource(signal: AbortSignal): Promise<void> {
    const source = this.source;
    if (signal.aborted || !source) return;
    const reader = await this.patiently(() => this.openReader(), signal);
    if (!reader) return;
    this.results.begin(reader, source.kind !== 'picture');
    if (source.kind === 'picture') await this.readPicture(reader, source.file, source.name, signal);
    else await this.readFrames(reader, signal);
  }

  private async openReader(): Promise<Reader> {
    const text = this.where === 'device' ? 'Loading the models' : 'Asking the server';
    this.stage.wait(text, this.where === 'device' ? 0 : null);
    try {
      const model = this.model ?? (await listModels()).default;
      return await this.readers.open(this.where, model, (share) => this.stage.wait(text, share));
    } finally {
      this.stage.wait(null);
    }
  }

  private async readPicture(reader: Reader, file: Blob, name: string, signal: AbortSignal): Promise<void> {
    this.stage.wait('Reading the picture');
    try {
      const frame = await this.patiently(async () => reader.picture(await openPicture(file)), signal);
      if (frame) this.results.showPicture(frame, name);
    } finally {
      if (!signal.aborted) this.stage.wait(null);
    }
  }

  private async readFrames(reader: Reader, signal: AbortSignal): Promise<void> {
    await this.stage.begin(); // only now that somebody reads: a short video would be over
    const frames = new FrameSource(this.stage.video, signal);
    let last_s = Infinity;
    while (!signal.aborted) {
      const frame = await this.patiently(async () => {
        const grab = await frames.next();
        if (!grab) return null;
        if (grab.time_s <= last_s) await reader.reset(); // the first frame, or somebody went back
        last_s = grab.time_s;
        return reader.frame(grab.image, grab.time_s);
      }, signal);
      if (frame && !signal.aborted) this.results.showFrame(frame);
    }
  }

  /** Does something that may be refused for a while, again and again; null when it was aborted. */
  private async patiently<T>(task: () => Promise<T>, signal: AbortSignal): Promise<T | null> {
    for (let tries = 0; !signal.aborted; tries++) {
      try {
        const result = await task();
        if (tries > 0) this.notices.clear();
        return signal.aborted ? null : result;
      } catch (error) {
        if (signal.aborted || !(error instanceof BusyError)) throw error;
        const wait_s = Math.max(LEAST_RETRY_S, error.retry_s ?? RETRY_S[Math.min(tries, RETRY_S.length - 1)]);
        this.notices.tell(`${error.message} Trying again in ${Math.ceil(wait_s)} s.`);
        await pause(1000 * wait_s, signal);
      }
    }
    return null;
  }

  private failed(error: unknown, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.reading.abort();
    this.readers.close();
    this.stage.wait(null);
    this.notices.problem(error);
  }
}

/** Waits, or until it is aborted. */
function pause(time_ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, time_ms);
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
