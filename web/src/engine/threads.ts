/** Number of threads of the WebAssembly runtime. */

const MAX_THREADS = 4;

/** Return the number of threads: half the logical processors, as two may share a core, but two where there are two. */
export function threadCount(processors: number): number {
  return Math.min(MAX_THREADS, processors, Math.max(2, Math.ceil(processors / 2)));
}
