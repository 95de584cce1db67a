/** Error responses of the server, with messages for the user. */

import type { ErrorRecord } from '../generated/results';
import { hasToken } from './endpoints';

/** The request may be retried later. */
export class BusyError extends Error {
  constructor(
    message: string,
    /** From the `Retry-After` header; null without one. */
    readonly retryAfter_s: number | null = null,
  ) {
    super(message);
  }
}

/** The server requires a token, or another one. */
export class TokenError extends Error {}

const MAX_RETRY_AFTER_S = 60;

/** Send a request. Rejects with the error of the response, or with a `BusyError` when the server is unreachable. */
export async function request(url: URL, options: RequestInit): Promise<Response> {
  const response = await fetch(url, { ...options, cache: 'no-store', credentials: 'omit' }).catch(() => {
    throw new BusyError('The server cannot be reached.');
  });
  if (!response.ok) throw await toError(response);
  return response;
}

async function toError(response: Response): Promise<Error> {
  const detail = await response
    .json()
    .then((body: { error?: Partial<ErrorRecord> }) => body.error?.message)
    .catch(() => undefined);
  if (response.status === 401) {
    const problem = hasToken() ? 'The server did not accept this token.' : 'This server requires an access token.';
    return new TokenError(`${problem} Ask its administrator for one and enter it below.`);
  }
  const message = detail ? `Server error: ${detail}` : `Server error: HTTP status ${response.status}.`;
  const isBusy = response.status === 429 || response.status === 503;
  return isBusy ? new BusyError(message, retryAfter(response)) : new Error(message);
}

function retryAfter(response: Response): number | null {
  const seconds = Number(response.headers.get('Retry-After') ?? NaN);
  return seconds >= 0 ? Math.min(seconds, MAX_RETRY_AFTER_S) : null;
}
