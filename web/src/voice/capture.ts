/** Audio worklet that passes the sound of a microphone on in blocks. */

/** Samples of a block: 43 ms at 48 kHz. */
const BLOCK = 2048;

/** The part of `AudioWorkletGlobalScope` that is used here; TypeScript's DOM types do not have it. */
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;

class Capture extends AudioWorkletProcessor {
  private block = new Float32Array(BLOCK);
  private filled = 0;

  /** Called by the browser with 128 samples; the output stays silent. */
  process([[samples]]: Float32Array[][]): boolean {
    if (!samples) return true;
    this.block.set(samples, this.filled);
    this.filled += samples.length;
    if (this.filled === BLOCK) {
      this.port.postMessage(this.block, [this.block.buffer]);
      this.block = new Float32Array(BLOCK);
      this.filled = 0;
    }
    return true;
  }
}

registerProcessor('capture', Capture);
