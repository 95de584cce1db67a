/** The analysis worker has ended: all pending and later requests fail. */
export class WorkerError extends Error {}
