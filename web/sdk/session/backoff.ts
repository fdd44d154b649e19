/** How long to wait before the next attempt to reconnect: full jitter over a doubling ceiling (docs/protocol.md, section 5). */

/** Ceiling of the first wait. */
const FIRST_MS = 500;

/** Ceiling of all waits: 100,000 clients of a supernode that is gone then try 6,700 times a second. */
const LONGEST_MS = 30_000;

/** A session that stayed up for so long ends the series of failures; a shorter one is a failure more. */
const STEADY_MS = 60_000;

/** Least ceiling where there are others to go to, so that the sessions of one that is gone don't reach them in the same moment. */
export const SPREAD_MS = 2_000;

/** 0.5 s doubled so often is above {@link LONGEST_MS}. */
const DOUBLINGS_MAX = 16;

/** Counts failures since a session last stayed up. Times are of {@link Clock.elapsed}. */
export class Backoff {
  #failures = 0;
  #upSince: number | null = null;

  handleUp(elapsed: number): void {
    this.#upSince = elapsed;
  }

  /** A session was lost or an attempt failed: how long to wait. `share`: random from 0 to 1; `least`: of the ceiling. */
  handleFailure(elapsed: number, { share, leastMs = 0 }: { share: number; leastMs?: number }): number {
    if (this.#upSince !== null && elapsed - this.#upSince >= STEADY_MS) this.#failures = 0;
    this.#upSince = null;
    const ceiling = Math.min(LONGEST_MS, Math.max(FIRST_MS * 2 ** this.#failures, leastMs));
    this.#failures = Math.min(this.#failures + 1, DOUBLINGS_MAX);
    return ceiling * share;
  }
}
