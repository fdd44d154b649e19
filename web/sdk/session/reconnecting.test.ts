import { expect, test, vi } from 'vitest';

import { settle } from '../link/virtual-clock.ts';
import { ErrorCode, Urgency } from '../proto/messages.ts';
import { World } from './testing.ts';

// Virtual time passes fast, but signatures are checked in it, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

/** When supernodes were dialled, from a moment on. */
function waits(world: World, since: number): number[] {
  return world.dialled.splice(0).map(({ at }) => at - since);
}

test('after a lost link the client waits at random, twice as long after each failure, and 30 s at most', async () => {
  const world = await World.make();
  world.share = 0.999_999;
  const supernode = await world.up();
  supernode.reach = 'refused';
  waits(world, 0);
  const lost = world.clock.elapsed();
  supernode.link.end(null);
  expect(world.upper.told).toEqual(['up', 'down']);
  await world.clock.pass(120_000);
  const ceilings = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
  let sum = 0;
  const expected = ceilings.map((ceiling) => (sum += ceiling));
  expect(waits(world, lost).map((at) => Math.round(at))).toEqual(expected);
});

test('the waits are random from zero on', async () => {
  const world = await World.make();
  const supernode = await world.up();
  world.share = 0;
  waits(world, 0);
  const lost = world.clock.elapsed();
  supernode.link.end(null);
  await world.clock.pass(1);
  expect(waits(world, lost)).toEqual([0]);
});

test('where there are several supernodes the first waits are up to 2 s', async () => {
  const world = await World.make(['eu', 'eu']);
  world.share = 0.999_999;
  const supernode = await world.up();
  waits(world, 0);
  const lost = world.clock.elapsed();
  supernode.link.end(null);
  await world.clock.pass(1_990);
  expect(waits(world, lost)).toEqual([]);
  await world.clock.pass(100);
  expect(world.upper.told).toEqual(['up', 'down', 'up']);
});

test('only a session that stayed up for a minute ends the series of failures', async () => {
  const world = await World.make();
  world.share = 0.999_999;
  const supernode = await world.up();
  const loseAfter = async (ms: number): Promise<number> => {
    await world.clock.pass(ms);
    world.dialled.length = 0;
    const lost = world.clock.elapsed();
    supernode.link.end(null);
    await world.clock.pass(5_000);
    return Math.round(world.dialled[0]?.at ?? 0) - lost;
  };
  expect(await loseAfter(1_000)).toBe(500);
  expect(await loseAfter(30_000)).toBe(1_000);
  expect(await loseAfter(30_000)).toBe(2_000);
  expect(await loseAfter(60_000)).toBe(500);
});

test('a pause that the supernode asks for is waited for on top, five minutes at most, and it is tried last', async () => {
  const world = await World.make(['eu', 'eu']);
  const first = await world.up();
  const other = world.supernodes.find((supernode) => supernode !== first);
  world.share = 0.5;
  waits(world, 0);
  const lost = world.clock.elapsed();
  first.dismiss(first.link, ErrorCode.OVERLOADED, 10_000);
  await world.clock.pass(10_900);
  expect(waits(world, lost)).toEqual([]);
  await world.clock.pass(200);
  expect(world.present).toBe(other);
  waits(world, 0);
  const again = world.clock.elapsed();
  other?.dismiss(other.link, ErrorCode.OVERLOADED, 4_000_000);
  await world.clock.pass(299_000);
  expect(waits(world, again)).toEqual([]);
  await world.clock.pass(4_000);
  expect(world.upper.told.at(-1)).toBe('up');
});

test('one that closes a session is tried after all others for 60 s; one whose link is only lost is not', async () => {
  const world = await World.make(['eu', 'eu', 'eu']);
  const [best, second] = world.ranked;
  const first = await world.up();
  expect(first).toBe(best);
  first.link.end(null);
  await world.clock.pass(3_000);
  expect(world.present).toBe(best);
  best?.dismiss(best.link, ErrorCode.SHUTTING_DOWN);
  await world.clock.pass(3_000);
  expect(world.present).toBe(second);
  second?.link.end(null);
  await world.clock.pass(3_000);
  expect(world.present).toBe(second);
  await world.clock.pass(60_000);
  second?.link.end(null);
  await world.clock.pass(4_000);
  expect(world.present).toBe(best);
});

test('a session that comes again says that it was there before', async () => {
  const world = await World.make();
  const supernode = await world.up();
  supernode.link.end(null);
  await world.clock.pass(3_000);
  expect(supernode.proofs.map(({ urgency }) => urgency)).toEqual([Urgency.UNSPECIFIED, Urgency.RESUME]);
});

test('while no supernode can be reached the authority is asked for the roster, once a minute at most', async () => {
  const world = await World.make();
  for (const supernode of world.supernodes) supernode.reach = 'refused';
  world.open();
  await world.clock.pass(130_000);
  expect(world.authority.asked.filter((path) => path === '/v1/roster')).toHaveLength(3);
});

