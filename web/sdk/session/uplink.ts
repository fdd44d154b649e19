/**
 * The seam between a session and the client's state above it: the session keeps links up and matches answers to requests, the
 * member decides what to ask and what to make of what comes.
 */

import type { ClientMessage, ErrorCode, SupernodeMessage, Welcome } from '../proto/messages.ts';

export type RequestBody = Exclude<ClientMessage['body'], { case: undefined }>;
export type ReplyBody = Exclude<SupernodeMessage['body'], { case: undefined }>;

/** A request was refused by the supernode. */
export class Refused extends Error {
  override readonly name = 'Refused';
  constructor(
    readonly code: ErrorCode,
    text: string,
    readonly retryAfterMs: number,
  ) {
    super(text);
  }
}

/** The session went down, or was resynchronised, before the answer came: whether the request was carried out is not known. */
export class SessionLost extends Error {
  override readonly name = 'SessionLost';
}

/** A session that is up. What is asked of one that has ended rejects with {@link SessionLost}. */
export interface Uplink {
  readonly welcome: Welcome;
  /** Sends a request. Resolves with the answer's body, rejects with {@link Refused} or {@link SessionLost}. Never retries. */
  request(body: RequestBody): Promise<ReplyBody>;
  /** Drops it where the network is slower. */
  sendDatagram(bytes: Uint8Array): void;
}

/** The client's state above sessions, as the session's driver sees it. */
export interface Upper {
  /**
   * A session is up, for the first time, again, or on another supernode (`moved`: the old one lasted until now). Requests that
   * were unanswered have been rejected before.
   */
  handleUp(uplink: Uplink, moved: boolean): void;
  /** The session is gone; another one follows by itself. */
  handleDown(): void;
  /** As after {@link handleUp}, on the same link: all that was unanswered has been rejected (docs/protocol.md, section 5, Resync). */
  handleResync(uplink: Uplink): void;
  handleEvent(body: ReplyBody): void;
  handleDatagram(bytes: Uint8Array): void;
  /** Decides `Prove.urgency` and how fast a silent link is given up. */
  isInCall(): boolean;
}
