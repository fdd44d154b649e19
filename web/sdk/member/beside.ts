/**
 * Receipts and signals: how far devices have received and read, and who types.
 *
 * Both are sealed under a key of the epoch's that every member has, and do not move the ratchet. A receipt leaves at most every two
 * seconds and says nothing that its owner does not tell.
 */

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';

import type { AccountId, ConversationId, ReceiptPolicy } from '../client.ts';
import { idBytes, idOf } from '../proto/ids.ts';
import {
  FetchReceiptsSchema,
  ReceiptContentSchema,
  SendSignalSchema,
  SetReceiptSchema,
  SignalContentSchema,
  type Receipt,
  type Signal,
} from '../proto/messages.ts';
import type { Vault } from '../vault/vault.ts';
import { hasFields, readJson, type Changes } from './changes.ts';
import { Timers } from './clock.ts';
import type { Conversation } from './conversation.ts';
import type { Conversations } from './conversations.ts';
import { readHistory, HISTORY_MAX, positionOf } from './lines.ts';
import { openBeside, RECEIPT, sealBeside, SIGNAL, type Beside } from './mls/keys.ts';
import { toNumber } from './numbers.ts';
import { passes, passOver } from './refusals.ts';
import type { Scope } from './scope.ts';
import type { MemberSession } from './session.ts';

/** How long a receipt waits for what may come after it. */
const RECEIPT_AFTER_MS = 2_000;

/** Accounts of a group beyond which nobody sends receipts: each would go to all others. */
const RECEIPTS_MEMBERS_MAX = 32;

/** How long somebody types who has said so. */
const TYPING_LASTS_MS = 10_000;

/** People who type at once, in all conversations; more are not shown. */
const TYPING_MAX = 64;

const NONCE_LENGTH = 24;
const POLICY_KEY = 'receipt-policy';
const PAGES_MAX = 100;

type TimerName = `receipt/${ConversationId}` | `typing/${ConversationId}/${AccountId}`;

export class BesideRatchet {
  readonly #timers: Timers<TimerName>;
  #typing = new Set<TimerName>();

  private constructor(
    private readonly scope: Scope,
    private readonly conversations: () => Conversations,
    public policy: ReceiptPolicy,
  ) {
    this.#timers = new Timers(scope.clock);
  }

  static async load(vault: Vault, scope: Scope, conversations: () => Conversations): Promise<BesideRatchet> {
    const policy = readJson(await vault.read('state', POLICY_KEY), hasFields<ReceiptPolicy>('delivered', 'read'));
    return new BesideRatchet(scope, conversations, policy ?? { delivered: true, read: true });
  }

  /** Nobody is seen to type any more, and what was to be told waits for the next session. */
  end(): void {
    for (const name of [...this.#typing]) this.#stopTyping(name);
    this.#timers.cancelAll();
  }

  async setPolicy(policy: ReceiptPolicy): Promise<void> {
    this.policy = { delivered: policy.delivered, read: policy.read };
    await this.scope.change((changes) => changes.putJson('state', POLICY_KEY, this.policy));
  }

  /** The owner of this device has read up to a sequence number. */
  async markRead(conversation: Conversation, sequence: number): Promise<void> {
    await this.scope.exclusive(conversation, async () => {
      await this.#read(conversation, sequence);
      if (this.policy.read) this.#due(conversation);
    });
  }

  /** There is something to tell about a conversation, within a set of changes. */
  received(conversation: Conversation): void {
    this.#due(conversation);
  }

  /** Takes up what was to be told when there was no session, and asks for what others have told since. */
  async current(conversation: Conversation, session: MemberSession): Promise<void> {
    if (conversation.record.receiptOwed) this.#setTimer(conversation);
    const after = conversation.record.receiptsSerial;
    if (conversation.receiptsKnown <= after) return;
    // Asked once for what is known by then; whatever changes later comes as an event.
    conversation.receiptsKnown = 0;
    await this.#fetch(conversation, session);
  }

  async typing(conversation: Conversation, typing: boolean): Promise<void> {
    const { session } = this.scope;
    const content = toBinary(SignalContentSchema, create(SignalContentSchema, { typing }));
    const sealed = conversation.isCurrent ? this.#seal(conversation, SIGNAL, content) : null;
    if (session === null || sealed === null) return;
    const request = create(SendSignalSchema, { conversation: idBytes(conversation.id), sealed });
    // It matters only now.
    await session.ask({ case: 'sendSignal', value: request }, 'done').catch(passOver);
  }

  handleReceipt(receipt: Receipt): void {
    const conversation = this.conversations().get(idOf(receipt.conversation) ?? '');
    if (conversation !== null) this.scope.exclusive(conversation, (changes) => this.#take(conversation, receipt, changes)).catch(passOver);
  }

  handleSignal(signal: Signal): void {
    const [account, device] = [idOf(signal.account), idOf(signal.device)];
    const conversation = this.conversations().get(idOf(signal.conversation) ?? '');
    if (conversation === null || account === null || device === null) return;
    const typing = this.#openSignal(conversation, account, device, signal.sealed);
    if (typing === null || account === this.scope.identity.account || this.scope.isBlocked(account)) return;
    const name: TimerName = `typing/${conversation.id}/${account}`;
    if (!typing) return this.#stopTyping(name);
    if (!this.#typing.has(name)) {
      if (this.#typing.size >= TYPING_MAX) return;
      this.#typing.add(name);
      this.scope.emit({ kind: 'typing', conversation: conversation.id, account, typing: true });
    }
    this.#timers.set(name, TYPING_LASTS_MS, () => this.#stopTyping(name));
  }

  /** Whoever has spoken types no longer. */
  spoke(conversation: ConversationId, account: AccountId): void {
    this.#stopTyping(`typing/${conversation}/${account}`);
  }

  #stopTyping(name: TimerName): void {
    this.#timers.cancel(name);
    const [, conversation, account] = name.split('/');
    if (!this.#typing.delete(name) || conversation === undefined || account === undefined) return;
    this.scope.emit({ kind: 'typing', conversation, account, typing: false });
  }

  /** Counts anew what is unread after a sequence number. */
  async #read(conversation: Conversation, sequence: number): Promise<void> {
    const read = Math.min(sequence, conversation.record.head);
    if (read <= conversation.record.read) return;
    const isAll = read >= conversation.record.head;
    const lines = isAll ? [] : await readHistory(this.scope.vault, conversation.id, null, HISTORY_MAX);
    const isUnread = lines.filter(({ account, body, deleted, position }) => account !== this.scope.identity.account && body.kind === 'text' && !deleted && position >= positionOf(read + 1));
    conversation.change({ read, unread: isUnread.length });
  }

  #due(conversation: Conversation): void {
    const isFew = conversation.members(this.scope.identity.account).length <= RECEIPTS_MEMBERS_MAX;
    if (!isFew || (!this.policy.delivered && !this.policy.read)) return;
    if (!conversation.record.receiptOwed) conversation.change({ receiptOwed: true });
    this.#setTimer(conversation);
  }

  #setTimer(conversation: Conversation): void {
    this.#timers.setOnce(`receipt/${conversation.id}`, RECEIPT_AFTER_MS, () => void this.#send(conversation).catch(passOver));
  }

  async #send(conversation: Conversation): Promise<void> {
    const { session } = this.scope;
    if (session === null || conversation.isGone || !conversation.isInside || conversation.refused !== null) return;
    const sealed = await this.scope.exclusive(conversation, () => {
      conversation.change({ receiptOwed: false });
      const { head, read } = conversation.record;
      const content = { delivered: BigInt(this.policy.delivered ? head : 0), read: BigInt(this.policy.read ? read : 0) };
      return this.#seal(conversation, RECEIPT, toBinary(ReceiptContentSchema, create(ReceiptContentSchema, content)));
    });
    if (sealed === null) return;
    try {
      await session.ask({ case: 'setReceipt', value: create(SetReceiptSchema, { conversation: idBytes(conversation.id), sealed }) }, 'done');
    } catch (error) {
      if (!passes(error)) throw error;
      await this.scope.exclusive(conversation, () => this.#due(conversation));
    }
  }

  async #fetch(conversation: Conversation, session: MemberSession): Promise<void> {
    for (let pages = 0, more = true; more && pages < PAGES_MAX; pages += 1) {
      const after = conversation.record.receiptsSerial;
      const request = create(FetchReceiptsSchema, { conversation: idBytes(conversation.id), after: BigInt(after) });
      const page = await session.ask({ case: 'fetchReceipts', value: request }, 'receipts');
      await this.scope.exclusive(conversation, async (changes) => {
        for (const receipt of page.receipts) await this.#take(conversation, receipt, changes);
      });
      more = page.more && conversation.record.receiptsSerial > after;
    }
  }

