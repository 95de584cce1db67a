/** Loading and self-test of the models that the engine runs. */

import { TEMPLATES } from './alignment';
import type { Models } from './analyzer';
import { download, downloadJson, Progress, verify } from './download';
import type { ExpressionManifest } from './expression';
import { loadCached } from './fileCache';
import type { Input, Network } from './network';
import type { FaceGeometry } from './pose';
import { openWebAssembly, openWebGpu, type Runtime } from './runtime';
import { outputsAgree, testNumbers, testPixels } from './selfTest';
import type { Stopwatch } from './stopwatch';

interface Manifest extends ExpressionManifest {
  task: string;
  sha256: string;
}

interface ModelFile {
  manifest: Manifest;
  bytes: Uint8Array;
}

/** Files that are still being loaded, in the order in which their networks are opened. */
interface PendingFiles {
  detector: Promise<ModelFile>;
  landmarks: Promise<ModelFile>;
  expression: Promise<ModelFile>;
  geometry: Promise<FaceGeometry>;
}

/** Share of opening a network in the progress, in bytes of a download. */
const OPENING_BYTES = 4e6;

/** Load all models from a folder URL. Rejects with a message for the user. */
export async function loadModels(
  folder: string,
  model: string,
  report: (fraction: number) => void,
  stopwatch: Stopwatch,
): Promise<{ models: Models; runtime: string }> {
  const progress = new Progress(report);
  const countOpened = progress.add(3 * OPENING_BYTES);
  const files = {
    detector: load(folder, 'face-detector', 'face-detection', progress),
    landmarks: load(folder, 'face-landmarks', 'face-landmarks', progress),
    expression: load(folder, model, 'expression', progress),
    geometry: downloadJson<FaceGeometry>(new URL('face-geometry.json', folder)),
  };
  const open = async () => {
    const openRuntime = () => openWebGpu(progress).catch(() => openWebAssembly(progress));
    const runtime = await stopwatch.time('runtime', openRuntime);
    const openAll = (each: Runtime) => openModels(each, files, stopwatch, () => countOpened(OPENING_BYTES));
    return openAll(runtime).catch(async (error: unknown) => {
      if (runtime.name !== 'WebGPU') throw error;
      return openAll(await openWebAssembly(progress));
    });
  };
  const downloads = stopwatch.time('files', () => Promise.all(Object.values(files)));
  const [opened] = await Promise.all([open(), downloads]);
  report(1);
  return opened;
}

async function load(folder: string, name: string, task: string, progress: Progress): Promise<ModelFile> {
  const manifest = await downloadJson<Manifest>(new URL(`${name}.json`, folder));
  if (manifest.task !== task) throw new Error(`${name} is a model for ${manifest.task}; expected ${task}.`);
  if (manifest.alignment && !(manifest.alignment.template in TEMPLATES)) {
    throw new Error(`${name} uses an unknown alignment template. Reload the page.`);
  }
  const url = new URL(`${name}.onnx`, folder);
  const bytes = await loadCached(url, manifest.sha256, progress, async () => {
    const file = await download(url, progress);
    await verify(file, manifest.sha256, url);
    return file;
  });
  return { manifest, bytes };
}

/** Open and self-test every network as soon as its file has arrived; rejects when the runtime cannot run one of them. */
async function openModels(
  runtime: Runtime,
  files: PendingFiles,
  stopwatch: Stopwatch,
  onOpened: () => void,
): Promise<{ models: Models; runtime: string }> {
  const open = async (stage: string, { bytes }: ModelFile, dims: readonly number[], generate: InputGenerator) => {
    const network = await stopwatch.time(stage, () => openTested(runtime, bytes, dims, generate));
    onOpened();
    return network;
  };
  const detector = await open('detector', await files.detector, [1, 160, 160, 3], testPixels);
  const landmarks = await open('landmarks', await files.landmarks, [1, 256, 256, 3], testPixels);
  const { manifest } = await files.expression;
  const { size } = manifest.input;
  const expression = await open('expression', await files.expression, [1, 3, size, size], testNumbers);
  const models = { detector, landmarks, geometry: await files.geometry, expression, manifest };
  return { models, runtime: runtime.name };
}

/** Generates an input of shape `dims` for the self-test. */
type InputGenerator = (dims: readonly number[]) => Input;

/** Open a network and compare its outputs for a generated input with a reference. */
async function openTested(
  runtime: Runtime,
  model: Uint8Array,
  dims: readonly number[],
  generate: InputGenerator,
): Promise<Network> {
  const network = await runtime.open(model);
  const input = generate(dims);
  const outputs = await network.run(input, dims);
  const expected = (await runtime.reference?.(model, input, dims)) ?? outputs;
  if (!outputsAgree(outputs, expected)) throw new Error('A model gives wrong outputs on this device.');
  return network;
}
