/** Waiting that ends when it is aborted. */

/** Settle as a promise does, or reject at once when aborted. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    promise.then(resolve, reject);
  });
}

/** Wait for a time or until aborted. */
export function sleep(time_ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, time_ms);
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
