/** What the interface knows of a signed-in client: signals, filled by first reads and then by what the client tells. */

import { batch, computed, signal, type ReadonlySignal, type Signal } from '@preact/signals';
import type {
  AccountId,
  Call,
  CallId,
  CallQuality,
  Client,
  Contact,
  Conversation,
  ConversationId,
  DeviceId,
  Event,
  Online,
  Person,
  Presence,
  Settings,
} from '../../sdk/client.ts';
import { cleanLine } from '../clean.ts';
import { t } from '../text.ts';
import { Timeline } from './open.ts';
import { now } from './when.ts';

export type Own = Person & { device: DeviceId; network: string; echo: string | null };
export type Stop = Extract<Event, { kind: 'stopped' }>;
export type LinkState = 'connecting' | 'online' | 'offline';

/** Somebody who types stops being shown as doing so without another word. */
const TYPING_MS = 8_000;
/** An ended call stays to be seen for so long, where it has its own screen. */
const ENDED_MAX = 8;

export class Store {
  readonly client: Client;
  readonly own: Signal<Own | null> = signal(null);
  readonly link: Signal<LinkState> = signal('connecting');
  readonly online: Signal<Online | null> = signal(null);
  readonly isReady: Signal<boolean> = signal(false);
  readonly isLoaded: Signal<boolean> = signal(false);
  readonly stopped: Signal<Stop | null> = signal(null);
  readonly contacts: Signal<ReadonlyMap<AccountId, Contact>> = signal(new Map());
  readonly settings: Signal<Settings | null> = signal(null);
  /** One signal each, so that a message draws its own row anew and no other. */
  readonly conversations: Signal<ReadonlyMap<ConversationId, Signal<Conversation>>> = signal(new Map());
  readonly typing: Signal<ReadonlyMap<ConversationId, readonly AccountId[]>> = signal(new Map());
  readonly calls: Signal<ReadonlyMap<CallId, Call>> = signal(new Map());
  readonly quality: Signal<ReadonlyMap<CallId, CallQuality>> = signal(new Map());
  /** What was last chosen in the call; `null` where the call itself says it. */
  readonly muted: Signal<boolean | null> = signal(null);
  readonly drafts: Signal<ReadonlyMap<ConversationId, string>> = signal(new Map());
  readonly keyChanged: Signal<Person | null> = signal(null);
  readonly newDevice: Signal<DeviceId | null> = signal(null);
  readonly timeline: Signal<Timeline | null> = signal(null);

  /** Names of accounts that are no contacts, as groups tell them. */
  readonly #names: Signal<ReadonlyMap<AccountId, Person>> = signal(new Map());
  readonly #typingEnds = new Map<string, ReturnType<typeof setTimeout>>();
  readonly #unsubscribe: () => void;

  constructor(client: Client) {
    this.client = client;
    this.#unsubscribe = client.subscribe((event) => batch(() => this.#take(event)));
  }

  /** Reads what there is; events meanwhile are newer and win. */
  async load(): Promise<void> {
    const { client } = this;
    this.own.value = await client.own();
    const [contacts, conversations, calls, online, settings] = await Promise.all([
      client.contacts(),
      client.conversations(),
      client.calls(),
      client.online(),
      client.settings().catch(() => null),
    ]);
    batch(() => {
      for (const contact of contacts) if (!this.contacts.peek().has(contact.person.account)) this.#takeContact(contact);
      for (const conversation of conversations) {
        if (!this.conversations.peek().has(conversation.conversation)) this.#takeConversation(conversation);
      }
      for (const call of calls) if (!this.calls.peek().has(call.call)) this.#takeCall(call);
      this.settings.value ??= settings;
      if (online !== null && this.link.value === 'connecting') this.#take({ kind: 'online', online });
      this.isLoaded.value = true;
    });
  }

