/** Time and chance, handed in: so that tests decide about both. */

import { SYSTEM_CLOCK, type Clock } from '../link/clock.ts';
import { randomBytes } from '../proto/bytes.ts';

export { SYSTEM_CLOCK, type Clock };

export interface Chance {
  bytes(length: number): Uint8Array<ArrayBuffer>;
  /** Evenly below 1. */
  share(): number;
}

export const SYSTEM_CHANCE: Chance = {
  bytes: randomBytes,
  share: () => Math.random(),
};

/** Timers by name: setting one anew replaces it. */
export class Timers<Name extends string> {
  readonly #running = new Map<Name, () => void>();

  constructor(private readonly clock: Clock) {}

  isSet(name: Name): boolean {
    return this.#running.has(name);
  }

  set(name: Name, ms: number, callback: () => void): void {
    this.cancel(name);
    this.#running.set(
      name,
      this.clock.after(ms, () => {
        this.#running.delete(name);
        callback();
      }),
    );
  }

  /** Leaves one that runs as it is. */
  setOnce(name: Name, ms: number, callback: () => void): void {
    if (!this.isSet(name)) this.set(name, ms, callback);
  }

  cancel(name: Name): void {
    this.#running.get(name)?.();
    this.#running.delete(name);
  }

  cancelAll(): void {
    for (const cancel of this.#running.values()) cancel();
    this.#running.clear();
  }
}
