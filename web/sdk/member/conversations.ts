/**
 * All conversations of this device, each kept up to date: the log, the members, the way into the group, changes and messages that
 * leave.
 *
 * Each conversation has one loop, which does what is next until nothing is. What fails is tried again after a pause, a bounded number
 * of times in a session; a group that this device will not accept is refused until a key is accepted or the next session.
 */

import { create } from '@bufbuild/protobuf';

import type { AccountId, ConversationId } from '../client.ts';
import { idBytes, idOf } from '../proto/ids.ts';
import { CONVERSATIONS_MAX, GROUP_MEMBERS_MAX } from '../proto/limits.ts';
import { FetchLogSchema, FetchMembersSchema, ErrorCode, type Conversation as Listed, type LogEntry, type Members } from '../proto/messages.ts';
import { isName } from '../proto/name.ts';
import { Refused, SessionLost } from '../session/uplink.ts';
import type { Vault } from '../vault/vault.ts';
import { hasFields, readJson, type Changes } from './changes.ts';
import { Timers } from './clock.ts';
import { Conversation } from './conversation.ts';
import type { OwnDevices } from './devices.ts';
import type { Entering } from './entering.ts';
import { summaryOf, takeListed } from './listed.ts';
import { Distrusted, Log, placeOf, type LogTold } from './log.ts';
import { MlsError } from './mls/message.ts';
import { toNumber } from './numbers.ts';
import { Queue } from './queue.ts';
import { newRoll, RECORD_PREFIX, ROLL_PREFIX, type ConversationRecord, type Roll } from './record.ts';
import { conversationRefused, isCode, keyChanged, noSuchConversation, offline, passes, passOver } from './refusals.ts';
import type { Scope } from './scope.ts';
import { Sending } from './sending.ts';
import type { MemberSession } from './session.ts';
import { vet, type Distrust } from './vet.ts';
import { Wishes } from './wishes.ts';

/** Failures after which something is left alone for the session: with doubling pauses, some two minutes of trying. */
const FAILURES_MAX = 7;

/** Times in a session that a group is entered anew because its state was of no use. */
const LOSSES_MAX = 3;

/** Entries of one conversation that wait to be taken in as events; beyond that the log is fetched. */
const EVENTS_MAX = 64;

/** What conversations tell other parts of the member. */
export interface ConversationsTold {
  /** It is as up to date as it will be for now, or refused, or gone. */
  settled(conversation: Conversation): void;
  /** Up to date and in use. */
  current(conversation: Conversation, session: MemberSession): Promise<void>;
  received(conversation: Conversation): void;
  spoke(conversation: ConversationId, account: AccountId): void;
  /** Log entries were taken in, durably. */
  taken(conversation: Conversation): void;
  /** A Welcome was taken: a key package is used up. */
  joined(session: MemberSession): void;
  /** Something may lie in the inbox that leads into a conversation. */
  lookIntoInbox(): void;
  /** What lists are known, and how often the inbox has been read. */
  progress(): { listed: boolean; inboxRead: boolean; inboxReads: number };
  /** Asks what kind of conversation one is that came up since the list. */
  listAlone(conversation: Conversation, session: MemberSession): Promise<void>;
}

type TimerName = `sweep/${ConversationId}` | `title/${ConversationId}`;

export class Conversations implements LogTold {
  readonly log: Log;
  readonly sending: Sending;
  readonly wishes: Wishes;
  readonly #all = new Map<ConversationId, Conversation>();
  readonly #timers: Timers<TimerName>;
  /** Loops that run and are not in a pause. */
  readonly #busy = new Set<ConversationId>();
  readonly #looping = new Set<ConversationId>();
  readonly #again = new Set<ConversationId>();
  readonly #events = new Map<ConversationId, number>();
  #resting: (() => void)[] = [];

  constructor(
    private readonly scope: Scope,
    private readonly devices: OwnDevices,
    private readonly entering: Entering,
    private readonly told: ConversationsTold,
  ) {
    this.log = new Log(scope, this);
    const taken = (conversation: Conversation): void => told.taken(conversation);
    this.sending = new Sending(scope, this.log, taken);
    this.wishes = new Wishes(scope, this.log, taken);
    this.#timers = new Timers(scope.clock);
    scope.onChanged = (conversation, changes) => this.#tellSummary(conversation, changes);
  }

