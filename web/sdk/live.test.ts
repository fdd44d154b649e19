/**
 * The client against the real daemon, over WebSocket, together with the Rust client: two independent implementations of
 * docs/protocol.md. Runs where `AHOYD_BIN` and `AHOY_BIN` name the programs; Node 20 has a WebSocket with
 * `NODE_OPTIONS=--experimental-websocket`.
 */

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import 'fake-indexeddb/auto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Client, Event } from './client.ts';
import { dialler } from './link/dial.ts';
import type { SocketConstructor } from './link/websocket.ts';
import { StubVoice } from './member/testing/world.ts';
import { aboard, type Aboard } from './open.ts';
import { concat, utf8 } from './proto/bytes.ts';
import { decodeFlow } from './proto/flow.ts';
import { randomId } from './proto/ids.ts';
import { openProfile } from './vault/profile.ts';
import type { PeerLeg } from './voice.ts';
import { freePorts } from '../testing/ports.ts';
import { encodePayload } from '../voice/payload.ts';
import { Opener, Sealer } from '../voice/seal.ts';

const { AHOYD_BIN, AHOY_BIN } = process.env;
const PASSWORD = 'correct horse battery staple';
const PATIENCE_MS = 30_000;

/** An Opus packet of silence. */
const SILENCE = Uint8Array.of(0xf8, 0xff, 0xfe);

interface Said {
  [field: string]: unknown;
}

/** A run of the Rust client, and what it says. */
class Run {
  readonly said: Said[] = [];
  #asked = 0;

  constructor(
    args: string[],
    private readonly child: ChildProcess = spawn(AHOY_BIN ?? '', args, { stdio: ['pipe', 'pipe', 'inherit'] }),
  ) {
    createInterface({ input: child.stdout ?? process.stdin }).on('line', (line) => this.said.push(JSON.parse(line) as Said));
  }

  /** One that takes commands. */
  static async pipe(args: string[]): Promise<Run> {
    const run = new Run([...args, 'pipe']);
    await run.hears((said) => said['event'] === 'ready');
    return run;
  }

  /** What is answered to a command. */
  async ask(command: Said): Promise<Said> {
    this.#asked += 1;
    const id = this.#asked;
    this.child.stdin?.write(`${JSON.stringify({ ...command, id })}\n`);
    return this.hears((said) => said['answer'] === id);
  }

  async hears(is: (said: Said) => boolean): Promise<Said> {
    await until(() => this.said.some(is), `the Rust client says so; it said ${JSON.stringify(this.said.slice(-5))}`);
    return this.said.find(is) ?? {};
  }

  /** Its exit code. */
  async end(): Promise<number | null> {
    this.child.stdin?.end();
    if (this.child.exitCode === null) await once(this.child, 'exit');
    return this.child.exitCode;
  }
}

async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const start = performance.now(); performance.now() - start < PATIENCE_MS; ) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`it did not come about that ${what}`);
}

/** One of ours: a device in this process. */
class Ours {
  readonly events: Event[] = [];
  readonly voice = new StubVoice();
  readonly aboard: Aboard;

  constructor(
    url: string,
    readonly profile: string = randomId(),
  ) {
    // Node's own, where it has one: its events are those of the browser's.
    const { WebSocket } = globalThis as unknown as { WebSocket: SocketConstructor };
    this.aboard = aboard(url, { dialler: dialler({ WebTransport: null, WebSocket }), voice: this.voice }, () => openProfile(this.profile));
  }

  async enter(): Promise<Client> {
    await this.aboard.look();
    this.client.subscribe((event) => this.events.push(event));
    await until(() => this.events.some(({ kind }) => kind === 'ready'), 'ours is ready');
    return this.client;
  }

  get client(): Client {
    if (this.aboard.client === null) throw new Error('nobody is signed in');
    return this.aboard.client;
  }

  async texts(conversation: string): Promise<string[]> {
    return (await this.client.history(conversation, null, 100)).flatMap(({ body }) => (body.kind === 'text' ? [body.text] : []));
  }
}

