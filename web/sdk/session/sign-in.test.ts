import { create } from '@bufbuild/protobuf';
import { expect, test, vi } from 'vitest';

import { concat } from '../proto/bytes.ts';
import { encodeSupernodeMessage } from '../proto/frame.ts';
import { idBytes } from '../proto/ids.ts';
import { ErrorCode, SupernodeMessageSchema, Urgency } from '../proto/messages.ts';
import { World } from './testing.ts';

// Virtual time passes fast, but signatures are checked in it, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

test('a device signs in on the best supernode for its account, and on no other', async () => {
  const world = await World.make(['eu', 'eu', 'eu']);
  const [best] = world.ranked;
  world.open();
  expect(world.handle.online()).toBeNull();
  await world.clock.pass(100);
  expect(world.upper.told).toEqual(['up']);
  expect(world.takeDialled()).toEqual([best?.number]);
  const [prove] = best?.proofs ?? [];
  expect(prove).toMatchObject({ version: 1, urgency: Urgency.UNSPECIFIED, agent: 'ahoy-web/0.1.0', credential: world.identity.credential });
  expect(world.handle.online()).toEqual({ region: 'eu', transport: 'websocket', roundTripMs: 20, skewMs: 0 });
  expect(world.online).toEqual(['eu']);
});

test('what a supernode says right after its welcome is told after the session is up', async () => {
  const world = await World.make();
  const [only] = world.supernodes;
  if (only === undefined) throw new Error('there is one');
  const told: string[] = [];
  world.upper.handleUp = () => void told.push('up');
  world.upper.handleEvent = ({ case: kind }) => void told.push(kind);
  const framed = (body: Parameters<typeof only.say>[1], inReplyTo = 0n) => encodeSupernodeMessage(create(SupernodeMessageSchema, { inReplyTo, body }));
  const event = framed({ case: 'settingsChanged', value: { settings: { mood: 'x'.repeat(5_000) } } });
  only.say = (link, body, inReplyTo) => link.deliver(concat(framed(body, inReplyTo), body.case === 'welcome' ? event : new Uint8Array(0)));
  world.open();
  await world.clock.pass(100);
  expect(told).toEqual(['up', 'settingsChanged']);
});

test('nothing is proven to one that can not show that it is the supernode of the roster, and the newest roster is asked for', async () => {
  for (const wrong of ['', 'of another', 'forged', 'expired'] as const) {
    const world = await World.make(['eu', 'eu']);
    const [first, second] = world.ranked;
    if (first === undefined || second === undefined) throw new Error('there are two');
    if (wrong === '') first.certificate = '';
    if (wrong === 'of another') first.certificate = world.certificate(second.entry);
    if (wrong === 'forged') first.certificate = world.authority.sign('ahoy-supernode+jwt', {}, new Uint8Array(32).fill(9));
    if (wrong === 'expired') {
      world.authority.nowMs -= 8 * 86_400_000;
      first.certificate = world.certificate(first.entry);
      world.authority.nowMs += 8 * 86_400_000;
    }
    world.open();
    await world.clock.pass(3_000);
    expect(first.proofs, wrong).toEqual([]);
    expect(world.takeDialled(), wrong).toEqual([first.number, second.number]);
    expect(world.upper.told, wrong).toEqual(['up']);
    expect(world.authority.asked, wrong).toContain('/v1/roster');
  }
});

test('nothing is proven to another supernode than the one dialled', async () => {
  const world = await World.make(['eu', 'eu']);
  const [first] = world.ranked;
  if (first === undefined) throw new Error('there are two');
  first.instead = { challenge: [{ case: 'challenge', value: { nonce: new Uint8Array(32), timeMs: BigInt(world.clock.now()), supernode: idBytes('c'.repeat(32)), minimumVersion: 1 } }] };
  world.open();
  await world.clock.pass(3_000);
  expect(first.proofs).toEqual([]);
  expect(world.upper.told).toEqual(['up']);
});

