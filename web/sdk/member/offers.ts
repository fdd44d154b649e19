/** Offers: the sealed part of call signalling, and the voice keys that come from it (docs/protocol.md, sections 8.1 and 8.3). */

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';

import type { AccountId, CallId, ConversationId, LegId } from '../client.ts';
import { hex } from '../proto/bytes.ts';
import { ID_LENGTH, idBytes, idOf } from '../proto/ids.ts';
import { CALL_SEALED_MAX } from '../proto/limits.ts';
import { Codec, LegOfferSchema, type LegOffer } from '../proto/messages.ts';
import { isName } from '../proto/name.ts';
import type { Offer } from './call-state.ts';
import type { Conversations } from './conversations.ts';
import { epochOfGroup } from './mls/group.ts';
import { voiceKey } from './mls/keys.ts';
import { MlsError } from './mls/message.ts';
import { conversationRefused } from './refusals.ts';
import type { Scope } from './scope.ts';
import { toNumber } from './numbers.ts';
import { vet } from './vet.ts';

/** An offer that has been opened and agrees with the message around it. */
export interface Opened {
  offer: Offer;
  /** Of the account that sealed it. */
  accountKey: Uint8Array;
  /** As the sealing device gives it; to be made sure of. */
  name: string | null;
}

/**
 * Why an offer was not opened: the conversation is not up to date with it (`behind`); it does not open here (`sealed`); it opens, and
 * is not what the message around it says, or has nothing in common with this device (`wrong`).
 */
export type OfferFault = 'behind' | 'sealed' | 'wrong';

/** What an offer came with. */
export interface Around {
  conversation: ConversationId;
  call: CallId;
  leg: LegId;
  account: AccountId;
}

export class Offers {
  constructor(
    private readonly scope: Scope,
    private readonly conversations: Conversations,
  ) {}

  /** A fresh leg of this device, and its offer sealed to the conversation. */
  async seal(call: CallId, id: ConversationId): Promise<{ leg: LegId; key: Uint8Array; sealed: Uint8Array }> {
    const { mls, identity, people, chance } = this.scope;
    const conversation = this.conversations.get(id);
    if (conversation === null || conversation.refused !== null) throw conversationRefused();
    const leg = hex(chance.bytes(ID_LENGTH));
    return this.scope.exclusive(conversation, async () => {
      const group = await conversation.group(mls);
      if (vet(mls.leaves(group), identity, conversation.peer, people) !== null) throw conversationRefused();
      const epoch = epochOfGroup(group);
      const secret = conversation.voiceSecret(epoch);
      if (secret === null) throw conversationRefused();
      const offer = create(LegOfferSchema, { call: idBytes(call), leg: idBytes(leg), epoch: BigInt(epoch), codecs: [Codec.OPUS], name: identity.name });
      const sealed = await conversation.seal(mls, toBinary(LegOfferSchema, offer));
      return { leg, key: voiceKey(secret, call, leg), sealed };
    });
  }

  /** Opens the offer of another account's leg. Whatever opens is used up: the group's state has moved on. */
  async open(around: Around, sealed: Uint8Array): Promise<Opened | OfferFault> {
    const conversation = this.conversations.get(around.conversation);
    if (conversation === null) return 'behind';
    if (sealed.length > CALL_SEALED_MAX) return 'sealed';
    try {
      return await this.scope.exclusive(conversation, async () => {
        const { sender, epoch, plain } = await conversation.unseal(this.scope.mls, sealed);
        const offer = parseOffer(plain);
        const standing = this.scope.people.standing(around.account, sender.accountKey);
        const agrees = offer !== null && sender.account === around.account && around.account !== this.scope.identity.account && standing !== 'changed';
        const secret = conversation.voiceSecret(epoch);
        if (!agrees || secret === null || !isOf(offer, around, epoch)) return 'wrong';
        const key = voiceKey(secret, around.call, around.leg);
        const name = isName(offer.name) ? offer.name : null;
        return { offer: { leg: around.leg, account: around.account, device: sender.device, key }, accountKey: sender.accountKey, name };
      });
    } catch (error) {
      if (!(error instanceof MlsError)) throw error;
      return error.fault === 'future' || error.fault === 'no-group' ? 'behind' : 'sealed';
    }
  }
}

function parseOffer(plain: Uint8Array): LegOffer | null {
  try {
    return fromBinary(LegOfferSchema, plain);
  } catch {
    return null;
  }
}

function isOf(offer: LegOffer, { call, leg }: Around, epoch: number): boolean {
  return idOf(offer.call) === call && idOf(offer.leg) === leg && toNumber(offer.epoch) === epoch && offer.codecs.includes(Codec.OPUS);
}
