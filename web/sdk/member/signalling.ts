/**
 * What the supernode says about calls, one thing after the other.
 *
 * An offer that is of an epoch to come waits until the log has been fetched; what else is about its call does not wait for it.
 */

import { create } from '@bufbuild/protobuf';

import type { CallId } from '../client.ts';
import { equalBytes, hex, unhex } from '../proto/bytes.ts';
import { idOf } from '../proto/ids.ts';
import { Cause as WireCause, FindAccountSchema, type IncomingCall, type LegUp } from '../proto/messages.ts';
import { SessionLost, type ReplyBody } from '../session/uplink.ts';
import type { VoiceEngine } from '../voice.ts';
import { causeOf, CallState } from './call-state.ts';
import type { Calls } from './calls.ts';
import { readJson } from './changes.ts';
import type { Contacts } from './contacts.ts';
import type { Conversation } from './conversation.ts';
import type { Conversations } from './conversations.ts';
import type { Offers, Opened } from './offers.ts';
import type { PeopleCommands } from './people-commands.ts';
import { passOver } from './refusals.ts';
import type { Scope } from './scope.ts';
import { Serial } from './serial.ts';
import type { MemberSession } from './session.ts';

/** Signalling that waits for its conversation: as many as calls may come in at once. Each holds a sealed part, all together 256 KiB. */
const HELD_MAX = 64;

/** Offers of calls that are remembered after they were opened: the supernode may bring a call again, and an offer opens once only. */
const OPENED_MAX = 64;

/** How long a call may ring: an offer that was opened longer ago is of no use. */
const OPENED_FOR_MS = 60_000;

const OPENED_KEY = 'offers';

/** A flow id is below this. */
const FLOW_END = 1n << 62n;

type Held = Extract<ReplyBody, { case: 'incomingCall' | 'legUp' }>;

export interface SignallingParts {
  scope: Scope;
  calls: Calls;
  offers: Offers;
  contacts: Contacts;
  people: PeopleCommands;
  conversations: Conversations;
  voice: VoiceEngine;
  lookIntoInbox: () => void;
}

export class Signalling {
  readonly #serial = new Serial();
  #held: { conversation: string; body: Held }[] = [];
  #opened: { call: CallId; opened: Opened; atMs: number }[] = [];

  constructor(private readonly parts: SignallingParts) {}

