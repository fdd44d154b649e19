/** A fleet of scripted supernodes behind links of virtual time, and somebody who is signed in to it; for tests. */

import { create, fromBinary, type MessageInitShape } from '@bufbuild/protobuf';

import { contact } from '../account/contact.ts';
import { TestAuthority } from '../account/testing.ts';
import type { Dialler } from '../link/dial.ts';
import type { Link, LinkEnd } from '../link/link.ts';
import { VirtualClock } from '../link/virtual-clock.ts';
import { equalBytes, hex } from '../proto/bytes.ts';
import { deviceKeyOf } from '../proto/device-key.ts';
import { jwk, type RosterEntry } from '../proto/document.ts';
import { publicKeyOf, verifySignature } from '../proto/ed25519.ts';
import { Assembler, Deframer, encodeSupernodeMessage } from '../proto/frame.ts';
import { fingerprint, idBytes } from '../proto/ids.ts';
import { LARGE_MESSAGE_MAX } from '../proto/limits.ts';
import { ClientMessageSchema, ErrorCode, SupernodeMessageSchema, type ClientMessage, type Prove } from '../proto/messages.ts';
import { rank } from '../proto/placement.ts';
import { proofInput } from '../proto/proof.ts';
import type { Identity } from '../vault/identity.ts';
import { MemoryVault } from '../vault/memory.ts';
import type { SessionHandle, SessionOptions, Stopped } from './options.ts';
import { openSession } from './session.ts';
import type { ReplyBody, Uplink, Upper } from './uplink.ts';

type SupernodeInit = Exclude<MessageInitShape<typeof SupernodeMessageSchema>['body'], undefined>;

const ACCOUNT = 'a'.repeat(32);
const DEVICE = 'b'.repeat(32);
const DEVICE_SECRET = new Uint8Array(32).fill(3);

/** One end of a link; the other one is a {@link TestSupernode}. */
export class TestLink implements Link {
  readonly transport = 'websocket';
  readonly datagramMax = 1_100;
  unsent = 0;
  onBytes: (bytes: Uint8Array) => void = () => {};
  onDatagram: (bytes: Uint8Array) => void = () => {};
  onEnd: (end: LinkEnd) => void = () => {};
  /** As the client closed it. */
  closed: { code: number; text: string } | null = null;
  /** Nothing goes through, either way, and nobody is told. */
  silent = false;
  over = false;
  readonly datagrams: Uint8Array[] = [];
  readonly #deframer = new Deframer();
  readonly #assembler = new Assembler();

  constructor(readonly supernode: TestSupernode) {}

  send(bytes: Uint8Array): void {
    if (this.over || this.silent) return;
    this.#deframer.push(bytes);
    for (let next = this.#deframer.next(LARGE_MESSAGE_MAX); next !== null; next = this.#deframer.next(LARGE_MESSAGE_MAX)) {
      const message = fromBinary(ClientMessageSchema, next);
      if (message.body.case !== 'fragment') this.supernode.take(this, message);
      else {
        const whole = this.#assembler.push(message.body.value.piece, message.body.value.last);
        if (whole !== null) this.supernode.take(this, fromBinary(ClientMessageSchema, whole));
      }
    }
  }

  sendDatagram(bytes: Uint8Array): void {
    if (this.over || this.silent) return;
    this.datagrams.push(bytes);
    if (bytes.length === 0) this.supernode.after(() => this.deliverDatagram(this.supernode.pong));
  }

  close(code: number, text: string): void {
    this.over = true;
    this.closed = { code, text };
  }

  deliver(bytes: Uint8Array): void {
    if (!this.over && !this.silent) this.onBytes(bytes);
  }

  deliverDatagram(bytes: Uint8Array): void {
    if (!this.over && !this.silent) this.onDatagram(bytes);
  }

  /** Pings that came. */
  get pings(): number {
    return this.datagrams.filter(({ length }) => length === 0).length;
  }

  /** From the supernode's side. */
  end(code: number | null, text = ''): void {
    if (this.over || this.silent) return;
    this.over = true;
    this.onEnd({ code, text });
  }
}