test('a session comes up on a supernode that only the newest roster lists', async () => {
  const world = await World.make(['eu', 'eu']);
  const [, fresh] = world.supernodes;
  world.list(world.supernodes.slice(0, 1));
  const { contact } = await import('../account/contact.ts');
  world.identity.network = await contact('http://localhost:1', null, world.environment);
  world.list();
  for (const supernode of world.supernodes) supernode.reach = supernode === fresh ? 'up' : 'refused';
  world.open();
  await world.clock.pass(5_000);
  expect(world.present).toBe(fresh);
});

test('when the browser says that the network is back, nothing is waited for', async () => {
  const listeners = new EventTarget();
  vi.stubGlobal('addEventListener', listeners.addEventListener.bind(listeners));
  vi.stubGlobal('removeEventListener', listeners.removeEventListener.bind(listeners));
  const world = await World.make();
  world.share = 0.99;
  const supernode = await world.up();
  supernode.reach = 'refused';
  supernode.link.end(null);
  await world.clock.pass(40_000);
  supernode.reach = 'up';
  waits(world, 0);
  const back = world.clock.elapsed();
  listeners.dispatchEvent(new Event('online'));
  await world.clock.pass(100);
  expect(waits(world, back)).toEqual([0]);
  expect(world.upper.told.at(-1)).toBe('up');
  const { pings } = supernode.link;
  listeners.dispatchEvent(new Event('online'));
  expect(supernode.link.pings).toBe(pings + 1);
  world.handle.close();
  await world.clock.pass(100);
  listeners.dispatchEvent(new Event('online'));
  expect(world.clock.running).toBe(0);
  vi.unstubAllGlobals();
});

test('a session that was taken over by the same device elsewhere stops', async () => {
  const world = await World.make(['eu', 'eu']);
  const supernode = await world.up();
  supernode.dismiss(supernode.link, ErrorCode.SESSION_REPLACED);
  await world.clock.pass(60_000);
  expect(world.stopped).toEqual({ reason: 'replaced', text: 'this device signed in elsewhere' });
  expect(world.upper.told).toEqual(['up', 'down']);
  expect(world.clock.running).toBe(0);
});

test('a session that was replaced by a proof of ours that came late does not stop', async () => {
  const world = await World.make(['eu', 'eu']);
  const [first, second] = world.ranked;
  if (first === undefined || second === undefined) throw new Error('there are two');
  first.instead = { welcome: 'nothing' };
  world.open();
  await world.clock.pass(11_000);
  expect(world.present).toBe(second);
  second.dismiss(second.link, ErrorCode.SESSION_REPLACED);
  first.instead = {};
  await world.clock.pass(5_000);
  expect(world.stopped).toBeNull();
  expect(world.upper.told).toEqual(['up', 'down', 'up']);
});

test('a device that is revoked while its session is up stops', async () => {
  const world = await World.make();
  const supernode = await world.up();
  supernode.dismiss(supernode.link, ErrorCode.CREDENTIAL_REVOKED);
  await world.clock.pass(60_000);
  expect(world.stopped?.reason).toBe('revoked');
});

test('a device that can keep nothing stops', async () => {
  const world = await World.make();
  for (const supernode of world.supernodes) supernode.rosterSerial = 2;
  world.authority.serial = 2;
  world.open({ keep: () => Promise.reject(new Error('full')) });
  await world.clock.pass(1_000);
  expect(world.stopped?.reason).toBe('storage');
});

test('a credential is renewed at half of its life, and the session goes on with it', async () => {
  const world = await World.make();
  world.clock.unixMs += 3.49 * 86_400_000;
  const supernode = await world.up();
  expect(world.authority.asked).not.toContain('/v1/credentials/renew');
  await world.clock.pass(0.02 * 86_400_000);
  expect(world.authority.asked).toContain('/v1/credentials/renew');
  const renewals = supernode.requests.filter(({ body }) => body.case === 'renewSession');
  expect(renewals.map(({ body }) => body.value)).toMatchObject([{ credential: world.handle.identity.credential }]);
  expect(world.upper.told).toEqual(['up']);
});

test('a roster is asked for when it is a day old', async () => {
  const world = await World.make();
  world.clock.unixMs += 86_000_000;
  await world.up();
  expect(world.authority.asked).toEqual([]);
  await world.clock.pass(1_200_000);
  expect(world.authority.asked).toEqual(['/.well-known/ahoy', '/v1/roster']);
});

test('a session that is closed is gone, and nothing runs on', async () => {
  const world = await World.make();
  const supernode = await world.up();
  world.handle.close();
  await settle();
  expect(supernode.link.closed?.code).toBe(ErrorCode.UNSPECIFIED);
  expect(world.handle.online()).toBeNull();
  expect(world.clock.running).toBe(0);
  const early = await World.make();
  early.open().close();
  await early.clock.pass(10_000);
  expect(early.dialled).toEqual([]);
  expect(early.clock.running).toBe(0);
});
