/** The default runtime in browsers: ONNX Runtime in WebAssembly. */

import type { OpenRuntime } from './network.ts';
import { ortRuntime } from './ort.ts';
import { threadCount } from './threads.ts';

export const openWebAssembly: OpenRuntime = async (_, threads = threadCount()) =>
  ortRuntime(await import('onnxruntime-web/wasm'), { provider: 'wasm', threads });
