/** Schedule of detection and inference over time; faces are tracked in between: port of `mien/video/schedule.py`. */

/** Minimum time between two detections: every third frame at 25 or 30 frames per second, every frame up to 11. */
const MIN_PERIOD_S = 0.09;
/** Pause after a detection of a live source, as a multiple of its duration. */
const PAUSE_FACTOR = 1.5;
/** Maximum pause after a detection of a live source, for slow devices. */
const MAX_PAUSE_S = 0.5;
/** Weight of the last duration in the moving average. */
const EMA_WEIGHT = 0.2;

export class DetectionSchedule {
  private duration_s = 0;
  private last_s = -Infinity;

  /** Time from the start of one detection to the next. */
  get period_s(): number {
    const pause_s = Math.min(MAX_PAUSE_S, PAUSE_FACTOR * this.duration_s);
    return Math.max(MIN_PERIOD_S, this.duration_s + pause_s);
  }

  /** Return whether the frame at this time is due for detection. */
  isDue(time_s: number): boolean {
    return time_s - this.last_s >= this.period_s;
  }

  /** Add a frame with detection. */
  add(time_s: number): void {
    this.last_s = time_s;
  }

  /** Add the duration of a detection, for a live source: later ones leave time for the frames in between. */
  slowDown(duration_s: number): void {
    this.duration_s =
      this.duration_s === 0 ? duration_s : this.duration_s + EMA_WEIGHT * (duration_s - this.duration_s);
  }

  /** Make the next frame due. */
  restart(): void {
    this.last_s = -Infinity;
  }
}
