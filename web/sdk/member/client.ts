/** A signed-in device, as {@link Client}: the member's commands, with every failure a {@link Refusal}. */

import { create } from '@bufbuild/protobuf';

import {
  Refusal,
  type AccountId,
  type Call,
  type CallId,
  type Client,
  type Contact,
  type Conversation as Summary,
  type ConversationId,
  type Device,
  type DeviceId,
  type Draft,
  type Event,
  type Line,
  type MemberOf,
  type MessageRef,
  type Online,
  type Person,
  type Receipt,
  type ReceiptPolicy,
  type Settings,
} from '../client.ts';
import { comparisonCode } from '../proto/comparison.ts';
import { idBytes, isId } from '../proto/ids.ts';
import { GROUP_MEMBERS_MAX } from '../proto/limits.ts';
import { ErrorCode, LeaveConversationSchema, RevealedMessageSchema, type RevealedMessage } from '../proto/messages.ts';
import { Changes } from './changes.ts';
import { fitsReaction, fitsText, fitsTitle, type Said } from './content.ts';
import type { Conversation } from './conversation.ts';
import { Lines, readHistory } from './lines.ts';
import { summaryOf } from './listed.ts';
import type { Member } from './member.ts';
import type { Offered } from './mls/mls.ts';
import { isCode, noSuchContact, noSuchConversation, passOver, refusalOf, tooLong } from './refusals.ts';

/** Changes of one group that wait at once. */
const WISHES_MAX = 16;

/** Messages that one report reveals at most. */
const REVEALED_MAX = 50;

/** What a client can do that is not the member's: the account's, and the session's. */
export interface Desk {
  /** The network's name. */
  network: string;
  /** The name of the account that echoes, if there is one. */
  echo: string | null;
  /** 32 bytes; `null`: the network takes no reports. */
  reportKey: Uint8Array | null;
  online(): Online | null;
  /** Tells of the session. */
  subscribe(listener: (event: Event) => void): () => void;
  renameDevice(device: DeviceId, name: string): Promise<void>;
  revokeDevice(device: DeviceId): Promise<void>;
  changePassword(old: string, fresh: string): Promise<void>;
  deleteAccount(password: string): Promise<void>;
  signOut(): Promise<void>;
  close(): Promise<void>;
}

export class MemberClient implements Client {
  constructor(
    private readonly member: Member,
    private readonly desk: Desk,
  ) {}

  own(): ReturnType<Client['own']> {
    const { account, name, device } = this.member.scope.identity;
    return Promise.resolve({ account, name, device, network: this.desk.network, echo: this.desk.echo });
  }

  subscribe(listener: (event: Event) => void): () => void {
    const ends = [this.member.subscribe(listener), this.desk.subscribe(listener)];
    return () => ends.forEach((end) => end());
  }

  online(): Promise<Online | null> {
    return Promise.resolve(this.desk.online());
  }

  find(name: string): Promise<Person> {
    return refusing(() => this.member.people.find(name));
  }

  search(prefix: string): Promise<Person[]> {
    return refusing(() => this.member.people.search(prefix));
  }

  contacts(): Promise<Contact[]> {
    return Promise.resolve(this.member.contacts.list());
  }

  requestContact(name: string, note: string): Promise<void> {
    return refusing(() => this.member.people.requestContact(name, note));
  }

  answerContact(account: AccountId, accept: boolean): Promise<void> {
    return refusing(() => this.member.people.answerContact(account, accept));
  }

  removeContact(account: AccountId): Promise<void> {
    return refusing(() => this.member.people.removeContact(account));
  }

  block(account: AccountId, block: boolean): Promise<void> {
    return refusing(() => this.member.people.block(account, block));
  }

  setAlias(account: AccountId, alias: string | null): Promise<void> {
    return refusing(() => {
      const row = this.member.contacts.row(account);
      if (row === null) throw noSuchContact();
      return this.member.contacts.setAlias(account, row, alias);
    });
  }

  settings(): Promise<Settings | null> {
    return Promise.resolve(this.member.contacts.settings);
  }

  changeSettings(change: Partial<Settings>): Promise<void> {
    return refusing(() => this.member.people.changeSettings(change));
  }

  setActivity(away: boolean): Promise<void> {
    return refusing(() => this.member.people.setActivity(away));
  }

  receiptPolicy(): Promise<ReceiptPolicy> {
    return Promise.resolve({ ...this.member.beside.policy });
  }

  setReceiptPolicy(policy: ReceiptPolicy): Promise<void> {
    return refusing(() => this.member.beside.setPolicy(policy));
  }

  report(account: AccountId, reason: string, conversation: ConversationId | null, messages: MessageRef[]): Promise<void> {
    return refusing(async () => {
      const { reportKey } = this.desk;
      if (reportKey === null) throw new Refusal('no-key', 'The network takes no reports.');
      const revealed = conversation === null ? [] : await this.#reveal(conversation, messages.slice(0, REVEALED_MAX));
      await this.member.people.report(account, reason, revealed, reportKey);
    });
  }

