/** Repetition of requests while the server is busy. */

import { BusyError } from '../server/errors';
import { sleep } from '../waiting';

/** Delays between retries; the last one repeats. */
const DELAYS_S = [1, 2, 4, 8, 15];
const MIN_DELAY_S = 0.5;

export class Retries {
  /**
   * @param onWait called before every wait with a message for the user.
   * @param onSuccess called when a retry has succeeded.
   */
  constructor(
    private readonly onWait: (message: string) => void,
    private readonly onSuccess: () => void,
  ) {}

  /** Run a task, repeated while the server is busy; null when aborted. */
  async run<T>(task: () => Promise<T>, signal: AbortSignal): Promise<T | null> {
    for (let retries = 0; !signal.aborted; retries++) {
      try {
        const result = await task();
        if (retries > 0) this.onSuccess();
        return signal.aborted ? null : result;
      } catch (error) {
        if (signal.aborted || !(error instanceof BusyError)) throw error;
        const default_s = DELAYS_S[Math.min(retries, DELAYS_S.length - 1)];
        const delay_s = Math.max(MIN_DELAY_S, error.retryAfter_s ?? default_s);
        this.onWait(`${error.message} Trying again in ${Math.ceil(delay_s)} s.`);
        await sleep(1000 * delay_s, signal);
      }
    }
    return null;
  }
}
