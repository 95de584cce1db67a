/** The consent dialog. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { askConsent } from '../src/ui/consent';
import { installDocument, type StubElement } from './dom';

let element: (id: string) => StubElement;
const showModal = vi.fn();
const setOpen = (open: boolean) => Object.assign(element('consent'), { open });

beforeEach(() => {
  ({ element } = installDocument());
  showModal.mockReset().mockImplementation(() => setOpen(true));
  Object.assign(element('consent'), { querySelectorAll: () => [], showModal, close: () => setOpen(false) });
});

afterEach(() => vi.unstubAllGlobals());

test('an answer is for the question that is shown, and the next question follows', async () => {
  const answers: string[] = [];
  const camera = askConsent('camera', 'Camera?').then((agreed) => answers.push(`camera: ${agreed}`));
  const microphone = askConsent('microphone', 'Microphone?').then((agreed) => answers.push(`microphone: ${agreed}`));
  await vi.waitFor(() => expect(showModal).toHaveBeenCalledTimes(1));
  expect(element('consent-mode').textContent).toBe('Camera?');
  element('consent-yes').dispatchEvent(new Event('click'));
  await camera;
  await vi.waitFor(() => expect(showModal).toHaveBeenCalledTimes(2));
  expect(element('consent-mode').textContent).toBe('Microphone?');
  // Browsers report the end of the first question only now.
  element('consent').dispatchEvent(new Event('close'));
  expect(answers).toEqual(['camera: true']);
  element('consent-no').dispatchEvent(new Event('click'));
  await microphone;
  expect(answers).toEqual(['camera: true', 'microphone: false']);
});

test('a dialog that the browser closes declines', async () => {
  const answer = askConsent('camera', '');
  await vi.waitFor(() => expect(showModal).toHaveBeenCalled());
  setOpen(false);
  element('consent').dispatchEvent(new Event('close'));
  expect(await answer).toBe(false);
});
