/** The default runtime in browsers: ONNX Runtime in WebAssembly. */

import type { OpenRuntime } from './network.ts';
import { ortRuntime } from './ort.ts';

export const openWebAssembly: OpenRuntime = async (_, threads) =>
  ortRuntime(await import('onnxruntime-web/wasm'), { provider: 'wasm', threads: allowedThreads(threads) });

/** Return the number of threads that the browser allows: without cross-origin isolation one. */
export function allowedThreads(threads = 1): number {
  return globalThis.crossOriginIsolated ? threads : 1;
}