describe.skipIf(AHOYD_BIN === undefined || AHOY_BIN === undefined)('with the Rust client on a real network', { timeout: 120_000 }, () => {
  let folder = '';
  let daemon: ChildProcess;
  let start: () => Promise<void> = () => Promise.resolve();
  let url = '';
  let ours: Ours;
  let rust: Run;
  let args: string[] = [];
  const as = (profile: string): string[] => ['--network', url, '--profile', join(folder, profile), '--password-file', join(folder, 'password'), '--json'];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ahoy-live-'));
    // ahoyd dev takes the next one for its metrics.
    const port = await freePorts(2);
    url = `http://127.0.0.1:${port}`;
    start = async () => {
      daemon = spawn(AHOYD_BIN ?? '', ['dev', '--data', join(folder, 'data'), '--port', String(port)], { stdio: 'ignore' });
      await until(async () => (await fetch(`${url}/.well-known/ahoy`).catch(() => null))?.ok === true, 'the network is up');
    };
    await start();
    await writeFile(join(folder, 'password'), `${PASSWORD}\n`);
    args = as('bob');
    expect(await new Run([...args, 'sign-up', 'bob']).end()).toBe(0);
    rust = await Run.pipe(args);
    ours = new Ours(url);
    expect(await ours.aboard.signUp({ name: 'alice', password: PASSWORD, invite: null, device: 'browser' })).toMatch(/^[0-9A-Z-]{39}$/);
    await ours.enter();
  }, 90_000);

  afterAll(async () => {
    await ours.aboard.close();
    await rust.end();
    daemon.kill();
    await once(daemon, 'exit');
    await rm(folder, { recursive: true, force: true });
  });

  it('they become contacts, and messages go both ways', async () => {
    await ours.client.requestContact('bob', 'ahoy from a browser');
    const asked = await rust.hears(({ event, name, state }) => event === 'contact' && name === 'alice' && state === 'asks');
    expect(asked['note']).toBe('ahoy from a browser');
    await rust.ask({ do: 'contacts-accept', name: 'alice' });
    await until(async () => (await ours.client.contacts())[0]?.state === 'accepted', 'bob has accepted');

    const conversation = await ours.client.conversationWith('bob');
    await ours.client.post(conversation, { text: 'hello from TypeScript' });
    await rust.hears(({ event, text }) => event === 'message' && text === 'hello from TypeScript');
    expect(await rust.ask({ do: 'send', to: 'alice', text: 'hello from Rust' })).toMatchObject({ event: 'sent', conversation });
    await until(async () => (await ours.texts(conversation)).includes('hello from Rust'), 'ours reads it');
    for (let count = 1; count <= 5; count += 1) {
      await Promise.all([ours.client.post(conversation, { text: `a${count}` }), rust.ask({ do: 'post', to: 'alice', text: `b${count}` })]);
    }
    await until(async () => (await ours.texts(conversation)).length === 12, 'ours has all');
    await rust.hears(({ event, text }) => event === 'message' && text === 'a5');
    expect((await ours.texts(conversation)).filter((text) => /^b\d$/.test(text))).toEqual(['b1', 'b2', 'b3', 'b4', 'b5']);
    await until(async () => (await ours.client.receipts(conversation)).some(({ delivered }) => delivered > 0), 'ours opens a receipt of theirs');
  });

  it('edits, deletions and reactions mean the same to both', async () => {
    const conversation = await ours.client.conversationWith('bob');
    const [first, second] = [await ours.client.post(conversation, { text: 'mistake' }), await ours.client.post(conversation, { text: 'secret' })];
    await rust.hears(({ event, text }) => event === 'message' && text === 'secret');
    await ours.client.edit(conversation, first, 'mended');
    await ours.client.delete(conversation, second);
    await ours.client.react(conversation, first, '⚓', true);
    await rust.hears(({ event, text, reactions }) => event === 'changed' && text === 'mended' && JSON.stringify(reactions ?? []).includes('⚓'));
    await rust.hears(({ event, deleted }) => event === 'changed' && deleted === true);
  });

  it('groups made by either are used by both, and a second device of ours enters', async () => {
    const conversation = await ours.client.createGroup('Crew', ['bob']);
    await rust.hears(({ event, standing, group }) => event === 'conversation' && standing === 'inside' && group === 'Crew');
    expect(await rust.ask({ do: 'send', to: conversation, text: 'in the crew' })).toMatchObject({ event: 'sent' });
    await until(async () => (await ours.texts(conversation)).includes('in the crew'), 'ours reads it');

    const made = await rust.ask({ do: 'group-create', title: 'Harbour', names: ['alice'] });
    const harbour = String(made['conversation']);
    await until(async () => (await ours.client.conversations()).some((other) => other.conversation === harbour && other.title === 'Harbour'), 'ours is in');
    await ours.client.post(harbour, { text: 'here' });
    await rust.hears(({ event, text }) => event === 'message' && text === 'here');

    const tablet = new Ours(url);
    await tablet.aboard.signIn({ name: 'alice', password: PASSWORD, device: 'tablet' });
    await tablet.enter();
    await until(async () => (await tablet.client.conversations()).filter(({ standing }) => standing === 'inside').length === 3, 'the tablet is in');
    await until(async () => (await tablet.client.conversations()).some(({ title }) => title === 'Harbour'), 'the tablet knows the title');
    expect(await rust.ask({ do: 'send', to: harbour, text: 'to both' })).toMatchObject({ event: 'sent' });
    await until(async () => (await tablet.texts(harbour)).includes('to both'), 'the tablet reads it');
    await tablet.client.post(harbour, { text: 'from the tablet' });
    await rust.hears(({ event, text }) => event === 'message' && text === 'from the tablet');
    await until(async () => (await ours.texts(harbour)).includes('from the tablet'), 'ours reads its own account’s');
    await tablet.client.signOut();

    // And a second one of theirs enters a group whose last commit is ours.
    const other = as('bob-2');
    expect(await new Run([...other, 'sign-in', 'bob']).end()).toBe(0);
    const second = await Run.pipe(other);
    await second.hears(({ event, standing, group }) => event === 'conversation' && standing === 'inside' && group === 'Harbour');
    await ours.client.post(harbour, { text: 'welcome' });
    await second.hears(({ event, text }) => event === 'message' && text === 'welcome');
    await second.end();

    // The leaf of the device that is gone is taken out, and both go on.
    await rust.ask({ do: 'leave', group: conversation });
    await until(async () => (await ours.client.members(conversation)).length === 1, 'bob has left');
    await ours.client.post(harbour, { text: 'still here' });
    await rust.hears(({ event, text }) => event === 'message' && text === 'still here');
  });

  it('a network that dies and comes back loses nothing and doubles nothing', async () => {
    const conversation = await ours.client.conversationWith('bob');
    const before = (await ours.texts(conversation)).length;
    for (let count = 1; count <= 5; count += 1) await ours.client.post(conversation, { text: `before ${count}` });
    daemon.kill('SIGKILL');
    await once(daemon, 'exit');
    for (let count = 1; count <= 5; count += 1) await ours.client.post(conversation, { text: `while it is away ${count}` });
    await start();
    const sent = rust.ask({ do: 'send', to: 'alice', text: 'back again' });
    await rust.hears(({ event, text }) => event === 'message' && text === 'while it is away 5');
    await sent;
    await until(async () => (await ours.texts(conversation)).includes('back again'), 'ours reads it');
    expect(await ours.texts(conversation)).toHaveLength(before + 11);
    for (const text of ['before 1', 'before 5', 'while it is away 1']) expect(rust.said.filter((said) => said['event'] === 'message' && said['text'] === text)).toHaveLength(1);
  });

  it('a call to echo gets legs up and datagrams back', async () => {
    const call = await ours.client.call('echo');
    await until(() => ours.voice.running.has(call), 'the call stands');
    const running = ours.voice.running.get(call);
    if (running === undefined) throw new Error('no voice');
    const sealer = new Sealer(running.own.key, running.own.flow);
    let timestamp = 0;
    await until(async () => {
      const payload = encodePayload({ timestamp: (timestamp += 1), primary: SILENCE, window: null, repairs: [], report: null });
      const datagram = await sealer.seal(payload);
      if (datagram !== null) running.send(datagram);
      return ours.voice.received.length > 10;
    }, 'echo speaks');
    await hearsVoice(ours, call);
    expect((await ours.client.calls())[0]?.state).toBe('connected');
    await ours.client.hangUp(call);
    expect(ours.voice.stopped).toBe(1);
    expect(await ours.client.calls()).toEqual([]);
  });

  it('a call that Rust places is answered here, survives a reload, and is hung up there', async () => {
    const carol = as('carol');
    expect(await new Run([...carol, 'sign-up', 'carol']).end()).toBe(0);
    await ours.client.requestContact('carol', '');
    expect(await new Run([...carol, 'contacts', 'accept', 'alice']).end()).toBe(0);
    await until(async () => (await ours.client.contacts()).some(({ person, state }) => person.name === 'carol' && state === 'accepted'), 'carol has accepted');
    const verified = new Run([...carol, 'verify', 'alice']);
    await verified.end();
    const { account } = await ours.client.find('carol');
    expect(verified.said.at(-1)?.['code']).toBe(await ours.client.comparisonCode(account));

    await writeFile(join(folder, 'silence.wav'), wav(48_000));
    const sound = ['--play', join(folder, 'silence.wav'), '--record', join(folder, 'heard.wav')];
    const call = new Run([...carol, 'call', 'alice', '--for', '8s', ...sound]);
    await until(async () => (await ours.client.calls())[0]?.state === 'ringing', 'it rings');
    const [ringing] = await ours.client.calls();
    expect(ringing).toMatchObject({ direction: 'incoming', peer: { name: 'carol' } });
    await ours.client.answer(ringing?.call ?? '');
    await call.hears(({ event }) => event === 'connected');
    await hearsVoice(ours, ringing?.call ?? '');

    // The page is reloaded: another process goes on from what was kept.
    await ours.client.close();
    ours = new Ours(url, ours.profile);
    await ours.aboard.look();
    expect((await ours.client.calls())[0]?.call).toBe(ringing?.call);
    await until(async () => (await ours.client.calls())[0]?.state === 'connected', 'it goes on');
    await hearsVoice(ours, ringing?.call ?? '');
    await until(async () => (await ours.client.calls()).length === 0, 'it is hung up');
    expect(await call.end()).toBe(0);
    expect(call.said.at(-1)).toMatchObject({ event: 'ended', cause: 'hung-up', refused: 0 });
  });
});

