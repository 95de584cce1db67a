/** The frames of a playing video, one at a time, the newest first of all. */

export interface Grab {
  image: ImageBitmap;
  /** In the time of the video: it goes back when somebody seeks. */
  time_s: number;
}

/** Frames larger than this are shrunk before they are read. */
const MOST_SIDE = 1280;

/** Hands out the newest frame that was not yet taken, and waits for the next one otherwise. */
export class FrameSource {
  private fresh: number | null = null;
  private wake: () => void = () => undefined;
  private handle = 0;

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly signal: AbortSignal,
  ) {
    signal.addEventListener('abort', () => {
      video.cancelVideoFrameCallback(this.handle);
      this.wake();
    });
    if (video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) this.fresh = video.currentTime; // it may be paused
    this.watch();
  }

  /** The next frame; null when it was aborted. */
  async next(): Promise<Grab | null> {
    while (!this.signal.aborted) {
      if (this.fresh !== null) {
        const time_s = this.fresh;
        this.fresh = null;
        const image = await this.grab();
        if (image) return { image, time_s };
      }
      if (this.fresh === null) await new Promise<void>((resolve) => (this.wake = resolve));
    }
    return null;
  }

  private watch(): void {
    this.handle = this.video.requestVideoFrameCallback((_, frame) => {
      this.fresh = frame.mediaTime;
      this.wake();
      if (!this.signal.aborted) this.watch();
    });
  }

  /** The picture that the video shows; null while the browser has none at hand, as just before it plays. */
  private grab(): Promise<ImageBitmap | null> {
    return this.copy().catch((error: unknown) => {
      if (error instanceof DOMException && error.name === 'InvalidStateError') return null;
      throw error;
    });
  }

  private copy(): Promise<ImageBitmap> {
    const [wide, high] = [this.video.videoWidth, this.video.videoHeight];
    const scale = Math.min(1, MOST_SIDE / Math.max(wide, high));
    if (scale === 1) return createImageBitmap(this.video);
    const size = { resizeWidth: Math.round(wide * scale), resizeHeight: Math.round(high * scale) };
    return createImageBitmap(this.video, { ...size, resizeQuality: 'medium' });
  }
}
