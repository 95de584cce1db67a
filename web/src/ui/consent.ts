/** Consent dialog shown before the camera starts, and before an open file is sent to the server. */

import { byId, setText } from './dom';
import type { SourceKind } from './sources';

const TEXTS = {
  camera: { title: 'Before the camera starts', yes: 'Start the camera' },
  image: { title: 'Before images are sent', yes: 'Send' },
  video: { title: 'Before the video is sent', yes: 'Send' },
};

/** Ask for consent; resolves to true when the user agrees. Escape declines. */
export function askConsent(kind: SourceKind, modeText: string): Promise<boolean> {
  const dialog = byId('consent', HTMLDialogElement);
  setText(byId('consent-title', HTMLElement), TEXTS[kind].title);
  setText(byId('consent-yes', HTMLElement), TEXTS[kind].yes);
  setText(byId('consent-mode', HTMLElement), modeText);
  for (const item of dialog.querySelectorAll<HTMLElement>('.camera-only')) item.hidden = kind !== 'camera';
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
    dialog.addEventListener('cancel', () => close(false), { signal });
    dialog.showModal();
  });
}
