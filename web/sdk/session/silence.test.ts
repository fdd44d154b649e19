import { create } from '@bufbuild/protobuf';
import { expect, test, vi } from 'vitest';

import { ErrorCode, FindAccountSchema, Urgency } from '../proto/messages.ts';
import { World, type TestSupernode } from './testing.ts';

// Virtual time passes fast, but signatures are checked in it, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

async function up(regions: string[] = ['eu', 'eu', 'eu', 'eu']): Promise<{ world: World; present: TestSupernode }> {
  const world = await World.make(regions);
  world.share = 0;
  const present = await world.up();
  world.share = 0.5;
  world.dialled.length = 0;
  return { world, present };
}

test('a session pings as its welcome says, from 5 to 25 s, the first time within 5 s', async () => {
  for (const [said, taken] of [[0, 5_000], [7_000, 7_000], [90_000, 25_000]] as const) {
    const world = await World.make();
    for (const supernode of world.supernodes) supernode.keepaliveMs = said;
    world.share = 0.5;
    const supernode = await world.up();
    expect(supernode.link.pings).toBe(0);
    await world.clock.pass(2_500);
    expect(supernode.link.pings).toBe(1);
    await world.clock.pass(taken - 1_500);
    expect(supernode.link.pings, `${said}`).toBe(1);
    await world.clock.pass(1_500);
    expect(supernode.link.pings, `${said}`).toBe(2);
  }
});

test('pings measure the round trip', async () => {
  const { world, present } = await up(['eu']);
  present.roundTripMs = 100;
  await world.clock.pass(60_000);
  expect(world.handle.online()?.roundTripMs).toBeGreaterThan(35);
});

test('pings measure the round trip over WebTransport too, where they come back as one zero', async () => {
  const { world, present } = await up(['eu']);
  present.roundTripMs = 100;
  present.pong = Uint8Array.of(0);
  await world.clock.pass(60_000);
  expect(world.handle.online()?.roundTripMs).toBeGreaterThan(35);
});

test('a ping whose answer was lost does not make the round trip look long', async () => {
  const { world, present } = await up(['eu']);
  present.link.silent = true;
  present.reach = 'refused';
  await world.clock.pass(35_000);
  present.link.silent = false;
  await world.clock.pass(60_000);
  expect(world.upper.told).toEqual(['up']);
  expect(world.handle.online()?.roundTripMs).toBe(20);
});

test('a link on which nothing follows a ping for 2 s is kept while another session is dialled for, the present supernode first', async () => {
  const { world, present } = await up();
  present.link.silent = true;
  await world.clock.pass(28_000);
  expect(world.online).toEqual(['eu', null, 'eu']);
  expect(world.upper.told).toEqual(['up', 'moved']);
  expect(world.takeDialled()).toEqual([present.number]);
  expect(present.links.map(({ closed }) => closed !== null)).toEqual([true, false]);
});

test('a link on which nothing follows a request for 2 s is silent, however far the next ping is', async () => {
  const { world, present } = await up();
  const ask = (): void => void world.upper.uplink?.request({ case: 'findAccount', value: create(FindAccountSchema, { name: 'x' }) }).catch(() => null);
  await world.clock.pass(5_000);
  const { pings } = present.link;
  ask();
  ask();
  await world.clock.pass(2_500);
  expect(present.link.pings, 'one with the first').toBe(pings + 1);
  present.link.silent = true;
  ask();
  await world.clock.pass(1_000);
  ask();
  await world.clock.pass(900);
  expect(world.online).toEqual(['eu']);
  await world.clock.pass(600);
  expect(world.online).toEqual(['eu', null, 'eu']);
});

test('a silent link that answers first wins, and what was dialled is given up', async () => {
  const { world, present } = await up();
  for (const supernode of world.supernodes) supernode.reach = 'dead';
  present.reply = () => null;
  const asked = world.upper.uplink?.request({ case: 'findAccount', value: create(FindAccountSchema, { name: 'x' }) });
  present.link.silent = true;
  await world.clock.pass(30_000);
  expect(world.online.at(-1)).toBeNull();
  expect(world.upper.told).toEqual(['up']);
  const { pings } = present.link;
  present.link.silent = false;
  await world.clock.pass(1_100);
  expect(present.link.pings).toBe(pings + 1);
  expect(world.online.at(-1)).toBe('eu');
  world.dialled.length = 0;
  await world.clock.pass(20_000);
  expect(world.takeDialled()).toEqual([]);
  present.say(present.link, { case: 'done', value: {} }, 2n);
  await expect(asked).resolves.toMatchObject({ case: 'done' });
});

test('outside of a call a silent link is dialled for once at once, and then with the waits of reconnecting', async () => {
  const { world, present } = await up(['eu']);
  present.reach = 'refused';
  present.link.silent = true;
  world.share = 0.999_999;
  await world.clock.pass(30_000);
  const at = world.dialled.map(({ at }) => Math.round(at));
  const first = at[0] ?? 0;
  expect(at.slice(0, 4).map((time) => time - first)).toEqual([0, 500, 1_500, 3_500]);
  expect(world.upper.told).toEqual(['up']);
});

