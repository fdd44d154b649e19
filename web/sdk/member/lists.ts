/** What a session begins with: the inbox and the list of conversations; and the acknowledgements of what was taken in. */

import { create } from '@bufbuild/protobuf';

import type { ConversationId } from '../client.ts';
import { unhex } from '../proto/bytes.ts';
import { idBytes, idOf } from '../proto/ids.ts';
import { AcknowledgeSchema, FetchInboxSchema, ListConversationsSchema, LogMarkSchema, type InboxEntry } from '../proto/messages.ts';
import { Timers } from './clock.ts';
import type { Conversation } from './conversation.ts';
import type { Conversations } from './conversations.ts';
import { toNumber } from './numbers.ts';
import { passOver } from './refusals.ts';
import type { Scope } from './scope.ts';
import type { MemberSession } from './session.ts';

/** How long acknowledgements wait for others: a busy group costs two requests a second. */
const ACKNOWLEDGE_AFTER_MS = 500;

/** Logs in one acknowledgement. */
const LOG_MARKS_MAX = 100;

/** Pages of one list: all conversations that an account can have, and more. */
const PAGES_MAX = 1_000;

export class Lists {
  listed = false;
  inboxRead = false;
  /** Counts how often the inbox has been read from where it was. */
  inboxReads = 0;
  #inboxHead = 0;
  #inboxAcknowledged = 0;
  #inboxAgain = false;
  #marks = new Map<ConversationId, number>();
  readonly #timers: Timers<'acknowledge'>;

  constructor(
    private readonly scope: Scope,
    private readonly conversations: Conversations,
    private readonly retire: () => void,
  ) {
    this.#timers = new Timers(scope.clock);
  }

  begin(): void {
    this.listed = false;
    this.inboxRead = false;
    this.#inboxHead = 0;
    this.#inboxAcknowledged = 0;
    this.#inboxAgain = false;
    this.#marks = new Map();
    this.#timers.cancelAll();
  }

  /** Reads the inbox to its end, once more if something arrived meanwhile. */
  async readInbox(session: MemberSession): Promise<void> {
    this.inboxRead = false;
    do {
      this.#inboxAgain = false;
      this.inboxReads += 1;
      for (let pages = 0, more = true; more && pages < PAGES_MAX; pages += 1) {
        const request = create(FetchInboxSchema, { after: BigInt(this.#inboxHead) });
        const page = await session.insist({ case: 'fetchInbox', value: request }, 'inboxEntries');
        for (const entry of page.entries) this.#takeInboxEntry(entry);
        more = page.more && page.entries.length > 0;
      }
    } while (this.#inboxAgain);
    this.inboxRead = true;
    this.conversations.wakeAll();
  }

  /** Reads the inbox, once more if it is being read. */
  lookIntoInbox(): void {
    const { session } = this.scope;
    if (session === null) return;
    if (this.inboxRead) this.readInbox(session).catch(passOver);
    else this.#inboxAgain = true;
  }

  /** Entries of two senders may be told in another order than they stand there: so the inbox is read, and not what was told. */
  handleInboxEntry(entry: InboxEntry): void {
    if (toNumber(entry.sequence) > this.#inboxHead) this.lookIntoInbox();
  }

  /** Asks for all conversations; those of which it does not speak are gone. */
  async listConversations(session: MemberSession): Promise<void> {
    let after: Uint8Array = new Uint8Array(0);
    for (let pages = 0, more = true; more && pages < PAGES_MAX; pages += 1) {
      const request = create(ListConversationsSchema, { after });
      const page = await session.insist({ case: 'listConversations', value: request }, 'conversations');
      for (const listed of page.conversations) if (!(await this.conversations.takeListed(listed))) return this.retire();
      after = page.conversations.at(-1)?.conversation ?? after;
      more = page.more && page.conversations.length > 0;
    }
    session.check();
    this.listed = true;
    for (const conversation of this.conversations.all) {
      if (!conversation.listed && conversation.record.kind !== null) await this.conversations.forget(conversation);
    }
    this.conversations.wakeAll();
  }

  /** Asks what kind of conversation one is that came up since the list. */
  async listAlone(conversation: Conversation, session: MemberSession): Promise<void> {
    const request = create(ListConversationsSchema, { after: before(conversation.id) });
    const { conversations } = await session.ask({ case: 'listConversations', value: request }, 'conversations');
    const listed = conversations.find((other) => idOf(other.conversation) === conversation.id);
    if (listed === undefined) await this.conversations.forget(conversation);
    else if (!(await this.conversations.takeListed(listed))) this.retire();
  }

  /** Remembers to acknowledge what has been taken in, the inbox included. */
  mark(conversation: Conversation): void {
    if (conversation.record.head > 0 && !conversation.isGone) this.#marks.set(conversation.id, conversation.record.head);
    this.#timers.setOnce('acknowledge', ACKNOWLEDGE_AFTER_MS, () => this.#acknowledge());
  }

  /** What came of the entries is durable by now. */
  #acknowledge(): void {
    const { session } = this.scope;
    if (session === null) return;
    // A Welcome that waits is not taken in yet.
    const waiting = this.conversations.all.flatMap(({ welcome }) => (welcome === null ? [] : [toNumber(welcome.sequence) - 1]));
    const head = Math.min(this.#inboxHead, ...waiting);
    const inbox = head > this.#inboxAcknowledged ? head : 0;
    this.#inboxAcknowledged = Math.max(this.#inboxAcknowledged, inbox);
    const marks = [...this.#marks].slice(0, LOG_MARKS_MAX);
    for (const [id] of marks) this.#marks.delete(id);
    if (this.#marks.size > 0) this.#timers.setOnce('acknowledge', ACKNOWLEDGE_AFTER_MS, () => this.#acknowledge());
    if (inbox === 0 && marks.length === 0) return;
    const logs = marks.map(([id, sequence]) => create(LogMarkSchema, { conversation: idBytes(id), sequence: BigInt(sequence) }));
    // One that is lost is made up for by the next session's list.
    session.insist({ case: 'acknowledge', value: create(AcknowledgeSchema, { inbox: BigInt(inbox), logs }) }, 'done').catch(passOver);
  }

  /** Keeps a Welcome until it is known who should be in its group. */
  #takeInboxEntry(entry: InboxEntry): void {
    this.#inboxHead = Math.max(this.#inboxHead, toNumber(entry.sequence));
    this.#timers.setOnce('acknowledge', ACKNOWLEDGE_AFTER_MS, () => this.#acknowledge());
    const id = idOf(entry.conversation);
    if (entry.body.case !== 'welcome' || id === null) return;
    const conversation = this.conversations.know(id, entry.generation);
    if (conversation === null || conversation.isInside) return;
    conversation.welcome = entry;
    this.conversations.wake(conversation);
  }
}

/** The id that comes just before this one in a list: whatever follows it begins with this one. */
function before(id: ConversationId): Uint8Array {
  const number = BigInt(`0x${id}`);
  if (number === 0n) return new Uint8Array(0);
  return unhex((number - 1n).toString(16).padStart(id.length, '0')) ?? new Uint8Array(0);
}
