import { create } from '@bufbuild/protobuf';
import { expect, test, vi } from 'vitest';

import { settle } from '../link/virtual-clock.ts';
import { idBytes } from '../proto/ids.ts';
import { ErrorCode, FindAccountSchema, Urgency } from '../proto/messages.ts';
import { World, type TestSupernode } from './testing.ts';

// Virtual time passes fast, but signatures are checked in it, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

async function up(regions: string[] = ['eu', 'eu', 'eu']): Promise<{ world: World; present: TestSupernode; others: TestSupernode[] }> {
  const world = await World.make(regions);
  world.share = 0.5;
  const present = await world.up();
  world.dialled.length = 0;
  return { world, present, others: world.ranked.filter((supernode) => supernode !== present) };
}

function goAway(from: TestSupernode, value: { reconnectInMs?: number; spreadMs?: number; to?: TestSupernode }): void {
  const { to, ...times } = value;
  from.say(from.link, { case: 'goAway', value: { ...times, supernode: to ? idBytes(to.entry.supernode) : new Uint8Array(0) } });
}

test('GoAway: the session moves to the supernode named, after the time and a random part of the spread, and the old one lasts until then', async () => {
  const { world, present, others } = await up();
  const asked = world.upper.uplink?.request({ case: 'findAccount', value: create(FindAccountSchema, { name: 'x' }) });
  present.reply = () => null;
  await world.clock.pass(100);
  await asked;
  goAway(present, { reconnectInMs: 1_000, spreadMs: 4_000, ...(others[1] && { to: others[1] }) });
  const unanswered = world.upper.uplink?.request({ case: 'findAccount', value: create(FindAccountSchema, { name: 'x' }) });
  unanswered?.catch(({ name }: Error) => world.upper.told.push(name));
  await world.clock.pass(2_999);
  expect(world.takeDialled()).toEqual([]);
  await world.clock.pass(30);
  expect(present.link.closed).toBeNull();
  await world.clock.pass(50);
  expect(world.takeDialled()).toEqual([others[1]?.number]);
  expect(world.upper.told).toEqual(['up', 'SessionLost', 'moved']);
  expect(world.online).toEqual(['eu', 'eu']);
  expect(others[1]?.proofs.at(-1)?.urgency).toBe(Urgency.RESUME);
  expect(present.link.closed).not.toBeNull();
});

test('GoAway: the old link’s end may be heard before the welcome; where that never comes, the session is lost', async () => {
  for (const comes of [true, false]) {
    const { world, present, others } = await up();
    const { link } = present;
    goAway(present, {});
    while (others.every(({ proofs }) => proofs.length === 0)) await world.clock.pass(1);
    present.dismiss(link, ErrorCode.SESSION_REPLACED);
    expect(world.upper.told).toEqual(['up']);
    if (!comes) {
      for (const other of others) other.reach = 'refused';
      others.find(({ proofs }) => proofs.length > 0)?.link.end(null);
    }
    await world.clock.pass(10_000);
    expect(world.upper.told).toEqual(comes ? ['up', 'moved'] : ['up', 'down', 'up']);
    expect(world.stopped).toBeNull();
  }
});

test('GoAway: where none is named the next in order is taken, never the present one', async () => {
  const { world, present, others } = await up();
  goAway(present, {});
  await world.clock.pass(200);
  expect(world.takeDialled()).toEqual([others[0]?.number]);
  expect(world.upper.told).toEqual(['up', 'moved']);
});

test('GoAway: where the one named can not be reached another is taken', async () => {
  const { world, present, others } = await up();
  const [first, second] = others;
  if (first === undefined || second === undefined) throw new Error('there are three');
  second.reach = 'refused';
  goAway(present, { to: second });
  await world.clock.pass(200);
  expect(world.takeDialled()).toEqual([second.number, first.number]);
  expect(world.upper.told).toEqual(['up', 'moved']);
});

test('GoAway: where no new session comes about the old one goes on, and it is tried again with waits', async () => {
  const { world, present, others } = await up();
  for (const supernode of others) supernode.reach = 'refused';
  goAway(present, {});
  await world.clock.pass(950);
  expect(world.takeDialled()).toHaveLength(2);
  await world.clock.pass(100);
  expect(world.takeDialled()).toHaveLength(2);
  expect(world.upper.told).toEqual(['up']);
  for (const supernode of others) supernode.reach = 'up';
  await world.clock.pass(5_000);
  expect(world.upper.told).toEqual(['up', 'moved']);
});

