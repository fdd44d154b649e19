/**
 * One session as the member uses it: requests, as many at once as the supernode takes, and pauses that end with it.
 */

import { ErrorCode } from '../proto/messages.ts';
import { REQUESTS_IN_FLIGHT_MAX } from '../proto/limits.ts';
import { Refused, SessionLost, type ReplyBody, type RequestBody, type Uplink } from '../session/uplink.ts';
import type { Chance, Clock } from './clock.ts';
import { passes } from './refusals.ts';

/** How long to wait after a request has failed for a reason that passes. */
interface Pauses {
  /** After the first failure; doubled with each. */
  minMs: number;
  maxMs: number;
}

/** The first is as long as a supernode asks for whose store is behind. */
const PAUSES: Pauses = { minMs: 1_000, maxMs: 30_000 };

/**
 * Of a leg that is to be attached anew: two people hear silence meanwhile. What its call's dead home was asked is refused once the fleet knows
 * of the death, and the next home is known in that moment. A leg asks some eight times in the 10 s that it is waited for.
 */
export const CALL_PAUSES: Pauses = { minMs: 100, maxMs: 2_000 };

/** Asks of a command before whoever waits is told: with pauses of 1, 2 and 4 s, and half of that on top, 7 to 11 s. */
const COMMAND_ASKS = 4;

/** Requests at once that nobody waits for by ear: the others find room beside them. */
const AT_ONCE_MAX = REQUESTS_IN_FLIGHT_MAX / 2;

/** What moves a call on goes before all else. */
const URGENT: ReadonlySet<RequestBody['case']> = new Set<RequestBody['case']>(['startCall', 'answerCall', 'declineCall', 'hangUp', 'attachLeg', 'findAccount']);

type Cases = ReplyBody['case'];

export type ReplyOf<C extends Cases> = Extract<ReplyBody, { case: C }>['value'];

export class MemberSession {
  #alive = true;
  #asked = 0;
  readonly #waiting: (() => void)[] = [];
  readonly #pauses = new Set<() => void>();
  readonly #unanswered = new Set<() => void>();

  constructor(
    private readonly uplink: Uplink,
    private readonly clock: Clock,
    private readonly chance: Chance,
  ) {}

  get isAlive(): boolean {
    return this.#alive;
  }

  /** Asks once. */
  async ask<C extends Cases>(body: RequestBody, expected: C): Promise<ReplyOf<C>> {
    const isUrgent = URGENT.has(body.case);
    while (this.#alive && !isUrgent && this.#asked >= AT_ONCE_MAX) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.check();
    this.#asked += 1;
    try {
      const reply = await this.#request(body);
      if (reply.case !== expected) throw new Refused(ErrorCode.MALFORMED, 'the supernode does not keep to the protocol', 0);
      // `expected` is C, so the value is that of C.
      return reply.value as ReplyOf<C>;
    } finally {
      this.#asked -= 1;
      this.#waiting.shift()?.();
    }
  }

  /** What has ended is waited for no longer, whatever its link still does. */
  #request(body: RequestBody): Promise<ReplyBody> {
    return new Promise((resolve, reject) => {
      const lose = (): void => reject(new SessionLost('the session is lost'));
      this.#unanswered.add(lose);
      const answered = (): void => void this.#unanswered.delete(lose);
      this.uplink.request(body).then(resolve, reject).finally(answered);
    });
  }

  /** Asks again after what passes, until the session ends. */
  async insist<C extends Cases>(body: RequestBody, expected: C, asks = Number.POSITIVE_INFINITY): Promise<ReplyOf<C>> {
    for (let failures = 0; ; failures += 1) {
      try {
        return await this.ask(body, expected);
      } catch (error) {
        if (!passes(error) || failures + 1 >= asks) throw error;
        await this.pause(failures, error.retryAfterMs);
      }
    }
  }

  /** Asks for somebody who waits. */
  command<C extends Cases>(body: RequestBody, expected: C): Promise<ReplyOf<C>> {
    return this.insist(body, expected, COMMAND_ASKS);
  }

  /** Waits after a failure: what the supernode asks for, or a pause that doubles, and a random half on top. */
  pause(failures: number, retryAfterMs: number, { minMs, maxMs }: Pauses = PAUSES): Promise<void> {
    const doubled = Math.min(minMs * 2 ** Math.min(failures, 10), maxMs);
    return this.sleep(Math.max(doubled, retryAfterMs) * (1 + this.chance.share() / 2));
  }

  /** Rejects with {@link SessionLost} where the session ends before. */
  sleep(ms: number): Promise<void> {
    this.check();
    return new Promise((resolve, reject) => {
      const wake = (): void => {
        this.#pauses.delete(wake);
        cancel();
        if (this.#alive) resolve();
        else reject(new SessionLost('the session is lost'));
      };
      const cancel = this.clock.after(ms, wake);
      this.#pauses.add(wake);
    });
  }

  /** Works after the session has moved on too, while its link lasts: voice goes out by it until the leg is attached anew. */
  sendDatagram(bytes: Uint8Array): void {
    this.uplink.sendDatagram(bytes);
  }

  check(): void {
    if (!this.#alive) throw new SessionLost('the session is lost');
  }

  end(): void {
    this.#alive = false;
    for (const lose of [...this.#unanswered]) lose();
    for (const wake of [...this.#pauses]) wake();
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
