/** The page's builds of ONNX Runtime, on WebGPU or WebAssembly, whose files are stored for the next visit. */

import { type OpenRuntime, ortRuntime, type Progress } from '@mien/browser/custom-worker';
import gpuGlue from 'onnxruntime-web/ort-wasm-simd-threaded.jspi.mjs?url';
import gpuBinary from 'onnxruntime-web/ort-wasm-simd-threaded.jspi.wasm?gzip';
import wasmGlue from 'onnxruntime-web/ort-wasm-simd-threaded.mjs?url';
import wasmBinary from 'onnxruntime-web/ort-wasm-simd-threaded.wasm?gzip';
import type * as Ort from 'onnxruntime-web/wasm';
import { download } from '../engine/download';
import { loadCached } from '../engine/fileCache';
import { threadCount } from './threads';

/** A build of ONNX Runtime: its name, the URL of its script, and its WebAssembly file. */
interface Build {
  name: string;
  glue: string;
  binary: { url: string; size: number };
}

const GPU_BUILD: Build = { name: 'webgpu', glue: gpuGlue, binary: gpuBinary };
const WASM_BUILD: Build = { name: 'wasm', glue: wasmGlue, binary: wasmBinary };

/** Open the WebGPU runtime; rejects when the browser has no usable WebGPU. */
export const openWebGpu: OpenRuntime = async (progress) => {
  // The smaller WebGPU build of ONNX Runtime needs JavaScript Promise Integration.
  const adapter = 'Suspending' in WebAssembly ? await navigator.gpu?.requestAdapter() : null;
  if (!adapter || adapter.info.isFallbackAdapter) throw new Error('WebGPU is not available');
  const ort = await import('onnxruntime-web/jspi');
  await initialize(ort, GPU_BUILD, 1, progress);
  return ortRuntime(ort, { provider: 'webgpu', name: 'WebGPU' });
};

export const openWebAssembly: OpenRuntime = async (progress, threads = threadCount()) => {
  const ort = await import('onnxruntime-web/wasm');
  await initialize(ort, WASM_BUILD, threads, progress);
  return ortRuntime(ort, { provider: 'wasm', threads });
};

/**
 * Set the files of ONNX Runtime. It requests the binary itself, because browsers keep compiled code only for files that
 * they compile from a response. A first visit has downloaded the binary by then, to report the progress.
 */
async function initialize(ort: typeof Ort, build: Build, threads: number, progress: Progress): Promise<void> {
  const url = new URL(build.binary.url, import.meta.url);
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = { mjs: new URL(build.glue, import.meta.url).href, wasm: url.href };
  await loadCached(new URL(`onnxruntime-${build.name}`, url), url.pathname, progress, async () => {
    await download(url, progress, { size: build.binary.size });
    return new Uint8Array();
  });
}