test('a link that was silent for 62 s is lost', async () => {
  const { world, present } = await up(['eu']);
  present.reach = 'dead';
  present.link.silent = true;
  await world.clock.pass(61_000);
  expect(world.upper.told).toEqual(['up']);
  await world.clock.pass(30_000);
  expect(world.upper.told).toEqual(['up', 'down']);
  expect(present.links[0]?.closed).not.toBeNull();
});

test('in a call 800 ms without a packet start dials of the first three, the present first, again and again', async () => {
  const { world, present } = await up();
  world.upper.inCall = true;
  for (const supernode of world.supernodes) supernode.reach = 'dead';
  present.say(present.link, { case: 'legUp', value: {} });
  const quiet = world.clock.elapsed();
  present.link.silent = true;
  await world.clock.pass(799);
  expect(world.dialled).toEqual([]);
  await world.clock.pass(100);
  expect(world.online.at(-1)).toBeNull();
  await world.clock.pass(3_000);
  const [first, second] = world.ranked.filter((supernode) => supernode !== present);
  const order = [present, first, second].map((supernode) => supernode?.number);
  expect(world.dialled.slice(0, 6).map(({ number }) => number)).toEqual([...order, ...order]);
  const times = world.dialled.map(({ at }) => at - quiet);
  expect(times.slice(0, 3)).toEqual([800, 950, 1_300]);
  expect(times[3]).toBe(2_800);
  expect(world.upper.told).toEqual(['up']);
});

test('in a call the first session that comes wins; the old link is kept for 2 s, and its voice is heard', async () => {
  const { world, present } = await up();
  world.upper.inCall = true;
  present.say(present.link, { case: 'legUp', value: {} });
  const [old] = present.links;
  if (old === undefined) throw new Error('there is one');
  old.silent = true;
  await world.clock.pass(900);
  expect(world.upper.told).toEqual(['up', 'moved']);
  expect(present.proofs.at(-1)?.urgency).toBe(Urgency.IN_CALL);
  old.silent = false;
  old.deliverDatagram(Uint8Array.of(1));
  expect(world.upper.datagrams).toEqual([Uint8Array.of(1)]);
  await world.clock.pass(1_800);
  expect(old.closed).toBeNull();
  await world.clock.pass(200);
  expect(old.closed).not.toBeNull();
});

test('in a call a link that ends is dialled for at once, its supernode last', async () => {
  const { world, present } = await up(['eu', 'eu', 'eu']);
  world.upper.inCall = true;
  for (const supernode of world.supernodes) supernode.reach = 'dead';
  const ended = world.clock.elapsed();
  present.link.end(null);
  await world.clock.pass(800);
  const others = world.ranked.filter((supernode) => supernode !== present);
  expect(world.dialled.map(({ at }) => at - ended)).toEqual([0, 350, 700]);
  expect(world.takeDialled()).toEqual([...others, present].map(({ number }) => number));
  expect(world.upper.told).toEqual(['up', 'down']);
});

test('in a call a dial has 2 s until the link is up, and 2 s more until the welcome', async () => {
  const { world, present } = await up(['eu', 'eu']);
  const other = world.supernodes.find((supernode) => supernode !== present);
  if (other === undefined) throw new Error('there are two');
  world.upper.inCall = true;
  other.instead = { welcome: 'nothing' };
  present.reach = 'dead';
  const ended = world.clock.elapsed();
  present.link.end(null);
  await world.clock.pass(2_100);
  other.instead = {};
  expect(other.links[0]?.closed).not.toBeNull();
  await world.clock.pass(500);
  expect(world.upper.told).toEqual(['up', 'down', 'up']);
  expect(world.clock.elapsed() - ended).toBeLessThan(3_000);
});

test('when the call ends what is dialled for its sake goes on at the pace of a device without one', async () => {
  const { world, present } = await up(['eu']);
  world.upper.inCall = true;
  present.reach = 'refused';
  present.link.end(null);
  await world.clock.pass(5_000);
  expect(world.takeDialled().length).toBeGreaterThan(12);
  world.upper.inCall = false;
  world.share = 0.999;
  await world.clock.pass(30_000);
  expect(world.takeDialled().length).toBeLessThan(8);
});

test('in a call a silent link is pinged before it counts as silent, so that somebody who says nothing is not taken for gone', async () => {
  const { world, present } = await up();
  world.upper.inCall = true;
  present.say(present.link, { case: 'legUp', value: {} });
  const { pings } = present.link;
  await world.clock.pass(10_000);
  expect(present.link.pings - pings).toBeGreaterThan(20);
  expect(world.online).toEqual(['eu']);
  expect(world.takeDialled()).toEqual([]);
});

test('a session that our own later one replaces does not stop the client', async () => {
  const { world, present } = await up();
  const [old] = present.links;
  if (old === undefined) throw new Error('there is one');
  old.silent = true;
  // The new session is being proven; word of the old one's end comes by the old link first.
  while (present.proofs.length < 2) await world.clock.pass(5);
  old.silent = false;
  present.dismiss(old, ErrorCode.SESSION_REPLACED);
  await world.clock.pass(5_000);
  expect(world.stopped).toBeNull();
  expect(world.upper.told).toEqual(['up', 'down', 'up']);
});
