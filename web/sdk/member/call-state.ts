/** A call of this device, as far as it has come. */

import type { AccountId, Call, CallId, Cause, ConversationId, DeviceId, LegId, Person } from '../client.ts';
import { hex, unhex } from '../proto/bytes.ts';
import { Cause as WireCause, type IncomingCall } from '../proto/messages.ts';
import type { OwnLeg, PeerLeg } from '../voice.ts';
import { hasFields, readJson } from './changes.ts';
import type { MemberSession } from './session.ts';

/** Legs of a call. */
const LEGS_MAX = 16;

/** How far a call has come. */
export type Phase =
  /** Outgoing: asks who has this name. */
  | 'finding'
  /** Outgoing: the conversation is being made, or brought up to date. */
  | 'preparing'
  /** Outgoing: the supernode has been told; it may ring. */
  | 'calling'
  /** Incoming: asks whose name the offer holds. Nobody has been told of it. */
  | 'checking'
  /** Incoming: rings here. */
  | 'incoming'
  /** Incoming: answered here, not attached yet. */
  | 'answering'
  /** This device's leg is attached, or being attached again. */
  | 'attached';

/** What another leg's sealed offer said. */
export interface Offer {
  leg: LegId;
  account: AccountId;
  device: DeviceId;
  key: Uint8Array;
}

export class CallState {
  /** This device's leg; its flow is known once it is attached. */
  own: { leg: LegId; key: Uint8Array; flow: bigint | null } | null = null;
  conversation: ConversationId | null = null;
  /** Opened offers of other legs, newest last: an offer opens once only. */
  offers: Offer[] = [];
  /** Legs that are up, one for each device. */
  readonly legs = new Map<DeviceId, PeerLeg>();
  callToken = new Uint8Array(0);
  /** Somebody's device rings. */
  rings = false;
  /** The voice runs. */
  isConnected = false;
  connectedAtMs: number | null = null;
  /** A call of the person whom this one goes to; the supernode ends one of the two. */
  crossing: IncomingCall | null = null;
  muted = false;
  quiet = false;
  /** Requests that failed for a reason that passes. */
  failures = 0;
  /** Counts how often it was taken up: what an earlier attempt comes to is of no account. */
  attempt = 0;
  /** Where its voice goes out. */
  session: MemberSession | null = null;

  constructor(
    readonly id: CallId,
    readonly direction: Call['direction'],
    public phase: Phase,
    public peer: Person,
  ) {}

  /** The leg that voice goes out by, once it is attached. */
  get ownLeg(): OwnLeg | null {
    return this.own === null || this.own.flow === null ? null : { leg: this.own.leg, flow: this.own.flow, key: this.own.key };
  }

  /** Whether a call of this account crosses with this one, and no other does. */
  crosses(caller: AccountId, call: CallId): boolean {
    if (this.crossing !== null && hex(this.crossing.call) !== call) return false;
    if (this.phase === 'finding') return true;
    return (this.phase === 'preparing' || this.phase === 'calling') && this.peer.account === caller;
  }

  /** Keeps an opened offer for when its leg comes up. */
  keepOffer(offer: Offer): void {
    this.offers = [...this.offers.filter(({ leg }) => leg !== offer.leg), offer].slice(-LEGS_MAX);
  }

  told(ended: { cause: Cause | null; refusal: Call['refusal'] } | null): Call {
    const { id, peer, direction, quiet, connectedAtMs } = this;
    return { call: id, peer, direction, state: ended === null ? this.#state() : 'ended', quiet, connectedAtMs, cause: ended?.cause ?? null, refusal: ended?.refusal ?? null };
  }

  #state(): Call['state'] {
    if (this.connectedAtMs !== null) return this.isConnected && this.legs.size > 0 ? 'connected' : 'lost';
    return this.rings || this.phase === 'incoming' || this.phase === 'answering' || this.phase === 'attached' ? 'ringing' : 'asking';
  }
}

/** What is kept of a call that stands, so that a process that begins anew can go on with it. Keys, flows and the token are text. */
export interface KeptCall {
  call: CallId;
  conversation: ConversationId;
  peer: Person;
  direction: Call['direction'];
  callToken: string;
  connectedAtMs: number;
  muted: boolean;
  legs: { leg: LegId; flow: string; key: string; device: DeviceId }[];
  /** When it was known to stand. */
  atMs: number;
}

export function keepCall(call: CallState, conversation: ConversationId, atMs: number): KeptCall {
  const legs = [...call.legs.values()].map(({ leg, flow, key, device }) => ({ leg, flow: String(flow), key: hex(key), device }));
  const { peer, direction, muted } = call;
  return { call: call.id, conversation, peer, direction, callToken: hex(call.callToken), connectedAtMs: call.connectedAtMs ?? atMs, muted, legs, atMs };
}

/** The call that {@link keepCall} kept; `null` where there is none, or it is too long ago. */
export function restoreCall(kept: Uint8Array | null, sinceMs: number): CallState | null {
  const record = readJson(kept, hasFields<KeptCall>('call', 'conversation', 'callToken', 'legs', 'atMs'));
  const token = record && unhex(record.callToken);
  if (record === null || !token || record.atMs < sinceMs) return null;
  const call = new CallState(record.call, record.direction, 'attached', record.peer);
  call.conversation = record.conversation;
  call.callToken = token;
  call.connectedAtMs = record.connectedAtMs;
  call.muted = record.muted;
  for (const { leg, flow, key, device } of record.legs) {
    const bytes = unhex(key);
    if (bytes === null) continue;
    call.legs.set(device, { leg, flow: BigInt(flow), key: bytes, device });
    call.keepOffer({ leg, account: record.peer.account, device, key: bytes });
  }
  return call;
}

const CAUSES: ReadonlyMap<WireCause, Cause> = new Map<WireCause, Cause>([
  [WireCause.HUNG_UP, 'hung-up'],
  [WireCause.CANCELLED, 'cancelled'],
  [WireCause.DECLINED, 'declined'],
  [WireCause.BUSY, 'busy'],
  [WireCause.NO_ANSWER, 'no-answer'],
  [WireCause.UNREACHABLE, 'unreachable'],
  [WireCause.ANSWERED_ELSEWHERE, 'answered-elsewhere'],
  [WireCause.DECLINED_ELSEWHERE, 'declined-elsewhere'],
  [WireCause.LOST, 'lost'],
  [WireCause.INCOMPATIBLE, 'incompatible'],
  [WireCause.SHUTTING_DOWN, 'shutting-down'],
  [WireCause.REQUESTED, 'requested'],
]);

export function causeOf(cause: WireCause): Cause {
  return CAUSES.get(cause) ?? 'lost';
}
