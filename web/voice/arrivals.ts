/**
 * When packets arrive: the fastest path, and how late the others are against it.
 *
 * Invariant: fixed memory, whatever arrives. All times in ms.
 */

/** Milliseconds of one frame. */
export const FRAME_MS = 20;

/** 5 ms: a quarter of a frame, finer than any jitter that matters. */
const BIN_MS = 5;

/** Up to 500 ms; what is later than that is lost. */
const BINS = 100;

/** A packet's least share in the histogram: the past fades over 500 packets, 10 s. */
const SHARE_MIN = 0.002;

/** Jitter assumed before anything is known, and the number of packets which that assumption is worth. */
const JITTER_AT_START_MS = 30;
const WEIGHT_AT_START = 25;

const FASTEST_SPAN_MS = 5_000;

/**
 * The lowest transit (arrival minus frame time) of this span of time and of the one before. Two spans forget an old path, and follow
 * drifting clocks, within 10 s, yet always hold at least 5 s of history.
 */
interface Fastest {
  since: number;
  now: number;
  before: number;
}

/** Arrival times of one peer's packets. */
export class Arrivals {
  #fastest: Fastest | null = null;
  /** Weight of each lateness, {@link BIN_MS} wide; the last takes all above. They add up to 1 once something came. */
  readonly #bins = new Float64Array(BINS);
  #seen = 0;

  constructor() {
    this.#bins[JITTER_AT_START_MS / BIN_MS] = 1;
  }

  /** Takes the arrival of frame `index` at `at`. */
  record(index: number, at: number): void {
    const transit = at - index * FRAME_MS;
    this.#fastest ??= { since: at, now: transit, before: transit };
    if (at - this.#fastest.since > FASTEST_SPAN_MS) {
      this.#fastest = { since: at, now: transit, before: this.#fastest.now };
    }
    this.#fastest.now = Math.min(this.#fastest.now, transit);
    const lateness = transit - Math.min(this.#fastest.now, this.#fastest.before);
    this.#seen += 1;
    const share = Math.max(1 / (this.#seen + WEIGHT_AT_START), SHARE_MIN);
    for (let bin = 0; bin < BINS; bin += 1) this.#bins[bin] = (this.#bins[bin] ?? 0) * (1 - share);
    const bin = Math.min(Math.floor(lateness / BIN_MS), BINS - 1);
    this.#bins[bin] = (this.#bins[bin] ?? 0) + share;
  }

  /** Forgets the path, not its jitter: after a jump of the sender's or the path's time, or on a new leg. */
  restart(): void {
    this.#fastest = null;
  }

  /** Transit of the fastest packets of late; `null` before any. */
  get base(): number | null {
    return this.#fastest === null ? null : Math.min(this.#fastest.now, this.#fastest.before);
  }

  /** The lateness that `share` of all packets keep within. */
  quantile(share: number): number {
    let below = 0;
    for (let bin = 0; bin < BINS; bin += 1) {
      below += this.#bins[bin] ?? 0;
      // Sums of shares miss 1 by rounding.
      if (below >= share - 1e-9) return (bin + 1) * BIN_MS;
    }
    return BINS * BIN_MS;
  }
}
