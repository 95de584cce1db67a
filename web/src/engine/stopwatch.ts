/** Processing time by stage. */

/** Milliseconds by stage; stages that did not run are missing. */
export type Timings = Record<string, number>;

export class Stopwatch {
  private timings: Timings = {};

  async time<T>(stage: string, work: () => T | Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await work();
    } finally {
      this.timings[stage] = (this.timings[stage] ?? 0) + performance.now() - start;
    }
  }

  /** Return the timings since the last call. */
  take(): Timings {
    const { timings } = this;
    this.timings = {};
    return timings;
  }
}
