/**
 * What a signed-in device can do, and what it is told: the seam between the SDK and whoever uses it.
 *
 * Everything here can be cloned between threads, so that a page may use a client that lives in a worker (`remote.ts`). Ids are 32
 * lower-case hexadecimal digits, times milliseconds since the Unix epoch, unless a name says otherwise. Commands reject with a
 * {@link Refusal}, and with nothing else.
 */

export type AccountId = string;
export type DeviceId = string;
export type ConversationId = string;
export type CallId = string;
export type LegId = string;

/** Somebody whose account key is pinned. */
export interface Person {
  account: AccountId;
  name: string;
}

/** Why a command came to nothing. */
export type RefusalReason =
  | 'no-such-name'
  | 'account-key-changed'
  | 'requested'
  | 'already-contact'
  | 'no-such-contact'
  | 'no-such-conversation'
  | 'length'
  | 'no-key'
  | 'conversation-refused'
  | 'offline'
  | 'limit'
  | 'wrong-password'
  | 'no-microphone'
  | 'network';

/** A command came to nothing. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  constructor(
    readonly reason: RefusalReason,
    /** One sentence for a person, of the network where it said one. */
    text: string,
    /** Milliseconds after which the same may work; 0 where waiting does not help. */
    readonly retryAfterMs = 0,
  ) {
    super(text);
  }
}

export type Availability = 'offline' | 'online' | 'away' | 'do-not-disturb' | 'invisible';
export type LastSeen = 'unknown' | 'today' | 'this-week' | 'earlier';

/** What others see of an account; `availability` is never `invisible`. */
export interface Presence {
  availability: Availability;
  /** At most 140 characters of plain text. */
  mood: string;
  /** Where offline. */
  lastSeen: LastSeen;
}

export type ContactState = 'none' | 'asked' | 'asks' | 'accepted' | 'blocked';

/** An account that this one has to do with; with the state `none` it is gone. */
export interface Contact {
  person: Person;
  state: ContactState;
  sinceMs: number;
  /** What came with a request, if it opens; plain text. */
  note: string | null;
  /** What this account's owner calls them, on this device. */
  alias: string | null;
  presence: Presence;
}

/** What an account has set for all of its devices. */
export interface Settings {
  callsFrom: 'contacts' | 'anyone' | 'nobody';
  /** `online` follows the devices; never `offline`. */
  availability: Availability;
  mood: string;
  /** Whether the directory shows the name. */
  listed: boolean;
}

/** What this device tells others of what it received and read. */
export interface ReceiptPolicy {
  delivered: boolean;
  read: boolean;
}

export interface Device {
  device: DeviceId;
  name: string;
  /** This one. */
  own: boolean;
  /** Seconds since the Unix epoch. */
  madeAt: number;
  lastSeen: LastSeen;
}

/** Names a message within its conversation. The device is all zeros for a line that is no message. */
export interface MessageRef {
  device: DeviceId;
  number: number;
}

export type LineBody =
  | { kind: 'text'; text: string; replyTo: MessageRef | null }
  | { kind: 'renamed'; title: string }
  | { kind: 'membership'; joined: AccountId[]; left: AccountId[] }
  /** Something may be missing before this line. */
  | { kind: 'gap' };

/** One line of a conversation, as it is after all changes so far. */
export interface Line {
  reference: MessageRef;
  account: AccountId;
  /** Its place in the log; `null` while the supernode has not accepted it. */
  sequence: number | null;
  atMs: number;
  body: LineBody;
  edited: boolean;
  /** Its text was taken back and is erased. */
  deleted: boolean;
  /** It was given up: it is in nobody's log. */
  failed: boolean;
  reactions: { account: AccountId; emoji: string }[];
  /** Orders lines within a conversation, those not yet in the log last. Lines with a lower position are earlier. */
  position: number;
}