  /** Takes over what was kept. */
  async load(vault: Vault): Promise<void> {
    const queues = await Queue.load(vault);
    const rolls = new Map<ConversationId, Roll | null>();
    for (const { key, value } of await vault.range('state', ROLL_PREFIX)) rolls.set(key.slice(ROLL_PREFIX.length), readJson(value, hasFields<Roll>('leaves', 'members')));
    for (const { key, value } of await vault.range('state', RECORD_PREFIX)) {
      const record = readJson(value, hasFields<ConversationRecord>('generation', 'epoch', 'head', 'kind'));
      if (record === null) continue;
      const id = key.slice(RECORD_PREFIX.length);
      const conversation = new Conversation(id, vault, { record, roll: rolls.get(id) ?? newRoll(), queue: queues.get(id) ?? new Queue(id) });
      conversation.told = JSON.stringify(summaryOf(conversation, this.scope));
      this.#all.set(id, conversation);
    }
  }

  get all(): Conversation[] {
    return [...this.#all.values()];
  }

  get(id: ConversationId): Conversation | null {
    return this.#all.get(id) ?? null;
  }

  /** One that the owner of this device can use. */
  require(id: ConversationId): Conversation {
    const conversation = this.#all.get(id);
    if (conversation === undefined || conversation.record.kind === null) throw noSuchConversation();
    return conversation;
  }

  pairWith(account: AccountId): Conversation | null {
    return this.all.find(({ peer }) => peer === account) ?? null;
  }

  /** Makes room for a conversation that the supernode speaks of; `null` where there is none. */
  know(id: ConversationId, generation: number): Conversation | null {
    const known = this.#all.get(id);
    if (known !== undefined || this.#all.size >= CONVERSATIONS_MAX) return known ?? null;
    const conversation = new Conversation(id, this.scope.vault);
    conversation.record = { ...conversation.record, generation };
    this.#all.set(id, conversation);
    return conversation;
  }

  /** Puts one there that this device has made. */
  add(conversation: Conversation): void {
    this.#all.set(conversation.id, conversation);
  }

  /** A session begins, or everything is to be asked for anew. */
  begin(): void {
    this.devices.begin();
    for (const conversation of this.#all.values()) {
      conversation.refused = null;
      conversation.failures = 0;
      conversation.losses = 0;
      conversation.listed = false;
      conversation.inLog = 0;
      conversation.queue.failures = 0;
      conversation.queue.isPaused = false;
    }
  }

  /** The session is lost, and with it the answers to what was wanted of it. */
  end(): void {
    this.#timers.cancelAll();
    for (const conversation of this.#all.values()) {
      // The inbox is read anew, and what is not known yet is listed.
      conversation.welcome = null;
      if (conversation.record.kind === null) this.#all.delete(conversation.id);
      this.wishes.failAll(conversation, offline());
      for (const told of conversation.awaiting.splice(0)) told(offline());
    }
  }

  wakeAll(): void {
    for (const conversation of this.#all.values()) this.wake(conversation);
  }

  /** Does whatever is next, now or once the loop comes to it. */
  wake(conversation: Conversation): void {
    if (conversation.isGone || this.scope.session === null) return;
    this.#again.add(conversation.id);
    if (!this.#looping.has(conversation.id)) void this.#loop(conversation);
  }

  /** Resolves once no loop has anything to do but to wait. */
  rest(): Promise<void> {
    return this.#busy.size === 0 ? Promise.resolve() : new Promise((resolve) => this.#resting.push(resolve));
  }

  /** Waits until a conversation can be used; rejects with a refusal where it can't. */
  async usable(conversation: Conversation): Promise<void> {
    await this.scope.sessionSoon();
    if (conversation.isGone) throw noSuchConversation();
    await new Promise<void>((resolve, reject) => {
      conversation.awaiting.push((why) => (why === null ? resolve() : reject(why)));
      this.wake(conversation);
    });
  }

  /** A conversation has grown. */
  handleLogEntry(entry: LogEntry): void {
    const id = idOf(entry.conversation);
    const conversation = id === null ? null : this.know(id, entry.generation);
    if (conversation === null) return;
    const sequence = toNumber(entry.sequence);
    conversation.knownHead = Math.max(conversation.knownHead, sequence);
    const waiting = this.#events.get(conversation.id) ?? 0;
    if (waiting >= EVENTS_MAX) return this.wake(conversation);
    this.#events.set(conversation.id, waiting + 1);
    void this.scope
      .exclusive(conversation, (changes) => this.#takeEvent(conversation, entry, changes))
      .then(() => {
        this.told.taken(conversation);
        this.wake(conversation);
      }, passOver)
      .finally(() => this.#events.set(conversation.id, (this.#events.get(conversation.id) ?? 1) - 1));
  }

  async #takeEvent(conversation: Conversation, entry: LogEntry, changes: Changes): Promise<void> {
    if (conversation.isGone) return;
    const place = placeOf(entry);
    if (place?.removed.includes(this.scope.identity.account)) {
      this.left(conversation, place.account, changes);
      // The log says that this account was removed; it may be in again since.
      const again = this.know(conversation.id, 0);
      if (again !== null) this.wake(again);
      return;
    }
    const isNext = conversation.isInside && conversation.record.kind !== null && conversation.refused === null && toNumber(entry.sequence) === conversation.record.head + 1;
    if (isNext) await this.log.take(conversation, entry, changes);
  }

  /** What the supernode's list says of a conversation. `false`: it knows of messages that this device has not sent. */
  async takeListed(listed: Listed): Promise<boolean> {
    const id = idOf(listed.conversation);
    const conversation = id === null ? null : this.know(id, listed.generation);
    if (conversation === null) return true;
    const isOurs = await takeListed(conversation, listed, this.scope, this.sending);
    if (conversation.record.head > toNumber(listed.acknowledged)) this.told.taken(conversation);
    return isOurs;
  }

  /** This account is not in a conversation any more. */
  async forget(conversation: Conversation): Promise<void> {
    await this.scope.exclusive(conversation, (changes) => {
      if (!conversation.isGone) this.left(conversation, null, changes);
    });
  }

  left(conversation: Conversation, by: AccountId | null, changes: Changes): void {
    const isKnown = conversation.record.kind !== null;
    conversation.erase(changes);
    if (this.#all.get(conversation.id) === conversation) this.#all.delete(conversation.id);
    this.#timers.cancel(`sweep/${conversation.id}`);
    this.#timers.cancel(`title/${conversation.id}`);
    this.wishes.failAll(conversation, noSuchConversation());
    for (const told of conversation.awaiting.splice(0)) told(noSuchConversation());
    if (isKnown) changes.tell({ kind: 'conversation-left', conversation: conversation.id, by });
    this.told.settled(conversation);
  }

  refuse(conversation: Conversation, distrust: Distrust, changes: Changes): void {
    const isChange = distrust.kind === 'key-changed' && this.scope.people.offer(distrust.account, distrust.key, changes);
    conversation.refused = isChange ? keyChanged() : conversationRefused();
    this.wishes.failAll(conversation, conversation.refused);
  }

  received(conversation: Conversation): void {
    this.told.received(conversation);
  }

  spoke(conversation: ConversationId, account: AccountId): void {
    this.told.spoke(conversation, account);
  }

  titleTold(conversation: Conversation): void {
    this.#timers.cancel(`title/${conversation.id}`);
  }

  /** A device has entered that does not know the title: one of those who do tells it. */
  titleWanted(conversation: Conversation): void {
    if (!conversation.isGroup || conversation.roll.title === '') return;
    this.#timers.setOnce(`title/${conversation.id}`, this.scope.courtesy(), () => this.tellTitle(conversation));
  }

  tellTitle(conversation: Conversation): void {
    const { title } = conversation.roll;
    // A full queue has things to say that matter more.
    if (title !== '') void this.sending.say(conversation, { kind: 'title', title }).then(() => this.wake(conversation), passOver);
  }

  #tellSummary(conversation: Conversation, changes: Changes): void {
    const summary = conversation.isGone ? null : summaryOf(conversation, this.scope);
    if (summary === null) return;
    const text = JSON.stringify(summary);
    if (text !== conversation.told) changes.tell({ kind: 'conversation', conversation: summary });
    conversation.told = text;
  }

  async #loop(conversation: Conversation): Promise<void> {
    const { id } = conversation;
    this.#looping.add(id);
    try {
      while (this.#again.delete(id) && this.scope.session !== null && !conversation.isGone) {
        this.#busy.add(id);
        const { session } = this.scope;
        try {
          while (!conversation.isGone && (await this.#step(conversation, session))) session.check();
        } catch (error) {
          await this.#failed(conversation, session, error).catch(passOver);
        }
      }
    } finally {
      this.#looping.delete(id);
      this.#idle(id);
    }
  }

  #idle(id: ConversationId): void {
    this.#busy.delete(id);
    if (this.#busy.size === 0) for (const resolve of this.#resting.splice(0)) resolve();
  }

  /** Takes the next step towards being up to date, or goes on with whatever waits for that; `false` when there is none. */
  async #step(conversation: Conversation, session: MemberSession): Promise<boolean> {
    if (conversation.refused !== null) {
      this.#settle(conversation);
      return false;
    }
    const { listed, inboxRead, inboxReads } = this.told.progress();
    if (conversation.record.kind === null) {
      if (listed) await this.told.listAlone(conversation, session);
      return listed;
    }
    if (conversation.isInside && (conversation.isBehind || conversation.doubt)) await this.#fetchLog(conversation, session);
    else if (conversation.roll.due) await this.#fetchMembers(conversation, session);
    else if (conversation.isInside) return this.#useCurrent(conversation, session);
    else if (conversation.welcome !== null) await this.#join(conversation, session);
    else {
      // What told of the conversation may have overtaken its Welcome: who enters from outside can't read what was said before.
      conversation.outsideSince ??= inboxReads;
      if (!inboxRead) return false;
      if (conversation.outsideSince === inboxReads) {
        this.told.lookIntoInbox();
        return false;
      }
      const isUntitled = await this.entering.enter(conversation, session);
      this.told.taken(conversation);
      if (isUntitled) await this.sending.say(conversation, { kind: 'title-wanted' });
    }
    return true;
  }

  async #join(conversation: Conversation, session: MemberSession): Promise<void> {
    await this.entering.join(conversation);
    this.told.joined(session);
    this.told.taken(conversation);
  }

  /** A conversation is up to date: first those are told who waited for that, then changes and messages leave. */
  async #useCurrent(conversation: Conversation, session: MemberSession): Promise<boolean> {
    this.#settle(conversation);
    await this.told.current(conversation, session);
    const own = conversation.roll.leaves.filter(({ account }) => account === this.scope.identity.account);
    if (await this.devices.doubt(own.map(({ device }) => device), this.scope, session)) this.wakeAll();
    return (await this.#nextChange(conversation, session)) || this.sending.next(conversation, session);
  }

  async #nextChange(conversation: Conversation, session: MemberSession): Promise<boolean> {
    const wish = this.wishes.take(conversation);
    const strangers = conversation.strangers(this.scope.identity.account, this.devices.gone).map(({ device }) => device);
    if (wish === null) {
      if (strangers.length === 0) {
        conversation.sweepNow = false;
        this.#timers.cancel(`sweep/${conversation.id}`);
        return false;
      }
      if (!conversation.sweepNow && conversation.queue.next === null) {
        this.#timers.setOnce(`sweep/${conversation.id}`, this.scope.courtesy(), () => this.#sweep(conversation));
        return false;
      }
    }
    const outcome = await this.wishes.fulfil(conversation, wish, strangers, session);
    // Newcomers are told the title.
    if (outcome === 'made' && wish?.aim.kind === 'add') this.tellTitle(conversation);
    return true;
  }

  /** The courteous pause is over, and the leaves are still there. */
  #sweep(conversation: Conversation): void {
    conversation.sweepNow = true;
    this.wake(conversation);
  }

  async #fetchLog(conversation: Conversation, session: MemberSession): Promise<void> {
    const after = conversation.record.head;
    // What is told of while the answer is under way may not be in it.
    const askedHead = conversation.knownHead;
    const request = create(FetchLogSchema, { conversation: idBytes(conversation.id), after: BigInt(after) });
    const page = await session.ask({ case: 'fetchLog', value: request }, 'logEntries');
    await this.scope.exclusive(conversation, async (changes) => {
      conversation.doubt = page.more;
      for (const entry of page.entries) {
        if (conversation.isGone || !conversation.isInside || conversation.refused !== null) return;
        const isOwn = idOf(entry.conversation) === conversation.id;
        if (isOwn && toNumber(entry.sequence) === conversation.record.head + 1) await this.log.take(conversation, entry, changes);
      }
      if (conversation.isGone || !conversation.isInside || conversation.record.head !== after) return;
      const isNewer = page.entries.some(({ sequence }) => toNumber(sequence) > after);
      // There is a gap that the supernode can't fill.
      if (isNewer || (askedHead > after && !page.more)) conversation.fallOut(conversation.record.generation, changes);
      else if (page.more) throw new Refused(ErrorCode.MALFORMED, 'the log does not go on', 0);
    });
    this.told.taken(conversation);
  }

  async #fetchMembers(conversation: Conversation, session: MemberSession): Promise<void> {
    const request = create(FetchMembersSchema, { conversation: idBytes(conversation.id) });
    const { members } = await session.ask({ case: 'fetchMembers', value: request }, 'members');
    await this.scope.exclusive(conversation, async (changes) => {
      const accounts = this.#learnMembers(members, changes);
      const isBehind = conversation.isInside && conversation.isBehind;
      conversation.changeRoll(conversation.isGroup && !isBehind ? { members: accounts, due: false } : { due: isBehind });
      if (!conversation.isInside) return;
      const { mls, identity, people } = this.scope;
      const distrust = vet(mls.leaves(await conversation.group(mls)), identity, conversation.peer, people);
      if (distrust !== null) this.refuse(conversation, distrust, changes);
    });
  }

