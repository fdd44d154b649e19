/**
 * Taking in the log: commits, messages, departures, in order, each once.
 *
 * What entries come to (history, ratchets, cursor) is one set of changes; only then is it acknowledged. An entry that does not open is
 * passed over: nobody can stop a log by what they put into it. One that this device can't follow makes it fall out of the group and
 * enter anew.
 */

import type { AccountId, ConversationId } from '../client.ts';
import { idOf } from '../proto/ids.ts';
import { GROUP_MEMBERS_MAX } from '../proto/limits.ts';
import type { LogEntry, SealedMessage } from '../proto/messages.ts';
import type { Changes } from './changes.ts';
import { readContent, type Said } from './content.ts';
import type { Conversation } from './conversation.ts';
import { referenceOfEntry } from './lines.ts';
import { epochOfGroup } from './mls/group.ts';
import { MlsError } from './mls/message.ts';
import { toNumber } from './numbers.ts';
import type { Scope } from './scope.ts';
import { vet, vetChange, type Distrust } from './vet.ts';

/** A group that this device does not accept. */
export class Distrusted extends Error {
  override readonly name = 'Distrusted';
  constructor(readonly distrust: Distrust) {
    super(distrust.kind);
  }
}

/** What a log entry asks of whoever keeps the conversations. */
export interface LogTold {
  /** This account is in the conversation no more; `by` whom, `null`: by itself. */
  left(conversation: Conversation, by: AccountId | null, changes: Changes): void;
  refuse(conversation: Conversation, distrust: Distrust, changes: Changes): void;
  /** A message of another account was taken in. */
  received(conversation: Conversation): void;
  /** Somebody has spoken, and so types no longer. */
  spoke(conversation: ConversationId, account: AccountId): void;
  titleTold(conversation: Conversation): void;
  titleWanted(conversation: Conversation): void;
}

/** A log entry, with its fields parsed. */
export interface Place {
  sequence: number;
  atMs: number;
  account: AccountId;
  device: string;
  added: AccountId[];
  removed: AccountId[];
}

export function placeOf(entry: LogEntry): Place | null {
  const [account, device] = [idOf(entry.account), idOf(entry.device)];
  if (account === null || device === null) return null;
  const accounts = (ids: Uint8Array[]): AccountId[] => ids.flatMap((id) => idOf(id) ?? []);
  return { sequence: toNumber(entry.sequence), atMs: toNumber(entry.atMs), account, device, added: accounts(entry.added), removed: accounts(entry.removed) };
}

export class Log {
  constructor(
    private readonly scope: Scope,
    private readonly told: LogTold,
  ) {}

  /** Takes in the entry that is next in the log. */
  async take(conversation: Conversation, entry: LogEntry, changes: Changes): Promise<void> {
    const place = placeOf(entry);
    const { generation } = conversation.record;
    if (place === null || entry.generation < generation) return conversation.pass(toNumber(entry.sequence));
    if (place.removed.includes(this.scope.identity.account)) return this.told.left(conversation, place.account, changes);
    try {
      if (entry.generation > generation) throw new MlsError('future');
      await this.#takeBody(conversation, entry, place, changes);
      if (!conversation.isGone) conversation.pass(place.sequence);
    } catch (error) {
      if (error instanceof Distrusted) return this.told.refuse(conversation, error.distrust, changes);
      if (!(error instanceof MlsError)) throw error;
      // The group has moved on without this device: it enters anew.
      conversation.fallOut(entry.generation, changes);
    }
  }

