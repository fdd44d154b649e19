import { create } from '@bufbuild/protobuf';
import { expect, test, vi } from 'vitest';

import { settle } from '../link/virtual-clock.ts';
import { CommitSchema, ErrorCode, FindAccountSchema, SendMessageSchema } from '../proto/messages.ts';
import { World, type TestSupernode } from './testing.ts';
import { Refused, SessionLost, type RequestBody } from './uplink.ts';

// Virtual time passes fast, but signatures are checked in it, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

const find = (name: string): RequestBody => ({ case: 'findAccount', value: create(FindAccountSchema, { name }) });

function uplinkOf({ upper: { uplink } }: World) {
  if (uplink === null) throw new Error('there is no session');
  return uplink;
}

/** How promises stand. */
function outcomes(promises: Promise<unknown>[]): string[] {
  const states = promises.map(() => 'waits');
  promises.forEach((promise, index) => {
    promise.then(
      () => (states[index] = 'answered'),
      (error: Error) => (states[index] = error.name),
    );
  });
  return states;
}

async function up(): Promise<{ world: World; supernode: TestSupernode }> {
  const world = await World.make();
  return { world, supernode: await world.up() };
}

test('requests are numbered, and each gets its own answer, in whatever order they come', async () => {
  const { world, supernode } = await up();
  supernode.reply = () => null;
  const uplink = uplinkOf(world);
  const [first, second] = [uplink.request(find('one')), uplink.request(find('two'))];
  await settle();
  expect(supernode.requests.map(({ request }) => request)).toEqual([2n, 3n]);
  supernode.say(supernode.link, { case: 'accountFound', value: { name: 'two' } }, 3n);
  supernode.say(supernode.link, { case: 'accountFound', value: { name: 'one' } }, 2n);
  expect((await second).value).toMatchObject({ name: 'two' });
  expect((await first).value).toMatchObject({ name: 'one' });
});

test('a refusal rejects its request and nothing else', async () => {
  const { world, supernode } = await up();
  supernode.reply = () => ({ case: 'error', value: { code: ErrorCode.RATE_LIMITED, text: 'slow down', retryAfterMs: 700 } });
  const asked = uplinkOf(world).request(find('one'));
  const refused = expect(asked).rejects.toMatchObject({ name: 'Refused', code: ErrorCode.RATE_LIMITED, message: 'slow down', retryAfterMs: 700 });
  await world.clock.pass(50);
  await refused;
  expect(world.upper.told).toEqual(['up']);
});

test('32 requests are unanswered at most; the others wait their turn', async () => {
  const { world, supernode } = await up();
  supernode.reply = () => null;
  const promises = Array.from({ length: 40 }, (_, index) => uplinkOf(world).request(find(`name${index}`)));
  const states = outcomes(promises);
  await settle();
  expect(supernode.requests).toHaveLength(32);
  supernode.say(supernode.link, { case: 'done', value: {} }, 5n);
  supernode.say(supernode.link, { case: 'done', value: {} }, 6n);
  await settle();
  expect(supernode.requests).toHaveLength(34);
  expect(states.filter((state) => state === 'answered')).toHaveLength(2);
});

test('what waits is bounded', async () => {
  const { world, supernode } = await up();
  supernode.reply = () => null;
  const states = outcomes(Array.from({ length: 300 }, () => uplinkOf(world).request(find('name'))));
  await settle();
  expect(states.filter((state) => state === 'Refused')).toHaveLength(300 - 32 - 256);
});

test('a long commit travels in fragments; any other long request is not sent, for it would cost the link', async () => {
  const { world, supernode } = await up();
  const long = new Uint8Array(500_000);
  const commit = uplinkOf(world).request({ case: 'commit', value: create(CommitSchema, { groupInfo: long }) });
  await world.clock.pass(50);
  await expect(commit).resolves.toMatchObject({ case: 'done' });
  expect(supernode.requests.at(-1)?.body.case).toBe('commit');
  const message = uplinkOf(world).request({ case: 'sendMessage', value: create(SendMessageSchema, { sealed: long }) });
  await expect(message).rejects.toMatchObject({ code: ErrorCode.INVALID_ARGUMENT });
  const endless = uplinkOf(world).request({ case: 'commit', value: create(CommitSchema, { groupInfo: new Uint8Array(2_400_000) }) });
  await expect(endless).rejects.toBeInstanceOf(Refused);
  expect(world.upper.told).toEqual(['up']);
});

