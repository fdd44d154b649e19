/** The exchange's conversations: logs, inboxes, cursors, key packages, and compare-and-swap. */

import { create } from '@bufbuild/protobuf';

import { compareBytes, hex } from '../../proto/bytes.ts';
import {
  CommitAcceptedSchema,
  ConversationSchema,
  ConversationsSchema,
  DeviceKeyPackageSchema,
  DoneSchema,
  ErrorCode,
  GroupInfoSchema,
  InboxEntriesSchema,
  InboxEntrySchema,
  KeyPackagesSchema,
  LogEntriesSchema,
  LogEntrySchema,
  MemberSchema,
  MembersSchema,
  MessageAcceptedSchema,
  ReceiptSchema,
  ReceiptsSchema,
  SignalSchema,
  type Commit,
  type InboxEntry,
  type LogEntry,
  type Receipt,
  type Welcoming,
} from '../../proto/messages.ts';
import type { ReplyBody, RequestBody } from '../../session/uplink.ts';
import { bytes, refuse, type Exchange, type ExchangeLink } from './exchange.ts';

export interface StoredConversation {
  id: string;
  peers: [string, string] | null;
  generation: number;
  epoch: bigint;
  groupInfo: Uint8Array;
  members: { account: string; since: bigint }[];
  log: LogEntry[];
  /** Entries that are gone from the beginning of the log. */
  trimmed: number;
  /** By device. */
  acknowledged: Map<string, bigint>;
  sent: Map<string, bigint>;
  receipts: Map<string, Receipt>;
  receiptsSerial: bigint;
}

/** Entries on a page. */
const PAGE = 4;

const DONE: ReplyBody = { case: 'done', value: create(DoneSchema) };

export class ExchangeConversations {
  readonly all = new Map<string, StoredConversation>();
  readonly keyPackages = new Map<string, { once: Uint8Array[]; lastResort: Uint8Array | null }>();
  readonly #inboxes = new Map<string, InboxEntry[]>();
  #inboxSequence = 0n;

  constructor(private readonly exchange: Exchange) {}

  inbox(device: string): InboxEntry[] {
    const inbox = this.#inboxes.get(device) ?? [];
    this.#inboxes.set(device, inbox);
    return inbox;
  }

