/** A clock that stands still until it is moved; for tests. */

import type { Clock } from './clock.ts';

/** Turns of the event loop that are waited for between two timers, so that what was begun in promises goes on. */
const TURNS = 8;

export class VirtualClock implements Clock {
  #elapsed = 0;
  #next = 0;
  readonly #timers = new Map<number, { at: number; callback: () => void }>();

  /** `unixMs`: what time it is when nothing has passed. */
  constructor(public unixMs = 1_800_000_000_000) {}

  now(): number {
    return this.unixMs + this.#elapsed;
  }

  elapsed(): number {
    return this.#elapsed;
  }

  after(ms: number, callback: () => void): () => void {
    const id = (this.#next += 1);
    this.#timers.set(id, { at: this.#elapsed + ms, callback });
    return () => this.#timers.delete(id);
  }

  /** Lets so much time pass, and everything that falls due in it happen, in order. */
  async pass(ms: number): Promise<void> {
    const end = this.#elapsed + ms;
    await settle();
    for (let due = this.#due(end); due !== null; due = this.#due(end)) {
      const timer = this.#timers.get(due);
      this.#timers.delete(due);
      if (timer === undefined) continue;
      this.#elapsed = Math.max(this.#elapsed, timer.at);
      timer.callback();
      await settle();
    }
    this.#elapsed = end;
  }

  /** Timers that run. */
  get running(): number {
    return this.#timers.size;
  }

  #due(end: number): number | null {
    let first: { id: number; at: number } | null = null;
    for (const [id, { at }] of this.#timers) {
      if (at <= end && (first === null || at < first.at)) first = { id, at };
    }
    return first?.id ?? null;
  }
}

/** Lets promises and the platform's own small tasks (signatures, streams) come to their end. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
