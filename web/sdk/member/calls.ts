/**
 * The calls of this device: one at a time; whoever calls beyond that is told BUSY at once.
 *
 * A call goes from finding the person and a conversation with them (outgoing), or opening the caller's offer and making sure of their
 * name (incoming), to ringing, to attached legs. An attached call outlives its session, and the process that it began in.
 */

import { create } from '@bufbuild/protobuf';

import { Refusal, type Call, type CallId, type Cause, type CallQuality } from '../client.ts';
import { hex } from '../proto/bytes.ts';
import { ID_LENGTH, idBytes } from '../proto/ids.ts';
import { AnswerCallSchema, AttachLegSchema, Cause as WireCause, DeclineCallSchema, ErrorCode, HangUpSchema, StartCallSchema, type LegAttached } from '../proto/messages.ts';
import { foldName } from '../proto/name.ts';
import { Refused, SessionLost, type RequestBody } from '../session/uplink.ts';
import type { VoiceEngine } from '../voice.ts';
import { CallState, keepCall, restoreCall } from './call-state.ts';
import { Timers } from './clock.ts';
import type { Making } from './making.ts';
import { MlsError } from './mls/message.ts';
import type { Offers } from './offers.ts';
import type { PeopleCommands } from './people-commands.ts';
import { conversationRefused, isCode, passes, passOver, refusalOf } from './refusals.ts';
import type { Scope } from './scope.ts';
import { CALL_PAUSES, type MemberSession } from './session.ts';

/** How long a call waits for a session to come back: one that died may take longer to be replaced than a leg is kept. */
const PATIENCE_MS = 60_000;

/** How long a call rings that nobody ends: the supernode does so after 45 s, unless it has died with the call. */
const RINGS_AT_MOST_MS = 60_000;

/** How long a ring that has lost its call goes on after a Resync. */
const RINGS_AFTER_RESYNC_MS = 45_000;

/** A call that stood longer ago than this when its process ended is over: nobody waits for a leg longer. */
const KEPT_FOR_MS = 10_000;

/** How long after a beginning a call that rang before may take to be brought again: a session comes up within some seconds. */
const BROUGHT_WITHIN_MS = 8_000;

/** How often a call that stands is written down. */
const KEEP_EVERY_MS = 2_000;

const QUALITY_EVERY_MS = 1_000;

/** Times that a step of a call is asked for: with pauses of 1, 2 and 4 s and half of that on top, 7 to 11 s. */
const ATTEMPTS_MAX = 4;

/** Calls hung up or declined that the supernode may not have heard of. */
const FAREWELLS_MAX = 64;

const KEPT_KEY = 'call';

type TimerName = `give-up/${CallId}` | `ring/${CallId}` | `quality/${CallId}` | `keep/${CallId}`;

/** What others have to do when calls come and go. */
export interface CallsTold {
  /** A call that crossed with one that is over gets its turn. */
  crossed(call: CallState): void;
  roundTripMs(): number;
}

export class Calls {
  readonly #calls = new Map<CallId, CallState>();
  readonly #timers: Timers<TimerName>;
  #farewells: { call: CallId; body: RequestBody }[] = [];
  /** Calls that are to be answered as soon as they ring here. */
  readonly #awaited = new Map<CallId, () => void>();
  readonly #openedAt: number;

  constructor(
    private readonly scope: Scope,
    private readonly offers: Offers,
    private readonly people: PeopleCommands,
    private readonly making: Making,
    private readonly voice: VoiceEngine,
    private readonly told: CallsTold,
  ) {
    this.#timers = new Timers(scope.clock);
    this.#openedAt = scope.now();
  }

  /** Takes up a call that stood when the process before this one ended, if that was a moment ago. */
  async load(): Promise<void> {
    const now = this.scope.now();
    const kept = await this.scope.vault.read('state', KEPT_KEY);
    const call = restoreCall(kept, now - KEPT_FOR_MS);
    if (kept !== null && call === null) await this.scope.change((changes) => changes.remove('state', KEPT_KEY));
    if (call === null) return;
    this.#calls.set(call.id, call);
    this.#setGiveUp(call, PATIENCE_MS);
  }