  async #takeBody(conversation: Conversation, entry: LogEntry, place: Place, changes: Changes): Promise<void> {
    switch (entry.body.case) {
      case 'commit':
        return this.#takeCommit(conversation, entry, place, entry.body.value, changes);
      case 'message':
        return this.#takeMessage(conversation, entry, place, entry.body.value, changes);
      case 'departed':
        return this.#takeDeparted(conversation, place, entry.body.value, changes);
      default:
        // Of a kind that a newer client knows.
        return;
    }
  }

  async #takeCommit(conversation: Conversation, entry: LogEntry, place: Place, commit: Uint8Array, changes: Changes): Promise<void> {
    const { scope } = this;
    const { record } = conversation;
    // One of before this device's time, or its own, accepted while entries before it were on their way.
    if (record.epoch === null || toNumber(entry.epoch) < record.epoch) return this.noteMembers(conversation, place, changes);
    if (place.device === scope.identity.device && conversation.isStaged(commit)) {
      // Its answer was lost.
      await this.merge(conversation, place.sequence, changes);
      return this.noteMembers(conversation, place, changes);
    }
    const change = await scope.mls.advance(await conversation.group(scope.mls), commit);
    const { added, removed } = place;
    const members = conversation.members(scope.identity.account);
    const distrust =
      vetChange(change, { members, leaves: conversation.roll.leaves, added, removed }) ?? vet(change.leaves, scope.identity, conversation.peer, scope.people);
    if (distrust !== null) throw new Distrusted(distrust);
    const next = { group: change.group, epoch: epochOfGroup(change.group), leaves: change.leaves, head: place.sequence };
    await conversation.adopt(next, scope.mls, changes);
    await this.noteMembers(conversation, place, changes);
  }

  /** Moves on by this device's own commit, which is in the log. */
  async merge(conversation: Conversation, head: number, changes: Changes): Promise<void> {
    const { mls } = this.scope;
    const group = await conversation.staged(mls);
    await conversation.adopt({ group, epoch: epochOfGroup(group), leaves: mls.leaves(group), head }, mls, changes);
  }

  /** Takes over who came and went, and writes it into the history of a group. */
  async noteMembers(conversation: Conversation, { account, sequence, atMs, added, removed }: Place, changes: Changes): Promise<void> {
    this.changeMembers(conversation, added, removed);
    if (!conversation.isGroup || added.length + removed.length === 0) return;
    const body = { kind: 'membership' as const, joined: added, left: removed };
    await conversation.lines(changes).put({ reference: referenceOfEntry(sequence), account, sequence, atMs, body });
  }

  changeMembers(conversation: Conversation, added: readonly AccountId[], removed: readonly AccountId[]): void {
    const before = conversation.roll.members;
    if (!conversation.isGroup || before.length === 0 || added.length + removed.length === 0) return;
    const stayed = before.filter((account) => !removed.includes(account));
    const came = added.filter((account) => !removed.includes(account) && !stayed.includes(account));
    const members = [...stayed, ...new Set(came)].slice(0, GROUP_MEMBERS_MAX);
    const { identity, people } = this.scope;
    const isUnknown = (account: AccountId): boolean => account !== identity.account && people.key(account) === null;
    conversation.changeRoll({ members, due: conversation.roll.due || members.some(isUnknown) });
  }

  async #takeDeparted(conversation: Conversation, place: Place, departed: Uint8Array, changes: Changes): Promise<void> {
    const account = idOf(departed);
    if (account === null) return;
    if (account === this.scope.identity.account) return this.told.left(conversation, null, changes);
    await this.noteMembers(conversation, { ...place, account, added: [], removed: [account] }, changes);
  }

  async #takeMessage(conversation: Conversation, entry: LogEntry, place: Place, message: SealedMessage, changes: Changes): Promise<void> {
    const { scope } = this;
    const number = toNumber(message.number);
    if (place.device === scope.identity.device) {
      // This device has not given it.
      if (number > conversation.record.last) return;
      conversation.inLog = Math.max(conversation.inLog, number);
      return this.place(conversation, number, place.sequence, place.atMs, changes);
    }
    // The log has brought nothing that led there.
    if (conversation.record.epoch === null || toNumber(entry.epoch) > conversation.record.epoch) throw new MlsError('future');
    const unsealed = await this.#open(conversation, message.sealed);
    // Forged, replayed, of before this device's time, or not by whom it is said to be.
    if (unsealed === null || unsealed.sender.account !== place.account || unsealed.sender.device !== place.device) return;
    const { account } = place;
    const spoken = readContent(unsealed.plain);
    // Under another number it would pass for another message, and what is said of that one would go to it.
    if (spoken?.number !== message.number) return;
    if (account !== scope.identity.account) this.told.received(conversation);
    const { said } = spoken;
    if (said === null) return;
    if (said.kind === 'title-wanted') return this.told.titleWanted(conversation);
    if (said.kind === 'title') return this.takeTitle(conversation, { ...place, reference: { device: place.device, number } }, said.title, changes);
    if (scope.isBlocked(account)) return;
    this.told.spoke(conversation.id, account);
    await this.#takeSaid(conversation, said, { ...place, number }, changes);
  }

  /** Opens a message; `null` where it does not open. Throws where this device has lost the group. */
  async #open(conversation: Conversation, sealed: Uint8Array): Promise<Awaited<ReturnType<Conversation['unseal']>> | null> {
    try {
      return await conversation.unseal(this.scope.mls, sealed);
    } catch (error) {
      if (error instanceof MlsError && error.fault !== 'no-group') return null;
      throw error;
    }
  }

  async #takeSaid(conversation: Conversation, said: Said, at: Place & { number: number }, changes: Changes): Promise<void> {
    const lines = conversation.lines(changes);
    const { account, device, number, sequence, atMs } = at;
    switch (said.kind) {
      case 'text': {
        const { text, replyTo } = said;
        const isNew = await lines.put({ reference: { device, number }, account, sequence, atMs, body: { kind: 'text', text, replyTo } });
        const isUnread = isNew && account !== this.scope.identity.account && sequence > conversation.record.read;
        if (isUnread) conversation.change({ unread: conversation.record.unread + 1 });
        return;
      }
      case 'edit':
        return lines.edit(said.target, account, said.text);
      case 'deletion':
        return this.#takeDeletion(conversation, said.target, account, changes);
      case 'reaction':
        return lines.react(said.target, account, said.emoji, said.set);
      case 'title':
      case 'title-wanted':
        return;
    }
  }

  async #takeDeletion(conversation: Conversation, target: { device: string; number: number }, by: AccountId, changes: Changes): Promise<void> {
    const lines = conversation.lines(changes);
    const line = await lines.find(target);
    await lines.delete(target, by);
    const wasUnread = line !== null && line.account === by && !line.deleted && by !== this.scope.identity.account && (line.sequence ?? 0) > conversation.record.read;
    if (wasUnread) conversation.change({ unread: Math.max(0, conversation.record.unread - 1) });
  }

  /** A group has a title. Nobody else needs to say so. */
  async takeTitle(
    conversation: Conversation,
    at: { reference: { device: string; number: number }; account: AccountId; sequence: number; atMs: number },
    title: string,
    changes: Changes,
  ): Promise<void> {
    if (!conversation.isGroup || at.sequence < conversation.roll.titleAt) return;
    this.told.titleTold(conversation);
    const isNew = conversation.roll.title !== title;
    conversation.changeRoll({ title, titleAt: at.sequence });
    if (!isNew) return;
    const { reference, account, sequence, atMs } = at;
    await conversation.lines(changes).put({ reference, account, sequence, atMs, body: { kind: 'renamed', title } });
  }

  /** A message of this device stands in the log. */
  async place(conversation: Conversation, number: number, sequence: number, atMs: number, changes: Changes): Promise<void> {
    const queued = conversation.queue.take(number, changes);
    if (queued === null) return;
    const { device, account } = this.scope.identity;
    const reference = { device, number };
    if (queued.said.kind === 'text') await conversation.lines(changes).place(reference, sequence, atMs);
    if (queued.said.kind === 'title') await this.takeTitle(conversation, { reference, account, sequence, atMs }, queued.said.title, changes);
  }
}
