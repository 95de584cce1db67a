/** The microphone: consent, start and stop, independent of the camera. */

import { type FaceTurn, fuseTurn } from '../fusion/turn';
import type { VoiceSegment, VoiceUpdate } from '../voice/analyzer';
import type { VoiceClient } from '../voice/client';
import type { Microphone } from '../voice/microphone';
import type { Announcer } from './announcer';
import { askConsent } from './consent';
import { byId } from './dom';
import { formatArousal, formatPercent } from './format';
import { loadPart } from './parts';
import { VoicePanel } from './voicePanel';

const CONSENT =
  'Sound stays on this device: it is analyzed in this browser and never sent, even when images go to the server.';
const DISCONNECTED = 'The microphone was disconnected. Reconnect it and press Microphone.';
const SEVERAL_FACES = 'Several faces are shown. The voice is not assigned to one of them.';

/** What the rest of the page does for the microphone. */
export interface ListeningHost {
  announcer: Announcer;
  showNotice(text: string): void;
  /** The face that the camera showed during a time; null without any, "several" where it cannot be known. */
  faceDuring(start_s: number, end_s: number): FaceTurn | 'several' | null;
}

export class Listening {
  private readonly button = byId('use-microphone', HTMLButtonElement);
  private readonly panel = new VoicePanel();
  private hasConsent = false;
  /** Aborted when the microphone is turned off; null while it is off. */
  private session: AbortController | null = null;

  constructor(private readonly page: ListeningHost) {
    this.button.addEventListener('click', () => void this.toggle());
    window.addEventListener('pagehide', () => this.stop());
  }

  /** Turn the microphone on after consent, or off. */
  async toggle(): Promise<void> {
    if (this.session) {
      this.stop();
      this.page.announcer.announce('The microphone is off.');
      return;
    }
    this.hasConsent ||= await askConsent('microphone', CONSENT);
    if (this.hasConsent) await this.start();
  }

  private async start(): Promise<void> {
    const session = new AbortController();
    this.session = session;
    this.button.setAttribute('aria-pressed', 'true');
    this.panel.open();
    this.panel.showStatus('starting');
    try {
      await this.listen(session.signal);
    } catch (error) {
      this.fail(session, error instanceof Error ? error.message : String(error));
    }
  }

  /** Open microphone and worker; both end with the signal. */
  private async listen(signal: AbortSignal): Promise<void> {
    const session = this.session;
    // The voice engine is loaded on first use.
    const [{ openMicrophone }, { VoiceClient }] = await loadPart(
      Promise.all([import('../voice/microphone'), import('../voice/client')]),
    );
    if (signal.aborted) return;
    let client: VoiceClient | null = null;
    const microphone: Microphone = await openMicrophone(
      (samples) => {
        if (signal.aborted) return;
        this.panel.addBlock(samples);
        client?.push(samples);
      },
      () => this.fail(session, DISCONNECTED),
    );
    if (signal.aborted) {
      microphone.close();
      return;
    }
    signal.addEventListener('abort', () => microphone.close());
    client = new VoiceClient(microphone.rate_hz, {
      onProgress: (fraction) => this.panel.showStatus(`loading ${formatPercent(fraction)}`),
      onOpened: () => this.panel.showStatus('listening'),
      onUpdate: (update) => this.show(update),
      onOverload: () => this.panel.showStatus('this device is too slow: sound is left out'),
      onError: (message) => this.fail(session, message),
    });
    signal.addEventListener('abort', () => client?.close());
  }

  private show(update: VoiceUpdate): void {
    this.panel.add(update);
    for (const segment of update.segments) {
      const { arousal, label } = segment;
      const sound = label === null ? 'class not sure' : `class ${label}, experimental`;
      this.page.announcer.announceVoice(`Voice: ${formatArousal(arousal)}; ${sound}.`, segment.end_s);
    }
    const last = update.segments.at(-1);
    if (last) this.showFusion(last);
  }

  private showFusion(segment: VoiceSegment): void {
    const face = this.page.faceDuring(segment.start_s, segment.end_s);
    if (face === null) this.panel.clearFusion();
    else this.panel.showFusion(face === 'several' ? SEVERAL_FACES : fuseTurn(face, segment));
  }

  /** Turn the microphone off, with a message for the user. */
  private fail(session: AbortController | null, message: string): void {
    if (!session || this.session !== session) return;
    this.stop();
    this.page.showNotice(message);
  }

  private stop(): void {
    this.session?.abort();
    this.session = null;
    this.button.setAttribute('aria-pressed', 'false');
    this.panel.close();
  }
}
