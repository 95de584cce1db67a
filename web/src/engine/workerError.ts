/** The analysis worker has failed or was closed: all pending and later requests fail. */
export class WorkerError extends Error {
  override readonly name = 'WorkerError';
}
