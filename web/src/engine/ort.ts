/** Neural networks in ONNX Runtime, with any of its builds and execution providers. */

import type { Env, InferenceSession, Tensor } from 'onnxruntime-common';
import type { OpenedNetwork, Runtime } from './network.ts';

/** The parts of `onnxruntime-web`, `onnxruntime-node` and their builds that are used. */
export interface OrtModule {
  env: Env;
  InferenceSession: typeof InferenceSession;
  Tensor: typeof Tensor;
}

export interface OrtOptions {
  /** Execution provider: `wasm`, `webgpu`, `cpu`, ... */
  provider: string;
  /** For display, by default the provider and its threads. */
  name?: string;
  /** Number of threads, by default that of ONNX Runtime. */
  threads?: number | undefined;
}

/** Return a runtime that opens models in ONNX Runtime. */
export function ortRuntime(
  ort: OrtModule,
  { provider, threads, name = nameOf(provider, threads) }: OrtOptions,
): Runtime {
  const sessions: InferenceSession[] = [];
  if (threads) ort.env.wasm.numThreads = threads;
  return {
    name,
    async open(model) {
      const session = await openSession(ort, model, provider, threads);
      sessions.push(session);
      return toNetwork(ort, session);
    },
    // Builds with WebGPU contain the WebAssembly provider too.
    reference:
      provider !== 'webgpu'
        ? null
        : async (model, input, dims) => {
            const session = await openSession(ort, model, 'wasm', threads);
            return toNetwork(ort, session)
              .run(input, dims)
              .finally(() => session.release());
          },
    async close() {
      for (const session of sessions.splice(0)) await session.release();
    },
  };
}

function nameOf(provider: string, threads: number | undefined): string {
  const suffix = threads ? `, ${threads} thread${threads === 1 ? '' : 's'}` : '';
  return `${provider === 'wasm' ? 'WebAssembly' : `ONNX Runtime, ${provider}`}${suffix}`;
}

function openSession(
  ort: OrtModule,
  model: Uint8Array,
  provider: string,
  threads: number | undefined,
): Promise<InferenceSession> {
  return ort.InferenceSession.create(model, {
    executionProviders: [provider],
    logSeverityLevel: 3,
    ...(threads && { intraOpNumThreads: threads }),
    // Threads that wait for work sleep: as fast, and the processor is free for the rest of the page.
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  });
}

function toNetwork(ort: OrtModule, session: InferenceSession): OpenedNetwork {
  return {
    outputs: session.outputNames,
    async run(input, dims, outputs = session.outputNames, others = {}) {
      const isPixels = input instanceof Uint8Array;
      const tensor = isPixels ? new ort.Tensor('uint8', input, dims) : new ort.Tensor('float32', input, dims);
      const feeds = { [session.inputNames[0]]: tensor };
      for (const [name, { values, dims }] of Object.entries(others)) {
        feeds[name] = new ort.Tensor('float32', values, dims);
      }
      const results = await session.run(feeds, [...outputs]);
      return outputs.map((name) => results[name].data as Float32Array);
    },
  };
}