test('a program that is too old stops, before it proves anything', async () => {
  const world = await World.make();
  const [only] = world.supernodes;
  if (only === undefined) throw new Error('there is one');
  only.minimumVersion = 2;
  world.open();
  await world.clock.pass(10_000);
  expect(only.proofs).toEqual([]);
  expect(world.stopped?.reason).toBe('version');
  expect(world.takeDialled()).toHaveLength(1);
});

test('a device whose clock is more than 300 s off stops and tells, and one that is less goes on', async () => {
  const off = await World.make();
  for (const supernode of off.supernodes) supernode.skewMs = -300_001;
  off.open();
  await off.clock.pass(10_000);
  expect(off.stopped).toEqual({ reason: 'clock', text: "this device's clock is 300 s ahead of the network's: set it right" });
  const near = await World.make();
  for (const supernode of near.supernodes) supernode.skewMs = 299_000;
  near.open();
  await near.clock.pass(100);
  expect(near.handle.online()?.skewMs).toBe(299_000);
});

test.each([
  [ErrorCode.CREDENTIAL_REVOKED, 'revoked'],
  [ErrorCode.CREDENTIAL_FORGED, 'revoked'],
  [ErrorCode.WRONG_NETWORK, 'revoked'],
  [ErrorCode.PROOF_INVALID, 'revoked'],
  [ErrorCode.VERSION_TOO_OLD, 'version'],
])('a refusal for good (%i) stops, and no other supernode is asked', async (code, reason) => {
  const world = await World.make(['eu', 'eu']);
  for (const supernode of world.supernodes) supernode.instead = { welcome: [{ case: 'error', value: { code, text: 'no' } }] };
  world.open();
  await world.clock.pass(60_000);
  expect(world.stopped).toEqual({ reason, text: 'no' });
  expect(world.takeDialled()).toHaveLength(1);
  expect(world.clock.running).toBe(0);
});

test('an expired credential is renewed, and the session opened with the next one', async () => {
  const world = await World.make();
  const [only] = world.supernodes;
  if (only === undefined) throw new Error('there is one');
  only.instead = { welcome: [{ case: 'error', value: { code: ErrorCode.CREDENTIAL_EXPIRED } }] };
  world.clock.unixMs += 1_000;
  world.open();
  await world.clock.pass(45);
  only.instead = {};
  await world.clock.pass(3_000);
  expect(world.authority.asked).toContain('/v1/credentials/renew');
  expect(world.kept).toHaveLength(1);
  expect(only.proofs.at(-1)?.credential).toBe(world.handle.identity.credential);
  expect(world.handle.identity.credential).not.toBe(world.identity.credential);
  expect(world.upper.told).toEqual(['up']);
});

test('a device that was away for longer than its credential and roster lasted asks the authority first', async () => {
  const world = await World.make();
  world.clock.unixMs += 20 * 86_400_000;
  world.authority.nowMs = world.clock.unixMs;
  world.open();
  await world.clock.pass(1_000);
  expect(world.authority.asked).toEqual(['/.well-known/ahoy', '/v1/roster', '/v1/credentials/renew']);
  expect(world.upper.told).toEqual(['up']);
});

test('a device that the authority does not know any more stops', async () => {
  const world = await World.make();
  world.authority.accounts.clear();
  world.clock.unixMs += 20 * 86_400_000;
  world.open();
  await world.clock.pass(1_000);
  expect(world.stopped?.reason).toBe('revoked');
});

test('one that is full names another, which comes next', async () => {
  const world = await World.make(['eu', 'eu', 'eu']);
  const [first, second, third] = world.ranked;
  if (first === undefined || second === undefined || third === undefined) throw new Error('there are three');
  first.instead = {
    challenge: [
      { case: 'goAway', value: { supernode: idBytes(third.entry.supernode) } },
      { case: 'error', value: { code: ErrorCode.OVERLOADED } },
    ],
  };
  world.open();
  await world.clock.pass(500);
  expect(world.takeDialled()).toEqual([first.number, third.number]);
  expect(world.upper.told).toEqual(['up']);
});