  /** Reads everything again, after the client has moved: what was told meanwhile may have been missed. */
  async reload(): Promise<void> {
    batch(() => {
      this.link.value = 'connecting';
      this.contacts.value = new Map();
      this.calls.value = new Map([...this.calls.peek()].filter(([, call]) => call.state === 'ended'));
      this.settings.value = null;
      this.typing.value = new Map();
    });
    const conversations = await this.client.conversations();
    batch(() => {
      const ids = new Set(conversations.map((conversation) => conversation.conversation));
      for (const id of this.conversations.peek().keys()) if (!ids.has(id)) this.#forget(id);
      for (const conversation of conversations) this.#takeConversation(conversation);
    });
    await this.load();
    await this.timeline.peek()?.reload();
  }

  /** Stops listening. */
  close(): void {
    this.#unsubscribe();
    for (const timer of this.#typingEnds.values()) clearTimeout(timer);
    this.timeline.value = null;
  }

  /** The list of chats: what was said last first. */
  readonly order: ReadonlySignal<Signal<Conversation>[]> = computed(() =>
    [...this.conversations.value.values()].sort((first, second) => lastOf(second.value) - lastOf(first.value)),
  );

  readonly unread: ReadonlySignal<number> = computed(() =>
    [...this.conversations.value.values()].reduce((sum, conversation) => sum + conversation.value.unread, 0),
  );

  readonly requests: ReadonlySignal<Contact[]> = computed(() => [...this.contacts.value.values()].filter((contact) => contact.state === 'asks'));

  /** The call that one is in or makes. */
  readonly activeCall: ReadonlySignal<Call | null> = computed(
    () => [...this.calls.value.values()].find((call) => call.state !== 'ended' && !isWaiting(call)) ?? null,
  );

  /** The call that wants to be answered. */
  readonly incomingCall: ReadonlySignal<Call | null> = computed(() => [...this.calls.value.values()].find(isWaiting) ?? null);

  /** What somebody is called here. */
  nameOf(account: AccountId): string {
    if (account === this.own.value?.account) return t.you;
    const contact = this.contacts.value.get(account);
    return cleanLine(contact?.alias ?? '') || contact?.person.name || this.#names.value.get(account)?.name || t.someone;
  }

  /** The name that somebody signs in with; `null` while it is not known here. */
  realName(account: AccountId): string | null {
    if (account === this.own.value?.account) return this.own.value.name;
    return this.contacts.value.get(account)?.person.name ?? this.#names.value.get(account)?.name ?? null;
  }

  presenceOf(account: AccountId): Presence | null {
    const contact = this.contacts.value.get(account);
    return contact?.state === 'accepted' ? contact.presence : null;
  }

  titleOf(conversation: Conversation): string {
    const { pair } = conversation;
    if (pair === null) return cleanLine(conversation.title) || t.chats.group;
    const name = this.nameOf(pair.account);
    return name === t.someone && pair.person !== null ? pair.person.name : name;
  }

  rememberName(person: Person): void {
    if (this.#names.peek().get(person.account)?.name === person.name) return;
    this.#names.value = new Map(this.#names.peek()).set(person.account, person);
  }

  setDraft(conversation: ConversationId, text: string): void {
    const drafts = new Map(this.drafts.peek());
    if (text === '') drafts.delete(conversation);
    else drafts.set(conversation, text);
    this.drafts.value = drafts;
  }

  /** Takes a call that is over out of sight. */
  dismissCall(call: CallId): void {
    const calls = new Map(this.calls.peek());
    calls.delete(call);
    this.calls.value = calls;
  }

  #take(event: Event): void {
    switch (event.kind) {
      case 'online':
        this.online.value = event.online;
        this.link.value = 'online';
        break;
      case 'offline':
        this.online.value = null;
        this.link.value = 'offline';
        this.isReady.value = false;
        break;
      case 'ready':
        this.isReady.value = true;
        break;
      case 'contact':
        this.#takeContact(event.contact);
        break;
      case 'presence':
        this.#takePresence(event.account, event.presence);
        break;
      case 'settings':
        this.settings.value = event.settings;
        break;
      case 'conversation':
        this.#takeConversation(event.conversation);
        break;
      case 'conversation-left':
        this.#forget(event.conversation);
        break;
      case 'line':
        this.timeline.peek()?.take(event.conversation, event.line);
        this.#setTyping(event.conversation, event.line.account, false);
        break;
      case 'receipt':
        this.timeline.peek()?.takeReceipt(event.conversation, event.receipt);
        break;
      case 'typing':
        this.#setTyping(event.conversation, event.account, event.typing);
        break;
      case 'call':
        this.#takeCall(event.call);
        break;
      case 'quality':
        this.quality.value = new Map([[event.quality.call, event.quality]]);
        break;
      case 'new-own-device':
        this.newDevice.value = event.device;
        break;
      case 'account-key-changed':
        this.keyChanged.value = event.person;
        break;
      case 'stopped':
        this.stopped.value = event;
        break;
    }
  }

  #takeContact(contact: Contact): void {
    const contacts = new Map(this.contacts.peek());
    if (contact.state === 'none') contacts.delete(contact.person.account);
    else contacts.set(contact.person.account, contact);
    this.contacts.value = contacts;
    this.rememberName(contact.person);
  }

