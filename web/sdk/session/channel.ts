/** Requests on a session and what comes of them: numbers, answers, the bound on unanswered ones (docs/protocol.md, section 5). */

import { create, toBinary } from '@bufbuild/protobuf';

import type { Clock } from '../link/clock.ts';
import type { LinkEnd } from '../link/link.ts';
import { LARGE_MESSAGE_MAX, MESSAGE_MAX, REQUESTS_IN_FLIGHT_MAX } from '../proto/limits.ts';
import { ClientMessageSchema, ErrorCode, type ClientMessage, type SupernodeMessage } from '../proto/messages.ts';
import { PROVE, type Session } from './sign-in.ts';
import { Refused, SessionLost, type ReplyBody, type RequestBody, type Uplink } from './uplink.ts';

/** Requests that wait for room: a client asks for as many only when it has much to catch up with. */
const QUEUE_MAX = 256;

/** Bytes that have not left: above that, requests wait, so that what is urgent is not behind all of them. */
const UNSENT_MAX = 256 * 1024;

/** How often it is looked whether they have left. */
const UNSENT_LOOK_MS = 50;

/** What whoever is refused for want of room should wait. */
const BUSY_RETRY_MS = 1_000;

/** Codes from here on end the link. */
const CLOSING_CODES = 100;

/** Whoever owns a channel. */
export interface ChannelOwner {
  handleEvent(body: ReplyBody): void;
  handleDatagram(bytes: Uint8Array): void;
  handleHeard(): void;
  /** The link is over. `retryAfterMs`: as the supernode asked. */
  handleEnd(end: LinkEnd, retryAfterMs: number): void;
  /** A request was sent. */
  handleAsked(body: RequestBody): void;
}

interface Waiting {
  body: RequestBody;
  resolve(body: ReplyBody): void;
  reject(error: Error): void;
}

export class Channel implements Uplink {
  readonly welcome: Session['welcome'];
  /** By number; `null`: of before a Resync, nobody waits for it. */
  readonly #unanswered = new Map<bigint, Waiting | null>();
  readonly #queue: Waiting[] = [];
  #last = PROVE;
  #over = false;
  #lastWord: { code: ErrorCode; text: string; retryAfterMs: number } | null = null;
  #cancelLook: (() => void) | null = null;

  constructor(
    readonly session: Session,
    private readonly clock: Clock,
    private readonly owner: ChannelOwner,
  ) {
    this.welcome = session.welcome;
  }

  /** Begins to listen; what waited comes at once. */
  open(): void {
    this.session.wire.listen({
      handleMessage: (message) => this.#take(message),
      handleDatagram: (bytes) => this.owner.handleDatagram(bytes),
      handleHeard: () => this.owner.handleHeard(),
      handleEnd: (end) => this.#end(end),
    });
  }

  request(body: RequestBody): Promise<ReplyBody> {
    if (this.#over) return Promise.reject(new SessionLost('the session is over'));
    const refusal = this.#refusalOf(body);
    if (refusal !== null) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      this.#queue.push({ body, resolve, reject });
      this.#pump();
    });
  }

  sendDatagram(bytes: Uint8Array): void {
    this.session.wire.sendDatagram(bytes);
  }

  /** All that is unanswered counts as lost; what comes of it after all is ignored. Numbers go on. */
  resync(): void {
    const lost = [...this.#unanswered.values(), ...this.#queue.splice(0)];
    for (const number of this.#unanswered.keys()) this.#unanswered.set(number, null);
    for (const waiting of lost) waiting?.reject(new SessionLost('the session was resynchronised'));
  }

  /** Nothing more is asked or answered on it; datagrams go on until the wire is closed. */
  retire(): void {
    if (this.#over) return;
    this.#over = true;
    this.#cancelLook?.();
    this.resync();
  }

  close(): void {
    this.retire();
    this.session.wire.close();
  }

  /** Unanswered requests, those included for which nobody waits. */
  get unanswered(): number {
    return this.#unanswered.size;
  }

  #refusalOf(body: RequestBody): Refused | null {
    if (this.#queue.length >= QUEUE_MAX) return new Refused(ErrorCode.UNAVAILABLE, 'too much was asked at once', BUSY_RETRY_MS);
    const mayBeLong = body.case === 'commit' || body.case === 'createConversation';
    const length = toBinary(ClientMessageSchema, envelope(this.#last, body)).length;
    const fits = length <= (mayBeLong ? LARGE_MESSAGE_MAX : MESSAGE_MAX) - NUMBER_ROOM;
    return fits ? null : new Refused(ErrorCode.INVALID_ARGUMENT, 'it is too long', 0);
  }

  #pump(): void {
    while (this.#queue.length > 0 && this.#unanswered.size < REQUESTS_IN_FLIGHT_MAX) {
      if (this.session.wire.link.unsent > UNSENT_MAX) return this.#lookAgain();
      const waiting = this.#queue.shift();
      if (waiting === undefined) return;
      this.#last += 1n;
      this.#unanswered.set(this.#last, waiting);
      this.session.wire.send(envelope(this.#last, waiting.body));
      this.owner.handleAsked(waiting.body);
    }
  }

  #lookAgain(): void {
    this.#cancelLook ??= this.clock.after(UNSENT_LOOK_MS, () => {
      this.#cancelLook = null;
      this.#pump();
    });
  }

  #take({ inReplyTo, body }: SupernodeMessage): void {
    if (this.#over) return;
    if (body.case === 'error' && (inReplyTo === 0n || body.value.code >= CLOSING_CODES)) {
      // The last message of the link; its close follows.
      this.#lastWord = body.value;
    } else if (inReplyTo === 0n) {
      if (body.case !== undefined) this.owner.handleEvent(body);
    } else {
      this.#answer(inReplyTo, body);
    }
  }

  #answer(number: bigint, body: SupernodeMessage['body']): void {
    const waiting = this.#unanswered.get(number);
    if (waiting === undefined) return;
    this.#unanswered.delete(number);
    if (waiting !== null) {
      if (body.case === 'error') waiting.reject(new Refused(body.value.code, body.value.text, body.value.retryAfterMs));
      // An answer of a kind that is not known: there is none to wait for.
      else if (body.case === undefined) waiting.reject(new Refused(ErrorCode.UNIMPLEMENTED, 'the answer is not known here', 0));
      else waiting.resolve(body);
    }
    this.#pump();
  }

  #end(end: LinkEnd): void {
    if (this.#over) return;
    const word = this.#lastWord;
    this.retire();
    const code = end.code ?? word?.code ?? null;
    this.owner.handleEnd({ code, text: word?.text ?? end.text }, word?.retryAfterMs ?? 0);
  }
}

/** Bytes that a request's number may take more than the last one's. */
const NUMBER_ROOM = 10;

function envelope(request: bigint, body: RequestBody): ClientMessage {
  return create(ClientMessageSchema, { request, body });
}
