/**
 * What this device writes: from the command, by the queue, into the log.
 *
 * A command takes effect in the history at once and is durable before anything else happens; everything after it may be repeated. A
 * message leaves once this device is up to date, nobody stands in the group who should not, and all messages before it have left; so
 * the log holds each of them once, in order.
 */

import { create } from '@bufbuild/protobuf';

import { Refusal, type MessageRef } from '../client.ts';
import { idBytes } from '../proto/ids.ts';
import { ErrorCode, SendMessageSchema } from '../proto/messages.ts';
import { Refused } from '../session/uplink.ts';
import type { Changes } from './changes.ts';
import { writeContent, type Said } from './content.ts';
import type { Conversation } from './conversation.ts';
import type { Log } from './log.ts';
import { toNumber } from './numbers.ts';
import type { Queued, Sealed } from './queue.ts';
import { isCode, noSuchConversation, passes } from './refusals.ts';
import type { Scope } from './scope.ts';
import type { MemberSession } from './session.ts';

/** Refusals after which a queue is left alone for the session. */
const FAILURES_MAX = 7;

export class Sending {
  constructor(
    private readonly scope: Scope,
    private readonly log: Log,
    private readonly taken: (conversation: Conversation) => void,
  ) {}

  /** Queues something to be said: numbers it, persists it, and shows it in this device's history. */
  async say(conversation: Conversation, said: Said): Promise<MessageRef> {
    return this.scope.exclusive(conversation, async (changes) => {
      if (conversation.isGone || conversation.record.kind === null) throw noSuchConversation();
      if (conversation.queue.isFull) throw new Refusal('limit', 'Too much is waiting already: try again later.');
      const number = conversation.record.last + 1;
      const reference = { device: this.scope.identity.device, number };
      conversation.change({ last: number });
      const sentAtMs = this.scope.now();
      conversation.queue.push({ number, said, sentAtMs, sealed: null, isInLog: false }, changes);
      await this.#show(conversation, reference, said, sentAtMs, changes);
      return reference;
    });
  }

  async #show(conversation: Conversation, reference: MessageRef, said: Said, atMs: number, changes: Changes): Promise<void> {
    const lines = conversation.lines(changes);
    const { account } = this.scope.identity;
    switch (said.kind) {
      case 'text': {
        const { text, replyTo } = said;
        await lines.put({ reference, account, sequence: null, atMs, body: { kind: 'text', text, replyTo } });
        return;
      }
      case 'edit':
        return lines.edit(said.target, account, said.text);
      case 'deletion':
        return lines.delete(said.target, account);
      case 'reaction':
        return lines.react(said.target, account, said.emoji, said.set);
      case 'title':
      case 'title-wanted':
        return;
    }
  }

  /** Sends the next message that waits; `false` when there is none to send. The conversation is current. */
  async next(conversation: Conversation, session: MemberSession): Promise<boolean> {
    await this.#settleInLog(conversation);
    const queued = conversation.queue.next;
    if (queued === null || conversation.queue.isPaused) return false;
    const sealed = await this.#sealed(conversation, queued);
    // It is not current any more, and has to become so first.
    if (sealed === null) return true;
    const { generation, epoch, bytes } = sealed;
    const request = create(SendMessageSchema, {
      conversation: idBytes(conversation.id),
      number: BigInt(queued.number),
      generation,
      epoch: BigInt(epoch),
      sealed: bytes,
    });
    try {
      const { sequence, atMs } = await session.ask({ case: 'sendMessage', value: request }, 'messageAccepted');
      await this.#accepted(conversation, queued, toNumber(sequence), toNumber(atMs));
    } catch (error) {
      if (!(error instanceof Refused) || error.code === ErrorCode.NOT_FOUND) throw error;
      await this.#refused(conversation, queued, error, session);
    }
    return true;
  }

  /** Gives up what was queued for a conversation that is gone. */
  async fail(conversation: Conversation, changes: Changes): Promise<void> {
    const lines = conversation.lines(changes);
    for (const { number, said } of conversation.queue.entries) {
      if (said.kind === 'text') await lines.fail({ device: this.scope.identity.device, number }, conversation.record.head);
    }
    conversation.queue.erase(changes);
  }

  /** The bytes of a queued message: one set of changes holds them and the ratchet that made them. */
  #sealed(conversation: Conversation, queued: Queued): Promise<Sealed | null> {
    return this.scope.exclusive(conversation, async (changes) => {
      const { generation, epoch } = conversation.record;
      if (!conversation.isCurrent || epoch === null || conversation.queue.next !== queued) return null;
      if (queued.sealed?.generation === generation && queued.sealed.epoch === epoch) return queued.sealed;
      const bytes = await conversation.seal(this.scope.mls, writeContent(queued));
      const sealed = { generation, epoch, bytes };
      conversation.queue.seal(queued, sealed, changes);
      return sealed;
    });
  }

  async #accepted(conversation: Conversation, queued: Queued, sequence: number, atMs: number): Promise<void> {
    await this.scope.exclusive(conversation, async (changes) => {
      conversation.queue.failures = 0;
      conversation.inLog = Math.max(conversation.inLog, queued.number);
      if (sequence === 0) {
        // It stood there before: the log tells where.
        queued.isInLog = true;
        conversation.doubt = true;
        return;
      }
      if (conversation.isInside && sequence === conversation.record.head + 1) conversation.pass(sequence);
      else conversation.knownHead = Math.max(conversation.knownHead, sequence);
      await this.log.place(conversation, queued.number, sequence, atMs, changes);
    });
    this.taken(conversation);
  }

  async #refused(conversation: Conversation, queued: Queued, error: Refused, session: MemberSession): Promise<void> {
    const isConflict = isCode(error, ErrorCode.CONFLICT);
    if (isConflict) {
      await this.scope.exclusive(conversation, (changes) => conversation.queue.seal(queued, null, changes));
      conversation.doubt = true;
    }
    conversation.queue.failures += 1;
    const { failures } = conversation.queue;
    // The first conflict is over with the log.
    if (isConflict && failures === 1) return;
    if (failures > FAILURES_MAX && !passes(error)) {
      conversation.queue.isPaused = true;
      return;
    }
    await session.pause(failures - 1, error.retryAfterMs);
  }

  /** What the log was to tell the place of, and did not, was in a gap: it keeps the last place known. */
  async #settleInLog(conversation: Conversation): Promise<void> {
    if (!conversation.queue.entries.some(({ isInLog }) => isInLog)) return;
    await this.scope.exclusive(conversation, async (changes) => {
      // The list may have spoken meanwhile of what the log has yet to bring.
      if (!conversation.isCurrent) return;
      for (const { number } of conversation.queue.entries.filter(({ isInLog }) => isInLog)) {
        await this.log.place(conversation, number, conversation.record.head, this.scope.now(), changes);
      }
    });
  }
}
