/** The exchange's calls: who rings whom, which legs are attached, and which datagrams go where. */

import { create } from '@bufbuild/protobuf';

import { equalBytes, hex, utf8 } from '../../proto/bytes.ts';
import { decodeFlow } from '../../proto/flow.ts';
import {
  CallEndedSchema,
  CallRingingSchema,
  Cause,
  DoneSchema,
  ErrorCode,
  IncomingCallSchema,
  LegAttachedSchema,
  LegDownSchema,
  LegUpSchema,
  type IncomingCall,
  type LegAttached,
} from '../../proto/messages.ts';
import type { ReplyBody, RequestBody } from '../../session/uplink.ts';
import { bytes, refuse, type Exchange, type ExchangeLink } from './exchange.ts';

interface Leg {
  leg: Uint8Array;
  account: string;
  device: string;
  flow: bigint;
  sealed: Uint8Array;
  isUp: boolean;
}

interface StoredCall {
  id: string;
  caller: string;
  callee: string;
  /** The caller's device and its leg, until somebody answers. */
  starting: { device: string; leg: Uint8Array; sealed: Uint8Array };
  incoming: IncomingCall;
  legs: Leg[];
}

const DONE: ReplyBody = { case: 'done', value: create(DoneSchema) };

export class ExchangeCalls {
  readonly all = new Map<string, StoredCall>();
  #flow = 100n;

  constructor(private readonly exchange: Exchange) {}

  answer(link: ExchangeLink, body: RequestBody): ReplyBody | null {
    switch (body.case) {
      case 'startCall':
        return this.#start(link, body.value);
      case 'answerCall': {
        const call = this.#call(body.value.call);
        if (call.legs.some(({ device }) => device !== link.identity.device && device !== call.starting.device)) refuse(ErrorCode.NOT_FOUND);
        for (const other of this.exchange.linksOf(call.callee)) if (other !== link) other.deliver(ended(call.id, Cause.ANSWERED_ELSEWHERE));
        return { case: 'legAttached', value: this.#attachBoth(call, link, body.value) };
      }
      case 'declineCall': {
        const call = this.all.get(hex(body.value.call));
        if (call !== undefined) this.end(call, body.value.cause, link);
        return DONE;
      }
      case 'hangUp': {
        const call = this.all.get(hex(body.value.call));
        const isRinging = call?.legs.length === 0;
        const isCaller = link.identity.account === call?.caller;
        if (call !== undefined) this.end(call, isRinging ? (isCaller ? Cause.CANCELLED : Cause.DECLINED) : body.value.cause, link);
        return DONE;
      }
      case 'attachLeg': {
        const call = [...this.all.values()].find(({ id }) => equalBytes(token(id, link.identity.device), body.value.callToken)) ?? refuse(ErrorCode.CALL_TOKEN_REFUSED);
        const attached = this.#attach(call, link.identity.device, link.identity.account, body.value);
        const others = call.legs.filter(({ device, isUp }) => isUp && device !== link.identity.device);
        queueMicrotask(() => others.forEach((leg) => link.deliver(legUp(call, leg))));
        return { case: 'legAttached', value: attached };
      }
      default:
        return null;
    }
  }

  /** Hands a datagram on to the other legs. */
  forward(device: string, datagram: Uint8Array): void {
    const flow = decodeFlow(datagram)?.flow;
    for (const { legs } of this.all.values()) {
      if (!legs.some((leg) => leg.device === device && leg.flow === flow)) continue;
      for (const leg of legs) if (leg.device !== device && leg.isUp) this.exchange.links.get(leg.device)?.deliverDatagram(datagram);
    }
  }

  signedIn(link: ExchangeLink): void {
    for (const { callee, legs, incoming } of this.all.values()) if (callee === link.identity.account && legs.length === 0) link.deliver({ case: 'incomingCall', value: incoming });
  }

  lost(device: string): void {
    for (const call of this.all.values()) {
      const leg = call.legs.find((other) => other.device === device && other.isUp);
      if (leg === undefined) continue;
      leg.isUp = false;
      for (const other of call.legs) if (other.isUp) this.exchange.links.get(other.device)?.deliver({ case: 'legDown', value: create(LegDownSchema, { call: bytes(call.id), leg: leg.leg }) });
    }
  }

  end(call: StoredCall, cause: Cause, but?: ExchangeLink): void {
    this.all.delete(call.id);
    for (const account of [call.caller, call.callee]) this.exchange.tell(account, ended(call.id, cause), but);
  }

  #call(id: Uint8Array): StoredCall {
    return this.all.get(hex(id)) ?? refuse(ErrorCode.NOT_FOUND);
  }

