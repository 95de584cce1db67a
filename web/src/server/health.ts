/** Availability of the server next to the page, and its models. */

import { authorization, endpoint } from './endpoints';
import { request } from './errors';

const TIMEOUT_S = 20;

/** An entry of `GET /v1/models`. */
export interface ServedModel {
  name: string;
  version: string;
  labels: string[];
  abstain_below: number;
}

/** Return why server mode is unavailable, or null when a server responds, even if it requires a token. */
export async function serverProblem(): Promise<string | null> {
  if (location.protocol !== 'http:' && location.protocol !== 'https:') {
    return 'Not available: this page was opened from a file.';
  }
  const problem = 'Not available: no server responds at this address. Start one with “mien serve”.';
  try {
    const response = await fetch(endpoint('readyz'), { cache: 'no-store', credentials: 'omit' });
    const isJson = response.headers.get('Content-Type')?.includes('json') ?? false;
    return isJson && (response.ok || response.status === 503) ? null : problem;
  } catch {
    return problem;
  }
}

/** List the models of the server. Rejects as `request` does. */
export async function listServedModels(signal: AbortSignal): Promise<ServedModel[]> {
  const options = { headers: authorization() };
  const limits = { signal, timeout_s: TIMEOUT_S };
  return (await request<{ models: ServedModel[] }>(endpoint('v1/models'), options, limits)).models;
}