export interface Conversation {
  conversation: ConversationId;
  /** One-to-one, with whom; `person` is null while the name is not known here. */
  pair: { account: AccountId; person: Person | null } | null;
  /** Of a group; empty while it is not known here. */
  title: string;
  /** `joining`: this device is on its way in. `refused`: it does not trust the group. */
  standing: 'inside' | 'joining' | 'refused';
  members: number;
  /** Last log entry taken in. */
  head: number;
  /** How far this account has read, on any of its devices. */
  read: number;
  /** Texts of others that this account has not read. */
  unread: number;
  last: Line | null;
}

export interface MemberOf {
  account: AccountId;
  person: Person | null;
  isOwner: boolean;
  devices: number;
}

/** How far somebody has received and read; 0: not told. */
export interface Receipt {
  account: AccountId;
  delivered: number;
  read: number;
}

export type Cause =
  | 'hung-up'
  | 'cancelled'
  | 'declined'
  | 'busy'
  | 'no-answer'
  | 'unreachable'
  | 'answered-elsewhere'
  | 'declined-elsewhere'
  | 'lost'
  | 'incompatible'
  | 'shutting-down'
  | 'requested';

/** Where the session is. */
export interface Online {
  region: string;
  transport: 'webtransport' | 'websocket';
  roundTripMs: number;
  /** The supernode's clock minus ours. */
  skewMs: number;
}

/** A call, as far as it has come. */
export interface Call {
  call: CallId;
  peer: Person;
  direction: 'outgoing' | 'incoming';
  /** `asking`: nothing rings yet; `lost`: the other side lost its link and may return within 10 s. */
  state: 'asking' | 'ringing' | 'connected' | 'lost' | 'ended';
  /** The owner does not want to be disturbed: show it, without ringing aloud. */
  quiet: boolean;
  connectedAtMs: number | null;
  cause: Cause | null;
  /** Set where the call did not get as far as ringing. */
  refusal: { reason: RefusalReason; text: string } | null;
}

/** How a call sounds, told once a second; milliseconds and shares from 0 to 1. */
export interface CallQuality {
  call: CallId;
  /** What the other side says it hears of us, and what we hear: lost packets before repair. */
  lossOut: number;
  lossIn: number;
  /** Frames that had to be invented. */
  concealed: number;
  playoutDelayMs: number;
  jitterMs: number;
  roundTripMs: number;
  /** Root mean square of the last 100 ms, from 0 to 1. */
  levelOut: number;
  levelIn: number;
  muted: boolean;
}

export type Event =
  /** A session is up; nothing is lost when it moves. */
  | { kind: 'online'; online: Online }
  /** The session is lost; the client is reconnecting. */
  | { kind: 'offline' }
  /** Everything that waited is taken in: this device can be called. */
  | { kind: 'ready' }
  | { kind: 'contact'; contact: Contact }
  | { kind: 'presence'; account: AccountId; presence: Presence }
  | { kind: 'settings'; settings: Settings }
  | { kind: 'conversation'; conversation: Conversation }
  /** By whom: `null`, by this account itself, or the group is gone. */
  | { kind: 'conversation-left'; conversation: ConversationId; by: AccountId | null }
  /** A line is there, or is otherwise than before: replace the one with the same reference. */
  | { kind: 'line'; conversation: ConversationId; line: Line }
  | { kind: 'receipt'; conversation: ConversationId; receipt: Receipt }
  | { kind: 'typing'; conversation: ConversationId; account: AccountId; typing: boolean }
  | { kind: 'call'; call: Call }
  | { kind: 'quality'; quality: CallQuality }
  /** A device of this account that was not known here stands in a conversation. */
  | { kind: 'new-own-device'; device: DeviceId }
  /** The account key of a name is not the pinned one. */
  | { kind: 'account-key-changed'; person: Person }
  /** The client has stopped and can't go on. */
  | { kind: 'stopped'; reason: 'revoked' | 'state-too-old' | 'replaced' | 'version' | 'storage' | 'clock'; text: string };

