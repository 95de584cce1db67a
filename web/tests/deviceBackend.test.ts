import { afterEach, expect, test, vi } from 'vitest';
import { openDeviceBackend } from '../src/device/backend';
import { decodeImage } from '../src/ui/files';

afterEach(() => vi.unstubAllGlobals());

test('the worker of a backend ends when its opening is aborted', async () => {
  const terminate = vi.fn();
  vi.stubGlobal('document', { baseURI: 'http://localhost/' });
  vi.stubGlobal(
    'Worker',
    class {
      terminate = terminate;
      postMessage(): void {}
    },
  );
  const controller = new AbortController();
  const opening = openDeviceBackend({ model: 'open', actionUnits: false, signal: controller.signal });
  expect(terminate).not.toHaveBeenCalled();
  controller.abort();
  expect(terminate).toHaveBeenCalled();
  await expect(opening).rejects.toBe(controller.signal.reason);
});

test('a large image is reduced, and keeps the size of its file', async () => {
  const close = vi.fn();
  const createImageBitmap = vi.fn();
  createImageBitmap.mockResolvedValueOnce({ width: 8192, height: 10, close }).mockResolvedValueOnce('reduced');
  vi.stubGlobal('createImageBitmap', createImageBitmap);
  expect(await decodeImage(new Blob())).toEqual({ bitmap: 'reduced', size: { width: 8192, height: 10 }, scale: 2 });
  expect(createImageBitmap.mock.lastCall?.[1]).toMatchObject({ resizeWidth: 4096, resizeHeight: 5 });
  expect(close).toHaveBeenCalled();
});
