/** Worker that analyzes audio off the main thread; see `messages.ts` for the protocol. */

import { VoiceAnalyzer } from './analyzer';
import type { VoiceRequest, VoiceResponse } from './messages';
import { loadVoiceModels } from './models';

let analyzer: VoiceAnalyzer;
let last: Promise<void> = Promise.resolve();

addEventListener('message', ({ data: request }: MessageEvent<VoiceRequest>) => {
  last = last
    .then(() => handle(request))
    .catch((error: Error): VoiceResponse => ({ type: 'error', message: error.message }))
    .then((response) => postMessage(response));
});

async function handle(request: VoiceRequest): Promise<VoiceResponse> {
  if (request.type === 'open') return open(request);
  return { type: 'heard', ...(await analyzer.push(request.samples, request.end_s)) };
}

async function open({ models: folder, rate_hz }: VoiceRequest & { type: 'open' }): Promise<VoiceResponse> {
  const report = (fraction: number) => postMessage({ type: 'progress', fraction } satisfies VoiceResponse);
  analyzer = new VoiceAnalyzer(await loadVoiceModels(folder, report), rate_hz);
  return { type: 'opened' };
}
