/** Members wired to an exchange in memory, and a clock that stands still until it is moved. */

import type { Call, CallId, Client, Event, Line } from '../../client.ts';
import { makeBinding } from '../../proto/binding.ts';
import { makeDeviceKey } from '../../proto/device-key.ts';
import { publicKeyOf, randomSecret } from '../../proto/ed25519.ts';
import { randomId } from '../../proto/ids.ts';
import { publishRequestKey, requestSecretOf } from '../../proto/request-key.ts';
import { VirtualClock } from '../../link/virtual-clock.ts';
import type { ReplyBody, RequestBody } from '../../session/uplink.ts';
import { MemoryVault } from '../../vault/memory.ts';
import type { OwnLeg, PeerLeg, VoiceEngine, VoiceQuality } from '../../voice.ts';
import { MemberClient, type Desk } from '../client.ts';
import type { Identity } from '../identity.ts';
import { Member } from '../member.ts';
import { Exchange, WELCOME, type ExchangeLink } from './exchange.ts';

/** Real milliseconds that are left, between two steps of virtual time, for what needs no time. */
const STEP_MS = 20;

/** Real milliseconds within which anything that needs no time has happened, on a busy machine too. */
const PATIENCE_MS = 4_000;

/** Counts what it is given, and makes no sound. */
export class StubVoice implements VoiceEngine {
  readonly running = new Map<CallId, { own: OwnLeg; peers: PeerLeg[]; send: (datagram: Uint8Array) => void; muted: boolean }>();
  readonly received: Uint8Array[] = [];
  stopped = 0;

  start(call: CallId, own: OwnLeg, peers: PeerLeg[], send: (datagram: Uint8Array) => void): void {
    this.running.set(call, { own, peers, send, muted: false });
  }

  handleOwnLeg(call: CallId, own: OwnLeg): void {
    const running = this.running.get(call);
    if (running !== undefined) running.own = own;
  }

  handlePeerLeg(call: CallId, leg: PeerLeg): void {
    const running = this.running.get(call);
    if (running !== undefined) running.peers = [...running.peers.filter(({ device }) => device !== leg.device), leg];
  }

  handleDatagram(bytes: Uint8Array): void {
    this.received.push(bytes);
  }

  setMuted(call: CallId, muted: boolean): void {
    const running = this.running.get(call);
    if (running !== undefined) running.muted = muted;
  }

  quality(call: CallId): VoiceQuality | null {
    const running = this.running.get(call);
    if (running === undefined) return null;
    return { lossOut: 0, lossIn: 0, concealed: 0, playoutDelayMs: 40, jitterMs: 1, levelOut: 0, levelIn: 0, muted: running.muted };
  }

  silentMs(): number {
    return 0;
  }

  stop(call: CallId): void {
    if (this.running.delete(call)) this.stopped += 1;
  }
}

const DESK: Desk = {
  network: 'test',
  echo: null,
  reportKey: null,
  online: () => null,
  subscribe: () => () => undefined,
  renameDevice: () => Promise.resolve(),
  revokeDevice: () => Promise.resolve(),
  changePassword: () => Promise.resolve(),
  deleteAccount: () => Promise.resolve(),
  signOut: () => Promise.resolve(),
  close: () => Promise.resolve(),
};

/** A device that is on, or off, or has been started anew. */
export class TestDevice {
  readonly events: Event[] = [];
  voice = new StubVoice();
  #link: ExchangeLink | null = null;

  private constructor(
    readonly world: World,
    readonly identity: Identity,
    readonly vault: MemoryVault,
    public member: Member,
    public client: Client,
  ) {}

  static async start(world: World, identity: Identity, vault = new MemoryVault()): Promise<TestDevice> {
    const voice = new StubVoice();
    const member = await Member.open({ identity, vault, voice, clock: world.clock });
    const device = new TestDevice(world, identity, vault, member, new MemberClient(member, DESK));
    device.voice = voice;
    member.subscribe((event) => device.events.push(event));
    return device;
  }

  get name(): string {
    return this.identity.name;
  }

