import { describe, expect, it } from 'vitest';

import { ErrorCode } from '../proto/messages.ts';
import { World } from './testing/world.ts';

describe('messages', () => {
  it('go both ways, once each, in order, and are counted until they are read', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    await alice.client.post(conversation, { text: 'one' });
    await alice.client.post(conversation, { text: 'two' });
    await world.shows(bob, conversation, 'one', 'two');
    expect((await bob.client.conversations())[0]).toMatchObject({ unread: 2, head: 2 });
    const [first] = await bob.lines(conversation);
    await bob.client.markRead(conversation, 1);
    expect((await bob.client.conversations())[0]).toMatchObject({ unread: 1, read: 1 });
    await bob.client.post(conversation, { text: 'three', replyTo: first?.reference });
    await world.shows(alice, conversation, 'one', 'two', 'three');
    const answer = (await alice.lines(conversation)).at(-1);
    expect(answer?.body).toEqual({ kind: 'text', text: 'three', replyTo: first?.reference });
    expect((await alice.lines(conversation)).map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
  });

  it('are edited, taken back and reacted to by those who may', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    const one = await alice.client.post(conversation, { text: 'one' });
    const two = await alice.client.post(conversation, { text: 'two' });
    await world.shows(bob, conversation, 'one', 'two');
    await bob.client.edit(conversation, one, 'forged');
    await bob.client.delete(conversation, two);
    await bob.client.react(conversation, one, '👍', true);
    await alice.client.edit(conversation, one, 'ONE');
    await alice.client.delete(conversation, two);
    await alice.client.edit(conversation, two, 'again');
    await world.shows(bob, conversation, 'ONE', '(deleted)');
    await world.shows(alice, conversation, 'ONE', '(deleted)');
    await world.until(async () => (await alice.lines(conversation))[0]?.reactions[0]?.emoji === '👍', 'alice sees the reaction');
    const [line] = await bob.lines(conversation);
    expect(line).toMatchObject({ edited: true, reactions: [{ account: bob.identity.account, emoji: '👍' }] });
    expect(JSON.stringify(await bob.vault.range('lines', conversation))).not.toContain('two');
  });

  it('written without a session wait, survive the process, and are in the log once', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    alice.down();
    await alice.client.post(conversation, { text: 'later' });
    const again = await alice.restart();
    expect((await again.lines(conversation))[0]).toMatchObject({ sequence: null, failed: false });
    await again.ready();
    await world.shows(bob, conversation, 'later');
    await world.until(async () => (await again.lines(conversation))[0]?.sequence === 1, 'it is placed');
  });

  it('whose answer is lost are in the log once', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    world.exchange.losing = (body, device) => body.case === 'sendMessage' && device === alice.identity.device;
    await alice.client.post(conversation, { text: 'once' });
    await world.shows(bob, conversation, 'once');
    world.exchange.losing = null;
    alice.down();
    await alice.ready();
    await alice.client.post(conversation, { text: 'more' });
    await world.shows(bob, conversation, 'once', 'more');
    await world.shows(alice, conversation, 'once', 'more');
    expect((await alice.lines(conversation)).map(({ sequence }) => sequence)).toEqual([1, 2]);
  });

  it('refused because the group has moved on are sealed anew under the same number', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    let conflicts = 1;
    world.exchange.refusing = (body) => (body.case === 'sendMessage' && conflicts-- > 0 ? ErrorCode.CONFLICT : null);
    await alice.client.post(conversation, { text: 'one' });
    await world.shows(bob, conversation, 'one');
    // A second device of bob's enters while alice writes.
    world.exchange.refusing = null;
    const [tablet] = await world.online('bob');
    await Promise.all(['two', 'three', 'four'].map((text) => alice.client.post(conversation, { text })));
    await world.shows(bob, conversation, 'one', 'two', 'three', 'four');
    await alice.client.post(conversation, { text: 'five' });
    await world.until(async () => (await tablet.texts(conversation)).includes('five'), 'the tablet reads along');
    expect(await alice.texts(conversation)).toEqual(['one', 'two', 'three', 'four', 'five']);
  });

  it('by both at once arrive at both in the same order', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    const texts = ['1', '2', '3', '4', '5'];
    await Promise.all(texts.flatMap((text) => [alice.client.post(conversation, { text: `a${text}` }), bob.client.post(conversation, { text: `b${text}` })]));
    await world.until(async () => (await alice.lines(conversation)).filter(({ sequence }) => sequence !== null).length === 10, 'alice has all');
    await world.until(async () => (await bob.lines(conversation)).filter(({ sequence }) => sequence !== null).length === 10, 'bob has all');
    expect(await alice.texts(conversation)).toEqual(await bob.texts(conversation));
  });

  it('are caught up with by a device that was away, and taken in once though it stopped before it acknowledged', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    bob.down();
    for (let count = 1; count <= 9; count += 1) await alice.client.post(conversation, { text: String(count) });
    await world.until(async () => (await alice.client.conversations())[0]?.head === 9, 'all are in the log');
    const again = await (await bob.ready()).restart();
    // Nothing was acknowledged: no time has passed.
    expect(world.exchange.conversations.all.get(conversation)?.acknowledged.get(bob.identity.device)).toBeUndefined();
    await again.ready();
    await world.shows(again, conversation, '1', '2', '3', '4', '5', '6', '7', '8', '9');
    await world.clock.pass(1_000);
    expect(world.exchange.conversations.all.get(conversation)?.acknowledged.get(bob.identity.device)).toBe(9n);
    expect((await again.client.conversations())[0]).toMatchObject({ unread: 9 });
  });

  it('that can’t be fetched are asked for again within one and a half seconds', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    bob.down();
    await alice.client.post(conversation, { text: 'one' });
    await world.until(async () => (await alice.client.conversations())[0]?.head === 1, 'it is in the log');
    let refused = 0;
    world.exchange.refusing = (body, device) => {
      const isFirst = body.case === 'fetchLog' && device === bob.identity.device && refused === 0;
      if (isFirst) refused += 1;
      return isFirst ? ErrorCode.UNAVAILABLE : null;
    };
    bob.up();
    await world.until(() => refused === 1, 'bob has asked in vain');
    await world.clock.pass(1_500);
    await world.shows(bob, conversation, 'one');
  });

  it('that are gone from the log leave a gap, and the device enters anew', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    bob.down();
    for (const text of ['1', '2', '3']) await alice.client.post(conversation, { text });
    await world.until(async () => (await alice.client.conversations())[0]?.head === 3, 'all are in the log');
    const stored = world.exchange.conversations.all.get(conversation);
    if (stored !== undefined) stored.trimmed = 2;
    await bob.ready();
    await world.until(async () => (await bob.client.conversations())[0]?.standing === 'inside', 'bob is in again');
    await alice.client.post(conversation, { text: '4' });
    await world.shows(bob, conversation, '4');
    expect((await bob.lines(conversation)).map(({ body }) => body.kind)).toEqual(['gap', 'text']);
  });

  it('of a conversation that both make at once go through one', async () => {
    const world = new World();
    const [alice, bob] = await world.online('alice', 'bob');
    await world.befriend(alice, bob);
    const [a, b] = await Promise.all([alice.client.conversationWith('bob'), bob.client.conversationWith('alice')]);
    expect(a).toBe(b);
    await alice.client.post(a, { text: 'hello' });
    await world.shows(bob, a, 'hello');
  });

  it('to somebody who takes those of contacts only become a request', async () => {
    const world = new World();
    const [alice, bob] = await world.online('alice', 'bob');
    await expect(alice.client.conversationWith('bob')).rejects.toMatchObject({ reason: 'requested' });
    await world.until(async () => (await bob.client.contacts())[0]?.state === 'asks', 'bob is asked');
  });

  it('go on in more conversations than are kept in memory', async () => {
    const world = new World();
    const [alice, tablet] = await world.online('alice', 'alice');
    const conversations: string[] = [];
    for (let count = 0; count < 36; count += 1) conversations.push(await alice.client.createGroup(`Group ${count}`, []));
    await world.until(async () => (await tablet.client.conversations()).filter(({ standing, title }) => standing === 'inside' && title !== '').length === 36, 'the tablet is in all');
    const [first] = conversations;
    for (const [device, text] of [[alice, 'from here'], [tablet, 'from there'], [alice, 'and back']] as const) {
      await device.client.post(first ?? '', { text });
      await world.until(async () => (await alice.texts(first ?? '')).includes(text) && (await tablet.texts(first ?? '')).includes(text), text);
    }
  }, 20_000);

  it('that are too long or empty are refused', async () => {
    const world = new World();
    const { alice, conversation } = await world.pair();
    await expect(alice.client.post(conversation, { text: '' })).rejects.toMatchObject({ reason: 'length' });
    await expect(alice.client.post(conversation, { text: 'x'.repeat(16 * 1024 + 1) })).rejects.toMatchObject({ reason: 'length' });
    await expect(alice.client.post('0'.repeat(32), { text: 'x' })).rejects.toMatchObject({ reason: 'no-such-conversation' });
  });
});