  list(): Call[] {
    return [...this.#calls.values()].filter(({ phase }) => phase !== 'checking' && phase !== 'finding').map((call) => call.told(null));
  }

  /** Decides how hard the session tries to stay. */
  get isInCall(): boolean {
    return [...this.#calls.values()].some(({ phase }) => phase === 'calling' || phase === 'answering' || phase === 'attached');
  }

  /** Whether this device takes no more calls. */
  get isFull(): boolean {
    return this.#calls.size > 0;
  }

  get(id: CallId | null): CallState | null {
    return this.#calls.get(id ?? '') ?? null;
  }

  get all(): CallState[] {
    return [...this.#calls.values()];
  }

  add(call: CallState): void {
    this.#calls.set(call.id, call);
  }

  isCurrent(call: CallState): boolean {
    return this.#calls.get(call.id) === call;
  }

  /** Calls somebody. Resolves once they are found; what comes of it is told by events. */
  async call(name: string): Promise<CallId> {
    await this.scope.sessionSoon();
    if (this.isFull) throw new Refusal('limit', 'This device is in a call already.');
    const call = new CallState(hex(this.scope.chance.bytes(ID_LENGTH)), 'outgoing', 'finding', { account: '', name: foldName(name) });
    this.add(call);
    try {
      call.peer = await this.#findAgain(call);
    } catch (error) {
      this.end(call, null);
      throw refusalOf(error);
    }
    if (this.isCurrent(call)) void this.#prepare(call);
    return call.id;
  }

  /** A call that rang when the process before this one ended is waited for: it is brought again. */
  async answer(id: CallId): Promise<void> {
    if (this.get(id) === null && this.scope.now() - this.#openedAt < BROUGHT_WITHIN_MS) await this.#brought(id);
    const session = await this.scope.sessionSoon();
    const call = this.#ringing(id);
    call.phase = 'answering';
    this.#timers.cancel(`give-up/${id}`);
    this.emit(call);
    void this.#ask(call, session);
  }

  decline(id: CallId): void {
    const call = this.#ringing(id);
    this.sendDecline(id, WireCause.DECLINED);
    this.end(call, 'declined');
  }

  /** Ends a call, answered or not; works without a session too. */
  hangUp(id: CallId): void {
    const call = this.get(id);
    if (call === null || call.phase === 'checking') throw noSuchCall();
    if (call.phase === 'incoming') return this.decline(id);
    const isAnswered = call.ownLeg !== null || call.phase === 'answering' || call.phase === 'attached';
    if (call.phase !== 'finding' && call.phase !== 'preparing') this.sendHangUp(id, WireCause.HUNG_UP);
    this.end(call, isAnswered ? 'hung-up' : 'cancelled');
  }

  setMuted(id: CallId, muted: boolean): void {
    const call = this.get(id);
    if (call === null) throw noSuchCall();
    call.muted = muted;
    if (call.isConnected) this.voice.setMuted(id, muted);
  }

  /** A session is up: says what the supernode may not have heard, and takes up what an earlier session left. */
  begin(session: MemberSession): void {
    this.#sayFarewells(session);
    for (const call of this.all) {
      if (!this.#timers.isSet(`give-up/${call.id}`)) continue;
      if (call.phase === 'calling' || call.phase === 'answering' || call.phase === 'attached') void this.#ask(call, session);
    }
  }

  /** The session is lost: keeps, for a while, calls that the supernode may still have; any other is lost with it. */
  suspend(): void {
    for (const call of this.all) {
      call.crossing = null;
      call.attempt += 1;
      if (call.phase === 'calling' || call.phase === 'answering' || call.phase === 'attached') this.#setGiveUp(call, PATIENCE_MS);
      else if (call.phase === 'finding' || call.phase === 'preparing') this.end(call, null, refusalOf(new SessionLost()));
      // If it still rings, the next session brings it again.
      else this.end(call, 'lost');
    }
  }

  /** The session goes on, on another link or with another home: calls ring and speak on. Those that nobody speaks of any more end in time. */
  keep(): void {
    for (const call of this.all) {
      call.failures = 0;
      call.attempt += 1;
      const isRinging = call.phase === 'incoming' || call.phase === 'checking';
      this.#setGiveUp(call, isRinging ? RINGS_AFTER_RESYNC_MS : PATIENCE_MS);
    }
  }

  /** This device may do nothing more. */
  stop(): void {
    for (const call of this.all) this.end(call, 'lost');
    this.#timers.cancelAll();
  }

  /** Lets a call be for the process that comes after this one. */
  async close(): Promise<void> {
    const standing = this.all.find(({ isConnected, conversation }) => isConnected && conversation !== null);
    for (const call of this.all) this.voice.stop(call.id);
    this.#timers.cancelAll();
    this.#calls.clear();
    if (standing?.conversation == null) return;
    const kept = keepCall(standing, standing.conversation, this.scope.now());
    await this.scope.change((changes) => changes.putJson('state', KEPT_KEY, kept)).catch(passOver);
  }

  emit(call: CallState): void {
    this.scope.emit({ kind: 'call', call: call.told(null) });
  }

  /** A call rings here. */
  ring(call: CallState): void {
    call.phase = 'incoming';
    this.emit(call);
    this.#awaited.get(call.id)?.();
  }

  /** It may ring for so long from now on; it has been told of, again. */
  bound(call: CallState): void {
    this.#timers.cancel(`give-up/${call.id}`);
    this.#timers.set(`ring/${call.id}`, RINGS_AT_MOST_MS, () => this.end(call, 'lost'));
  }

  /** This device's leg is attached: for the first time, or again. */
  attached({ call: bytes, leg, flow, callToken }: LegAttached, session: MemberSession): void {
    const call = this.get(hex(bytes));
    if (call?.own == null || call.own.leg !== hex(leg)) return;
    call.own.flow = flow;
    call.callToken = Uint8Array.from(callToken);
    call.phase = 'attached';
    call.failures = 0;
    call.session = session;
    this.#timers.cancel(`give-up/${call.id}`);
    this.#timers.cancel(`ring/${call.id}`);
    const own = call.ownLeg;
    if (call.isConnected && own !== null) {
      this.voice.handleOwnLeg(call.id, own);
      this.#write(call);
    } else {
      this.connect(call);
    }
  }

  /** Says that the call stands, once both sides are attached. */
  connect(call: CallState): void {
    const own = call.ownLeg;
    if (own === null || call.isConnected || call.legs.size === 0) return;
    call.isConnected = true;
    call.connectedAtMs ??= this.scope.now();
    this.voice.start(call.id, own, [...call.legs.values()], (datagram) => call.session?.sendDatagram(datagram));
    if (call.muted) this.voice.setMuted(call.id, true);
    this.emit(call);
    this.#write(call);
    this.#tellQuality(call);
  }

  /** Another call token. */
  renew(call: CallState, callToken: Uint8Array): void {
    call.callToken = Uint8Array.from(callToken);
    this.#write(call);
  }

  /** Ends a call, if it has not ended. A call that crossed with it gets its turn. */
  end(call: CallState, cause: Cause | null, refusal: Refusal | null = null): void {
    if (!this.isCurrent(call)) return;
    this.#calls.delete(call.id);
    for (const kind of ['give-up', 'ring', 'quality', 'keep'] as const) this.#timers.cancel(`${kind}/${call.id}`);
    if (call.isConnected) this.voice.stop(call.id);
    const isKept = call.connectedAtMs !== null;
    if (isKept) this.scope.change((changes) => changes.remove('state', KEPT_KEY)).catch(passOver);
    // Nobody has been told of a call that is still being checked, or whose name is being looked up.
    const isTold = call.phase !== 'checking' && call.phase !== 'finding';
    const told = refusal && { reason: refusal.reason, text: refusal.message };
    if (isTold) this.scope.emit({ kind: 'call', call: call.told({ cause, refusal: told }) });
    if (call.crossing !== null) this.told.crossed(call);
  }

  sendDecline(call: CallId, cause: WireCause): void {
    this.#farewell(call, { case: 'declineCall', value: create(DeclineCallSchema, { call: idBytes(call), cause }) });
  }

  sendHangUp(call: CallId, cause: WireCause): void {
    this.#farewell(call, { case: 'hangUp', value: create(HangUpSchema, { call: idBytes(call), cause }) });
  }

  #brought(id: CallId): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        this.#awaited.delete(id);
        resolve();
      };
      const cancel = this.scope.clock.after(BROUGHT_WITHIN_MS, done);
      this.#awaited.set(id, done);
    });
  }

  #ringing(id: CallId): CallState {
    const call = this.get(id);
    if (call?.phase !== 'incoming') throw noSuchCall();
    return call;
  }