  async #take(conversation: Conversation, receipt: Receipt, changes: Changes): Promise<void> {
    const [account, device] = [idOf(receipt.account), idOf(receipt.device)];
    const serial = toNumber(receipt.serial);
    if (account === null || device === null || conversation.isGone || serial <= conversation.record.receiptsSerial) return;
    conversation.change({ receiptsSerial: serial });
    const plain = this.#open(conversation, RECEIPT, account, device, receipt.sealed);
    if (plain === null) return;
    const content = parseReceipt(plain);
    if (content === null) return;
    const head = Math.max(conversation.record.head, conversation.knownHead);
    const [delivered, read] = [Math.min(content.delivered, head), Math.min(content.read, head)];
    if (account === this.scope.identity.account) return this.#read(conversation, read);
    const told = conversation.receive(account, delivered, read);
    if (!this.scope.isBlocked(account)) changes.tell({ kind: 'receipt', conversation: conversation.id, receipt: told });
  }

  /** Seals something that does not move the ratchet. */
  #seal(conversation: Conversation, kind: Beside['kind'], plain: Uint8Array): Uint8Array | null {
    const { epoch } = conversation.record;
    const secret = epoch === null ? null : conversation.voiceSecret(epoch);
    if (epoch === null || secret === null) return null;
    const beside = { kind, conversation: conversation.id, device: this.scope.identity.device };
    return sealBeside(plain, beside, epoch, secret, this.scope.chance.bytes(NONCE_LENGTH));
  }

  /** Opens what a device of the group sealed; `null` too when the device is none of this account's in the group. */
  #open(conversation: Conversation, kind: Beside['kind'], account: AccountId, device: string, sealed: Uint8Array): Uint8Array | null {
    const stands = conversation.roll.leaves.some((leaf) => leaf.account === account && leaf.device === device);
    if (!stands || conversation.refused !== null) return null;
    return openBeside(sealed, { kind, conversation: conversation.id, device }, (epoch) => conversation.voiceSecret(epoch));
  }

  #openSignal(conversation: Conversation, account: AccountId, device: string, sealed: Uint8Array): boolean | null {
    const plain = this.#open(conversation, SIGNAL, account, device, sealed);
    if (plain === null) return null;
    try {
      return fromBinary(SignalContentSchema, plain).typing;
    } catch {
      return null;
    }
  }
}

function parseReceipt(plain: Uint8Array): { delivered: number; read: number } | null {
  try {
    const { delivered, read } = fromBinary(ReceiptContentSchema, plain);
    return { delivered: toNumber(delivered), read: toNumber(read) };
  } catch {
    return null;
  }
}
