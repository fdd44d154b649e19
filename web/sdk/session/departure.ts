/** When a session goes elsewhere because its supernode asks for it (docs/protocol.md, section 5, *GoAway*). */

import type { Clock, Share } from '../link/clock.ts';
import { idOf } from '../proto/ids.ts';
import type { GoAway } from '../proto/messages.ts';
import { Backoff, SPREAD_MS } from './backoff.ts';

/** How long a client that is sent to a supernode that it does not know waits for a newer roster. */
const ROSTER_WITHIN_MS = 10_000;

interface Leaving {
  at: number;
  to: string | null;
  /** Attempts so far have been in vain. */
  backoff: Backoff;
  /** A newer roster was asked for, to find the supernode there. */
  sought: boolean;
  cancel: () => void;
}

export class Departure {
  #leaving: Leaving | null = null;

  constructor(
    private readonly clock: Clock,
    private readonly share: Share,
    /** It is time to go. */
    private readonly leave: () => void,
  ) {}

  /** The supernode to go to, `null`: any other. */
  get to(): string | null {
    return this.#leaving?.to ?? null;
  }

  /** Milliseconds until the moment that is to come, `null` where there is none. */
  get pendingMs(): number | null {
    const left = this.#leaving === null ? 0 : this.#leaving.at - this.clock.elapsed();
    return left > 0 ? left : null;
  }

  handleGoAway({ reconnectInMs, spreadMs, supernode }: GoAway, present: string): void {
    const to = idOf(supernode);
    const wait = reconnectInMs + spreadMs * this.share();
    const at = this.clock.elapsed() + wait;
    // Of several that ask, the one whose moment comes first counts.
    if (to === present || (this.#leaving !== null && this.#leaving.at <= at)) return;
    this.forget();
    this.#leaving = { at, to, backoff: new Backoff(), sought: false, cancel: () => {} };
    this.#schedule(wait);
  }

  /** Whether to ask for the newest roster before: once. */
  seekRoster(): boolean {
    if (this.#leaving === null || this.#leaving.sought) return false;
    this.#leaving.sought = true;
    this.#schedule(ROSTER_WITHIN_MS);
    return true;
  }

  /** The authority has answered, or not. */
  handleRoster(): void {
    if (this.#leaving === null) return;
    this.#leaving.cancel();
    this.leave();
  }

  handleFailure(retryAfterMs: number): void {
    if (this.#leaving === null) return;
    const wait = this.#leaving.backoff.handleFailure(this.clock.elapsed(), { share: this.share(), leastMs: SPREAD_MS });
    this.#schedule(Math.max(wait, retryAfterMs));
  }

  forget(): void {
    this.#leaving?.cancel();
    this.#leaving = null;
  }

  #schedule(ms: number): void {
    if (this.#leaving === null) return;
    this.#leaving.cancel();
    this.#leaving.at = this.clock.elapsed() + ms;
    this.#leaving.cancel = this.clock.after(ms, () => this.leave());
  }
}
