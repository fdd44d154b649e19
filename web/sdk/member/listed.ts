/** What the supernode's list says of a conversation, and what this device says of it to its owner. */

import type { Conversation as Summary } from '../client.ts';
import { idOf } from '../proto/ids.ts';
import type { Conversation as Listed } from '../proto/messages.ts';
import type { Changes } from './changes.ts';
import type { Conversation } from './conversation.ts';
import { toNumber } from './numbers.ts';
import type { Kind } from './record.ts';
import type { Scope } from './scope.ts';
import type { Sending } from './sending.ts';

/** Takes in what is listed. `false`: the supernode knows of messages that this device has not sent. */
export async function takeListed(conversation: Conversation, listed: Listed, scope: Scope, sending: Sending): Promise<boolean> {
  const kind = kindOf(listed);
  if (kind === null) return true;
  conversation.listed = true;
  const sent = toNumber(listed.sent);
  return scope.exclusive(conversation, async (changes) => {
    if (conversation.isGone) return true;
    const { record } = conversation;
    if (record.kind === null) {
      conversation.change({ kind, last: Math.max(record.last, sent) });
      conversation.changeRoll({ due: kind === 'group' || scope.people.key(kind.pair) === null });
    } else if (sent > record.last) {
      return false;
    } else if (JSON.stringify(record.kind) !== JSON.stringify(kind)) {
      // What a conversation is does not change.
      return true;
    }
    // A list may be older than an answer that came before it.
    await compare(conversation, listed, Math.max(sent, conversation.inLog), sending, changes);
    return true;
  });
}

async function compare(conversation: Conversation, listed: Listed, sent: number, sending: Sending, changes: Changes): Promise<void> {
  const first = conversation.queue.entries[0]?.number ?? conversation.record.last + 1;
  // 0 is also said by one that knows no number of this device any more, restored from a backup, and takes any: numbers that went out
  // name messages for good, and are not given again.
  if (sent > 0 && first > sent + 1) {
    // The log lacks messages that this device does not have any more: they are in nobody's, and given up.
    await sending.fail(conversation, changes);
    conversation.change({ last: sent });
  }
  conversation.queue.markSent(sent);
  conversation.receiptsKnown = Math.max(conversation.receiptsKnown, toNumber(listed.receiptsSerial));
  if (listed.generation > conversation.record.generation) conversation.fallOut(listed.generation, changes);
  if (listed.generation === conversation.record.generation) conversation.knownHead = Math.max(conversation.knownHead, toNumber(listed.head));
}

function kindOf(listed: Listed): Kind | null {
  if (listed.peer.length === 0) return 'group';
  const pair = idOf(listed.peer);
  return pair === null ? null : { pair };
}

/** A conversation as its owner sees it; `null` while it is not known with whom it is. */
export function summaryOf(conversation: Conversation, { identity, people }: Scope): Summary | null {
  const { record, roll, peer } = conversation;
  if (record.kind === null) return null;
  const standing = conversation.refused !== null ? 'refused' : conversation.isInside ? 'inside' : 'joining';
  return {
    conversation: conversation.id,
    pair: peer === null ? null : { account: peer, person: people.person(peer) },
    title: roll.title,
    standing,
    members: conversation.members(identity.account).length,
    head: record.head,
    read: record.read,
    unread: record.unread,
    last: record.lastLine,
  };
}
