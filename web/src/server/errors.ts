/** Requests to the server, and its error responses with messages for the user. */

import { CodedError } from '../backend';
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

export interface RequestLimits {
  /** Aborts the request. */
  signal: AbortSignal;
  /** Maximum time until the whole response has arrived. */
  timeout_s: number;
}

/**
 * Send a request and return the JSON of its response. Rejects with the error of the response, with a `BusyError` when
 * the server is unreachable or does not respond in time, and with the reason of the signal.
 */
export async function request<T>(url: URL, options: RequestInit, { signal, timeout_s }: RequestLimits): Promise<T> {
  signal.throwIfAborted();
  // Not `AbortSignal.any`, which older browsers lack.
  const controller = new AbortController();
  const abort = () => controller.abort(signal.reason);
  const expire = () => controller.abort(new BusyError('The server does not respond.'));
  signal.addEventListener('abort', abort);
  const timer = setTimeout(expire, 1000 * timeout_s);
  try {
    return await send<T>(url, options, controller.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
  }
}

async function send<T>(url: URL, options: RequestInit, signal: AbortSignal): Promise<T> {
  const toBusy = (): never => {
    signal.throwIfAborted();
    throw new BusyError('The server cannot be reached.');
  };
  const response = await fetch(url, { ...options, cache: 'no-store', credentials: 'omit', signal }).catch(toBusy);
  if (!response.ok) throw await toError(response);
  const text = await response.text().catch(toBusy);
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    throw new Error('Server error: the response is not JSON.', { cause });
  }
}

async function toError(response: Response): Promise<Error> {
  const detail = await response
    .json()
    .then((body: { error?: Partial<ErrorRecord> }) => body.error)
    .catch(() => undefined);
  if (response.status === 401) {
    const problem = hasToken() ? 'The server did not accept this token.' : 'This server requires an access token.';
    return new TokenError(`${problem} Ask its administrator for one and enter it below.`);
  }
  const message = `Server error: ${detail?.message ?? `HTTP status ${response.status}.`}`;
  const isBusy = response.status === 429 || response.status === 503;
  return isBusy ? new BusyError(message, retryAfter(response)) : new CodedError(message, detail?.code);
}

function retryAfter(response: Response): number | null {
  const seconds = Number(response.headers.get('Retry-After') ?? NaN);
  return seconds >= 0 ? Math.min(seconds, MAX_RETRY_AFTER_S) : null;
}
