import { describe, expect, it } from 'vitest';

import { Refusal } from '../client.ts';
import { publicKeyOf, randomSecret } from '../proto/ed25519.ts';
import { ErrorCode } from '../proto/messages.ts';
import { moodOf, oneLine } from './contact-rows.ts';
import { World } from './testing/world.ts';

describe('people', () => {
  it('become contacts by a request with a note, and see each other', async () => {
    const world = new World();
    const [alice, bob] = await world.online('alice', 'bob');
    await alice.client.requestContact('Bob', 'it is me');
    await world.until(async () => (await bob.client.contacts())[0]?.note === 'it is me', 'the note has come');
    await bob.client.answerContact(alice.identity.account, true);
    await bob.client.setActivity(false);
    await world.until(async () => (await alice.client.contacts())[0]?.presence.availability === 'online', 'bob is seen');
    expect((await alice.client.contacts())[0]).toMatchObject({ state: 'accepted', person: { name: 'bob' } });
    bob.down();
    await world.until(async () => (await alice.client.contacts())[0]?.presence.availability === 'offline', 'bob is gone');
    expect(await alice.client.comparisonCode(bob.identity.account)).toBe(await bob.client.comparisonCode(alice.identity.account));
  });

  it('are kept with alias and state, and listed anew by pages', async () => {
    const world = new World();
    const devices = await world.online('alice', 'bob', 'carol', 'dave', 'erin');
    const [alice, ...others] = devices;
    for (const other of others) await alice.client.requestContact(other.name, '');
    const bob = (await alice.client.contacts())[0];
    await alice.client.setAlias(bob?.person.account ?? '', 'Bobby');
    const again = await alice.restart();
    expect((await again.client.contacts()).map(({ alias, state }) => [alias, state])).toEqual([['Bobby', 'asked'], [null, 'asked'], [null, 'asked'], [null, 'asked']]);
    await again.ready();
    expect(await again.client.contacts()).toHaveLength(4);
    await again.client.removeContact(bob?.person.account ?? '');
    expect((await again.client.contacts()).map(({ person }) => person.name)).toEqual(['carol', 'dave', 'erin']);
  });

  it('are taken to be as they were for 20 s after a resync', async () => {
    const world = new World();
    const { alice, bob } = await world.pair();
    await bob.client.setActivity(false);
    const presence = async (): Promise<string | undefined> => (await alice.client.contacts())[0]?.presence.availability;
    await world.until(async () => (await presence()) === 'online', 'bob is seen');
    // The new home does not speak of him.
    world.exchange.refusing = (body) => (body.case === 'listContacts' ? ErrorCode.UNAVAILABLE : null);
    alice.resync();
    await world.clock.pass(19_000);
    expect(await presence()).toBe('online');
    await world.clock.pass(2_000);
    expect(await presence()).toBe('offline');
  });

  it('that are blocked are not heard of', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    await bob.client.block(alice.identity.account, true);
    await alice.client.post(conversation, { text: 'hello?' });
    await world.until(async () => (await bob.client.conversations())[0]?.head === 1, 'the log has come');
    expect(await bob.texts(conversation)).toEqual([]);
    await bob.client.block(alice.identity.account, false);
    await world.until(async () => (await bob.client.contacts())[0]?.state === 'accepted', 'as before');
  });

  it('whose account key changes are shown before anything is sent', async () => {
    const world = new World();
    const [alice, bob] = await world.online('alice', 'bob');
    await alice.client.find('bob');
    const stored = world.exchange.account(bob.identity.account);
    stored.accountKey = publicKeyOf(randomSecret());
    const refusal = await alice.client.requestContact('bob', '').catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(Refusal);
    expect(refusal).toMatchObject({ reason: 'account-key-changed' });
    expect(alice.count('account-key-changed')).toBe(1);
    await alice.client.acceptKey(bob.identity.account);
    expect(await alice.client.find('bob')).toMatchObject({ account: bob.identity.account });
  });

  it('and settings follow on all devices', async () => {
    const world = new World();
    const [phone, tablet] = await world.online('alice', 'alice');
    await phone.client.changeSettings({ mood: 'at\nsea', availability: 'do-not-disturb', listed: true });
    await world.until(async () => (await tablet.client.settings())?.mood === 'at sea', 'the tablet knows');
    expect(await tablet.client.settings()).toEqual({ callsFrom: 'contacts', availability: 'do-not-disturb', mood: 'at sea', listed: true });
    await expect(phone.client.changeSettings({ mood: 'x'.repeat(141) })).rejects.toMatchObject({ reason: 'length' });
    const [bob] = await world.online('bob');
    expect(await bob.client.search('ali')).toEqual([{ account: phone.identity.account, name: 'alice' }]);
  });

  it('commands without a session, and of unknown names, are refused', async () => {
    const world = new World();
    const [alice] = await world.online('alice');
    await expect(alice.client.find('nobody')).rejects.toMatchObject({ reason: 'no-such-name' });
    await expect(alice.client.find('alice')).rejects.toMatchObject({ reason: 'no-such-name' });
    alice.down();
    const asked = alice.client.find('nobody').catch((error: unknown) => error);
    await world.clock.pass(8_000);
    expect(await asked).toMatchObject({ reason: 'offline' });
  });
});

describe('what others write', () => {
  it('is one line and turns nothing around', () => {
    expect(oneLine("hi,\nit's\tme\u2028!\u0000")).toBe("hi, it's me !");
    expect(oneLine('\u202egnp.evil\u2066')).toBe('gnp.evil');
    expect(oneLine(' \r\n ')).toBe('');
    expect([...moodOf('🌊'.repeat(200))]).toHaveLength(140);
  });
});
