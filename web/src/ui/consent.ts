/** Consent dialog shown before the camera starts. */

import { byId, setText } from './dom';

/** Ask for consent; resolves to true when the user agrees. Escape declines. */
export function askConsent(modeText: string): Promise<boolean> {
  const dialog = byId('consent', HTMLDialogElement);
  setText(byId('consent-mode', HTMLElement), modeText);
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