/** What is to be said. */
export interface Draft {
  /** Plain text, at most 16 KiB. */
  text: string;
  replyTo?: MessageRef | undefined;
}

/** A signed-in device. */
export interface Client {
  /** Who is signed in, on which network. */
  own(): Promise<Person & { device: DeviceId; network: string; echo: string | null }>;
  /** Tells what happens from now on, until the answer is called. */
  subscribe(listener: (event: Event) => void): () => void;
  /** Where the session is now. */
  online(): Promise<Online | null>;

  find(name: string): Promise<Person>;
  /** At least 3 letters; at most 10 results. */
  search(prefix: string): Promise<Person[]>;
  contacts(): Promise<Contact[]>;
  requestContact(name: string, note: string): Promise<void>;
  answerContact(account: AccountId, accept: boolean): Promise<void>;
  removeContact(account: AccountId): Promise<void>;
  block(account: AccountId, block: boolean): Promise<void>;
  setAlias(account: AccountId, alias: string | null): Promise<void>;
  settings(): Promise<Settings | null>;
  changeSettings(change: Partial<Settings>): Promise<void>;
  /** Whether somebody is at this device. */
  setActivity(away: boolean): Promise<void>;
  receiptPolicy(): Promise<ReceiptPolicy>;
  setReceiptPolicy(policy: ReceiptPolicy): Promise<void>;
  /** Reveals the messages named to the operator, with a reason of at most 1,000 characters. */
  report(account: AccountId, reason: string, conversation: ConversationId | null, messages: MessageRef[]): Promise<void>;
  /** 12 groups of 5 digits, to be compared with the other side's. */
  comparisonCode(account: AccountId): Promise<string>;
  /** Takes the account key that is shown now for the name. */
  acceptKey(account: AccountId): Promise<void>;

  devices(): Promise<Device[]>;
  renameDevice(device: DeviceId, name: string): Promise<void>;
  revokeDevice(device: DeviceId): Promise<void>;
  changePassword(old: string, fresh: string): Promise<void>;
  /** Deletes the account for good. */
  deleteAccount(password: string): Promise<void>;
  /** Revokes this device and forgets all that it kept. */
  signOut(): Promise<void>;

  /** The one in which something was said last first. */
  conversations(): Promise<Conversation[]>;
  conversationWith(name: string): Promise<ConversationId>;
  createGroup(title: string, names: string[]): Promise<ConversationId>;
  invite(conversation: ConversationId, names: string[]): Promise<void>;
  removeMember(conversation: ConversationId, account: AccountId): Promise<void>;
  leave(conversation: ConversationId): Promise<void>;
  rename(conversation: ConversationId, title: string): Promise<void>;
  members(conversation: ConversationId): Promise<MemberOf[]>;
  /** Resolves once it is kept here; it is sent as soon as that can be. */
  post(conversation: ConversationId, draft: Draft): Promise<MessageRef>;
  edit(conversation: ConversationId, message: MessageRef, text: string): Promise<void>;
  delete(conversation: ConversationId, message: MessageRef): Promise<void>;
  react(conversation: ConversationId, message: MessageRef, emoji: string, set: boolean): Promise<void>;
  typing(conversation: ConversationId, typing: boolean): Promise<void>;
  markRead(conversation: ConversationId, sequence: number): Promise<void>;
  receipts(conversation: ConversationId): Promise<Receipt[]>;
  /** The last lines before a position (`null`: of all), earliest first; at most 500. */
  history(conversation: ConversationId, before: number | null, limit: number): Promise<Line[]>;

  /** The calls that are not over. */
  calls(): Promise<Call[]>;
  call(name: string): Promise<CallId>;
  answer(call: CallId): Promise<void>;
  decline(call: CallId): Promise<void>;
  hangUp(call: CallId): Promise<void>;
  setMuted(call: CallId, muted: boolean): Promise<void>;

  /** Closes the session; what is kept stays. */
  close(): Promise<void>;
}
