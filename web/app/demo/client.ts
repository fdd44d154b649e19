/** A client that lives in memory: the town answers, rings and types back. For pictures and tests of the interface. */

import type {
  AccountId,
  Call,
  CallId,
  CallQuality,
  Client,
  Contact,
  Conversation,
  ConversationId,
  Device,
  Draft,
  Event,
  Line,
  MemberOf,
  MessageRef,
  Online,
  Person,
  Receipt,
  ReceiptPolicy,
  Settings,
} from '../../sdk/client.ts';
import { Refusal } from '../../sdk/client.ts';
import { conversationId, idOf, NOW, OWN, strangers, townContacts, townConversations, type TownConversation } from './town.ts';

const online: Online = { region: 'north sea', transport: 'webtransport', roundTripMs: 18, skewMs: 3 };
const isRef = (line: Line, reference: MessageRef) => line.reference.device === reference.device && line.reference.number === reference.number;

export class DemoClient implements Client {
  readonly #listeners = new Set<(event: Event) => void>();
  readonly #contacts = new Map<AccountId, Contact>();
  readonly #conversations = new Map<ConversationId, TownConversation>();
  readonly #calls = new Map<CallId, Call>();
  #settings: Settings = { callsFrom: 'contacts', availability: 'online', mood: 'fair winds', listed: true };
  #policy: ReceiptPolicy = { delivered: true, read: true };
  #devices: Device[] = [
    { device: OWN, name: 'Chrome on Linux', own: true, madeAt: NOW / 1000 - 3_000_000, lastSeen: 'today' },
    { device: idOf('bob'), name: 'Terminal in the wheelhouse', own: false, madeAt: NOW / 1000 - 9_000_000, lastSeen: 'today' },
    { device: idOf('carol'), name: 'Old phone', own: false, madeAt: NOW / 1000 - 30_000_000, lastSeen: 'earlier' },
    { device: idOf('piet'), name: 'Tablet in the galley', own: false, madeAt: NOW / 1000 - 4_000, lastSeen: 'today' },
  ];
  #number = 5_000;
  #timers = new Set<ReturnType<typeof setInterval>>();

  /** `isEmpty`: the first day of an account. */
  constructor(isEmpty = false) {
    if (isEmpty) return;
    for (const contact of townContacts()) this.#contacts.set(contact.person.account, contact);
    for (const town of townConversations()) this.#conversations.set(town.conversation.conversation, town);
  }

  /** Lets something happen. */
  tell(event: Event): void {
    if (event.kind === 'call') this.#calls.set(event.call.call, event.call);
    for (const listener of this.#listeners) listener(event);
  }

  async own() {
    return { account: OWN, name: 'alice', device: OWN, network: 'harbour.example', echo: 'echo' };
  }

  subscribe(listener: (event: Event) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async online(): Promise<Online | null> {
    return online;
  }

  async find(name: string): Promise<Person> {
    return this.#person(name);
  }

  async search(prefix: string): Promise<Person[]> {
    return strangers.filter((name) => name.startsWith(prefix)).map((name) => ({ account: idOf(name), name }));
  }

  async contacts(): Promise<Contact[]> {
    return [...this.#contacts.values()];
  }

  async requestContact(name: string, note: string): Promise<void> {
    if (name === 'nobody') throw new Refusal('no-such-name', '');
    const person = this.#person(name);
    if (this.#contacts.get(person.account)?.state === 'accepted') throw new Refusal('already-contact', '');
    this.#putContact({ person, state: 'asked', sinceMs: Date.now(), note, alias: null, presence: { availability: 'offline', mood: '', lastSeen: 'unknown' } });
  }

  async answerContact(account: AccountId, accept: boolean): Promise<void> {
    this.#change(account, { state: accept ? 'accepted' : 'none', presence: { availability: 'online', mood: '', lastSeen: 'today' } });
  }

  async removeContact(account: AccountId): Promise<void> {
    this.#change(account, { state: 'none' });
  }

  async block(account: AccountId, block: boolean): Promise<void> {
    this.#change(account, { state: block ? 'blocked' : 'none' });
  }

  async setAlias(account: AccountId, alias: string | null): Promise<void> {
    this.#change(account, { alias });
  }

  async settings(): Promise<Settings> {
    return this.#settings;
  }

  async changeSettings(change: Partial<Settings>): Promise<void> {
    this.#settings = { ...this.#settings, ...change };
    this.tell({ kind: 'settings', settings: this.#settings });
  }

  async setActivity(): Promise<void> {}

  async receiptPolicy(): Promise<ReceiptPolicy> {
    return this.#policy;
  }

  async setReceiptPolicy(policy: ReceiptPolicy): Promise<void> {
    this.#policy = policy;
  }

  async report(): Promise<void> {}

  async comparisonCode(): Promise<string> {
    return '00011 48282 96553 44824 93095 41366 89637 37908 86179 34450 82721 30992';
  }

  async acceptKey(): Promise<void> {}

  async devices(): Promise<Device[]> {
    return this.#devices;
  }

  async renameDevice(device: string, name: string): Promise<void> {
    this.#devices = this.#devices.map((other) => (other.device === device ? { ...other, name } : other));
  }

  async revokeDevice(device: string): Promise<void> {
    this.#devices = this.#devices.filter((other) => other.device !== device);
  }

  async changePassword(old: string): Promise<void> {
    if (old === 'wrong') throw new Refusal('wrong-password', '');
  }

  async deleteAccount(password: string): Promise<void> {
    if (password === 'wrong') throw new Refusal('wrong-password', '');
  }

  async signOut(): Promise<void> {}

  async conversations(): Promise<Conversation[]> {
    return [...this.#conversations.values()].map((town) => town.conversation);
  }

  async conversationWith(name: string): Promise<ConversationId> {
    const person = this.#person(name);
    const known = [...this.#conversations.values()].find((town) => town.conversation.pair?.account === person.account);
    return known?.conversation.conversation ?? this.#found({ pair: { account: person.account, person }, title: '', names: [name] });
  }

  async createGroup(title: string, names: string[]): Promise<ConversationId> {
    return this.#found({ pair: null, title, names });
  }

  async invite(conversation: ConversationId, names: string[]): Promise<void> {
    const town = this.#town(conversation);
    town.members.push(...(names as TownConversation['members']));
    this.#update(town, { members: town.members.length });
  }

  async removeMember(conversation: ConversationId, account: AccountId): Promise<void> {
    const town = this.#town(conversation);
    town.members = town.members.filter((name) => idOf(name) !== account);
    this.#update(town, { members: town.members.length });
  }

  async leave(conversation: ConversationId): Promise<void> {
    this.#conversations.delete(conversation);
    this.tell({ kind: 'conversation-left', conversation, by: null });
  }

  async rename(conversation: ConversationId, title: string): Promise<void> {
    this.#update(this.#town(conversation), { title });
  }

  async members(conversation: ConversationId): Promise<MemberOf[]> {
    return this.#town(conversation).members.map((name, index) => ({ account: idOf(name), person: { account: idOf(name), name }, isOwner: index === 0, devices: 1 + (index % 2) }));
  }

  async post(conversation: ConversationId, draft: Draft): Promise<MessageRef> {
    const town = this.#town(conversation);
    this.#number += 1;
    const reference = { device: OWN, number: this.#number };
    const position = (town.lines.at(-1)?.position ?? 0) + 10;
    const waiting: Line = {
      reference,
      account: OWN,
      sequence: null,
      atMs: Date.now(),
      body: { kind: 'text', text: draft.text, replyTo: draft.replyTo ?? null },
      edited: false,
      deleted: false,
      failed: false,
      reactions: [],
      position,
    };
    this.#put(town, waiting);
    setTimeout(() => {
      this.#put(town, { ...waiting, sequence: town.conversation.head + 1 });
      this.#update(town, { head: town.conversation.head + 1, read: town.conversation.head + 1, unread: 0 });
    }, 120);
    return reference;
  }

  async edit(conversation: ConversationId, message: MessageRef, text: string): Promise<void> {
    this.#changeLine(conversation, message, (line) => ({ ...line, edited: true, body: { kind: 'text', text, replyTo: line.body.kind === 'text' ? line.body.replyTo : null } }));
  }

  async delete(conversation: ConversationId, message: MessageRef): Promise<void> {
    this.#changeLine(conversation, message, (line) => ({ ...line, deleted: true, reactions: [], body: { kind: 'text', text: '', replyTo: null } }));
  }

  async react(conversation: ConversationId, message: MessageRef, emoji: string, set: boolean): Promise<void> {
    this.#changeLine(conversation, message, (line) => {
      const others = line.reactions.filter((reaction) => reaction.account !== OWN || reaction.emoji !== emoji);
      return { ...line, reactions: set ? [...others, { account: OWN, emoji }] : others };
    });
  }

  async typing(): Promise<void> {}

  async markRead(conversation: ConversationId, sequence: number): Promise<void> {
    this.#update(this.#town(conversation), { read: sequence, unread: 0 });
  }

  async receipts(conversation: ConversationId): Promise<Receipt[]> {
    return this.#town(conversation).receipts;
  }

  async history(conversation: ConversationId, before: number | null, limit: number): Promise<Line[]> {
    const lines = this.#conversations.get(conversation)?.lines ?? [];
    return lines.filter((line) => before === null || line.position < before).slice(-limit);
  }

  async calls(): Promise<Call[]> {
    return [...this.#calls.values()].filter((call) => call.state !== 'ended');
  }

  async call(name: string): Promise<CallId> {
    const call: Call = { call: idOf(`call ${name}`), peer: this.#person(name), direction: 'outgoing', state: 'asking', quiet: false, connectedAtMs: null, cause: null, refusal: null };
    this.tell({ kind: 'call', call });
    setTimeout(() => this.#callIs(call.call, { state: 'ringing' }), 500);
    setTimeout(() => this.#connect(call.call), 3_000);
    return call.call;
  }

  async answer(call: CallId): Promise<void> {
    this.#connect(call);
  }

  async decline(call: CallId): Promise<void> {
    this.#callIs(call, { state: 'ended', cause: 'declined' });
  }

  async hangUp(call: CallId): Promise<void> {
    this.#callIs(call, { state: 'ended', cause: 'hung-up' });
  }

  #muted = false;

  async setMuted(_call: CallId, muted: boolean): Promise<void> {
    this.#muted = muted;
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
  }

  #connect(call: CallId): void {
    if (this.#calls.get(call)?.state === 'ended') return;
    this.#callIs(call, { state: 'connected', connectedAtMs: Date.now() });
    let round = 0;
    const timer = setInterval(() => {
      if (this.#calls.get(call)?.state !== 'connected') clearInterval(timer);
      else this.tell({ kind: 'quality', quality: demoQuality(call, (round += 1), this.#muted) });
    }, 1_000);
    this.#timers.add(timer);
  }

  #callIs(call: CallId, change: Partial<Call>): void {
    const known = this.#calls.get(call);
    if (known !== undefined && known.state !== 'ended') this.tell({ kind: 'call', call: { ...known, ...change } });
  }

  #person(name: string): Person {
    return { account: idOf(name), name };
  }

  #putContact(contact: Contact): void {
    this.#contacts.set(contact.person.account, contact);
    this.tell({ kind: 'contact', contact });
  }

  #change(account: AccountId, change: Partial<Contact>): void {
    const contact = this.#contacts.get(account);
    if (contact === undefined) throw new Refusal('no-such-contact', '');
    this.#putContact({ ...contact, ...change });
  }

  #town(conversation: ConversationId): TownConversation {
    const town = this.#conversations.get(conversation);
    if (town === undefined) throw new Refusal('no-such-conversation', '');
    return town;
  }

  #found(group: { pair: Conversation['pair']; title: string; names: string[] }): ConversationId {
    const id = conversationId(this.#conversations.size + 20);
    const members = ['alice', ...group.names] as TownConversation['members'];
    const conversation: Conversation = { conversation: id, pair: group.pair, title: group.title, standing: 'inside', members: members.length, head: 0, read: 0, unread: 0, last: null };
    this.#conversations.set(id, { conversation, lines: [], receipts: [], members });
    this.tell({ kind: 'conversation', conversation });
    return id;
  }

  #update(town: TownConversation, change: Partial<Conversation>): void {
    town.conversation = { ...town.conversation, last: town.lines.at(-1) ?? null, ...change };
    this.tell({ kind: 'conversation', conversation: town.conversation });
  }

  #put(town: TownConversation, line: Line): void {
    const at = town.lines.findIndex((other) => isRef(other, line.reference) && other.position === line.position);
    if (at < 0) town.lines.push(line);
    else town.lines[at] = line;
    this.tell({ kind: 'line', conversation: town.conversation.conversation, line });
    this.#update(town, {});
  }

  #changeLine(conversation: ConversationId, message: MessageRef, change: (line: Line) => Line): void {
    const town = this.#town(conversation);
    const line = town.lines.find((other) => isRef(other, message));
    if (line !== undefined) this.#put(town, change(line));
  }
}

/** A call that sounds as calls do: levels that move, a little loss. */
export function demoQuality(call: CallId, round: number, muted: boolean): CallQuality {
  const wave = (Math.sin(round * 1.7) + 1) / 2;
  return {
    call,
    lossOut: 0.004,
    lossIn: 0.012,
    concealed: 0.003,
    playoutDelayMs: 60,
    jitterMs: 4.2,
    roundTripMs: 38,
    levelOut: muted ? 0 : 0.02 + 0.05 * (1 - wave),
    levelIn: 0.03 + 0.2 * wave,
    muted,
  };
}
