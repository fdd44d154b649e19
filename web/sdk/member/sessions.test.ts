import { describe, expect, it } from 'vitest';

import { ErrorCode } from '../proto/messages.ts';
import { MemoryVault } from '../vault/memory.ts';
import { TestDevice, World } from './testing/world.ts';

describe('a device', () => {
  it('whose state is a copy stops before it uses it', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    await alice.client.post(conversation, { text: 'hello' });
    await world.shows(bob, conversation, 'hello');
    const copy = new MemoryVault();
    for (const table of ['state', 'groups', 'lines'] as const) {
      const entries = await alice.vault.range(table, '');
      await copy.commit({ writes: entries.map(({ key, value }) => ({ table, key, value })) });
    }
    alice.down();
    await (await alice.restart()).ready();
    const counted = world.exchange.counted.get('sendMessage');
    const thief = await TestDevice.start(world, alice.identity, copy);
    thief.up();
    await world.until(() => thief.last('stopped')?.reason === 'state-too-old', 'it stops');
    await expect(thief.client.find('bob')).rejects.toMatchObject({ reason: 'offline' });
    thief.up();
    expect(world.exchange.counted.get('sendMessage')).toBe(counted);
  });

  it('whose vault fails stops, and nothing that was not kept has left', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    alice.vault.commit = () => Promise.reject(new Error('the disk is full'));
    await expect(alice.client.post(conversation, { text: 'lost' })).rejects.toMatchObject({ reason: 'network' });
    expect(alice.last('stopped')?.reason).toBe('storage');
    expect(await bob.texts(conversation)).toEqual([]);
  });

  it('checks in again while the network is too busy, each time with a higher serial', async () => {
    const world = new World();
    const alice = await world.device('alice');
    const serials: bigint[] = [];
    world.exchange.refusing = (body) => {
      if (body.case !== 'checkIn') return null;
      serials.push(body.value.stateSerial);
      return serials.length < 3 ? ErrorCode.UNAVAILABLE : null;
    };
    alice.up();
    await world.passUntil(() => alice.count('ready') > 0, 'it is ready', 10_000);
    expect(serials).toEqual([1n, 2n, 3n]);
  });

  it('takes in what comes before it has checked in', async () => {
    const world = new World();
    const { alice, bob } = await world.pair();
    await alice.client.call('bob');
    await world.until(() => bob.lastCall?.state === 'ringing', 'it rings');
    const again = await bob.restart();
    await again.ready();
    await world.until(() => again.lastCall?.state === 'ringing', 'it rings again');
    await again.client.answer(again.lastCall?.call ?? '');
    await world.until(() => again.lastCall?.state === 'connected', 'it stands');
  });

  it('keeps key packages, and a last resort for when they are used up', async () => {
    const world = new World();
    const { alice, bob } = await world.pair();
    await world.until(() => (world.exchange.conversations.keyPackages.get(bob.identity.device)?.once.length ?? 0) === 19, 'one is used');
    const shelf = world.exchange.conversations.keyPackages.get(bob.identity.device);
    shelf?.once.splice(0);
    const conversation = await alice.client.createGroup('Crew', ['bob']);
    await world.until(async () => (await bob.client.conversations()).some((other) => other.conversation === conversation && other.standing === 'inside'), 'bob is in');
    await world.until(() => shelf?.once.length === 20, 'there are more');
  });
});

describe('a list that is older than an answer before it', () => {
  it('uses no number twice, and loses nothing', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    await alice.client.post(conversation, { text: 'one' });
    await world.shows(bob, conversation, 'one');
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    world.exchange.holding = (body, device) => (body.case === 'listConversations' && device === alice.identity.device ? held : null);
    alice.resync();
    await alice.client.post(conversation, { text: 'two' });
    await world.shows(bob, conversation, 'one', 'two');
    world.exchange.holding = null;
    release();
    await alice.client.post(conversation, { text: 'three' });
    await world.shows(bob, conversation, 'one', 'two', 'three');
    await world.until(async () => (await alice.lines(conversation)).every(({ sequence }) => sequence !== null), 'all are placed');
    expect((await alice.lines(conversation)).map(({ failed }) => failed)).toEqual([false, false, false]);
  });

  it('and a page of the log that others have overtaken is no gap', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    bob.down();
    await alice.client.post(conversation, { text: 'one' });
    await world.until(async () => (await alice.client.conversations())[0]?.head === 1, 'it is in the log');
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    world.exchange.holding = (body) => (body.case === 'fetchLog' ? held : null);
    bob.up();
    await world.until(() => (world.exchange.counted.get('fetchLog') ?? 0) > 0, 'it is asked for');
    await alice.client.post(conversation, { text: 'two' });
    await world.until(async () => (await alice.client.conversations())[0]?.head === 2, 'it is in the log');
    world.exchange.holding = null;
    release();
    await world.shows(bob, conversation, 'one', 'two');
    expect((await bob.lines(conversation)).some(({ body }) => body.kind === 'gap')).toBe(false);
  });
});

describe('a command', () => {
  it('that is given before the device has checked in waits for that', async () => {
    const world = new World();
    const [bob] = await world.online('bob');
    const alice = await world.device('alice');
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    world.exchange.holding = (body, device) => (body.case === 'checkIn' && device === alice.identity.device ? held : null);
    alice.up();
    const asked = alice.client.requestContact('bob', '');
    const made = alice.client.createGroup('Crew', []);
    const calls = [alice.client.call('bob'), alice.client.call('bob')].map((call) => call.catch((error: unknown) => error));
    await world.clock.pass(7_000);
    world.exchange.holding = null;
    release();
    await Promise.all([asked, made]);
    expect(bob.last('contact')?.contact).toMatchObject({ person: { name: 'alice' }, state: 'asks' });
    // Of calls that have waited together only one is placed.
    expect(await Promise.all(calls)).toEqual([expect.any(String), expect.objectContaining({ reason: 'limit' })]);
  });

  it.each(['stop', 'close'] as const)('waits for no session any more after a %s', async (end) => {
    const world = new World();
    const alice = await world.device('alice');
    const asked = alice.client.find('bob').catch((error: unknown) => error);
    if (end === 'stop') alice.member.stop('revoked', '');
    else await alice.member.close();
    expect(await asked).toMatchObject({ reason: 'offline' });
    await expect(alice.client.call('bob')).rejects.toMatchObject({ reason: 'offline' });
    expect(world.clock.running).toBe(0);
  });

  it('that was under way when the session ended is refused, and can be given again', async () => {
    const world = new World();
    const [alice, bob] = await world.online('alice', 'bob');
    await world.befriend(alice, bob);
    world.exchange.holding = (body) => (body.case === 'claimKeyPackages' ? new Promise(() => undefined) : null);
    const asked = alice.client.conversationWith('bob').catch((error: unknown) => error);
    await world.until(() => (world.exchange.counted.get('claimKeyPackages') ?? 0) > 0, 'it is asked for');
    world.exchange.holding = null;
    alice.down();
    expect(await asked).toMatchObject({ reason: 'offline' });
    await alice.ready();
    const conversation = await alice.client.conversationWith('bob');
    await alice.client.post(conversation, { text: 'at last' });
    await world.shows(bob, conversation, 'at last');
  });
});