describe('receipts and signals', () => {
  it('say how far somebody has received and read, at most every two seconds, as their owner tells', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    await alice.client.post(conversation, { text: 'one' });
    await world.shows(bob, conversation, 'one');
    await world.clock.pass(2_100);
    await world.until(async () => (await alice.client.receipts(conversation))[0]?.delivered === 1, 'it is delivered');
    await bob.client.markRead(conversation, 1);
    await world.clock.pass(2_100);
    await world.until(async () => (await alice.client.receipts(conversation))[0]?.read === 1, 'it is read');
    await bob.client.setReceiptPolicy({ delivered: true, read: false });
    await alice.client.post(conversation, { text: 'two' });
    await world.shows(bob, conversation, 'one', 'two');
    await bob.client.markRead(conversation, 2);
    await world.clock.pass(2_100);
    await world.until(async () => (await alice.client.receipts(conversation))[0]?.delivered === 2, 'it is delivered');
    expect(await alice.client.receipts(conversation)).toEqual([{ account: bob.identity.account, delivered: 2, read: 1 }]);
  });

  it('are fetched by a device that was away, and tell own devices what is read', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    const [tablet] = await world.online('bob');
    await world.until(async () => (await tablet.client.conversations())[0]?.standing === 'inside', 'the tablet is in');
    await alice.client.post(conversation, { text: 'one' });
    await world.until(async () => (await tablet.client.conversations())[0]?.unread === 1, 'it is unread there');
    alice.down();
    await bob.client.markRead(conversation, 2);
    await world.clock.pass(2_100);
    await world.until(async () => (await tablet.client.conversations())[0]?.unread === 0, 'it is read elsewhere');
    await alice.ready();
    await world.until(async () => (await alice.client.receipts(conversation))[0]?.read === 2, 'alice has caught up');
  });

  it('typing shows, and is over with the message or after ten seconds', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    await alice.client.typing(conversation, true);
    await world.until(() => bob.last('typing')?.typing === true, 'alice types');
    await alice.client.post(conversation, { text: 'done' });
    await world.until(() => bob.last('typing')?.typing === false, 'alice has written');
    await alice.client.typing(conversation, true);
    await world.until(() => bob.last('typing')?.typing === true, 'alice types again');
    await world.clock.pass(10_000);
    expect(bob.last('typing')?.typing).toBe(false);
  });
});
