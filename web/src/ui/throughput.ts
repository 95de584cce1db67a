/** Frame rate and latency over the last two seconds. */

const SPAN_MS = 2000;

export class Throughput {
  private frames: { time_ms: number; latency_ms: number }[] = [];

  add(time_ms: number, latency_ms: number): void {
    this.frames.push({ time_ms, latency_ms });
    while (time_ms - this.frames[0].time_ms > SPAN_MS) this.frames.shift();
  }

  /** Frames per second; null before the second frame. */
  get rate(): number | null {
    const first = this.frames[0];
    const last = this.frames.at(-1);
    if (!first || !last || last.time_ms <= first.time_ms) return null;
    return ((this.frames.length - 1) * 1000) / (last.time_ms - first.time_ms);
  }

  /** Median latency; null before the first frame. */
  get latency_ms(): number | null {
    const sorted = this.frames.map(({ latency_ms }) => latency_ms).sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)] ?? null;
  }

  clear(): void {
    this.frames = [];
  }
}
