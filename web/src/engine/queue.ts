/** Asynchronous tasks, one at a time. */
export class Queue {
  private last: Promise<unknown> = Promise.resolve();

  /** Run a task after all earlier ones, also after failed ones. */
  run<T>(task: () => Promise<T>): Promise<T> {
    const result = this.last.then(task);
    this.last = result.catch(() => undefined);
    return result;
  }
}
