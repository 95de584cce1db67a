/** Switching the microphone on and off, with stubs for the sound. */

import { afterEach, expect, test, vi } from 'vitest';
import type { Announcer } from '../src/ui/announcer';
import { Listening } from '../src/ui/listening';
import { installDocument } from './dom';

const { openMicrophone, loadPart } = vi.hoisted(() => ({ openMicrophone: vi.fn(), loadPart: vi.fn() }));

vi.mock('../src/voice/microphone', () => ({ openMicrophone }));
vi.mock('../src/voice/client', () => ({ VoiceClient: class {} }));
vi.mock('../src/ui/parts', () => ({ loadPart }));
vi.mock('../src/ui/consent', () => ({ askConsent: async () => true }));
vi.mock('../src/ui/voicePanel', () => ({
  VoicePanel: class {
    open(): void {}
    close(): void {}
    showStatus(): void {}
  },
}));

afterEach(() => vi.unstubAllGlobals());

test('a microphone that is turned off while its code is loaded is not opened', async () => {
  installDocument();
  vi.stubGlobal('window', new EventTarget());
  let finishLoading: () => void = () => undefined;
  const loading = new Promise<void>((resolve) => {
    finishLoading = resolve;
  });
  loadPart.mockImplementation(async (part: Promise<unknown>) => {
    await loading;
    return part;
  });
  const announcer = { announce: vi.fn() } as unknown as Announcer;
  const listening = new Listening({ announcer, showNotice: vi.fn(), faceDuring: () => null });
  const start = listening.toggle();
  await vi.waitFor(() => expect(loadPart).toHaveBeenCalled());
  await listening.toggle();
  finishLoading();
  await start;
  expect(openMicrophone).not.toHaveBeenCalled();
});
