/** Client of the voice worker; no sound leaves this device. */

import type { VoiceUpdate } from './analyzer';
import type { VoiceRequest, VoiceResponse } from './messages';

/** Maximum number of unanswered blocks, about 10 s. A device that is too slow drops further ones until all are answered. */
const MAX_PENDING = 240;

export interface VoiceEvents {
  /** Loaded fraction of the models, 0..1. */
  onProgress(fraction: number): void;
  onOpened(): void;
  onUpdate(update: VoiceUpdate): void;
  /** Called when sound is left out, because the device is too slow. */
  onOverload(): void;
  /** Called with a message for the user; the client is then of no use. */
  onError(message: string): void;
}

export class VoiceClient {
  private readonly worker = new Worker(new URL('./voiceWorker.ts', import.meta.url), {
    type: 'module',
    name: 'mien-voice',
  });
  private pending = 0;
  private isOpen = false;
  /** Sound was left out since the last block, at first before the models were opened. */
  private isAfterGap = true;

  /** Start the worker, which loads the models from models/ next to the page. */
  constructor(
    rate_hz: number,
    private readonly events: VoiceEvents,
  ) {
    this.worker.onmessage = ({ data }: MessageEvent<VoiceResponse>) => this.handle(data);
    this.worker.onerror = ({ message }) => events.onError(message || 'The voice worker could not be started.');
    const models = new URL('models/', document.baseURI).href;
    this.worker.postMessage({ type: 'open', models, rate_hz } satisfies VoiceRequest);
  }

  /** Analyze consecutive mono samples, recorded until now; before the models are opened they are left out. */
  push(samples: Float32Array<ArrayBuffer>): void {
    if (!this.isOpen) return;
    if (this.pending >= MAX_PENDING) {
      this.isAfterGap = true;
      this.events.onOverload();
    }
    if (this.isAfterGap && this.pending > 0) return;
    const end_s = performance.now() / 1000;
    const request: VoiceRequest = { type: 'audio', samples, end_s, isAfterGap: this.isAfterGap };
    this.isAfterGap = false;
    this.pending++;
    this.worker.postMessage(request, [samples.buffer]);
  }

  close(): void {
    this.worker.terminate();
  }

  private handle(response: VoiceResponse): void {
    if (response.type === 'progress') this.events.onProgress(response.fraction);
    else if (response.type === 'error') this.events.onError(response.message);
    else if (response.type === 'opened') {
      this.isOpen = true;
      this.events.onOpened();
    } else {
      this.pending--;
      this.events.onUpdate(response);
    }
  }
}