  #learnMembers(members: Members['members'], changes: Changes): AccountId[] {
    const accounts = new Set<AccountId>();
    for (const { account, name, accountKey } of members.slice(0, GROUP_MEMBERS_MAX)) {
      const id = idOf(account);
      if (id === null || accounts.has(id)) continue;
      accounts.add(id);
      if (id !== this.scope.identity.account && isName(name) && accountKey.length === 32) this.scope.people.learn(name, id, accountKey, changes);
    }
    return [...accounts];
  }

  #settle(conversation: Conversation): void {
    this.told.settled(conversation);
    for (const told of conversation.awaiting.splice(0)) told(conversation.refused);
  }

  /** Something went wrong that may go right: again after a pause, unless it has been often enough. */
  async #failed(conversation: Conversation, session: MemberSession, error: unknown): Promise<void> {
    if (error instanceof SessionLost || conversation.isGone) return;
    if (isCode(error, ErrorCode.NOT_FOUND)) return this.forget(conversation);
    if (error instanceof Distrusted) {
      await this.scope.exclusive(conversation, (changes) => this.refuse(conversation, error.distrust, changes));
      return this.#settle(conversation);
    }
    if (error instanceof MlsError && conversation.isInside) await this.#lose(conversation);
    else if (error instanceof Refused || error instanceof MlsError) conversation.failures += 1;
    else throw error;
    const isOften = conversation.failures > FAILURES_MAX && !passes(error);
    if (isOften || conversation.losses > LOSSES_MAX) {
      await this.scope.exclusive(conversation, () => {
        conversation.refused = conversationRefused();
      });
      return this.#settle(conversation);
    }
    // The first conflict is most likely over by now.
    const isAtOnce = isCode(error, ErrorCode.CONFLICT) && conversation.failures === 1;
    this.#idle(conversation.id);
    if (!isAtOnce) await session.pause(Math.max(conversation.failures - 1, 0), error instanceof Refused ? error.retryAfterMs : 0);
    this.#again.add(conversation.id);
  }

  /** The group's state is not to be used: this device enters anew, a bounded number of times. */
  async #lose(conversation: Conversation): Promise<void> {
    conversation.losses += 1;
    await this.scope.exclusive(conversation, (changes) => conversation.fallOut(conversation.record.generation, changes));
  }
}