  comparisonCode(account: AccountId): Promise<string> {
    return refusing(() => {
      const accountKey = this.member.scope.people.key(account);
      if (accountKey === null) throw noSuchContact();
      return comparisonCode(this.member.scope.identity, { account, accountKey });
    });
  }

  acceptKey(account: AccountId): Promise<void> {
    return refusing(async () => {
      const { scope, conversations } = this.member;
      if (!(await scope.change((changes) => scope.people.accept(account, changes)))) throw noSuchContact();
      for (const conversation of conversations.all) {
        conversation.refused = null;
        conversations.wake(conversation);
      }
    });
  }

  devices(): Promise<Device[]> {
    return refusing(async () => {
      const { scope, devices } = this.member;
      const records = await devices.list(scope, await scope.sessionSoon());
      return records.flatMap((record) => devices.device(record));
    });
  }

  renameDevice(device: DeviceId, name: string): Promise<void> {
    return refusing(() => this.desk.renameDevice(device, name));
  }

  revokeDevice(device: DeviceId): Promise<void> {
    return refusing(async () => {
      await this.desk.revokeDevice(device);
      if (device === this.member.scope.identity.device) return;
      // Its leaves are taken out of all groups at once.
      this.member.devices.revoke(device);
      for (const conversation of this.member.conversations.all) {
        conversation.sweepNow ||= conversation.roll.leaves.some((leaf) => leaf.device === device);
      }
      this.member.conversations.wakeAll();
    });
  }

  changePassword(old: string, fresh: string): Promise<void> {
    return refusing(() => this.desk.changePassword(old, fresh));
  }

  deleteAccount(password: string): Promise<void> {
    return refusing(() => this.desk.deleteAccount(password));
  }

  signOut(): Promise<void> {
    return refusing(() => this.desk.signOut());
  }

  conversations(): Promise<Summary[]> {
    const { conversations, scope } = this.member;
    const summaries = conversations.all.flatMap((conversation) => summaryOf(conversation, scope) ?? []);
    return Promise.resolve(summaries.sort((a, b) => (b.last?.atMs ?? 0) - (a.last?.atMs ?? 0)));
  }

  conversationWith(name: string): Promise<ConversationId> {
    return refusing(async () => {
      const { account } = await this.member.people.resolve(name);
      // One that is there can be written in, whether it is up to date or not.
      const known = this.member.conversations.pairWith(account);
      return (known ?? (await this.member.making.pair(account))).id;
    });
  }

  createGroup(title: string, names: string[]): Promise<ConversationId> {
    return refusing(async () => {
      if (!fitsTitle(title) || names.length >= GROUP_MEMBERS_MAX) throw tooLong();
      // Whoever can't be found is missed before there is a group.
      const accounts = await this.#accounts(names);
      const conversation = await this.member.making.group(title);
      if (accounts.length > 0) await this.#invite(conversation, accounts);
      return conversation.id;
    });
  }

  invite(conversation: ConversationId, names: string[]): Promise<void> {
    return refusing(async () => {
      const entry = this.#group(conversation);
      const accounts = await this.#accounts(names);
      if (accounts.length === 0 || accounts.length + entry.roll.members.length > GROUP_MEMBERS_MAX) throw tooLong();
      await this.#invite(entry, accounts);
    });
  }

  removeMember(conversation: ConversationId, account: AccountId): Promise<void> {
    return refusing(async () => {
      const entry = this.#group(conversation);
      await this.member.scope.sessionSoon();
      if (account === this.member.scope.identity.account) throw new Refusal('network', 'This is your own name: leave the group instead.');
      await this.#wish(entry, { kind: 'remove', account });
    });
  }

  leave(conversation: ConversationId): Promise<void> {
    return refusing(async () => {
      const entry = this.#group(conversation);
      const session = await this.member.scope.sessionSoon();
      const request = create(LeaveConversationSchema, { conversation: idBytes(conversation) });
      try {
        await session.command({ case: 'leaveConversation', value: request }, 'done');
      } catch (error) {
        if (!isCode(error, ErrorCode.NOT_FOUND)) throw error;
      }
      await this.member.conversations.forget(entry);
    });
  }

  rename(conversation: ConversationId, title: string): Promise<void> {
    return refusing(async () => {
      if (!fitsTitle(title)) throw tooLong();
      await this.#say(this.#group(conversation), { kind: 'title', title });
    });
  }

  members(conversation: ConversationId): Promise<MemberOf[]> {
    return refusing(() => {
      const entry = this.member.conversations.require(conversation);
      const { identity, people } = this.member.scope;
      const members = entry.members(identity.account);
      return members.map((account, at) => ({
        account,
        person: account === identity.account ? { account, name: identity.name } : people.person(account),
        isOwner: entry.isGroup && at === 0,
        devices: entry.roll.leaves.filter((leaf) => leaf.account === account).length,
      }));
    });
  }

