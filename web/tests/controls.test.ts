/** Controls of the page: sources, the model menu, and parts that are loaded on first use. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { App } from '../src/ui/app';
import { connectSources } from '../src/ui/controls';
import { watchFiles } from '../src/ui/files';
import { ModelMenu } from '../src/ui/modelMenu';
import type { ModelCard } from '../src/ui/models';
import { loadPart } from '../src/ui/parts';
import { installDocument, type StubElement } from './dom';

const CARD: ModelCard = {
  version: '1',
  labels: ['neutral'],
  license: 'MIT',
  trained_on: [],
  metrics: {},
  abstain_below: 0.5,
};
const VIDEOS = ['a', 'b'].map((name) => new File([], name, { type: 'video/mp4' }));

let element: (id: string) => StubElement;

beforeEach(() => {
  ({ element } = installDocument());
  vi.stubGlobal('document', Object.assign(new EventTarget(), { ...document }));
  vi.stubGlobal('window', new EventTarget());
});

afterEach(() => vi.unstubAllGlobals());

/** Drop or paste files. */
function send(type: 'drop' | 'paste', files: File[]): void {
  const data = { types: ['Files'], files };
  document.dispatchEvent(Object.assign(new Event(type), { dataTransfer: data, clipboardData: data }));
}

test('files that are left out are named at once, while the video plays', () => {
  const calls: string[] = [];
  const app = {
    openVideo: () => {
      calls.push('open');
      return new Promise(() => undefined);
    },
    showNotice: (text: string) => calls.push(text),
  };
  connectSources(app as unknown as App);
  send('drop', VIDEOS);
  expect(calls).toEqual(['open', expect.stringContaining('One video is analyzed at a time')]);
});

test.each(['drop', 'paste'] as const)('a %s opens nothing while a dialog asks for consent', (type) => {
  const open = vi.fn();
  watchFiles(element('viewer') as unknown as HTMLElement, open);
  element('consent').open = true;
  send(type, VIDEOS);
  expect(open).not.toHaveBeenCalled();
  element('consent').open = false;
  send(type, VIDEOS);
  expect(open).toHaveBeenCalledWith(VIDEOS);
});

/** Serve the index and the cards of the models; a card in `late` is answered when its promise is. */
function serveModels(models: readonly string[], late: Record<string, Promise<void>> = {}): void {
  vi.stubGlobal('fetch', async (url: URL) => {
    const name = url.pathname.split('/').at(-1)?.replace('.json', '') ?? '';
    await late[name];
    return Response.json(name === 'index' ? { default: models[0], models } : CARD);
  });
}

function openMenu() {
  const onError = vi.fn();
  const menu = new ModelMenu(() => undefined, onError);
  const select = element('model');
  // The parts of a menu that the stub lacks.
  select.replaceChildren = (...options: StubElement[]) => Object.assign(select, { options, value: 'open' });
  return { menu, onError, select };
}

test('the model menu is filled after a failure', async () => {
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('network')));
  const { menu, select } = openMenu();
  await expect(menu.load()).rejects.toThrow('index.json could not be loaded: the server cannot be reached.');
  serveModels(['open', 'mobile']);
  expect(await menu.load()).toBe('open');
  expect(select.options).toHaveLength(2);
  await vi.waitFor(() => expect(element('model-card').children).not.toHaveLength(0));
  select.value = 'mobile';
  expect(await menu.load()).toBe('mobile');
});

test('the card of a model that arrives late does not replace that of the selected one', async () => {
  let release: () => void = () => undefined;
  const late = new Promise<void>((resolve) => {
    release = resolve;
  });
  serveModels(['open', 'mobile'], { open: late });
  const { menu, select } = openMenu();
  const card = element('model-card');
  card.replaceChildren = vi.fn();
  await menu.load();
  select.value = 'mobile';
  select.dispatchEvent(new Event('change'));
  await vi.waitFor(() => expect(card.replaceChildren).toHaveBeenCalledOnce());
  release();
  await vi.waitFor(() => expect((select.options as StubElement[])[1].text).toBe('mobile'));
  expect(card.replaceChildren).toHaveBeenCalledOnce();
});

test('a part of the page that cannot be loaded has a message with a remedy', async () => {
  const failed = Promise.reject(new TypeError('Failed to fetch dynamically imported module'));
  await expect(loadPart(failed)).rejects.toThrow('A part of this page could not be loaded. Reload the page.');
});
