/** Consent dialog shown before camera or microphone start, and before an open file is sent to the server. */

import { Queue } from '../engine/queue';
import type { Mode } from './activeBackend';
import { byId, setText } from './dom';
import { nameOf, type Source, type SourceKind } from './sources';

const TEXTS = {
  camera: { title: 'Before the camera starts', yes: 'Start the camera' },
  microphone: { title: 'Before the microphone starts', yes: 'Start microphone' },
  image: { title: 'Before images are sent', yes: 'Send' },
  video: { title: 'Before the video is sent', yes: 'Send' },
};

/** Ask before a camera starts. */
export function askForCamera(mode: Mode): Promise<boolean> {
  const text =
    mode === 'server'
      ? `Camera images are sent to ${location.host}, which analyzes them and does not store them.`
      : 'Camera images stay on this device: they are analyzed in this browser and are not sent anywhere.';
  return askConsent('camera', text);
}

/** Ask before an open file is sent to the server. */
export function askToSend(source: Exclude<Source, { kind: 'camera' }>): Promise<boolean> {
  const count = source.kind === 'image' ? source.gallery.images.length : 1;
  const subject = count === 1 ? nameOf(source) : `The ${count} open images`;
  const text = `${subject} will be sent to ${location.host}, which analyzes the faces and stores nothing.`;
  return askConsent(source.kind, text);
}

/** One question at a time, as all have the same dialog. */
const questions = new Queue();

/** Ask for consent, after an open question; resolves to true when the user agrees. Escape declines. */
export function askConsent(kind: SourceKind | 'microphone', modeText: string): Promise<boolean> {
  return questions.run(() => showQuestion(kind, modeText));
}

function showQuestion(kind: SourceKind | 'microphone', modeText: string): Promise<boolean> {
  const dialog = byId('consent', HTMLDialogElement);
  setText(byId('consent-title', HTMLElement), TEXTS[kind].title);
  setText(byId('consent-yes', HTMLElement), TEXTS[kind].yes);
  setText(byId('consent-mode', HTMLElement), modeText);
  const isShown = {
    '.camera-only': kind === 'camera',
    '.face-only': kind !== 'microphone',
    '.voice-only': kind === 'microphone',
  };
  for (const [items, shown] of Object.entries(isShown)) {
    for (const item of dialog.querySelectorAll<HTMLElement>(items)) item.hidden = !shown;
  }
  return new Promise((resolve) => {
    const close = (agreed: boolean) => {
      listeners.abort();
      dialog.close();
      resolve(agreed);
    };
    const listeners = new AbortController();
    const { signal } = listeners;
    byId('consent-yes', HTMLElement).addEventListener('click', () => close(true), { signal });
    byId('consent-no', HTMLElement).addEventListener('click', () => close(false), { signal });
    // Browsers may close a dialog without the event `cancel`; the event of the last question comes late.
    dialog.addEventListener('close', () => dialog.open || close(false), { signal });
    dialog.showModal();
  });
}
