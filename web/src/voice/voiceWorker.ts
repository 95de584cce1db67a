/** Worker that analyzes audio off the main thread; see `messages.ts` for the protocol. */

import { toError } from '../engine/failure';
import { VoiceAnalyzer } from './analyzer';
import type { VoiceRequest, VoiceResponse } from './messages';
import { loadVoiceModels } from './models';

let createAnalyzer: () => VoiceAnalyzer;
let analyzer: VoiceAnalyzer;
let last: Promise<void> = Promise.resolve();

addEventListener('message', ({ data: request }: MessageEvent<VoiceRequest>) => {
  last = last
    .then(() => handle(request))
    .catch((error: unknown): VoiceResponse => ({ type: 'error', message: toError(error).message }))
    .then((response) => postMessage(response));
});

async function handle(request: VoiceRequest): Promise<VoiceResponse> {
  if (request.type === 'open') return open(request);
  if (request.isAfterGap) analyzer = createAnalyzer();
  return { type: 'update', ...(await analyzer.push(request.samples, request.end_s)) };
}

async function open({ models: folder, rate_hz }: VoiceRequest & { type: 'open' }): Promise<VoiceResponse> {
  const report = (fraction: number) => postMessage({ type: 'progress', fraction } satisfies VoiceResponse);
  const models = await loadVoiceModels(folder, report);
  createAnalyzer = () => new VoiceAnalyzer(models, rate_hz);
  analyzer = createAnalyzer();
  return { type: 'opened' };
}
