/** Return what was thrown as an error with a message; WebAssembly throws numbers. */
export function toError(cause: unknown): Error {
  return cause instanceof Error ? cause : new Error(`The analysis failed (${cause}).`, { cause });
}
