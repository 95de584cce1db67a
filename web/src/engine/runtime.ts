/** ONNX Runtime sessions on WebGPU or WebAssembly; the only module that imports ONNX Runtime. */

import gpuGlue from 'onnxruntime-web/ort-wasm-simd-threaded.jspi.mjs?url';
import gpuBinary from 'onnxruntime-web/ort-wasm-simd-threaded.jspi.wasm?gzip';
import wasmGlue from 'onnxruntime-web/ort-wasm-simd-threaded.mjs?url';
import wasmBinary from 'onnxruntime-web/ort-wasm-simd-threaded.wasm?gzip';
import type * as Ort from 'onnxruntime-web/wasm';
import { download, type Progress } from './download';
import { loadCached } from './fileCache';
import type { Input, Network } from './network';
import { threadCount } from './threads';

/** A build of ONNX Runtime: the URL of its script, and its WebAssembly file. */
interface Build {
  glue: string;
  binary: { url: string; size: number };
}

const GPU_BUILD: Build = { glue: gpuGlue, binary: gpuBinary };
const WASM_BUILD: Build = { glue: wasmGlue, binary: wasmBinary };

export interface Runtime {
  /** For display. */
  name: string;
  open(model: Uint8Array): Promise<Network>;
  /** Reference outputs from WebAssembly; null when `open` uses WebAssembly itself. */
  reference: ((model: Uint8Array, input: Input, dims: readonly number[]) => Promise<Float32Array[]>) | null;
}

/** Open the WebGPU runtime; rejects when the browser has no usable WebGPU. */
export async function openWebGpu(progress: Progress): Promise<Runtime> {
  // The smaller WebGPU build of ONNX Runtime needs JavaScript Promise Integration.
  const adapter = 'Suspending' in WebAssembly ? await navigator.gpu?.requestAdapter() : null;
  if (!adapter || adapter.info.isFallbackAdapter) throw new Error('WebGPU is not available');
  const ort = await import('onnxruntime-web/jspi');
  await initialize(ort, GPU_BUILD, 1, progress);
  return {
    name: 'WebGPU',
    open: async (model) => toNetwork(ort, await openSession(ort, model, 'webgpu')),
    async reference(model, input, dims) {
      // This build contains the WebAssembly provider too.
      const session = await openSession(ort, model, 'wasm');
      return toNetwork(ort, session)
        .run(input, dims)
        .finally(() => session.release());
    },
  };
}

export async function openWebAssembly(progress: Progress): Promise<Runtime> {
  const ort = await import('onnxruntime-web/wasm');
  const threads = globalThis.crossOriginIsolated ? threadCount(navigator.hardwareConcurrency) : 1;
  await initialize(ort, WASM_BUILD, threads, progress);
  return {
    name: `WebAssembly, ${threads} thread${threads === 1 ? '' : 's'}`,
    open: async (model) => toNetwork(ort, await openSession(ort, model, 'wasm')),
    reference: null,
  };
}

/**
 * Set the files of ONNX Runtime. It requests the binary itself, because browsers keep compiled code only for files that
 * they compile from a response. A first visit has downloaded the binary by then, to report the progress.
 */
async function initialize(ort: typeof Ort, build: Build, threads: number, progress: Progress): Promise<void> {
  const url = new URL(build.binary.url, import.meta.url);
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = { mjs: new URL(build.glue, import.meta.url).href, wasm: url.href };
  await loadCached(new URL('onnxruntime', url), url.pathname, progress, async () => {
    await download(url, progress, build.binary.size);
    return new Uint8Array();
  });
}

function openSession(ort: typeof Ort, model: Uint8Array, provider: string): Promise<Ort.InferenceSession> {
  return ort.InferenceSession.create(model, {
    executionProviders: [provider],
    logSeverityLevel: 3,
    // Threads that wait for work sleep: as fast, and the processor is free for the rest of the page.
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  });
}

function toNetwork(ort: typeof Ort, session: Ort.InferenceSession): Network {
  return {
    async run(input, dims, outputs = session.outputNames) {
      const isPixels = input instanceof Uint8Array;
      const tensor = isPixels ? new ort.Tensor('uint8', input, dims) : new ort.Tensor('float32', input, dims);
      const results = await session.run({ [session.inputNames[0]]: tensor }, [...outputs]);
      return outputs.map((name) => results[name].data as Float32Array);
    },
  };
}
