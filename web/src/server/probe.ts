/** Whether a server stands beside the page, and what it offers. */

import { authorization, endpoint } from './address';
import { request } from './refusals';

/** A model as `GET /v1/models` tells it. */
export interface ServedModel {
  name: string;
  version: string;
  labels: string[];
}

/** Why no server can be used here, or null when one answers, even if it wants a token first. */
export async function serverProblem(): Promise<string | null> {
  if (location.protocol !== 'http:' && location.protocol !== 'https:') return 'Not offered: this page is a file.';
  const absent = 'Not offered: no server answers beside this page. “mien serve” has one.';
  try {
    const answer = await fetch(endpoint('readyz'), { cache: 'no-store', credentials: 'omit' });
    const is_ours = answer.headers.get('Content-Type')?.includes('json') ?? false;
    return is_ours && (answer.ok || answer.status === 503) ? null : absent;
  } catch {
    return absent;
  }
}

/** The served models. Rejects with a `BusyError`, a `TokenError` or a message for people. */
export async function servedModels(): Promise<ServedModel[]> {
  const answer = await request(endpoint('v1/models'), { headers: authorization() });
  const body = (await answer.json()) as { models: ServedModel[] };
  return body.models;
}
