/** Latest frames of a playing video. */

import { type DecodedImage, reduceSize } from '../scaling';

export interface VideoFrame extends DecodedImage {
  /** Media time; decreases when the user seeks backwards. */
  time_s: number;
}

/** Maximum long side of an analyzed frame; larger frames are reduced. */
const MAX_FRAME_SIZE = 1280;

/** Returns the newest frame that was not returned yet, or waits for the next one. */
export class FrameSource {
  private newest_s: number | null = null;
  private wake: () => void = () => undefined;
  private handle = 0;

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly signal: AbortSignal,
  ) {
    const hasCallbacks: boolean = 'requestVideoFrameCallback' in video;
    signal.addEventListener('abort', () => {
      if (hasCallbacks) video.cancelVideoFrameCallback(this.handle);
      else cancelAnimationFrame(this.handle);
      this.wake();
    });
    // A paused video shows a frame without a callback.
    if (video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) this.newest_s = video.currentTime;
    if (hasCallbacks) this.watch();
    else this.poll(video.currentTime);
  }

  /** Return the next frame; null when aborted. */
  async next(): Promise<VideoFrame | null> {
    while (!this.signal.aborted) {
      if (this.newest_s !== null) {
        const time_s = this.newest_s;
        this.newest_s = null;
        const image = await this.grab();
        if (image) return { ...image, time_s };
      }
      if (this.newest_s === null && !this.signal.aborted) {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
    }
    return null;
  }

  private watch(): void {
    this.handle = this.video.requestVideoFrameCallback((_, frame) => {
      this.newest_s = frame.mediaTime;
      this.wake();
      if (!this.signal.aborted) this.watch();
    });
  }

  /** `watch` for Firefox before 132: a frame is new where the time has changed. */
  private poll(last_s: number): void {
    this.handle = requestAnimationFrame(() => {
      const { currentTime, seeking } = this.video;
      const isNew = currentTime !== last_s && !seeking;
      if (isNew) {
        this.newest_s = currentTime;
        this.wake();
      }
      if (!this.signal.aborted) this.poll(isNew ? currentTime : last_s);
    });
  }

  /** Copy the current frame; null when the browser has none yet, as right before playback. */
  private async grab(): Promise<DecodedImage | null> {
    const size = { width: this.video.videoWidth, height: this.video.videoHeight };
    const { width, height, scale } = reduceSize(size, MAX_FRAME_SIZE);
    const options: ImageBitmapOptions | undefined =
      scale === 1 ? undefined : { resizeWidth: width, resizeHeight: height, resizeQuality: 'medium' };
    try {
      return { bitmap: await createImageBitmap(this.video, options), size, scale };
    } catch (error) {
      if (error instanceof DOMException && error.name === 'InvalidStateError') return null;
      throw error;
    }
  }
}
