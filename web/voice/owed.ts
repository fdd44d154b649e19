/** What an asynchronous codec still owes: its outputs belong to its inputs first in, first out. */

/** A codec that gives nothing for so long has died without a word: its work takes 1 ms. */
const PATIENCE_MS = 1_000;

/** Frames that a codec may have in hand: a second. More are failures of its owner, who waits for each. */
const OWED_MAX = 50;

export class Owed<T> {
  #waiting: ((answer: T | null) => void)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #onDead: () => void;

  /** `onDead` is called where nothing comes any more; everything owed is `null` then. */
  constructor(onDead: () => void) {
    this.#onDead = onDead;
  }

  /** What the codec gives for the input that comes next. */
  next(): Promise<T | null> {
    if (this.#waiting.length >= OWED_MAX) return Promise.resolve(null);
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#timer ??= setTimeout(() => this.#die(), PATIENCE_MS);
    });
  }

  /** The codec has given something. */
  settle(answer: T | null): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#waiting.shift()?.(answer);
    if (this.#waiting.length > 0) this.#timer = setTimeout(() => this.#die(), PATIENCE_MS);
  }

  /** The codec will give nothing more. */
  fail(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve(null);
  }

  #die(): void {
    this.fail();
    this.#onDead();
  }
}