  post(conversation: ConversationId, { text, replyTo }: Draft): Promise<MessageRef> {
    return refusing(() => {
      if (!fitsText(text)) throw tooLong();
      return this.#say(this.member.conversations.require(conversation), { kind: 'text', text, replyTo: replyTo ?? null });
    });
  }

  edit(conversation: ConversationId, message: MessageRef, text: string): Promise<void> {
    return refusing(async () => {
      if (!fitsText(text)) throw tooLong();
      await this.#say(this.member.conversations.require(conversation), { kind: 'edit', target: target(message), text });
    });
  }

  delete(conversation: ConversationId, message: MessageRef): Promise<void> {
    return refusing(async () => {
      await this.#say(this.member.conversations.require(conversation), { kind: 'deletion', target: target(message) });
    });
  }

  react(conversation: ConversationId, message: MessageRef, emoji: string, set: boolean): Promise<void> {
    return refusing(async () => {
      if (!fitsReaction(emoji)) throw tooLong();
      await this.#say(this.member.conversations.require(conversation), { kind: 'reaction', target: target(message), emoji, set });
    });
  }

  typing(conversation: ConversationId, typing: boolean): Promise<void> {
    return refusing(() => this.member.beside.typing(this.member.conversations.require(conversation), typing));
  }

  markRead(conversation: ConversationId, sequence: number): Promise<void> {
    return refusing(() => this.member.beside.markRead(this.member.conversations.require(conversation), sequence));
  }

  receipts(conversation: ConversationId): Promise<Receipt[]> {
    return refusing(() => [...this.member.conversations.require(conversation).record.receipts]);
  }

  history(conversation: ConversationId, before: number | null, limit: number): Promise<Line[]> {
    return refusing(() => readHistory(this.member.scope.vault, conversation, before, limit));
  }

  calls(): Promise<Call[]> {
    return Promise.resolve(this.member.calls.list());
  }

  call(name: string): Promise<CallId> {
    return refusing(() => this.member.calls.call(name));
  }

  answer(call: CallId): Promise<void> {
    return refusing(() => this.member.calls.answer(call));
  }

  decline(call: CallId): Promise<void> {
    return refusing(() => this.member.calls.decline(call));
  }

  hangUp(call: CallId): Promise<void> {
    return refusing(() => this.member.calls.hangUp(call));
  }

  setMuted(call: CallId, muted: boolean): Promise<void> {
    return refusing(() => this.member.calls.setMuted(call, muted));
  }

  close(): Promise<void> {
    return refusing(() => this.desk.close());
  }

  #group(id: ConversationId): Conversation {
    const conversation = this.member.conversations.require(id);
    if (!conversation.isGroup) throw noSuchConversation();
    return conversation;
  }

  async #accounts(names: readonly string[]): Promise<AccountId[]> {
    const accounts = new Set<AccountId>();
    for (const name of names) accounts.add((await this.member.people.resolve(name)).account);
    return [...accounts];
  }

  async #invite(conversation: Conversation, accounts: AccountId[]): Promise<void> {
    const session = await this.member.scope.sessionSoon();
    const offered: Offered[] = [];
    for (const account of accounts) offered.push(...(await this.member.conversations.wishes.claim(account, session)));
    await this.#wish(conversation, { kind: 'add', accounts, offered });
  }

  async #wish(conversation: Conversation, aim: Conversation['wishes'][number]['aim']): Promise<void> {
    if (conversation.isGone) throw noSuchConversation();
    if (conversation.wishes.length >= WISHES_MAX) throw new Refusal('limit', 'Too much is waiting already: try again later.');
    const why = await new Promise<Refusal | null>((done) => {
      conversation.wishes.push({ aim, tries: 0, done });
      this.member.conversations.wake(conversation);
    });
    if (why !== null) throw why;
  }

  async #say(conversation: Conversation, said: Said): Promise<MessageRef> {
    const reference = await this.member.conversations.sending.say(conversation, said);
    this.member.conversations.wake(conversation);
    return reference;
  }

  async #reveal(conversation: ConversationId, messages: readonly MessageRef[]): Promise<RevealedMessage[]> {
    const lines = new Lines(conversation, new Changes(this.member.scope.vault), () => undefined);
    const revealed: RevealedMessage[] = [];
    for (const message of messages) {
      const line = await lines.find(message);
      if (line?.body.kind !== 'text' || line.deleted) continue;
      revealed.push(create(RevealedMessageSchema, { account: idBytes(line.account), text: line.body.text, atMs: BigInt(line.atMs) }));
    }
    return revealed;
  }
}

/** What a command names must be nameable on the wire. */
function target(message: MessageRef): MessageRef {
  if (!isId(message.device)) throw noSuchConversation();
  return message;
}

/** Commands reject with a {@link Refusal}, and with nothing else. */
async function refusing<T>(command: () => Promise<T> | T): Promise<T> {
  try {
    return await command();
  } catch (error) {
    // A fault of ours is heard of too.
    passOver(error);
    throw refusalOf(error);
  }
}
