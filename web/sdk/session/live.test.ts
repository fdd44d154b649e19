/**
 * Accounts and sessions against a real daemon. Runs where AHOYD_BIN names one; Node 20 needs NODE_OPTIONS=--experimental-websocket.
 * Where AHOY_BIN names the terminal client too, accounts made on one side are opened on the other.
 */

import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';

import { create } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';

import { recover, signIn, signUp } from '../account/account.ts';
import { contact } from '../account/contact.ts';
import { renameDevice, renewCredential, revokeDevice } from '../account/devices.ts';
import type { Network } from '../account/network.ts';
import { dialler } from '../link/dial.ts';
import type { SocketConstructor } from '../link/websocket.ts';
import { equalBytes } from '../proto/bytes.ts';
import { CheckInSchema, FindAccountSchema, ListDevicesSchema } from '../proto/messages.ts';
import type { Identity } from '../vault/identity.ts';
import type { SessionHandle, Stopped } from './options.ts';
import { openSession } from './session.ts';
import { TestUpper } from './testing.ts';
import type { ReplyBody, RequestBody } from './uplink.ts';
import { freePorts } from '../../testing/ports.ts';

const DAEMON = process.env['AHOYD_BIN'];
const TERMINAL = process.env['AHOY_BIN'];

const PASSWORD = 'correct horse battery';

/** A debug build on a busy machine takes seconds for what takes milliseconds. */
const PATIENCE_MS = 60_000;

vi.setConfig({ testTimeout: 3 * PATIENCE_MS, hookTimeout: PATIENCE_MS });

/** Until something holds; it is looked at every 50 ms. */
async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`waited in vain until ${what}`);
    await pause(50);
  }
}

class Daemon {
  readonly folder = mkdtempSync(join(tmpdir(), 'ahoy-live-'));
  port = 0;
  #process: ChildProcess | null = null;

  get url(): string {
    return `http://localhost:${this.port}`;
  }

  async start(): Promise<void> {
    // ahoyd dev takes the next one for its metrics.
    this.port ||= await freePorts(2);
    this.#process = spawn(DAEMON ?? '', ['dev', '--data', join(this.folder, 'data'), '--port', String(this.port)], { stdio: 'ignore' });
    await until('the daemon answers', () => contact(this.url, null).then(() => true, () => false));
  }

  async stop(): Promise<void> {
    const running = this.#process;
    this.#process = null;
    if (running === null || running.exitCode !== null) return;
    running.kill('SIGTERM');
    await once(running, 'exit');
  }
}

/** A session over a WebSocket. */
class Online {
  readonly upper = new TestUpper();
  identity: Identity;
  stopped: Stopped | null = null;
  readonly handle: SessionHandle;

  constructor(identity: Identity) {
    this.identity = identity;
    const keep = async (fresh: Identity): Promise<void> => {
      this.identity = fresh;
    };
    if (typeof WebSocket === 'undefined') throw new Error('this Node has no WebSocket: set NODE_OPTIONS=--experimental-websocket');
    const links = dialler({ WebTransport: null, WebSocket: WebSocket as SocketConstructor });
    this.handle = openSession({ identity, upper: this.upper, dialler: links, keep });
    this.handle.onStopped((stopped) => {
      this.stopped = stopped;
    });
  }

  ask(body: RequestBody): Promise<ReplyBody> {
    if (this.upper.uplink === null) throw new Error('there is no session');
    return this.upper.uplink.request(body);
  }

  up(times = 1): Promise<void> {
    return until(`the session is up, time ${times}`, () => this.upper.told.filter((told) => told === 'up').length >= times);
  }
}

const find = (name: string): RequestBody => ({ case: 'findAccount', value: create(FindAccountSchema, { name }) });

