/** Number of threads of the WebAssembly runtime. */

const MAX_THREADS = 4;

/** Return the number of threads on this device; browsers allow only one without cross-origin isolation. */
export function threadCount(): number {
  return globalThis.crossOriginIsolated ? threadsFor(navigator.hardwareConcurrency) : 1;
}

/** Return the number of threads: half the logical processors, as two may share a core, but two where there are two. */
export function threadsFor(processors: number): number {
  return Math.min(MAX_THREADS, processors, Math.max(2, Math.ceil(processors / 2)));
}
