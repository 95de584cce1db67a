/** The two ends of an analysis worker, for applications that bring their own worker or build of ONNX Runtime. */

export type { Analyzer, AnalyzerOptions, Tracker, TrackerOptions } from './api.ts';
export type { BrowserImage } from './browserImages.ts';
export type { Progress } from './download.ts';
export type { Input, Network, OpenRuntime, Runtime, Tensor } from './network.ts';
export { type OrtModule, type OrtOptions, ortRuntime } from './ort.ts';
export { connectWorker } from './workerClient.ts';
export { WorkerError } from './workerError.ts';
export { serveAnalyzer } from './workerServer.ts';
