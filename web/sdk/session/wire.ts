/**
 * A link as a session reads it: messages instead of bytes, when something was last heard, and how long a round trip takes.
 *
 * It listens from the moment the link is made, so that nothing is lost while it is passed on.
 */

import type { Clock } from '../link/clock.ts';
import type { Link, LinkEnd } from '../link/link.ts';
import { encodeClientMessage, FrameError, SupernodeReader } from '../proto/frame.ts';
import { MESSAGE_MAX, UNPROVEN_MESSAGE_MAX } from '../proto/limits.ts';
import { ErrorCode, type ClientMessage, type SupernodeMessage } from '../proto/messages.ts';

/** Whoever listens to a wire. */
export interface Listener {
  handleMessage(message: SupernodeMessage): void;
  /** Not for those that answer a ping. */
  handleDatagram(bytes: Uint8Array): void;
  /** Anything has come. */
  handleHeard(): void;
  /** Once; the wire is of no use any more. */
  handleEnd(end: LinkEnd): void;
}

/** Bytes that wait for a listener: a challenge before the proof, the first events after it. */
const WAITING_MAX = MESSAGE_MAX;

/** A round trip that was measured counts so much against those before. */
const NEWEST_SHARE = 1 / 8;

const PING = new Uint8Array(0);

export class Wire {
  /** Of {@link Clock.elapsed}. */
  heardAt: number;
  /** How often something was heard. */
  heard = 0;
  /** `null` while nothing is measured. */
  roundTripMs: number | null = null;
  /** Bytes of a message on the stream that are taken. */
  limit = UNPROVEN_MESSAGE_MAX;
  readonly #reader = new SupernodeReader();
  #listener: Listener | null = null;
  #waiting = 0;
  #end: LinkEnd | null = null;
  /** `sure`: no other ping is under way, so that what answers answers this one. */
  #ping: { at: number; sure: boolean } | null = null;
  #closed = false;

  constructor(
    readonly link: Link,
    private readonly clock: Clock,
  ) {
    this.heardAt = clock.elapsed();
    link.onBytes = (bytes) => this.#take(bytes);
    link.onDatagram = (bytes) => this.#takeDatagram(bytes);
    link.onEnd = (end) => this.#over(end);
  }

  /** From now on this one listens; what waited comes first. */
  listen(listener: Listener): void {
    this.#listener = listener;
    this.#waiting = 0;
    this.#read();
    if (this.#end !== null && !this.#closed) listener.handleEnd(this.#end);
  }

  /** The link is a session: what comes next is for another listener, and may be longer. */
  becomeSession(): void {
    this.limit = MESSAGE_MAX;
    this.#listener = null;
  }

  send(message: ClientMessage): void {
    if (!this.#closed) this.link.send(encodeClientMessage(message));
  }

  sendDatagram(bytes: Uint8Array): void {
    if (!this.#closed && bytes.length <= this.link.datagramMax) this.link.sendDatagram(bytes);
  }

  /** What answers measures the round trip. */
  ping(): void {
    this.#ping = { at: this.clock.elapsed(), sure: this.#ping === null };
    this.sendDatagram(PING);
  }

  close(code: ErrorCode = ErrorCode.UNSPECIFIED, text = ''): void {
    if (this.#closed) return;
    this.#closed = true;
    this.link.close(code, text);
  }

  /** A round trip was measured. */
  measured(ms: number): void {
    this.roundTripMs = this.roundTripMs === null ? ms : this.roundTripMs + (ms - this.roundTripMs) * NEWEST_SHARE;
  }

  #take(bytes: Uint8Array): void {
    if (this.#closed) return;
    this.#reader.push(bytes);
    this.#hear();
    if (this.#listener !== null) return this.#read();
    this.#waiting += bytes.length;
    if (this.#waiting > WAITING_MAX) this.#fail(ErrorCode.MESSAGE_TOO_LONG, 'the supernode says much before it is asked');
  }

  #takeDatagram(bytes: Uint8Array): void {
    if (this.#closed) return;
    if (isPong(bytes)) {
      if (this.#ping?.sure) this.measured(this.clock.elapsed() - this.#ping.at);
      this.#ping = null;
    }
    this.#hear();
    if (!isPong(bytes)) this.#listener?.handleDatagram(bytes);
  }

  #hear(): void {
    this.heardAt = this.clock.elapsed();
    this.heard += 1;
    this.#listener?.handleHeard();
  }

  #read(): void {
    try {
      // A listener may close the wire, or hand it to another one, at any message.
      for (let next = this.#next(); next !== null; next = this.#next()) this.#listener?.handleMessage(next);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.#fail(ErrorCode.MALFORMED, error.message);
    }
  }

  #next(): SupernodeMessage | null {
    return this.#closed || this.#listener === null ? null : this.#reader.next(this.limit);
  }

  #fail(code: ErrorCode, text: string): void {
    this.close(code, text);
    this.#end = { code: null, text };
    this.#listener?.handleEnd(this.#end);
  }

  #over(end: LinkEnd): void {
    if (this.#closed) return;
    this.#end = end;
    this.#listener?.handleEnd(end);
  }
}

/** Chromium keeps empty datagrams to itself, so over WebTransport a ping comes back as flow 0, which is none (docs/protocol.md, section 4). */
function isPong(bytes: Uint8Array): boolean {
  return bytes.length === 0 || (bytes.length === 1 && bytes[0] === 0);
}
