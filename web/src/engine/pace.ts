/**
 * How often faces are searched and read; in between they are followed.
 *
 * Python reads one frame of three. Here it goes by time, so that a slow device reads less often and keeps showing frames.
 */

/** From one reading to the next at least so long: every third frame of 25 or 30 a second. */
const LEAST_S = 0.09;
/** After a reading, faces are only followed for so many times as long as it took, ... */
const FOLLOWING = 1.5;
/** ... but no longer than this, however slow the device is. */
const MOST_FOLLOWING_S = 0.5;
/** How much the last reading counts in the mean time of one. */
const NEW_SHARE = 0.2;

export class Pace {
  private reading_s = 0;
  private last_s = -Infinity;

  /** From the beginning of one reading to that of the next. */
  get period_s(): number {
    const following_s = Math.min(MOST_FOLLOWING_S, FOLLOWING * this.reading_s);
    return Math.max(LEAST_S, this.reading_s + following_s);
  }

  /** Whether it is time to read again. */
  isDue(time_s: number): boolean {
    return time_s - this.last_s >= this.period_s;
  }

  /** A frame was read, which took so long. */
  note(time_s: number, took_s: number): void {
    this.last_s = time_s;
    this.reading_s = this.reading_s === 0 ? took_s : this.reading_s + NEW_SHARE * (took_s - this.reading_s);
  }

  /** The next frame is to be read. */
  restart(): void {
    this.last_s = -Infinity;
  }
}
