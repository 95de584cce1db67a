/** Loading and self-test of the models that the engine runs. */

import { TEMPLATES } from './alignment.ts';
import type { Models } from './analyzer.ts';
import { download, downloadJson, Progress, verify } from './download.ts';
import type { ExpressionManifest } from './expression.ts';
import { toError } from './failure.ts';
import { loadCached } from './fileCache.ts';
import type { MeshNetwork } from './landmarks.ts';
import type { Input, OpenedNetwork, OpenRuntime, Runtime } from './network.ts';
import type { FaceGeometry } from './pose.ts';
import { outputsAgree, testNumbers, testPixels } from './selfTest.ts';
import type { Stopwatch } from './stopwatch.ts';

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
  smallMesh: Promise<ModelFile>;
  detailedMesh: Promise<ModelFile>;
  expression: Promise<ModelFile>;
  geometry: Promise<FaceGeometry>;
}

/** Share of opening a network in the progress, in bytes of a download. */
const OPENING_BYTES = 4e6;

export interface LoadOptions {
  /** URL of the folder with the models; it ends with a slash. */
  folder: string | URL;
  /** Name of the expression model. */
  model: string;
  /** Runtimes to try, in order. */
  runtimes: readonly OpenRuntime[];
  threads: number | undefined;
  fetch: typeof fetch;
  /** Receives the fraction that is loaded, 0..1. */
  report: (fraction: number) => void;
  stopwatch: Stopwatch;
}

export interface LoadedModels {
  models: Models;
  runtime: Runtime;
}

/** Load all models. Rejects with a message for the user. */
export async function loadModels(options: LoadOptions): Promise<LoadedModels> {
  const { model, report, stopwatch } = options;
  const progress = new Progress(report);
  const countOpened = progress.add(4 * OPENING_BYTES);
  const loader = new Loader(options, progress);
  const files = {
    detector: loader.load('face-detector', 'face-detection'),
    smallMesh: loader.load('face-landmarks-small', 'face-landmarks'),
    detailedMesh: loader.load('face-landmarks', 'face-landmarks'),
    expression: loader.load(model, 'expression'),
    geometry: loader.loadJson<FaceGeometry>('face-geometry'),
  };
  const open = (runtime: Runtime) => openModels(runtime, files, stopwatch, () => countOpened(OPENING_BYTES));
  const downloads = stopwatch.time('files', () => Promise.all(Object.values(files)));
  const [loaded] = await Promise.all([openFirst(options, progress, open), downloads]);
  report(1);
  return loaded;
}

/** Open the models in the first runtime that runs all of them correctly. */
async function openFirst(
  { runtimes, threads, stopwatch }: LoadOptions,
  progress: Progress,
  openAll: (runtime: Runtime) => Promise<Models>,
): Promise<LoadedModels> {
  let failure: unknown;
  for (const openRuntime of runtimes) {
    let runtime: Runtime | null = null;
    try {
      runtime = await stopwatch.time('runtime', () => openRuntime(progress, threads));
      return { models: await openAll(runtime), runtime };
    } catch (error) {
      failure = error;
      await runtime?.close();
    }
  }
  throw toError(failure);
}

/** Loads models and their manifests from a folder. */
export class Loader {
  constructor(
    private readonly options: Pick<LoadOptions, 'folder' | 'fetch'>,
    private readonly progress: Progress,
  ) {}

  loadJson<T>(name: string): Promise<T> {
    return downloadJson<T>(this.urlOf(`${name}.json`), { fetch: this.options.fetch });
  }

  /** Load a model for a task; its bytes match the hash in its manifest. */
  async load(name: string, task: string): Promise<ModelFile> {
    const manifest = await this.loadJson<Manifest>(name);
    if (manifest.task !== task) throw new Error(`${name} is a model for ${manifest.task}; expected ${task}.`);
    if (manifest.alignment && !(manifest.alignment.template in TEMPLATES)) {
      throw new Error(`${name} uses an alignment template that this version does not know.`);
    }
    const url = this.urlOf(`${name}.onnx`);
    const bytes = await loadCached(url, manifest.sha256, this.progress, async () => {
      const file = await download(url, this.progress, { fetch: this.options.fetch });
      await verify(file, manifest.sha256, url);
      return file;
    });
    return { manifest, bytes };
  }

  private urlOf(file: string): URL {
    return new URL(file, this.options.folder);
  }
}

/** Open and self-test every network as soon as its file has arrived; rejects when the runtime cannot run one of them. */
async function openModels(
  runtime: Runtime,
  files: PendingFiles,
  stopwatch: Stopwatch,
  onOpened: () => void,
): Promise<Models> {
  const open = async (stage: string, { bytes }: ModelFile, dims: readonly number[], generate: InputGenerator) => {
    const network = await stopwatch.time(stage, () => openTested(runtime, bytes, dims, generate));
    onOpened();
    return network;
  };
  const detector = await open('detector', await files.detector, [1, 160, 160, 3], testPixels);
  const openMesh = async (stage: string, file: ModelFile): Promise<MeshNetwork> => {
    const { size } = file.manifest.input;
    return { network: await open(stage, file, [1, size, size, 3], testPixels), size };
  };
  const mesh = {
    small: await openMesh('small mesh', await files.smallMesh),
    detailed: await openMesh('detailed mesh', await files.detailedMesh),
  };
  const { manifest } = await files.expression;
  const { size } = manifest.input;
  const expression = await open('expression', await files.expression, [1, 3, size, size], testNumbers);
  return { detector, mesh, geometry: await files.geometry, expression, manifest };
}

/** Generates an input of shape `dims` for the self-test. */
type InputGenerator = (dims: readonly number[]) => Input;

/** Open a network and compare its outputs for a generated input with a reference. */
async function openTested(
  runtime: Runtime,
  model: Uint8Array,
  dims: readonly number[],
  generate: InputGenerator,
): Promise<OpenedNetwork> {
  const network = await runtime.open(model);
  const input = generate(dims);
  const outputs = await network.run(input, dims);
  const expected = (await runtime.reference?.(model, input, dims)) ?? outputs;
  if (!outputsAgree(outputs, expected)) throw new Error('A model gives wrong outputs on this device.');
  return network;
}
