import { describe, expect, it } from 'vitest';

import { World, type TestDevice } from './testing/world.ts';

async function group(): Promise<{ world: World; alice: TestDevice; bob: TestDevice; carol: TestDevice; conversation: string }> {
  const world = new World();
  const [alice, bob, carol] = await world.online('alice', 'bob', 'carol');
  await world.befriend(alice, bob);
  await world.befriend(alice, carol);
  const conversation = await alice.client.createGroup('Crew', ['bob', 'carol']);
  for (const device of [bob, carol]) await world.until(async () => (await titleOf(device, conversation)) === 'Crew', `${device.name} is in`);
  return { world, alice, bob, carol, conversation };
}

async function titleOf(device: TestDevice, conversation: string): Promise<string | undefined> {
  return (await device.client.conversations()).find((other) => other.conversation === conversation && other.standing === 'inside')?.title;
}

async function namesOf(device: TestDevice, conversation: string): Promise<string[]> {
  return (await device.client.members(conversation)).map(({ person }) => person?.name ?? '?');
}

describe('a group', () => {
  it('of three reads what each says, and knows its title and members', async () => {
    const { world, alice, bob, carol, conversation } = await group();
    await carol.client.post(conversation, { text: 'hello' });
    for (const device of [alice, bob]) await world.shows(device, conversation, 'hello');
    expect(await namesOf(bob, conversation)).toEqual(['alice', 'bob', 'carol']);
    expect((await bob.client.members(conversation))[0]).toMatchObject({ isOwner: true, devices: 1 });
    await bob.client.rename(conversation, 'Old crew');
    await world.until(async () => (await titleOf(carol, conversation)) === 'Old crew', 'carol knows the new title');
    expect((await carol.lines(conversation)).filter(({ body }) => body.kind === 'renamed')).toHaveLength(2);
  });

  it('is left, and whoever writes next takes the leaves out', async () => {
    const { world, alice, bob, carol, conversation } = await group();
    await carol.client.leave(conversation);
    expect(carol.last('conversation-left')).toMatchObject({ conversation, by: null });
    await bob.client.post(conversation, { text: 'gone?' });
    await world.shows(alice, conversation, 'gone?');
    expect((await alice.client.members(conversation)).length).toBe(2);
    await expect(carol.client.post(conversation, { text: 'x' })).rejects.toMatchObject({ reason: 'no-such-conversation' });
    // The commit that took the leaf out stands in front of the message.
    const stored = world.exchange.conversations.all.get(conversation);
    expect(stored?.log.slice(-3).map(({ body }) => body.case)).toEqual(['departed', 'commit', 'message']);
  });

  it('loses a departed account’s leaves within five seconds though nobody writes', async () => {
    const { world, alice, bob, carol, conversation } = await group();
    await carol.client.leave(conversation);
    await world.passUntil(() => world.exchange.conversations.all.get(conversation)?.log.at(-1)?.body.case === 'commit', 'the leaf is taken out', 6_000);
    await alice.client.post(conversation, { text: 'on' });
    await world.shows(bob, conversation, 'on');
  });

  it('lets its owner take somebody out, and nobody else', async () => {
    const { world, alice, bob, carol, conversation } = await group();
    await expect(bob.client.removeMember(conversation, carol.identity.account)).rejects.toMatchObject({ reason: 'network' });
    await alice.client.removeMember(conversation, carol.identity.account);
    await world.until(() => carol.last('conversation-left')?.conversation === conversation, 'carol hears of it');
    expect(carol.last('conversation-left')?.by).toBe(alice.identity.account);
    await bob.client.post(conversation, { text: 'two of us' });
    await world.shows(alice, conversation, 'two of us');
    await alice.client.invite(conversation, ['carol']);
    await world.until(async () => (await titleOf(carol, conversation)) === 'Crew', 'carol is in again');
    await carol.client.post(conversation, { text: 'back' });
    await world.until(async () => (await bob.texts(conversation)).includes('back'), 'bob reads her');
  });

  it('takes two invitations at once, one on top of the other', async () => {
    const { world, alice, bob, carol, conversation } = await group();
    const [dave, erin] = await world.online('dave', 'erin');
    await world.befriend(alice, dave);
    await world.befriend(bob, erin);
    await Promise.all([alice.client.invite(conversation, ['dave']), bob.client.invite(conversation, ['erin'])]);
    for (const device of [dave, erin]) await world.until(async () => (await titleOf(device, conversation)) === 'Crew', `${device.name} is in`);
    await carol.client.post(conversation, { text: 'all here' });
    for (const device of [alice, bob, dave, erin]) await world.until(async () => (await device.texts(conversation)).includes('all here'), `${device.name} reads it`);
    expect((await namesOf(carol, conversation)).sort()).toEqual(['alice', 'bob', 'carol', 'dave', 'erin']);
  });

  it('is entered by a new device from outside, which is told the title', async () => {
    const { world, alice, bob, conversation } = await group();
    const [tablet] = await world.online('bob');
    await world.passUntil(async () => (await titleOf(tablet, conversation)) === 'Crew', 'the tablet knows the title', 6_000);
    expect((await tablet.lines(conversation))[0]?.body.kind).toBe('gap');
    await alice.client.post(conversation, { text: 'both?' });
    await world.shows(bob, conversation, 'both?');
    await world.until(async () => (await tablet.texts(conversation)).includes('both?'), 'the tablet reads along');
    await world.until(() => bob.last('new-own-device')?.device === tablet.identity.device, 'bob is told of the tablet');
    expect(tablet.count('new-own-device')).toBe(0);
    expect((await alice.client.members(conversation)).find(({ account }) => account === bob.identity.account)?.devices).toBe(2);
  });

  it('loses the leaf of an own device that was revoked', async () => {
    const { world, alice, bob, conversation } = await group();
    const [tablet] = await world.online('bob');
    await world.until(async () => (await alice.client.members(conversation)).find(({ account }) => account === bob.identity.account)?.devices === 2, 'it is in');
    tablet.down();
    world.exchange.revokeDevice(bob.identity.account, tablet.identity.device);
    const again = await (await bob.restart()).ready();
    await world.passUntil(async () => (await alice.client.members(conversation)).find(({ account }) => account === bob.identity.account)?.devices === 1, 'it is out', 6_000);
    await again.client.post(conversation, { text: 'clean' });
    await world.shows(alice, conversation, 'clean');
  });

  it('tells a new device nothing of own devices that were revoked before it came', async () => {
    const { world, alice, bob, conversation } = await group();
    const [tablet] = await world.online('bob');
    const devices = async (): Promise<number | undefined> => (await alice.client.members(conversation)).find(({ account }) => account === bob.identity.account)?.devices;
    await world.until(async () => (await devices()) === 2, 'the tablet is in');
    tablet.down();
    bob.down();
    world.exchange.revokeDevice(bob.identity.account, tablet.identity.device);
    const [laptop] = await world.online('bob');
    await world.passUntil(async () => (await devices()) === 2 && (await titleOf(laptop, conversation)) === 'Crew', 'the laptop has taken its place', 12_000);
    const leaves = laptop.member.conversations.require(conversation).roll.leaves.map(({ device }) => device);
    expect(leaves).not.toContain(tablet.identity.device);
    expect(laptop.count('new-own-device')).toBe(0);
    const again = await (await bob.restart()).ready();
    await world.until(() => again.count('new-own-device') > 0, 'who was there before is told of the laptop');
    expect(again.last('new-own-device')?.device).toBe(laptop.identity.device);
  });

  it('finds its own commit in the log when the answer was lost', async () => {
    const { world, alice, bob, carol, conversation } = await group();
    world.exchange.losing = (body, device) => body.case === 'commit' && device === alice.identity.device;
    const removal = alice.client.removeMember(conversation, carol.identity.account).catch((error: unknown) => error);
    expect(await removal).toMatchObject({ reason: 'offline' });
    world.exchange.losing = null;
    const again = await (await alice.restart()).ready();
    await again.client.post(conversation, { text: 'done' });
    await world.shows(bob, conversation, 'done');
    expect(again.count('conversation-left')).toBe(0);
    expect((await again.lines(conversation)).some(({ body }) => body.kind === 'gap')).toBe(false);
    expect(await namesOf(again, conversation)).toEqual(['alice', 'bob']);
  });

  it('is not made with a device under another account key', async () => {
    const world = new World();
    const [alice, bob] = await world.online('alice', 'bob');
    await world.befriend(alice, bob);
    // Somebody in bob's name, whom the authority vouches for, with a key that is not bob's.
    await (await world.impostor('bob')).ready();
    await expect(alice.client.conversationWith('bob')).rejects.toMatchObject({ reason: 'account-key-changed' });
    expect(alice.last('account-key-changed')?.person.name).toBe('bob');
    expect(world.exchange.conversations.all.size).toBe(0);
  });
});