test('requests wait while much has not left', async () => {
  const { world, supernode } = await up();
  supernode.link.unsent = 1_000_000;
  const asked = uplinkOf(world).request(find('name'));
  await world.clock.pass(500);
  expect(supernode.requests).toEqual([]);
  supernode.link.unsent = 0;
  await world.clock.pass(100);
  await expect(asked).resolves.toBeDefined();
});

test('with the session all that is unanswered is lost, and so is what is asked later', async () => {
  const { world, supernode } = await up();
  supernode.reply = () => null;
  const uplink = uplinkOf(world);
  const states = outcomes(Array.from({ length: 40 }, () => uplink.request(find('name'))));
  await settle();
  supernode.link.end(null);
  await settle();
  expect(new Set(states)).toEqual(new Set(['SessionLost']));
  await expect(uplink.request(find('name'))).rejects.toBeInstanceOf(SessionLost);
  uplink.sendDatagram(Uint8Array.of(1));
});

test('after a Resync what was unanswered counts as lost, still counts towards the limit, and its answers are ignored', async () => {
  const { world, supernode } = await up();
  supernode.reply = () => null;
  const uplink = uplinkOf(world);
  const before = outcomes(Array.from({ length: 31 }, () => uplink.request(find('before'))));
  await settle();
  supernode.say(supernode.link, { case: 'resync', value: { spreadMs: 0 } });
  await settle();
  expect(new Set(before)).toEqual(new Set(['SessionLost']));
  expect(world.upper.told).toEqual(['up', 'resync']);
  const after = outcomes([uplink.request(find('one')), uplink.request(find('two'))]);
  await settle();
  expect(supernode.requests).toHaveLength(32);
  expect(supernode.requests.at(-1)?.request).toBe(33n);
  supernode.say(supernode.link, { case: 'done', value: {} }, 2n);
  await settle();
  expect(after).toEqual(['waits', 'waits']);
  expect(supernode.requests.at(-1)?.request).toBe(34n);
});

test('answers that nobody asked for and events that are not known are ignored', async () => {
  const { world, supernode } = await up();
  supernode.say(supernode.link, { case: 'done', value: {} }, 99n);
  supernode.link.deliver(Uint8Array.of(5, 0xfa, 0x3f, 2, 8, 1));
  supernode.say(supernode.link, { case: 'presenceChanged', value: {} });
  await settle();
  expect(world.upper.events.map(({ case: kind }) => kind)).toEqual(['presenceChanged']);
  expect(world.upper.told).toEqual(['up']);
});

test('what is no message closes the link as malformed, and the session comes back', async () => {
  const { world, supernode } = await up();
  supernode.link.deliver(Uint8Array.of(1, 0x07));
  await settle();
  expect(supernode.links[0]?.closed?.code).toBe(ErrorCode.MALFORMED);
  expect(world.upper.told).toEqual(['up', 'down']);
  await world.clock.pass(5_000);
  expect(world.upper.told).toEqual(['up', 'down', 'up']);
});

test('datagrams go both ways, and pings are nobody else’s', async () => {
  const { world, supernode } = await up();
  uplinkOf(world).sendDatagram(Uint8Array.of(4, 2));
  uplinkOf(world).sendDatagram(new Uint8Array(1_101));
  supernode.link.deliverDatagram(Uint8Array.of(9));
  supernode.link.deliverDatagram(new Uint8Array(0));
  expect(supernode.link.datagrams.filter(({ length }) => length > 0)).toEqual([Uint8Array.of(4, 2)]);
  expect(world.upper.datagrams).toEqual([Uint8Array.of(9)]);
});
