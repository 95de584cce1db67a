/** How fast it goes: frames a second and time for one, over the last two seconds. */

const SPAN_MS = 2000;

export class Pace {
  private notes: { at_ms: number; latency_ms: number }[] = [];

  note(at_ms: number, latency_ms: number): void {
    this.notes.push({ at_ms, latency_ms });
    while (at_ms - this.notes[0].at_ms > SPAN_MS) this.notes.shift();
  }

  /** Frames a second; null before there are two. */
  get rate(): number | null {
    const [first, last] = [this.notes[0], this.notes.at(-1)];
    if (!first || !last || last.at_ms <= first.at_ms) return null;
    return ((this.notes.length - 1) * 1000) / (last.at_ms - first.at_ms);
  }

  /** The median; null before there is one. */
  get latency_ms(): number | null {
    const sorted = this.notes.map((note) => note.latency_ms).sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)] ?? null;
  }

  forget(): void {
    this.notes = [];
  }
}
