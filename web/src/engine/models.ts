/** Loading and self-test of the models that the engine runs. */

import { TEMPLATES } from './alignment';
import type { Models } from './analyzer';
import { download, downloadJson, Progress, verify } from './download';
import type { ExpressionManifest } from './expression';
import type { Input, Network } from './network';
import type { FaceGeometry } from './pose';
import { openWebAssembly, openWebGpu, type Runtime } from './runtime';
import { outputsAgree, testNumbers, testPixels } from './selfTest';

interface Manifest extends ExpressionManifest {
  task: string;
  sha256: string;
}

interface ModelFile {
  manifest: Manifest;
  bytes: Uint8Array;
}

/** Fraction of the progress bar for downloads; the rest is session creation. */
const DOWNLOAD_FRACTION = 0.9;

/** Load all models from a folder URL. Rejects with a message for the user. */
export async function loadModels(
  folder: string,
  model: string,
  report: (fraction: number) => void,
): Promise<{ models: Models; runtime: string }> {
  const progress = new Progress((fraction) => report(DOWNLOAD_FRACTION * fraction));
  const downloads = Promise.all([
    load(folder, 'face-detector', 'face-detection', progress),
    load(folder, 'face-landmarks', 'face-landmarks', progress),
    load(folder, model, 'expression', progress),
    downloadJson<FaceGeometry>(new URL('face-geometry.json', folder)),
  ]);
  const [runtime] = await Promise.all([openWebGpu(progress).catch(() => openWebAssembly(progress)), downloads]);
  const files = await downloads;
  const opened = await openModels(runtime, files).catch(async (error: unknown) => {
    if (runtime.name !== 'WebGPU') throw error;
    return openModels(await openWebAssembly(progress), files);
  });
  report(1);
  return opened;
}

async function load(folder: string, name: string, task: string, progress: Progress): Promise<ModelFile> {
  const url = new URL(`${name}.onnx`, folder);
  const [manifest, bytes] = await Promise.all([
    downloadJson<Manifest>(new URL(`${name}.json`, folder)),
    download(url, progress),
  ]);
  if (manifest.task !== task) throw new Error(`${name} is a model for ${manifest.task}; expected ${task}.`);
  if (manifest.alignment && !(manifest.alignment.template in TEMPLATES)) {
    throw new Error(`${name} uses an unknown alignment template. Reload the page.`);
  }
  await verify(bytes, manifest.sha256, url);
  return { manifest, bytes };
}

/** Open and self-test all networks; rejects when the runtime cannot run one of them. */
async function openModels(
  runtime: Runtime,
  [detector, landmarks, expression, geometry]: [ModelFile, ModelFile, ModelFile, FaceGeometry],
): Promise<{ models: Models; runtime: string }> {
  const { size } = expression.manifest.input;
  const models = {
    detector: await openTested(runtime, detector.bytes, [1, 160, 160, 3], testPixels),
    landmarks: await openTested(runtime, landmarks.bytes, [1, 256, 256, 3], testPixels),
    expression: await openTested(runtime, expression.bytes, [1, 3, size, size], testNumbers),
    manifest: expression.manifest,
    geometry,
  };
  return { models, runtime: runtime.name };
}

/** Open a network and compare its outputs for a generated input with a reference. */
async function openTested(
  runtime: Runtime,
  model: Uint8Array,
  dims: readonly number[],
  generate: (dims: readonly number[]) => Input,
): Promise<Network> {
  const network = await runtime.open(model);
  const input = generate(dims);
  const outputs = await network.run(input, dims);
  const expected = (await runtime.reference?.(model, input, dims)) ?? outputs;
  if (!outputsAgree(outputs, expected)) throw new Error('A model gives wrong outputs on this device.');
  return network;
}