test('each supernode has a head start of a second over the next, three at the same time, eight in one attempt', async () => {
  const world = await World.make(Array.from({ length: 10 }, () => 'eu'));
  for (const supernode of world.supernodes) supernode.reach = 'dead';
  world.open();
  await world.clock.pass(5_000);
  const byRank = world.ranked.map(({ number }) => number);
  expect(world.dialled).toEqual([0, 1_000, 2_000, 5_000].map((at, index) => ({ number: byRank[index], at })));
  await world.clock.pass(9_000);
  expect(world.takeDialled()).toEqual(byRank.slice(0, 8));
});

test('one that refuses at once gives its head start to the next', async () => {
  const world = await World.make(['eu', 'eu', 'eu']);
  const [first, second, third] = world.ranked;
  if (first === undefined || second === undefined || third === undefined) throw new Error('there are three');
  first.reach = 'refused';
  second.reach = 'refused';
  world.open();
  await world.clock.pass(100);
  expect(world.upper.told).toEqual(['up']);
  expect(world.present).toBe(third);
});

test('a proof may take 10 s, and then another supernode is tried', async () => {
  const world = await World.make(['eu', 'eu']);
  const [first, second] = world.ranked;
  if (first === undefined || second === undefined) throw new Error('there are two');
  first.instead = { welcome: 'nothing' };
  world.open();
  await world.clock.pass(9_999);
  expect(second.proofs).toEqual([]);
  await world.clock.pass(200);
  expect(world.upper.told).toEqual(['up']);
  expect(first.link.closed).not.toBeNull();
});

test('regions that are not measured are surveyed before the first session, and the nearest is taken', async () => {
  const world = await World.make(['eu', 'us', 'asia']);
  const [best, ...others] = world.ranked;
  const near = others[0];
  if (best === undefined || near === undefined) throw new Error('there are three');
  for (const supernode of world.supernodes) supernode.roundTripMs = 120;
  near.roundTripMs = 15;
  world.open();
  await world.clock.pass(2_000);
  expect(world.dialled.map(({ at }) => at)).toEqual([0, 0, 0]);
  expect(world.handle.online()?.region).toBe(near.entry.region);
  expect(best.proofs).toEqual([]);
  expect(best.link.closed).not.toBeNull();
  expect(near.links).toHaveLength(1);
});

test('round trips are remembered for the next start', async () => {
  const world = await World.make(['eu', 'us']);
  const far = world.ranked[0];
  if (far === undefined) throw new Error('there are two');
  far.roundTripMs = 150;
  await world.up();
  world.handle.close();
  world.takeDialled();
  world.open();
  await world.clock.pass(1_000);
  expect(world.takeDialled()).toEqual([world.ranked[1]?.number]);
});

test('a newer roster that the supernode knows of is asked for and kept', async () => {
  const world = await World.make();
  const [only] = world.supernodes;
  if (only === undefined) throw new Error('there is one');
  only.rosterSerial = 2;
  world.authority.serial = 2;
  await world.up();
  expect(world.authority.asked).toEqual(['/.well-known/ahoy', '/v1/roster']);
  expect(world.kept).toHaveLength(1);
});

test('noise in place of a challenge costs the link and nothing else', async () => {
  const world = await World.make(['eu', 'eu']);
  const [first] = world.ranked;
  if (first === undefined) throw new Error('there are two');
  first.say = (link) => link.deliver(Uint8Array.of(3, 255, 255, 255));
  world.open();
  await world.clock.pass(3_000);
  expect(first.link.closed?.code).toBe(ErrorCode.MALFORMED);
  expect(world.upper.told).toEqual(['up']);
});