  answer(link: ExchangeLink, body: RequestBody): ReplyBody | null {
    const { account, device } = link.identity;
    switch (body.case) {
      case 'publishKeyPackages': {
        const shelf = this.keyPackages.get(device) ?? { once: [], lastResort: null };
        shelf.once.push(...body.value.keyPackages);
        if (body.value.lastResort.length > 0) shelf.lastResort = body.value.lastResort;
        this.keyPackages.set(device, shelf);
        return DONE;
      }
      case 'claimKeyPackages':
        return this.#claim(hex(body.value.account));
      case 'listConversations': {
        const { after } = body.value;
        const all = [...this.all.values()].filter(({ id, members }) => members.some((member) => member.account === account) && compareBytes(bytes(id), after) > 0);
        const page = all.sort((a, b) => (a.id < b.id ? -1 : 1));
        const conversations = page.slice(0, PAGE).map((conversation) => this.#listed(conversation, account, device));
        return { case: 'conversations', value: create(ConversationsSchema, { conversations, more: page.length > PAGE }) };
      }
      case 'createConversation':
        return this.#create(link, body.value);
      case 'fetchInbox': {
        const entries = this.inbox(device).filter(({ sequence }) => sequence > body.value.after);
        return { case: 'inboxEntries', value: create(InboxEntriesSchema, { entries: entries.slice(0, PAGE), more: entries.length > PAGE }) };
      }
      case 'acknowledge': {
        const { inbox, logs } = body.value;
        this.#inboxes.set(device, this.inbox(device).filter(({ sequence }) => sequence > inbox));
        for (const { conversation, sequence } of logs) this.all.get(hex(conversation))?.acknowledged.set(device, sequence);
        return DONE;
      }
      case 'fetchGroupInfo':
      case 'commit':
      case 'fetchLog':
      case 'sendMessage':
      case 'sendSignal':
      case 'setReceipt':
      case 'fetchReceipts':
      case 'fetchMembers':
      case 'leaveConversation':
        return this.#answerInside(link, body);
      default:
        return null;
    }
  }

  #answerInside(link: ExchangeLink, body: Extract<RequestBody, { value: { conversation: Uint8Array } }>): ReplyBody | null {
    const { account, device } = link.identity;
    const conversation = this.all.get(hex(body.value.conversation)) ?? refuse(ErrorCode.NOT_FOUND);
    if (!conversation.members.some((member) => member.account === account)) refuse(ErrorCode.NOT_FOUND);
    const id = body.value.conversation;
    switch (body.case) {
      case 'fetchGroupInfo': {
        const { generation, epoch, groupInfo } = conversation;
        return { case: 'groupInfo', value: create(GroupInfoSchema, { conversation: id, generation, epoch, groupInfo, head: head(conversation) }) };
      }
      case 'commit':
        return this.#commit(link, conversation, body.value);
      case 'fetchLog': {
        const entries = conversation.log.slice(conversation.trimmed).filter(({ sequence }) => sequence > body.value.after);
        return { case: 'logEntries', value: create(LogEntriesSchema, { entries: entries.slice(0, PAGE), more: entries.length > PAGE }) };
      }
      case 'sendMessage': {
        const { number, generation, epoch, sealed } = body.value;
        const sent = conversation.sent.get(device) ?? 0n;
        const atMs = BigInt(this.exchange.now());
        if (number <= sent) return { case: 'messageAccepted', value: create(MessageAcceptedSchema, { sequence: 0n, atMs }) };
        if (number !== sent + 1n || generation !== conversation.generation || epoch !== conversation.epoch) refuse(ErrorCode.CONFLICT);
        conversation.sent.set(device, number);
        const sequence = this.#append(link, conversation, { epoch, body: { case: 'message', value: { number, sealed } } });
        return { case: 'messageAccepted', value: create(MessageAcceptedSchema, { sequence, atMs }) };
      }
      case 'sendSignal': {
        const signal = create(SignalSchema, { conversation: id, account: bytes(account), device: bytes(device), sealed: body.value.sealed });
        this.#tellMembers(conversation, { case: 'signal', value: signal }, link);
        return DONE;
      }
      case 'setReceipt': {
        conversation.receiptsSerial += 1n;
        const serial = conversation.receiptsSerial;
        const receipt = create(ReceiptSchema, { conversation: id, account: bytes(account), device: bytes(device), sealed: body.value.sealed, serial });
        conversation.receipts.set(device, receipt);
        this.#tellMembers(conversation, { case: 'receipt', value: receipt }, link);
        return DONE;
      }
      case 'fetchReceipts': {
        const receipts = [...conversation.receipts.values()].filter(({ serial }) => serial > body.value.after).sort((a, b) => Number(a.serial - b.serial));
        return { case: 'receipts', value: create(ReceiptsSchema, { receipts: receipts.slice(0, PAGE), more: receipts.length > PAGE }) };
      }
      case 'fetchMembers': {
        const members = conversation.members.map(({ account: member, since }) => {
          const { name, accountKey } = this.exchange.account(member);
          return create(MemberSchema, { account: bytes(member), name, accountKey, since });
        });
        return { case: 'members', value: create(MembersSchema, { conversation: id, members }) };
      }
      case 'leaveConversation':
        if (conversation.peers !== null) refuse(ErrorCode.FORBIDDEN);
        conversation.members = conversation.members.filter((member) => member.account !== account);
        this.#append(link, conversation, { epoch: conversation.epoch, body: { case: 'departed', value: bytes(account) } });
        return DONE;
      default:
        return null;
    }
  }