test('GoAway: of several the one whose moment comes first counts', async () => {
  const { world, present, others } = await up();
  const [first, second] = others;
  if (first === undefined || second === undefined) throw new Error('there are three');
  goAway(present, { reconnectInMs: 5_000, to: first });
  goAway(present, { reconnectInMs: 1_000, to: second });
  goAway(present, { reconnectInMs: 2_000, to: first });
  await world.clock.pass(10_000);
  expect(world.takeDialled()).toEqual([second.number]);
});

test('GoAway: where the roster has no other supernode the session waits for its end', async () => {
  const { world, present } = await up(['eu']);
  goAway(present, {});
  await world.clock.pass(60_000);
  expect(world.takeDialled()).toEqual([]);
  expect(world.upper.told).toEqual(['up']);
});

test('GoAway: where the session ends before the moment, and there is no call, it signs in at that moment', async () => {
  const { world, present } = await up();
  goAway(present, { reconnectInMs: 20_000 });
  await world.clock.pass(5_000);
  present.link.end(114);
  await world.clock.pass(14_900);
  expect(world.takeDialled()).toEqual([]);
  await world.clock.pass(200);
  expect(world.upper.told).toEqual(['up', 'down', 'up']);
});

test('GoAway: what is under way when the old session ends is the next session', async () => {
  const { world, present, others } = await up();
  const [first] = others;
  if (first === undefined) throw new Error('there are three');
  first.roundTripMs = 300;
  goAway(present, {});
  await world.clock.pass(400);
  present.link.end(114);
  await world.clock.pass(400);
  expect(world.takeDialled()).toEqual([first.number]);
  expect(world.upper.told).toEqual(['up', 'down', 'up']);
});

test('GoAway: sent to one that the roster does not have, the newest roster is asked for first', async () => {
  const world = await World.make(['eu', 'eu']);
  const [listed, fresh] = world.supernodes;
  if (listed === undefined || fresh === undefined) throw new Error('there are two');
  world.list([listed]);
  const { contact } = await import('../account/contact.ts');
  world.identity.network = await contact('http://localhost:1', null, world.environment);
  await world.up();
  world.list();
  world.authority.asked.length = 0;
  goAway(listed, { to: fresh });
  await world.clock.pass(1_000);
  expect(world.authority.asked).toContain('/v1/roster');
  expect(world.present).toBe(fresh);
  expect(world.upper.told).toEqual(['up', 'moved']);
});

test('GoAway: in a call the old link is kept for 2 s', async () => {
  const { world, present } = await up();
  world.upper.inCall = true;
  goAway(present, {});
  await world.clock.pass(100);
  expect(world.upper.told).toEqual(['up', 'moved']);
  expect(present.link.closed).toBeNull();
  await world.clock.pass(2_000);
  expect(present.link.closed).not.toBeNull();
});

test('Resync: told after a random part of the spread, at once where that is 0, and several are one at the soonest', async () => {
  const { world, present } = await up();
  const resync = (spreadMs: number): void => present.say(present.link, { case: 'resync', value: { spreadMs } });
  resync(10_000);
  resync(4_000);
  resync(8_000);
  await world.clock.pass(1_999);
  expect(world.upper.told).toEqual(['up']);
  await world.clock.pass(2);
  expect(world.upper.told).toEqual(['up', 'resync']);
  await world.clock.pass(10_000);
  expect(world.upper.told).toEqual(['up', 'resync']);
  resync(5_000);
  resync(0);
  await settle();
  expect(world.upper.told).toEqual(['up', 'resync', 'resync']);
  await world.clock.pass(10_000);
  expect(world.upper.told).toEqual(['up', 'resync', 'resync']);
});

test('Resync: one that waits when the session is lost is not told later', async () => {
  const { world, present } = await up();
  present.say(present.link, { case: 'resync', value: { spreadMs: 10_000 } });
  present.link.end(null);
  await world.clock.pass(20_000);
  expect(world.upper.told).toEqual(['up', 'down', 'up']);
});