  #start(link: ExchangeLink, { call: id, conversation, leg, sealed }: Extract<RequestBody, { case: 'startCall' }>['value']): ReplyBody {
    const { account, device } = link.identity;
    const { peers } = this.exchange.conversations.all.get(hex(conversation)) ?? refuse(ErrorCode.NOT_FOUND);
    const callee = peers?.find((peer) => peer !== account) ?? refuse(ErrorCode.UNIMPLEMENTED);
    const incoming = create(IncomingCallSchema, { call: id, conversation, caller: bytes(account), leg, sealed });
    const call: StoredCall = { id: hex(id), caller: account, callee, starting: { device, leg, sealed }, incoming, legs: [] };
    const crossing = [...this.all.values()].find((other) => other.caller === callee && other.callee === account && other.legs.length === 0);
    if (crossing !== undefined && crossing.id < call.id) {
      queueMicrotask(() => link.deliver(ended(call.id, Cause.BUSY)));
      return DONE;
    }
    if (crossing !== undefined) this.end(crossing, Cause.BUSY);
    this.all.set(call.id, call);
    const devices = this.exchange.linksOf(callee);
    queueMicrotask(() => {
      if (devices.length === 0) return this.end(call, Cause.UNREACHABLE);
      link.deliver({ case: 'callRinging', value: create(CallRingingSchema, { call: id }) });
      for (const other of devices) other.deliver({ case: 'incomingCall', value: incoming });
    });
    return DONE;
  }

  #attachBoth(call: StoredCall, link: ExchangeLink, { leg, sealed }: { leg: Uint8Array; sealed: Uint8Array }): LegAttached {
    const { starting } = call;
    const attached = this.#attach(call, starting.device, call.caller, starting);
    this.exchange.links.get(starting.device)?.deliver({ case: 'legAttached', value: attached });
    const own = this.#attach(call, link.identity.device, link.identity.account, { leg, sealed });
    const caller = call.legs.find(({ device }) => device === starting.device);
    if (caller !== undefined) queueMicrotask(() => link.deliver(legUp(call, caller)));
    return own;
  }

  #attach(call: StoredCall, device: string, account: string, { leg, sealed }: { leg: Uint8Array; sealed: Uint8Array }): LegAttached {
    this.#flow += 1n;
    const made = { leg, account, device, flow: this.#flow, sealed, isUp: true };
    call.legs = [...call.legs.filter((other) => other.device !== device), made];
    for (const other of call.legs) if (other !== made && other.isUp) this.exchange.links.get(other.device)?.deliver(legUp(call, made));
    return create(LegAttachedSchema, { call: bytes(call.id), leg, flow: made.flow, callToken: token(call.id, device) });
  }
}

function token(call: string, device: string): Uint8Array {
  return utf8(`${call}/${device}`);
}

function legUp(call: StoredCall, { leg, flow, account, device, sealed }: Leg): ReplyBody {
  return { case: 'legUp', value: create(LegUpSchema, { call: bytes(call.id), leg, flow, account: bytes(account), device: bytes(device), sealed }) };
}

function ended(call: string, cause: Cause): ReplyBody {
  return { case: 'callEnded', value: create(CallEndedSchema, { call: bytes(call), cause }) };
}
