/** Which of the last packets came and which did not. Invariant: fixed memory, whatever arrives. */

import type { Report } from './payload.ts';

/** 5 s: long enough to tell bursts from single losses, short enough to relax soon. */
const WINDOW_PACKETS = 250;

/** 2 s without loss: what a sender waits too before it relaxes. */
const MATURE_PACKETS = 100;

/** A packet overtaken by three others counts as lost; waiting longer only delays protection. */
const REORDER_PACKETS = 3;

/** A gap of 1 s is no loss but a pause: a new leg, a sender that slept. */
const PAUSE_PACKETS = 50;

/** Packets this far behind the newest are of another time, as the sender began anew. */
const LATE_PACKETS = 64;

/** Counts what is lost on the way, repaired or no. */
export class Losses {
  #highest: number | null = null;
  /** Whether each of the packets not yet settled came, the highest first; always {@link REORDER_PACKETS} long. */
  #recent: boolean[] = [];
  /** Outcomes that are settled, oldest first, `true` for lost; at most {@link WINDOW_PACKETS}. */
  readonly #outcomes: boolean[] = [];
  #lost = 0;

  /** Takes the arrival of packet `index`. */
  record(index: number): void {
    const ahead = this.#highest === null ? Number.POSITIVE_INFINITY : index - this.#highest;
    if (ahead <= 0 && ahead > -REORDER_PACKETS) {
      this.#recent[-ahead] = true;
      return;
    }
    // What is settled stays so, as long as it is of the same time.
    if (ahead <= 0 && ahead > -LATE_PACKETS) return;
    this.#highest = index;
    if (ahead <= 0 || ahead > PAUSE_PACKETS) {
      // The sender paused or began anew: nothing was lost between.
      this.#recent = Array.from({ length: REORDER_PACKETS }, () => true);
      return;
    }
    for (let step = 1; step <= ahead; step += 1) {
      this.#recent.unshift(step === ahead);
      this.#settle(this.#recent.pop() === false);
    }
  }

  #settle(lost: boolean): void {
    this.#outcomes.push(lost);
    if (lost) this.#lost += 1;
    if (this.#outcomes.length > WINDOW_PACKETS && this.#outcomes.shift() === true) this.#lost -= 1;
  }

  /** The window's counts; jitter is left at 0. */
  report(): Report {
    let runs = 0;
    for (const [at, lost] of this.#outcomes.entries()) if (lost && this.#outcomes[at - 1] !== true) runs += 1;
    return { expected: this.#outcomes.length, lost: this.#lost, runs, jitterMs: 0 };
  }

  /** Share of the window's packets that were lost, from 0 to 1. */
  get share(): number {
    return this.#lost / Math.max(this.#outcomes.length, 1);
  }

  /** Whether more than one packet in a hundred is lost of late. */
  get lossy(): boolean {
    return this.#lost * 100 > this.#outcomes.length;
  }

  /** Whether enough is known to call the path clean or not. */
  get mature(): boolean {
    return this.#outcomes.length >= MATURE_PACKETS;
  }
}
