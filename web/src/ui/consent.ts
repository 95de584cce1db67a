/** The step before the camera: what happens, where, and who must know. */

import { element, write } from './elements';

/** Asks once in a dialog; true when the person agrees. Escape means no. */
export function askConsent(where: string): Promise<boolean> {
  const dialog = element('consent', HTMLDialogElement);
  write(element('consent-where', HTMLElement), where);
  return new Promise((resolve) => {
    const answer = (agreed: boolean) => {
      listeners.abort();
      dialog.close();
      resolve(agreed);
    };
    const listeners = new AbortController();
    const { signal } = listeners;
    element('consent-yes', HTMLElement).addEventListener('click', () => answer(true), { signal });
    element('consent-no', HTMLElement).addEventListener('click', () => answer(false), { signal });
    dialog.addEventListener('cancel', () => answer(false), { signal });
    dialog.showModal();
  });
}
