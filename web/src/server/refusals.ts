/** How a server says no, as errors whose message tells what to do. */

/** Worth trying again after a while. */
export class BusyError extends Error {
  constructor(
    message: string,
    /** What the server asked for; null when it did not say. */
    readonly retry_s: number | null = null,
  ) {
    super(message);
  }
}

/** The server wants a token, or another one. */
export class TokenError extends Error {}

const LONGEST_WAIT_S = 60;

/** The error of an HTTP answer that is no success. */
export async function refusal(answer: Response): Promise<Error> {
  const message = await answer
    .json()
    .then((body: { error?: { message?: string } }) => body.error?.message)
    .catch(() => undefined);
  if (answer.status === 401) {
    return new TokenError('This server wants an access token. Ask whoever runs it, and enter the token below.');
  }
  const told = message ? `The server says: ${message}` : `The server answered ${answer.status}.`;
  return answer.status === 429 || answer.status === 503 ? new BusyError(told, retryAfter(answer)) : new Error(told);
}

/** The answer of the server, if it is a success. Rejects with its refusal, or with a `BusyError` when there is none. */
export async function request(url: URL, options: RequestInit): Promise<Response> {
  const answer = await fetch(url, { ...options, cache: 'no-store', credentials: 'omit' }).catch(() => {
    throw new BusyError('The server cannot be reached.');
  });
  if (!answer.ok) throw await refusal(answer);
  return answer;
}

function retryAfter(answer: Response): number | null {
  const seconds = Number(answer.headers.get('Retry-After') ?? NaN);
  return seconds >= 0 ? Math.min(seconds, LONGEST_WAIT_S) : null;
}