describe.skipIf(DAEMON === undefined)('against a real daemon', () => {
  const daemon = new Daemon();
  let network: Network;
  const open: Online[] = [];
  const online = (identity: Identity): Online => {
    const session = new Online(identity);
    open.push(session);
    return session;
  };

  beforeAll(async () => {
    await daemon.start();
    network = await contact(daemon.url, null);
  });

  afterAll(async () => {
    for (const { handle } of open) handle.close();
    await daemon.stop();
    rmSync(daemon.folder, { recursive: true, force: true });
  });

  test('two accounts sign up, come online, find each other, and come back when the daemon does', async () => {
    const alice = online((await signUp(network, { name: 'alice', password: PASSWORD, deviceName: 'laptop' })).identity);
    const bob = online((await signUp(network, { name: 'bob', password: PASSWORD, deviceName: 'phone' })).identity);
    await Promise.all([alice.up(), bob.up()]);
    expect(alice.handle.online()).toMatchObject({ transport: 'websocket' });
    const checkedIn = await alice.ask({ case: 'checkIn', value: create(CheckInSchema, { stateSerial: 1n }) });
    expect(checkedIn.case).toBe('checkedIn');
    const found = await alice.ask(find('bob'));
    if (found.case !== 'accountFound') throw new Error(`bob is found, not ${found.case}`);
    expect(equalBytes(found.value.accountKey, bob.identity.accountKey)).toBe(true);
    await expect(bob.ask(find('nobody-here'))).rejects.toMatchObject({ name: 'Refused' });

    await daemon.stop();
    await until('the sessions are lost', () => alice.upper.told.includes('down') && bob.upper.told.includes('down'));
    await daemon.start();
    await Promise.all([alice.up(2), bob.up(2)]);
    const again = await bob.ask(find('alice'));
    expect(again.case).toBe('accountFound');
  });

  test('a device is renamed, its credential renewed, and when it is revoked its session stops', async () => {
    const { identity, recoveryCode } = await signUp(network, { name: 'carol', password: PASSWORD, deviceName: 'laptop' });
    const first = online(identity);
    const second = online(await signIn(network, { name: 'Carol', password: PASSWORD, deviceName: 'phone' }));
    await Promise.all([first.up(), second.up()]);
    await renameDevice(identity, second.identity.device, 'Büro');
    const listed = await first.ask({ case: 'listDevices', value: create(ListDevicesSchema) });
    if (listed.case !== 'checkedIn') throw new Error(`devices are listed, not ${listed.case}`);
    expect(listed.value.devices.map(({ name }) => name).sort()).toEqual(['Büro', 'laptop']);
    expect(await renewCredential(identity)).not.toBe('');
    await revokeDevice(identity, second.identity.device);
    await until('the session stops', () => second.stopped !== null);
    expect(second.stopped?.reason).toBe('revoked');
    const lost = { name: 'carol', recoveryCode, password: 'another password', deviceName: 'new' };
    const recovered = await recover(network, lost);
    expect(equalBytes(recovered.identity.accountKey, identity.accountKey)).toBe(true);
    await expect(signIn(network, { name: 'carol', password: PASSWORD, deviceName: 'x' })).rejects.toMatchObject({ code: 'sign-in-refused' });
  });

  test.skipIf(TERMINAL === undefined)('an account that was made here opens in the terminal client, and the other way round', async () => {
    const file = join(daemon.folder, 'password');
    writeFileSync(file, `${PASSWORD}\n`);
    const terminal = (profile: string, ...verb: string[]) => {
      const common = ['--network', daemon.url, '--profile', join(daemon.folder, profile), '--password-file', file];
      return promisify(execFile)(TERMINAL ?? '', [...verb, ...common]);
    };
    const { identity } = await signUp(network, { name: 'dora', password: PASSWORD, deviceName: 'browser' });
    await expect(terminal('dora', 'sign-in', 'dora')).resolves.toBeDefined();
    await terminal('emil', 'sign-up', 'emil');
    const emil = await signIn(network, { name: 'emil', password: PASSWORD, deviceName: 'browser' });
    expect(emil.name).toBe('emil');
    expect(identity.account).not.toBe(emil.account);
  });
});
