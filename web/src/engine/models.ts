/** The models that the page reads faces with, loaded from beside it. */

import type { Models } from './analyzer';
import { TEMPLATES } from './alignment';
import { check, download, downloadJson, Progress } from './download';
import type { ExpressionManifest } from './expression';
import type { Network } from './network';
import type { FaceGeometry } from './pose';
import { openWebAssembly, openWebGpu, type Runtime } from './runtime';
import { agree, trialInput } from './trial';

interface Manifest extends ExpressionManifest {
  task: string;
  sha256: string;
}

interface Loaded {
  manifest: Manifest;
  bytes: Uint8Array;
}

/** Of the time until faces are read so much is loading; the rest is getting the networks ready. */
const LOADING = 0.9;

/** Loads what is needed from the folder at an address; rejects with a message for people. */
export async function loadModels(
  folder: string,
  model: string,
  tell: (share: number) => void,
): Promise<{ models: Models; backend: string }> {
  const progress = new Progress((share) => tell(LOADING * share));
  const files = Promise.all([
    load(folder, 'face-detector', 'face-detection', progress),
    load(folder, 'face-landmarks', 'face-landmarks', progress),
    load(folder, model, 'expression', progress),
    downloadJson<FaceGeometry>(new URL('face-geometry.json', folder)),
  ]);
  const [runtime] = await Promise.all([openWebGpu(progress).catch(() => openWebAssembly(progress)), files]);
  const loaded = await files;
  const opened = await ready(runtime, loaded).catch(async (error: unknown) => {
    if (runtime.backend !== 'WebGPU') throw error;
    return ready(await openWebAssembly(progress), loaded);
  });
  tell(1);
  return opened;
}

async function load(folder: string, name: string, task: string, progress: Progress): Promise<Loaded> {
  const address = new URL(`${name}.onnx`, folder);
  const [manifest, bytes] = await Promise.all([
    downloadJson<Manifest>(new URL(`${name}.json`, folder)),
    download(address, progress),
  ]);
  if (manifest.task !== task) throw new Error(`${name} is a model for ${manifest.task}, not for ${task}.`);
  if (manifest.alignment && !(manifest.alignment.template in TEMPLATES)) {
    throw new Error(`${name} wants faces aligned in a way that this page does not know: load the page again.`);
  }
  await check(bytes, manifest.sha256, address);
  return { manifest, bytes };
}

/** The networks, each of which has given the right numbers once: a backend that cannot run them is found out here. */
async function ready(
  runtime: Runtime,
  [detector, landmarks, expression, geometry]: [Loaded, Loaded, Loaded, FaceGeometry],
): Promise<{ models: Models; backend: string }> {
  const size = expression.manifest.input.size;
  const models = {
    detector: await openTried(runtime, detector.bytes, [1, 3, 160, 160], 255),
    landmarks: await openTried(runtime, landmarks.bytes, [1, 256, 256, 3], 1),
    expression: await openTried(runtime, expression.bytes, [1, 3, size, size], 255),
    manifest: expression.manifest,
    geometry,
  };
  return { models, backend: runtime.backend };
}

/** A network that takes numbers up to `top`. */
async function openTried(runtime: Runtime, model: Uint8Array, dims: readonly number[], top: number): Promise<Network> {
  const network = await runtime.open(model);
  const input = trialInput(dims, top);
  const outputs = await network.run(input, dims);
  const expected = (await runtime.expect?.(model, input, dims)) ?? outputs;
  if (!agree(outputs, expected)) throw new Error('A network gives wrong numbers on this device.');
  return network;
}