  /** Takes over what was opened by the process before this one: a call that rings is brought again. */
  async load(): Promise<void> {
    const { scope } = this.parts;
    const isList = (value: unknown): value is KeptOffer[] => Array.isArray(value);
    const kept = readJson(await scope.vault.read('state', OPENED_KEY), isList) ?? [];
    this.#opened = kept.flatMap(({ call, leg, account, device, key, accountKey, name, atMs }) => {
      const [bytes, accountBytes] = [unhex(key), unhex(accountKey)];
      if (bytes === null || accountBytes === null || atMs < scope.now() - OPENED_FOR_MS) return [];
      return [{ call, opened: { offer: { leg, account, device, key: bytes }, accountKey: accountBytes, name }, atMs }];
    });
  }

  /** The session is lost, and what waited with it. */
  end(): void {
    this.#held = [];
  }

  handle(body: ReplyBody, session: MemberSession): void {
    this.#serial.run(() => this.#take(body, session, false)).catch(passOver);
  }

  /** A call of the person whom another one goes to: the other one is over, or does not go to them. */
  crossed(call: CallState): void {
    const { crossing } = call;
    const { session } = this.parts.scope;
    call.crossing = null;
    if (crossing !== null && session !== null) this.handle({ case: 'incomingCall', value: crossing }, session);
  }

  /** A conversation is up to date, or refused, or gone: goes on with what waited for it. */
  settled({ id }: Conversation): void {
    const { session } = this.parts.scope;
    const ready = this.#held.filter(({ conversation }) => conversation === id);
    if (ready.length === 0 || session === null) return;
    this.#held = this.#held.filter(({ conversation }) => conversation !== id);
    for (const { body } of ready) this.#serial.run(() => this.#take(body, session, true)).catch(passOver);
  }

  async #take(body: ReplyBody, session: MemberSession, last: boolean): Promise<void> {
    const { calls } = this.parts;
    switch (body.case) {
      case 'incomingCall':
        return this.#takeIncoming(body.value, last);
      case 'legUp':
        return this.#takeLegUp(body.value, last);
      case 'callRinging': {
        const call = calls.get(idOf(body.value.call));
        if (call?.phase !== 'calling') return;
        call.rings = true;
        return calls.emit(call);
      }
      case 'legAttached':
        return calls.attached(body.value, session);
      case 'legDown': {
        const call = calls.get(idOf(body.value.call));
        const leg = [...(call?.legs.values() ?? [])].find((other) => other.leg === hex(body.value.leg));
        if (call === null || leg === undefined) return;
        call.legs.delete(leg.device);
        return call.isConnected ? calls.emit(call) : undefined;
      }
      case 'callEnded':
        return this.#takeEnded(hex(body.value.call), body.value.cause);
      case 'callToken': {
        const call = calls.get(idOf(body.value.call));
        return call === null ? undefined : calls.renew(call, body.value.callToken);
      }
      default:
        return;
    }
  }

  #takeEnded(id: CallId, cause: WireCause): void {
    const { calls } = this.parts;
    this.#held = this.#held.filter(({ body }) => hex(body.value.call) !== id);
    for (const call of calls.all) if (call.crossing !== null && hex(call.crossing.call) === id) call.crossing = null;
    const call = calls.get(id);
    if (call !== null) calls.end(call, causeOf(cause));
  }

  async #takeIncoming(incoming: IncomingCall, last: boolean): Promise<void> {
    const { scope, calls, offers } = this.parts;
    const [id, leg, conversation, caller] = [incoming.call, incoming.leg, incoming.conversation, incoming.caller].map(idOf);
    // To somebody who is blocked it is as if nobody were here.
    if (!id || !leg || !conversation || !caller || scope.isBlocked(caller)) return;
    // It has crossed with a call of ours, and the supernode ends one of them.
    const ours = calls.all.find((call) => call.id !== id && call.crosses(caller, id));
    if (ours !== undefined) {
      ours.crossing = incoming;
      return;
    }
    const known = this.#opened.find(({ call, opened }) => call === id && opened.offer.leg === leg);
    const opened = known?.opened ?? (await offers.open({ conversation, call: id, leg, account: caller }, incoming.sealed));
    if (opened === 'behind') return last ? undefined : this.#hold(conversation, { case: 'incomingCall', value: incoming });
    // Another device of this account may be able to open it.
    if (opened === 'sealed') return;
    if (opened === 'wrong') return calls.sendDecline(id, WireCause.INCOMPATIBLE);
    this.#remember(id, opened);
    const rings = calls.get(id);
    if (rings !== null) {
      // The caller has come back with another leg.
      rings.keepOffer(opened.offer);
      if (rings.phase === 'incoming') calls.bound(rings);
      return;
    }
    this.#consider(id, conversation, opened);
  }

  /** Lets a call ring once its caller's name is made sure of. */
  #consider(id: CallId, conversation: string, opened: Opened): void {
    const { scope, calls, contacts } = this.parts;
    const { name, offer } = opened;
    if (name === null) return calls.sendDecline(id, WireCause.INCOMPATIBLE);
    if (calls.isFull) return calls.sendDecline(id, WireCause.BUSY);
    const call = new CallState(id, 'incoming', 'checking', { account: offer.account, name });
    call.conversation = conversation;
    call.quiet = contacts.isQuiet;
    call.keepOffer(offer);
    calls.add(call);
    calls.bound(call);
    // A name that is known to be this account's has been made sure of before.
    if (scope.people.find(name) === offer.account) calls.ring(call);
    else this.#check(call, name, opened).catch(passOver);
  }

  async #check(call: CallState, name: string, { offer, accountKey }: Opened): Promise<void> {
    const { scope, calls, people } = this.parts;
    let isProven = false;
    // After a Resync it is asked again.
    for (let session = scope.session; session !== null && calls.isCurrent(call); session = scope.session) {
      try {
        const found = await session.insist({ case: 'findAccount', value: create(FindAccountSchema, { name }) }, 'accountFound');
        const account = await people.learn(name, found);
        const pinned = scope.people.key(offer.account);
        isProven = account === offer.account && pinned !== null && equalBytes(pinned, accountKey);
        break;
      } catch (error) {
        if (!(error instanceof SessionLost)) break;
      }
    }
    if (!calls.isCurrent(call) || call.phase !== 'checking') return;
    if (isProven) return calls.ring(call);
    calls.sendDecline(call.id, WireCause.INCOMPATIBLE);
    calls.end(call, 'incompatible');
  }

  async #takeLegUp(up: LegUp, last: boolean): Promise<void> {
    const { calls, offers, voice } = this.parts;
    const [leg, account, device] = [up.leg, up.account, up.device].map(idOf);
    const call = calls.get(idOf(up.call));
    if (!leg || !account || !device || call?.conversation == null || call.peer.account !== account || up.flow >= FLOW_END) return;
    const around = { conversation: call.conversation, call: call.id, leg, account };
    const known = call.offers.find((offer) => offer.leg === leg);
    const opened = known === undefined ? await offers.open(around, up.sealed) : null;
    if (opened === 'behind' && !last) return this.#hold(call.conversation, { case: 'legUp', value: up });
    if (!calls.isCurrent(call)) return;
    const offer = known ?? (opened === null || typeof opened === 'string' ? null : opened.offer);
    if (offer?.device !== device) {
      calls.sendHangUp(call.id, WireCause.INCOMPATIBLE);
      return calls.end(call, 'incompatible');
    }
    call.keepOffer(offer);
    const isBack = call.isConnected && call.legs.size === 0;
    const peerLeg = { leg, flow: up.flow, key: offer.key, device };
    const before = call.legs.get(device);
    call.legs.set(device, peerLeg);
    // Whoever attaches anew is told of the others again, whose voice goes on.
    if (call.isConnected && before?.leg === leg && before.flow === up.flow) return;
    if (!call.isConnected) return calls.connect(call);
    voice.handlePeerLeg(call.id, peerLeg);
    calls.renew(call, call.callToken);
    if (isBack) calls.emit(call);
  }

  /** Keeps a message until its conversation is up to date. */
  #hold(conversation: string, body: Held): void {
    const { conversations } = this.parts;
    this.#held = [...this.#held, { conversation, body }].slice(-HELD_MAX);
    const isKnown = conversations.get(conversation) !== null;
    const entry = conversations.know(conversation, 0);
    if (entry === null) return;
    // It may be of an epoch to come.
    entry.doubt ||= entry.isInside;
    if (isKnown) conversations.wake(entry);
    else this.parts.lookIntoInbox();
  }

  #remember(call: CallId, opened: Opened): void {
    const others = this.#opened.filter((other) => other.call !== call || other.opened.offer.leg !== opened.offer.leg);
    this.#opened = [...others, { call, opened, atMs: this.parts.scope.now() }].slice(-OPENED_MAX);
    const kept = this.#opened.map(({ call: of, opened: { offer, accountKey, name }, atMs }): KeptOffer => {
      return { call: of, leg: offer.leg, account: offer.account, device: offer.device, key: hex(offer.key), accountKey: hex(accountKey), name, atMs };
    });
    this.parts.scope.change((changes) => changes.putJson('state', OPENED_KEY, kept)).catch(passOver);
  }
}

/** An opened offer, as it is kept; keys are hexadecimal. */
interface KeptOffer {
  call: CallId;
  leg: string;
  account: string;
  device: string;
  key: string;
  accountKey: string;
  name: string | null;
  atMs: number;
}
