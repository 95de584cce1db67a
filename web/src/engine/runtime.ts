/** Networks on ONNX Runtime: WebGPU where it works, else WebAssembly. The one place that knows it. */

import type * as Ort from 'onnxruntime-web/wasm';
import gpuGlue from 'onnxruntime-web/ort-wasm-simd-threaded.jspi.mjs?url';
import gpuBinary from 'onnxruntime-web/ort-wasm-simd-threaded.jspi.wasm?gzip';
import wasmGlue from 'onnxruntime-web/ort-wasm-simd-threaded.mjs?url';
import wasmBinary from 'onnxruntime-web/ort-wasm-simd-threaded.wasm?gzip';
import { download, unpack, type Progress } from './download';
import type { Network } from './network';

/** Threads that wait for each other spin: more of them than cores (half of what a browser counts) make it slower, not faster. */
const MOST_THREADS = 4;

export interface Runtime {
  /** For people. */
  backend: string;
  open(model: Uint8Array): Promise<Network>;
  /** What a network should give, from WebAssembly; null where `open` uses that itself. */
  expect: ((model: Uint8Array, input: Float32Array, dims: readonly number[]) => Promise<Float32Array[]>) | null;
}

/** Rejects where this browser has no WebGPU that we can use. */
export async function openWebGpu(progress: Progress): Promise<Runtime> {
  // the smaller of ONNX Runtime's two builds for WebGPU needs WebAssembly that can wait for promises
  const adapter = 'Suspending' in WebAssembly ? await navigator.gpu?.requestAdapter() : null;
  if (!adapter || adapter.info.isFallbackAdapter) throw new Error('no WebGPU');
  const ort = await import('onnxruntime-web/jspi');
  await start(ort, gpuGlue, gpuBinary, 1, progress);
  return {
    backend: 'WebGPU',
    open: async (model) => networkOf(ort, await open(ort, model, 'webgpu')),
    async expect(model, input, dims) {
      const session = await open(ort, model, 'wasm'); // this build has both
      return networkOf(ort, session).run(input, dims).finally(() => session.release());
    },
  };
}

export async function openWebAssembly(progress: Progress): Promise<Runtime> {
  const ort = await import('onnxruntime-web/wasm');
  const threads = globalThis.crossOriginIsolated ? Math.min(MOST_THREADS, Math.ceil(navigator.hardwareConcurrency / 2)) : 1;
  await start(ort, wasmGlue, wasmBinary, threads, progress);
  return {
    backend: `WebAssembly, ${threads} thread${threads === 1 ? '' : 's'}`,
    open: async (model) => networkOf(ort, await open(ort, model, 'wasm')),
    expect: null,
  };
}

async function start(ort: typeof Ort, glue: string, binary: string, threads: number, progress: Progress): Promise<void> {
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = { mjs: new URL(glue, import.meta.url).href };
  ort.env.wasm.wasmBinary = await unpack(await download(new URL(binary, import.meta.url), progress));
}

function open(ort: typeof Ort, model: Uint8Array, provider: string): Promise<Ort.InferenceSession> {
  return ort.InferenceSession.create(model, { executionProviders: [provider], logSeverityLevel: 3 });
}

function networkOf(ort: typeof Ort, session: Ort.InferenceSession): Network {
  return {
    async run(input, dims, outputs = session.outputNames) {
      const found = await session.run({ [session.inputNames[0]]: new ort.Tensor('float32', input, dims) }, [...outputs]);
      return outputs.map((name) => found[name].data as Float32Array);
    },
  };
}
