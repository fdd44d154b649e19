/**
 * Whether a session's link lives: pings, and how long nothing has come (docs/protocol.md, section 4, *Pings*; section 5, *Reconnecting*).
 */

import type { Clock, Share } from '../link/clock.ts';
import { CALL_SILENCE_MS, KEEPALIVE_MAX_MS, KEEPALIVE_MIN_MS, PING_TIMEOUT_MS } from '../proto/limits.ts';
import type { Wire } from './wire.ts';

/** How often a link that answers no ping is asked again: it may have come back to life. */
const PING_AGAIN_MS = 1_000;

/** How often the link is listened at in a call; an eighth of the silence that counts. */
const WATCH_EVERY_MS = 100;

/**
 * In a call: a ping after so long without anything. Links of browsers show no acknowledgements, and somebody who is silent sends
 * little: two pings fit into the silence that counts, so one may be lost.
 */
const CALL_PING_MS = 300;

/** A link that was silent for so long is lost. */
const LOST_MS = 62_000;

export interface Vital {
  isInCall(): boolean;
  /** Nothing comes on the link any more. Once, until it lives again. */
  handleSilent(): void;
  /** Something comes again. */
  handleAlive(): void;
  /** The link was silent for so long that it is given up. */
  handleLost(): void;
}

export class Pulse {
  #silent = false;
  /** A ping is out that nothing has followed yet. */
  #asked = false;
  #cancelPing = (): void => {};
  #cancelWatch: (() => void) | null = null;
  #pingedInCallAt = -Infinity;
  #over = false;

  constructor(
    readonly wire: Wire,
    /** As its `Welcome` says. */
    readonly keepaliveMs: number,
    readonly clock: Clock,
    readonly vital: Vital,
    share: Share,
  ) {
    // Sessions that came up in the same moment do not ping in the same.
    this.#schedule(KEEPALIVE_MIN_MS * share(), () => this.#ask());
    this.watch();
  }

  get isSilent(): boolean {
    return this.#silent;
  }

  /** Something has come. */
  handleHeard(): void {
    if (!this.#silent) return;
    this.#silent = false;
    this.#schedule(this.#keepalive, () => this.#ask());
    this.vital.handleAlive();
  }

  /** Asks at once whether the link lives: the network may have changed. */
  ask(): void {
    if (!this.#silent) this.#ask();
  }

  /** A request goes out: somebody waits for what follows, so a ping goes with it, unless one is out. There may be a call now. */
  handleRequest(): void {
    if (!this.#asked) this.ask();
    this.watch();
  }

  /** There may be a call now. */
  watch(): void {
    if (this.#cancelWatch !== null || this.#over || !this.vital.isInCall()) return;
    // From now on; before, nothing was to be expected.
    const since = this.clock.elapsed();
    this.#watchAgain(since);
  }

  stop(): void {
    this.#over = true;
    this.#cancelPing();
    this.#cancelWatch?.();
    this.#cancelWatch = null;
  }

  #watchAgain(since: number): void {
    this.#cancelWatch = this.clock.after(WATCH_EVERY_MS, () => {
      this.#cancelWatch = null;
      if (!this.vital.isInCall()) return;
      const silence = this.clock.elapsed() - Math.max(since, this.wire.heardAt);
      if (silence >= CALL_PING_MS && this.clock.elapsed() - this.#pingedInCallAt >= CALL_PING_MS) {
        this.#pingedInCallAt = this.clock.elapsed();
        this.wire.ping();
      }
      if (silence >= CALL_SILENCE_MS) this.#fallSilent();
      if (!this.#over) this.#watchAgain(since);
    });
  }

  #ask(): void {
    const heard = this.wire.heard;
    this.#asked = true;
    this.wire.ping();
    this.#schedule(PING_TIMEOUT_MS, () => {
      this.#asked = false;
      if (this.wire.heard === heard) this.#fallSilent();
      else this.#schedule(this.#keepalive - PING_TIMEOUT_MS, () => this.#ask());
    });
  }

  #fallSilent(): void {
    if (this.#silent) return;
    this.#silent = true;
    this.#asked = false;
    this.#askAgain();
    this.vital.handleSilent();
  }

  #askAgain(): void {
    if (this.clock.elapsed() - this.wire.heardAt >= LOST_MS) return this.vital.handleLost();
    this.wire.ping();
    this.#schedule(PING_AGAIN_MS, () => this.#askAgain());
  }

  get #keepalive(): number {
    return Math.min(Math.max(this.keepaliveMs, KEEPALIVE_MIN_MS), KEEPALIVE_MAX_MS);
  }

  #schedule(ms: number, callback: () => void): void {
    this.#cancelPing();
    this.#cancelPing = this.clock.after(ms, callback);
  }
}