  #claim(account: string): ReplyBody {
    const packages = [...this.exchange.account(account).devices.keys()].flatMap((device) => {
      const shelf = this.keyPackages.get(device);
      const keyPackage = shelf?.once.shift() ?? shelf?.lastResort ?? null;
      return keyPackage === null ? [] : [create(DeviceKeyPackageSchema, { device: bytes(device), keyPackage })];
    });
    if (packages.length === 0) refuse(ErrorCode.NOT_FOUND);
    return { case: 'keyPackages', value: create(KeyPackagesSchema, { packages }) };
  }

  #create(link: ExchangeLink, { conversation, peer, epoch, groupInfo, welcomes }: Extract<RequestBody, { case: 'createConversation' }>['value']): ReplyBody {
    const { account, device } = link.identity;
    const other = peer.length === 0 ? null : hex(peer);
    if (other !== null && !this.exchange.mayReach(account, other)) refuse(ErrorCode.FORBIDDEN);
    const existing = other && [...this.all.values()].find(({ peers }) => peers?.includes(account) && peers.includes(other));
    if (existing) return { case: 'conversations', value: create(ConversationsSchema, { conversations: [this.#listed(existing, account, device)] }) };
    const members = [account, ...(other === null ? [] : [other])].map((member) => ({ account: member, since: 0n }));
    const made: StoredConversation = {
      id: hex(conversation),
      peers: other === null ? null : [account, other],
      generation: 1,
      epoch,
      groupInfo,
      members,
      log: [],
      trimmed: 0,
      acknowledged: new Map(),
      sent: new Map(),
      receipts: new Map(),
      receiptsSerial: 0n,
    };
    this.all.set(made.id, made);
    this.#welcome(account, made, welcomes, 0n);
    return { case: 'conversations', value: create(ConversationsSchema, { conversations: [this.#listed(made, account, device)] }) };
  }

  #commit(link: ExchangeLink, conversation: StoredConversation, { generation, epoch, commit, groupInfo, welcomes, add, remove }: Commit): ReplyBody {
    const { account } = link.identity;
    if (generation !== conversation.generation || epoch !== conversation.epoch) refuse(ErrorCode.CONFLICT);
    const [added, removed] = [add.map(hex), remove.map(hex)];
    const isMember = (id: string): boolean => conversation.members.some((member) => member.account === id);
    if (added.some(isMember) || !removed.every(isMember)) refuse(ErrorCode.CONFLICT);
    if (added.some((id) => !this.exchange.mayReach(account, id))) refuse(ErrorCode.FORBIDDEN);
    if (removed.length > 0 && (conversation.members[0]?.account !== account || removed.includes(account))) refuse(ErrorCode.FORBIDDEN);
    const before = conversation.members;
    const sequence = head(conversation) + 1n;
    conversation.members = [...before.filter((member) => !removed.includes(member.account)), ...added.map((id) => ({ account: id, since: sequence }))];
    conversation.epoch += 1n;
    conversation.groupInfo = groupInfo;
    this.#append(link, conversation, { epoch, body: { case: 'commit', value: commit }, added: add, removed: remove }, before.map((member) => member.account));
    this.#welcome(account, conversation, welcomes, sequence);
    return { case: 'commitAccepted', value: create(CommitAcceptedSchema, { sequence }) };
  }

  #append(link: ExchangeLink, conversation: StoredConversation, entry: Pick<LogEntry, 'epoch'> & Partial<Pick<LogEntry, 'added' | 'removed'>> & { body: unknown }, also: string[] = []): bigint {
    const { account, device } = link.identity;
    const sequence = head(conversation) + 1n;
    const common = { conversation: bytes(conversation.id), sequence, generation: conversation.generation, account: bytes(account), device: bytes(device) };
    // The body is one of a LogEntry, as all callers give it.
    const made = create(LogEntrySchema, { ...common, ...entry, atMs: BigInt(this.exchange.now()) } as LogEntry);
    conversation.log.push(made);
    const told = new Set([...conversation.members.map((member) => member.account), ...also]);
    for (const member of told) this.exchange.tell(member, { case: 'logEntry', value: made }, link);
    return sequence;
  }

  #welcome(account: string, conversation: StoredConversation, welcomes: Welcoming[], at: bigint): void {
    for (const { devices, welcome } of welcomes) {
      for (const device of devices.map(hex)) {
        this.#inboxSequence += 1n;
        const { generation } = conversation;
        const entry = create(InboxEntrySchema, {
          sequence: this.#inboxSequence,
          conversation: bytes(conversation.id),
          generation,
          head: at,
          account: bytes(account),
          body: { case: 'welcome', value: welcome },
        });
        this.inbox(device).push(entry);
        this.exchange.links.get(device)?.deliver({ case: 'inboxEntry', value: entry });
      }
    }
  }

  #tellMembers(conversation: StoredConversation, body: ReplyBody, but: ExchangeLink): void {
    for (const { account } of conversation.members) this.exchange.tell(account, body, but);
  }

  #listed(conversation: StoredConversation, account: string, device: string) {
    const { id, generation, epoch, peers, receiptsSerial } = conversation;
    const peer = peers?.find((other) => other !== account);
    return create(ConversationSchema, {
      conversation: bytes(id),
      generation,
      epoch,
      peer: peer === undefined ? new Uint8Array(0) : bytes(peer),
      head: head(conversation),
      acknowledged: conversation.acknowledged.get(device) ?? 0n,
      sent: conversation.sent.get(device) ?? 0n,
      receiptsSerial,
    });
  }
}

function head(conversation: StoredConversation): bigint {
  return BigInt(conversation.log.length);
}
