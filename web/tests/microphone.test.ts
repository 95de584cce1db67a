import { afterEach, expect, test, vi } from 'vitest';
import { openMicrophone } from '../src/voice/microphone';

vi.mock('../src/voice/capture.ts?worker&url', () => ({ default: '' }));

afterEach(() => vi.unstubAllGlobals());

test('the microphone is turned off where the browser cannot process sound', async () => {
  const track = { stop: vi.fn() };
  const getUserMedia = async () => ({ getTracks: () => [track] });
  vi.stubGlobal('window', { isSecureContext: true });
  vi.stubGlobal('navigator', { mediaDevices: { getUserMedia } });
  vi.stubGlobal(
    'AudioContext',
    class {
      constructor() {
        throw new DOMException('', 'NotSupportedError');
      }
    },
  );
  const opening = openMicrophone(vi.fn(), vi.fn());
  await expect(opening).rejects.toThrow('cannot read the sound');
  expect(track.stop).toHaveBeenCalled();
});
