/** One direction of a modelled path, as in `crates/voice/examples/impair.rs`: 40 ms, exponential jitter of mean 10 ms, order kept, loss. */

/** Share of packets lost, and mean length of a burst; 1 is at random. */
export interface Condition {
  name: string;
  loss: number;
  burst: number;
}

export class Path {
  readonly #condition: Condition;
  #state: number;
  #losing = false;
  #latest = 0;

  constructor(condition: Condition, seed: number) {
    this.#condition = condition;
    this.#state = seed;
  }

  /** When a packet that leaves at `at` (ms) arrives; `null` for never. */
  arrival(at: number): number | null {
    const jitter = -10 * Math.log(1 - this.#random());
    const { loss, burst } = this.#condition;
    const chance = this.#random();
    const leave = 1 / burst;
    if (burst > 1) this.#losing = this.#losing ? chance >= leave : chance < (leave * loss) / (1 - loss);
    else this.#losing = chance < loss;
    if (this.#losing) return null;
    this.#latest = Math.max(this.#latest, at + 40 + jitter);
    return this.#latest;
  }

  /** Mulberry32. */
  #random(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let value = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  }
}