/** Answers as its script says; by itself it signs everybody in, and answers each request with Done. */
export class TestSupernode {
  readonly entry: RosterEntry;
  readonly links: TestLink[] = [];
  readonly proofs: Prove[] = [];
  readonly requests: ClientMessage[] = [];
  /** Milliseconds there and back. */
  roundTripMs = 20;
  /** What a ping comes back as. */
  pong = new Uint8Array(0);
  /** `refused`: at once; `dead`: never. */
  reach: 'up' | 'refused' | 'dead' = 'up';
  /** What comes in place of the challenge, or of the welcome. */
  instead: { challenge?: SupernodeInit[]; welcome?: SupernodeInit[] | 'nothing' } = {};
  certificate: string | null = null;
  skewMs = 0;
  minimumVersion = 1;
  keepaliveMs = 25_000;
  rosterSerial = 1;
  /** Replies to a request; `null`: none. */
  reply: (message: ClientMessage) => SupernodeInit | null = () => ({ case: 'done', value: {} });

  constructor(
    readonly world: World,
    readonly number: number,
    region: string,
  ) {
    const key = publicKeyOf(new Uint8Array(32).fill(100 + number));
    this.entry = { supernode: fingerprint(key), key, addresses: [`supernode-${number}:443`], region, weight: 100, number };
  }

  /** The newest link. */
  get link(): TestLink {
    const link = this.links.at(-1);
    if (link === undefined) throw new Error(`nobody has dialled supernode ${this.number}`);
    return link;
  }

  after(act: () => void): void {
    this.world.clock.after(this.roundTripMs, act);
  }

  async dial(signal: AbortSignal): Promise<Link> {
    this.world.dialled.push({ number: this.number, at: this.world.clock.elapsed() });
    if (this.reach === 'refused') throw new Error('refused');
    await new Promise<void>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(new Error('given up')));
      if (this.reach === 'up') this.after(resolve);
    });
    const link = new TestLink(this);
    this.links.push(link);
    this.world.clock.after(0, () => this.#greet(link));
    return link;
  }

  say(link: TestLink, body: SupernodeInit, inReplyTo = 0n): void {
    link.deliver(encodeSupernodeMessage(create(SupernodeMessageSchema, { inReplyTo, body })));
  }

  /** Says why, and closes. */
  dismiss(link: TestLink, code: ErrorCode, retryAfterMs = 0): void {
    this.say(link, { case: 'error', value: { code, text: ErrorCode[code], retryAfterMs } });
    link.end(code);
  }

  take(link: TestLink, message: ClientMessage): void {
    if (message.body.case === 'prove') {
      this.proofs.push(message.body.value);
      this.#checkProof(message.body.value);
      this.after(() => this.#welcome(link));
      return;
    }
    this.requests.push(message);
    const reply = this.reply(message);
    if (reply !== null) this.after(() => this.say(link, reply, message.request));
  }

  #greet(link: TestLink): void {
    if (this.instead.challenge) return this.#sayInstead(link, this.instead.challenge);
    const value = {
      nonce: new Uint8Array(32).fill(7),
      timeMs: BigInt(Math.round(this.world.clock.now() + this.skewMs)),
      supernode: idBytes(this.entry.supernode),
      minimumVersion: this.minimumVersion,
      certificate: this.certificate ?? this.world.certificate(this.entry),
      agent: 'test',
    };
    this.say(link, { case: 'challenge', value });
  }

  #welcome(link: TestLink): void {
    if (this.instead.welcome === 'nothing') return;
    if (this.instead.welcome) return this.#sayInstead(link, this.instead.welcome);
    const { keepaliveMs, rosterSerial } = this;
    this.say(link, { case: 'welcome', value: { session: new Uint8Array(16), keepaliveMs, maxMessage: 65_536, rosterSerial: BigInt(rosterSerial) } }, 1n);
  }

  #sayInstead(link: TestLink, bodies: SupernodeInit[]): void {
    for (const body of bodies) {
      this.say(link, body);
      if (body.case === 'error') link.end(body.value.code ?? null);
    }
  }

  #checkProof({ signature }: Prove): void {
    const input = proofInput(this.world.authority.network, this.entry.supernode, new Uint8Array(32).fill(7));
    if (!verifySignature(signature, input, publicKeyOf(DEVICE_SECRET))) throw new Error('the proof is not good');
  }
}

/** What the client's state above was told. */
export class TestUpper implements Upper {
  readonly told: string[] = [];
  inCall = false;
  uplink: Uplink | null = null;
  readonly events: ReplyBody[] = [];
  readonly datagrams: Uint8Array[] = [];

  handleUp(uplink: Uplink, moved: boolean): void {
    this.uplink = uplink;
    this.told.push(moved ? 'moved' : 'up');
  }

  handleDown(): void {
    this.told.push('down');
  }

  handleResync(uplink: Uplink): void {
    this.told.push(uplink === this.uplink ? 'resync' : 'resync of another uplink');
  }

  handleEvent(body: ReplyBody): void {
    this.events.push(body);
  }

