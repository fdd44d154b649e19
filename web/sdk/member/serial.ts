/** One after the other: tasks of one conversation, or changes of one table. */

export class Serial {
  #tail: Promise<void> = Promise.resolve();

  /** Runs a task after all that were given before, whatever came of them. */
  run<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(task);
    this.#tail = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }
}