/** Ten packets of the other leg open under the key that its offer led to. */
async function hearsVoice({ voice }: Ours, call: string): Promise<void> {
  await until(() => voice.running.has(call), 'the call stands');
  const leg = (): PeerLeg | undefined => voice.running.get(call)?.peers[0];
  const ofLeg = (): Uint8Array[] => voice.received.filter((datagram) => decodeFlow(datagram)?.flow === leg()?.flow);
  await until(() => ofLeg().length > 10, 'voice comes');
  const opener = new Opener(leg()?.key ?? new Uint8Array(16), leg()?.flow ?? 0n);
  const opened = await Promise.all(ofLeg().slice(0, 10).map((datagram) => opener.open(concat(datagram))));
  expect(opened.every((payload) => payload !== null)).toBe(true);
}

/** So many samples of silence, mono at 48 kHz. */
function wav(samples: number): Uint8Array {
  const bytes = new Uint8Array(44 + 2 * samples);
  const view = new DataView(bytes.buffer);
  bytes.set(utf8('RIFF'), 0);
  view.setUint32(4, 36 + 2 * samples, true);
  bytes.set(utf8('WAVEfmt '), 8);
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, 48_000, true);
  view.setUint32(28, 96_000, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  bytes.set(utf8('data'), 36);
  view.setUint32(40, 2 * samples, true);
  return bytes;
}