  /** Looks the name up, once more if the session is resynchronised meanwhile. */
  async #findAgain(call: CallState): Promise<CallState['peer']> {
    try {
      return await this.people.callee(call.peer.name);
    } catch (error) {
      const isResync = error instanceof Refusal && error.reason === 'offline' && this.scope.session !== null && this.isCurrent(call);
      if (!isResync) throw error;
      return this.people.callee(call.peer.name);
    }
  }

  /** Finds or makes the conversation, and calls. */
  async #prepare(call: CallState): Promise<void> {
    call.phase = 'preparing';
    this.emit(call);
    this.#timers.cancel(`give-up/${call.id}`);
    // Now it is known whether the other call does cross.
    if (call.crossing !== null) this.told.crossed(call);
    for (;;) {
      const { attempt } = call;
      try {
        const conversation = await this.making.pair(call.peer.account);
        if (!this.isCurrent(call)) return;
        call.conversation = conversation.id;
        call.phase = 'calling';
        return await this.#ask(call, this.scope.requireSession());
      } catch (error) {
        if (!this.isCurrent(call)) return;
        // A resync: everything is asked for anew.
        if (call.attempt !== attempt && this.scope.session !== null) continue;
        if (error instanceof Refusal && error.reason === 'requested') return this.end(call, 'requested');
        if (await this.#mayAskAgain(call, error)) continue;
        return this.end(call, null, refusalOf(error));
      }
    }
  }

  /** Asks anew for what moves a call on, each time with a fresh leg: that it rings, that it is answered, that its leg is attached. */
  async #ask(call: CallState, session: MemberSession): Promise<void> {
    call.attempt += 1;
    const { attempt } = call;
    for (;;) {
      try {
        if (await this.#askOnce(call, session, attempt)) return;
      } catch (error) {
        if (error instanceof SessionLost || !this.isCurrent(call) || call.attempt !== attempt) return;
        if (error instanceof MlsError || (error instanceof Refusal && error.reason === 'conversation-refused')) return this.#giveUp(call);
        const isAgain = await this.#mayAskAgain(call, error).catch(() => null);
        if (isAgain === null || call.attempt !== attempt || !this.isCurrent(call)) return;
        if (!isAgain) return this.#refused(call, error);
      }
    }
  }

  /** `true`: there is nothing to ask again. */
  async #askOnce(call: CallState, session: MemberSession, attempt: number): Promise<boolean> {
    if (call.conversation === null) throw conversationRefused();
    const { leg, key, sealed } = await this.offers.seal(call.id, call.conversation);
    if (!this.isCurrent(call) || call.attempt !== attempt) return true;
    call.own = { leg, key, flow: null };
    const ids = { call: idBytes(call.id), leg: idBytes(leg), sealed };
    if (call.phase === 'calling') {
      await session.ask({ case: 'startCall', value: create(StartCallSchema, { ...ids, conversation: idBytes(call.conversation) }) }, 'done');
      // From here on it is the supernode that ends it, unless that forgets it.
      if (this.isCurrent(call) && call.attempt === attempt && call.phase === 'calling') this.bound(call);
      return true;
    }
    const body: RequestBody =
      call.phase === 'answering'
        ? { case: 'answerCall', value: create(AnswerCallSchema, ids) }
        : { case: 'attachLeg', value: create(AttachLegSchema, { callToken: call.callToken, leg: ids.leg, sealed }) };
    this.attached(await session.ask(body, 'legAttached'), session);
    return true;
  }

  /** Waits before a step is asked for again; `false` when it has been asked for often enough, or would not be had later either. */
  async #mayAskAgain(call: CallState, error: unknown): Promise<boolean> {
    const isRefusal = error instanceof Refusal && error.retryAfterMs > 0;
    const { session } = this.scope;
    if ((!passes(error) && !isRefusal) || session === null) return false;
    call.failures += 1;
    // A leg that was attached before has its own patience.
    const isAttached = call.phase === 'attached';
    if (call.failures >= ATTEMPTS_MAX && !isAttached) return false;
    await session.pause(call.failures - 1, error.retryAfterMs, isAttached ? CALL_PAUSES : undefined);
    return this.isCurrent(call);
  }

  #refused(call: CallState, error: unknown): void {
    if (call.phase === 'answering' && isCode(error, ErrorCode.NOT_FOUND)) return this.end(call, 'answered-elsewhere');
    if (call.phase === 'attached') return this.end(call, 'lost');
    if (error instanceof Refused || error instanceof Refusal) return this.end(call, null, refusalOf(error));
    this.end(call, 'lost');
    passOver(error);
  }

  /** Its offer can't be sealed. With a leg it was asked for before: the supernode may have it, and it would ring into nothing there. */
  #giveUp(call: CallState): void {
    if (call.phase !== 'calling' || call.own !== null) this.sendHangUp(call.id, WireCause.INCOMPATIBLE);
    this.end(call, 'incompatible');
  }

  #setGiveUp(call: CallState, ms: number): void {
    this.#timers.set(`give-up/${call.id}`, ms, () => this.end(call, 'lost'));
  }

  #farewell(call: CallId, body: RequestBody): void {
    const { session } = this.scope;
    if (session === null) this.#owe(call, body);
    else this.#sayFarewell(call, body, session);
  }

  #sayFarewell(call: CallId, body: RequestBody, session: MemberSession): void {
    session.insist(body, 'done').catch((error: unknown) => {
      // The supernode may not have heard it: the peer would wait for this leg to return.
      if (error instanceof SessionLost) this.#owe(call, body);
      else passOver(error);
    });
  }

  #owe(call: CallId, body: RequestBody): void {
    this.#farewells = [...this.#farewells, { call, body }].slice(-FAREWELLS_MAX);
    if (this.scope.session !== null) this.#sayFarewells(this.scope.session);
  }

  #sayFarewells(session: MemberSession): void {
    for (const { call, body } of this.#farewells.splice(0)) this.#sayFarewell(call, body, session);
  }

  #tellQuality(call: CallState): void {
    this.#timers.set(`quality/${call.id}`, QUALITY_EVERY_MS, () => {
      const quality = this.voice.quality(call.id);
      if (quality !== null) {
        const told: CallQuality = { ...quality, call: call.id, roundTripMs: this.told.roundTripMs() };
        this.scope.emit({ kind: 'quality', quality: told });
      }
      this.#tellQuality(call);
    });
  }

  /** Writes down that the call stands, now and again after a while. */
  #write(call: CallState): void {
    const { conversation } = call;
    if (!call.isConnected || conversation === null || !this.isCurrent(call)) return;
    const kept = keepCall(call, conversation, this.scope.now());
    this.#timers.set(`keep/${call.id}`, KEEP_EVERY_MS, () => this.#write(call));
    this.scope.change((changes) => (this.isCurrent(call) ? changes.putJson('state', KEPT_KEY, kept) : undefined)).catch(passOver);
  }
}

function noSuchCall(): Refusal {
  return new Refusal('network', 'There is no such call any more.');
}
