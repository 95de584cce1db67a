/** Where the time of one answer goes, in milliseconds by part; parts that were not needed are missing. */
export type PartsMs = Record<string, number>;

export class Stopwatch {
  private parts: PartsMs = {};

  async time<T>(part: string, work: () => T | Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await work();
    } finally {
      this.parts[part] = (this.parts[part] ?? 0) + performance.now() - start;
    }
  }

  /** All since it was last asked. */
  take(): PartsMs {
    const { parts } = this;
    this.parts = {};
    return parts;
  }
}