  /** A link comes up; with `moved`, the one before lasts until then. */
  up(moved = false): void {
    const before = this.#link;
    this.#link = makeLink(this);
    this.world.exchange.up(this.#link);
    this.member.handleUp(this.#link, moved);
    if (before !== null) (before as { isUp: boolean }).isUp = false;
  }

  down(): void {
    const link = this.#link;
    if (link === null) return;
    (link as { isUp: boolean }).isUp = false;
    this.world.exchange.down(link);
    this.#link = null;
    this.member.handleDown();
  }

  resync(): void {
    if (this.#link !== null) this.member.handleResync(this.#link);
  }

  /** The process ends, without a word, and another one goes on from what was kept. */
  async restart(): Promise<TestDevice> {
    const link = this.#link;
    if (link !== null) {
      (link as { isUp: boolean }).isUp = false;
      this.world.exchange.down(link);
    }
    await this.member.close();
    return TestDevice.start(this.world, this.identity, this.vault);
  }

  async ready(): Promise<this> {
    const before = this.count('ready');
    this.up();
    await this.world.until(() => this.count('ready') > before, `${this.name} is ready`);
    return this;
  }

  count(kind: Event['kind']): number {
    return this.events.filter((event) => event.kind === kind).length;
  }

  last<K extends Event['kind']>(kind: K): Extract<Event, { kind: K }> | null {
    return this.events.findLast((event): event is Extract<Event, { kind: K }> => event.kind === kind) ?? null;
  }

  /** The call as it was told last. */
  get lastCall(): Call | null {
    return this.last('call')?.call ?? null;
  }

  lines(conversation: string): Promise<Line[]> {
    return this.client.history(conversation, null, 500);
  }

  async texts(conversation: string): Promise<string[]> {
    return (await this.lines(conversation)).flatMap(({ body, deleted }) => (body.kind !== 'text' ? [] : deleted ? ['(deleted)'] : [body.text]));
  }
}

function makeLink(device: TestDevice): ExchangeLink {
  const { exchange } = device.world;
  const link: ExchangeLink & { isUp: boolean } = {
    identity: device.identity,
    isUp: true,
    welcome: WELCOME,
    request: (body: RequestBody): Promise<ReplyBody> => exchange.request(link, body),
    sendDatagram: (datagram) => {
      if (link.isUp) exchange.calls.forward(device.identity.device, datagram);
    },
    deliver: (body) => queueMicrotask(() => link.isUp && device.member.handleEvent(body)),
    deliverDatagram: (datagram) => queueMicrotask(() => link.isUp && device.member.handleDatagram(datagram)),
  };
  return link;
}

export class World {
  readonly clock = new VirtualClock();
  readonly exchange = new Exchange(() => Math.floor(this.clock.now()));
  readonly #secrets = new Map<string, { account: string; secret: Uint8Array }>();

  /** A device of the account of this name, made with the first. */
  device(name: string): Promise<TestDevice> {
    const known = this.#secrets.get(name) ?? { account: randomId(), secret: randomSecret() };
    this.#secrets.set(name, known);
    return this.#device(name, known.account, known.secret);
  }

  /** A device of this account under an account key that is not the account's. */
  impostor(name: string): Promise<TestDevice> {
    return this.#device(name, this.#secrets.get(name)?.account ?? randomId(), randomSecret());
  }

  async #device(name: string, account: string, secret: Uint8Array): Promise<TestDevice> {
    const deviceKey = await makeDeviceKey();
    const device = randomId();
    const identity = {
      account,
      name,
      device,
      deviceKey,
      accountKey: publicKeyOf(secret),
      binding: makeBinding(account, device, deviceKey.publicKey, secret, 1),
      requestSecret: requestSecretOf(secret),
    };
    this.exchange.addDevice(identity, publishRequestKey(account, secret));
    return TestDevice.start(this, identity);
  }

  async online<const Names extends string[]>(...names: Names): Promise<{ [K in keyof Names]: TestDevice }> {
    const devices = await Promise.all(names.map(async (name) => (await this.device(name)).ready()));
    // One for each name, in their order.
    return devices as { [K in keyof Names]: TestDevice };
  }

  /** Two contacts with a conversation that both stand in. */
  async pair(): Promise<{ alice: TestDevice; bob: TestDevice; conversation: string }> {
    const [alice, bob] = await this.online('alice', 'bob');
    await this.befriend(alice, bob);
    const conversation = await alice.client.conversationWith('bob');
    await this.until(async () => (await bob.client.conversations())[0]?.standing === 'inside', 'bob has joined');
    return { alice, bob, conversation };
  }

  /** Waits until a device shows these texts. */
  async shows(device: TestDevice, conversation: string, ...texts: string[]): Promise<void> {
    await this.until(async () => JSON.stringify(await device.texts(conversation)) === JSON.stringify(texts), `${device.name} shows ${texts.join(', ')}`);
  }

  /** Makes two accounts each other's contacts. */
  async befriend(a: TestDevice, b: TestDevice): Promise<void> {
    await a.client.requestContact(b.name, '');
    await this.until(async () => (await b.client.contacts()).some(({ person, state }) => person.name === a.name && state === 'asks'), 'asked');
    await b.client.answerContact(a.identity.account, true);
    await this.until(async () => (await a.client.contacts()).some(({ person, state }) => person.name === b.name && state === 'accepted'), 'accepted');
  }

  /** Waits for what needs no time to pass. */
  async until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
    for (const start = performance.now(); performance.now() - start < PATIENCE_MS; ) {
      if (await condition()) return;
      await new Promise((resolve) => setImmediate(resolve));
    }
    throw new Error(`it did not come about that ${what}`);
  }

  /** Lets time pass until something has come about. */
  async passUntil(condition: () => boolean | Promise<boolean>, what: string, limitMs = 60_000): Promise<void> {
    for (let passed = 0; passed <= limitMs; passed += 250) {
      if (await condition()) return;
      await this.clock.pass(250);
      for (const start = performance.now(); performance.now() - start < STEP_MS; ) await new Promise((resolve) => setImmediate(resolve));
    }
    throw new Error(`it did not come about in ${limitMs} ms that ${what}`);
  }
}