  #takePresence(account: AccountId, presence: Presence): void {
    const contact = this.contacts.peek().get(account);
    if (contact !== undefined) this.contacts.value = new Map(this.contacts.peek()).set(account, { ...contact, presence });
  }

  #takeConversation(conversation: Conversation): void {
    const known = this.conversations.peek().get(conversation.conversation);
    if (conversation.pair?.person) this.rememberName(conversation.pair.person);
    if (known !== undefined) known.value = conversation;
    else this.conversations.value = new Map(this.conversations.peek()).set(conversation.conversation, signal(conversation));
  }

  #forget(conversation: ConversationId): void {
    const conversations = new Map(this.conversations.peek());
    conversations.delete(conversation);
    this.conversations.value = conversations;
    if (this.timeline.peek()?.conversation === conversation) this.timeline.value = null;
  }

  #takeCall(call: Call): void {
    const calls = new Map(this.calls.peek()).set(call.call, call);
    const ended = [...calls.values()].filter((other) => other.state === 'ended');
    for (const old of ended.slice(0, Math.max(0, ended.length - ENDED_MAX))) calls.delete(old.call);
    this.calls.value = calls;
    if (call.state === 'ended') this.muted.value = null;
    this.rememberName(call.peer);
  }

  #setTyping(conversation: ConversationId, account: AccountId, typing: boolean): void {
    const key = `${conversation} ${account}`;
    clearTimeout(this.#typingEnds.get(key));
    this.#typingEnds.delete(key);
    const others = (this.typing.peek().get(conversation) ?? []).filter((other) => other !== account);
    if (typing) this.#typingEnds.set(key, setTimeout(() => this.#setTyping(conversation, account, false), TYPING_MS));
    else if (others.length === (this.typing.peek().get(conversation) ?? []).length) return;
    this.typing.value = new Map(this.typing.peek()).set(conversation, typing ? [...others, account] : others);
  }

  /** Opens a conversation's lines, or gives those that are open. */
  open(conversation: ConversationId): Timeline {
    const opened = this.timeline.peek();
    if (opened?.conversation === conversation) return opened;
    const read = this.conversations.peek().get(conversation)?.peek().read ?? 0;
    const timeline = new Timeline(this.client, conversation, this.own.peek()?.account ?? '', read);
    this.timeline.value = timeline;
    void timeline.load();
    void this.#learnMembers(conversation);
    return timeline;
  }

  async #learnMembers(conversation: ConversationId): Promise<void> {
    const members = await this.client.members(conversation).catch(() => []);
    batch(() => {
      for (const member of members) if (member.person !== null) this.rememberName(member.person);
    });
  }
}

function lastOf(conversation: Conversation): number {
  return conversation.last?.atMs ?? (conversation.standing === 'joining' ? now() : 0);
}

function isWaiting(call: Call): boolean {
  return call.direction === 'incoming' && (call.state === 'ringing' || call.state === 'asking');
}
