import { afterEach, expect, test, vi } from 'vitest';
import { VoiceClient } from '../src/voice/client';
import type { VoiceRequest, VoiceResponse } from '../src/voice/messages';

/** Worker that answers when told. */
class StubWorker {
  static last: StubWorker;
  readonly requests: VoiceRequest[] = [];
  onmessage: (event: { data: VoiceResponse }) => void = () => undefined;
  isTerminated = false;

  constructor() {
    StubWorker.last = this;
  }

  postMessage(request: VoiceRequest): void {
    this.requests.push(request);
  }

  terminate(): void {
    this.isTerminated = true;
  }

  answer(count: number): void {
    const data: VoiceResponse = { type: 'update', segments: [], end_s: 0, speechStart_s: null };
    for (let index = 0; index < count; index++) this.onmessage({ data });
  }

  get blocks() {
    return this.requests.filter((request) => request.type === 'audio');
  }
}

function open() {
  vi.stubGlobal('Worker', StubWorker);
  vi.stubGlobal('document', { baseURI: 'http://localhost/page/' });
  const events = { onProgress: vi.fn(), onOpened: vi.fn(), onUpdate: vi.fn(), onOverload: vi.fn(), onError: vi.fn() };
  const client = new VoiceClient(48000, events);
  const push = (count: number) => {
    for (let index = 0; index < count; index++) client.push(new Float32Array(8));
  };
  return { client, events, push, worker: StubWorker.last };
}

afterEach(() => vi.unstubAllGlobals());

test('the worker loads the models beside the page', () => {
  const { worker, client } = open();
  expect(worker.requests).toEqual([{ type: 'open', models: 'http://localhost/page/models/', rate_hz: 48000 }]);
  client.close();
  expect(worker.isTerminated).toBe(true);
});

test('sound is left out until the models are opened, without a word about a slow device', () => {
  const { worker, events, push } = open();
  push(300);
  expect(worker.blocks).toEqual([]);
  worker.onmessage({ data: { type: 'opened' } });
  push(2);
  expect(worker.blocks.map(({ isAfterGap }) => isAfterGap)).toEqual([true, false]);
  expect(events.onOverload).not.toHaveBeenCalled();
});

test('a slow worker never has more than 240 blocks, and hears no spliced sound', () => {
  const { worker, events, push } = open();
  worker.onmessage({ data: { type: 'opened' } });
  push(300);
  expect(worker.blocks).toHaveLength(240);
  expect(events.onOverload).toHaveBeenCalled();
  worker.answer(239);
  push(5);
  expect(worker.blocks).toHaveLength(240);
  worker.answer(1);
  push(2);
  expect(worker.blocks.slice(-3).map(({ isAfterGap }) => isAfterGap)).toEqual([false, true, false]);
});

test('progress, results and errors are passed on', () => {
  const { worker, events } = open();
  worker.onmessage({ data: { type: 'progress', fraction: 0.5 } });
  worker.onmessage({ data: { type: 'opened' } });
  worker.answer(1);
  worker.onmessage({ data: { type: 'error', message: 'No model.' } });
  expect(events.onProgress.mock.calls).toEqual([[0.5]]);
  expect(events.onOpened).toHaveBeenCalledOnce();
  expect(events.onUpdate).toHaveBeenCalledOnce();
  expect(events.onError.mock.calls).toEqual([['No model.']]);
});