  handleDatagram(bytes: Uint8Array): void {
    this.datagrams.push(bytes);
  }

  isInCall(): boolean {
    return this.inCall;
  }
}

export class World implements Dialler {
  readonly clock = new VirtualClock();
  readonly upper = new TestUpper();
  readonly vault = new MemoryVault();
  readonly dialled: { number: number; at: number }[] = [];
  readonly kept: Identity[] = [];
  readonly online: (string | null)[] = [];
  stopped: Stopped | null = null;
  /** What all randomness is: 0 for the soonest, 1 for the latest. */
  share = 0.5;
  identity!: Identity;
  supernodes: TestSupernode[] = [];
  handle!: SessionHandle;

  private constructor(readonly authority: TestAuthority) {}

  /** Supernodes of these regions, all alike. */
  static async make(regions: string[] = ['eu']): Promise<World> {
    const world = new World(await TestAuthority.make());
    world.clock.unixMs = world.authority.nowMs;
    world.supernodes = regions.map((region, index) => new TestSupernode(world, index + 1, region));
    world.list();
    const network = await contact('http://localhost:1', null, world.environment);
    const key = publicKeyOf(DEVICE_SECRET);
    world.authority.accounts.set('alice', {
      account: ACCOUNT,
      name: 'alice',
      record: '',
      accountKey: key,
      sealed: '',
      recovery: { verifier: '', sealed: '' },
      devices: new Map([[DEVICE, { key, name: 'test' }]]),
    });
    world.identity = {
      network,
      account: ACCOUNT,
      name: 'alice',
      accountKey: key,
      device: DEVICE,
      deviceKey: deviceKeyOf({ kind: 'secret', secret: DEVICE_SECRET }),
      binding: new Uint8Array(0),
      requestSecret: new Uint8Array(32),
      credential: world.authority.credential(ACCOUNT, 'alice', DEVICE, key),
    };
    world.authority.asked.length = 0;
    return world;
  }

  get environment(): SessionOptions['environment'] & object {
    const { environment } = this.authority;
    return {
      nowMs: () => this.clock.now(),
      fetch: (...request) => {
        this.authority.nowMs = this.clock.now();
        return environment.fetch(...request);
      },
    };
  }

  /** Puts the supernodes that there are into the authority's roster. */
  list(supernodes = this.supernodes): void {
    this.authority.supernodes = supernodes.map(({ entry }) => ({ ...entry, key: jwk(entry.key) }));
  }

  /** By rank for the account: the order in which they are tried. */
  get ranked(): TestSupernode[] {
    const byRank = rank(ACCOUNT, this.supernodes.map(({ entry }) => entry));
    return byRank.map((entry) => this.#of(entry));
  }

  certificate({ supernode, key, number }: RosterEntry): string {
    return this.authority.sign('ahoy-supernode+jwt', { sub: supernode, cnf: { jwk: jwk(key) }, number, policy: 'hosted' });
  }

  dial(entry: RosterEntry, _network: unknown, signal: AbortSignal): Promise<Link> {
    return this.#of(entry).dial(signal);
  }

  open(options: Partial<SessionOptions> = {}): SessionHandle {
    const { clock, identity, upper, vault, environment } = this;
    const keep = async (identity: Identity): Promise<void> => void this.kept.push(identity);
    this.handle = openSession({ identity, upper, vault, clock, environment, keep, dialler: this, share: () => this.share, ...options });
    this.handle.onOnline((online) => this.online.push(online?.region ?? null));
    this.handle.onStopped((stopped) => {
      this.stopped = stopped;
    });
    return this.handle;
  }

  /** Opens a session and waits until it is up. */
  async up(options: Partial<SessionOptions> = {}): Promise<TestSupernode> {
    this.open(options);
    await this.clock.pass(1_500);
    return this.present;
  }

  /** The supernode whose session is up. */
  get present(): TestSupernode {
    const present = this.supernodes.find(({ links }) => links.some(({ over }) => !over) && links.length > 0);
    if (present === undefined) throw new Error('there is no session');
    return present;
  }

  /** Numbers of supernodes that were dialled since this was asked last. */
  takeDialled(): number[] {
    return this.dialled.splice(0).map(({ number }) => number);
  }

  #of(entry: RosterEntry): TestSupernode {
    const found = this.supernodes.find((supernode) => supernode.entry.supernode === entry.supernode);
    if (found === undefined) throw new Error(`no supernode ${hex(entry.key)}`);
    if (!equalBytes(found.entry.key, entry.key)) throw new Error('the roster has another key');
    return found;
  }
}
