import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';

import { randomBytes } from '../proto/bytes.ts';
import { idBytes, randomId } from '../proto/ids.ts';
import {
  CallEndedSchema,
  CallTokenSchema,
  ContactChangedSchema,
  ContactSchema,
  ContactState,
  IncomingCallSchema,
  InboxEntrySchema,
  LegAttachedSchema,
  LegDownSchema,
  LegUpSchema,
  LogEntrySchema,
  PresenceChangedSchema,
  ReceiptSchema,
  SealedMessageSchema,
  SettingsChangedSchema,
  SignalSchema,
} from '../proto/messages.ts';
import type { ReplyBody } from '../session/uplink.ts';
import { World } from './testing/world.ts';

const NONE = new Uint8Array(0);
const HUGE = 0xffff_ffff_ffff_ffffn;

/** Events about a conversation and an account that no honest supernode sends. */
function nonsense(conversation: Uint8Array, account: Uint8Array, device: Uint8Array): ReplyBody[] {
  const garbage = (): Uint8Array => randomBytes(200);
  const call = idBytes(randomId());
  return [
    { case: 'signal', value: create(SignalSchema, { conversation, account, device, sealed: garbage() }) },
    { case: 'signal', value: create(SignalSchema, { conversation, account, device, sealed: randomBytes(3) }) },
    { case: 'receipt', value: create(ReceiptSchema, { conversation, account, device, sealed: garbage(), serial: 1n }) },
    { case: 'incomingCall', value: create(IncomingCallSchema, { call, conversation, caller: account, leg: idBytes(randomId()), sealed: garbage() }) },
    { case: 'incomingCall', value: create(IncomingCallSchema, { call: randomBytes(3), conversation, caller: NONE, leg: NONE, sealed: NONE }) },
    { case: 'incomingCall', value: create(IncomingCallSchema, { call, conversation: idBytes(randomId()), caller: account, leg: idBytes(randomId()), sealed: garbage() }) },
    { case: 'legUp', value: create(LegUpSchema, { call, leg: idBytes(randomId()), flow: HUGE, account, device, sealed: garbage() }) },
    { case: 'legAttached', value: create(LegAttachedSchema, { call, leg: NONE, flow: HUGE, callToken: garbage() }) },
    { case: 'legDown', value: create(LegDownSchema, { call: NONE, leg: NONE }) },
    { case: 'callToken', value: create(CallTokenSchema, { call, callToken: garbage() }) },
    { case: 'callEnded', value: create(CallEndedSchema, { call: NONE }) },
    { case: 'contactChanged', value: create(ContactChangedSchema, { contact: create(ContactSchema, { account: randomBytes(16), name: 'Not A Name', state: ContactState.ASKS }), serial: 0n }) },
    { case: 'contactChanged', value: create(ContactChangedSchema, { serial: 0n }) },
    { case: 'settingsChanged', value: create(SettingsChangedSchema, { serial: 0n }) },
    { case: 'presenceChanged', value: create(PresenceChangedSchema, { account: NONE }) },
    { case: 'inboxEntry', value: create(InboxEntrySchema, { sequence: HUGE, conversation: NONE }) },
    { case: 'logEntry', value: create(LogEntrySchema, { conversation: randomBytes(5), sequence: HUGE }) },
    { case: 'logEntry', value: create(LogEntrySchema, { conversation, sequence: 0n, account: NONE, device: NONE }) },
  ];
}

describe('a supernode that makes things up', () => {
  it('stops nobody from speaking on', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    await alice.client.post(conversation, { text: 'one' });
    await world.shows(bob, conversation, 'one');
    for (const body of nonsense(idBytes(conversation), idBytes(alice.identity.account), idBytes(alice.identity.device))) bob.member.handleEvent(body);
    await alice.client.post(conversation, { text: 'two' });
    await world.shows(bob, conversation, 'one', 'two');
    await bob.client.post(conversation, { text: 'three' });
    await world.shows(alice, conversation, 'one', 'two', 'three');
    expect(bob.count('call')).toBe(0);
    expect(bob.count('stopped')).toBe(0);
    expect(await bob.client.calls()).toEqual([]);
  });

  it('puts no words into a log that do not open, and forges no sender', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    const stored = world.exchange.conversations.all.get(conversation);
    bob.down();
    await alice.client.post(conversation, { text: 'mine' });
    await world.until(() => stored?.log.length === 1, 'it is in the log');
    const [entry] = stored?.log ?? [];
    if (stored === undefined || entry === undefined) throw new Error('no log');
    // Garbage first, then the entry under another device's name, then as it is.
    const garbage = create(LogEntrySchema, { ...entry, sequence: 1n, body: { case: 'message', value: { $typeName: 'ahoy.v1.SealedMessage', number: 1n, sealed: randomBytes(300) } } });
    const renamed = create(LogEntrySchema, { ...entry, sequence: 2n, account: idBytes(bob.identity.account) });
    stored.log.splice(0, 1, garbage, renamed);
    await bob.ready();
    await world.until(async () => (await bob.client.conversations())[0]?.head === 2, 'bob has taken it in');
    expect(await bob.texts(conversation)).toEqual([]);
    expect((await bob.client.conversations())[0]?.standing).toBe('inside');
  });

  it('renumbers messages in vain: nothing is put in the place of another, and the log goes on', async () => {
    for (const renumber of [() => 0n, () => 1n, (number: bigint) => number + 1n, () => HUGE]) {
      const world = new World();
      const { alice, bob, conversation } = await world.pair();
      const stored = world.exchange.conversations.all.get(conversation);
      const one = await alice.client.post(conversation, { text: 'one' });
      await world.shows(bob, conversation, 'one');
      bob.down();
      await alice.client.post(conversation, { text: 'two' });
      await alice.client.edit(conversation, one, 'eins');
      await alice.client.react(conversation, one, '👍', true);
      await world.until(() => stored?.log.length === 4, 'all are in the log');
      for (const { body } of stored?.log.slice(1) ?? []) if (body.case === 'message') body.value.number = renumber(body.value.number);
      await bob.ready();
      await alice.client.post(conversation, { text: 'five' });
      await world.shows(bob, conversation, 'one', 'five');
      expect((await bob.lines(conversation))[0]).toMatchObject({ edited: false, reactions: [] });
      expect((await bob.client.conversations())[0]).toMatchObject({ head: 5, unread: 2, standing: 'inside' });
    }
  });

  it('says in vain that a number stands in the log that this device has not given', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    await alice.client.post(conversation, { text: 'one' });
    await world.shows(bob, conversation, 'one');
    // What is said between the question for the list and its answer is taken for newer than the list.
    alice.resync();
    const message = { case: 'message' as const, value: create(SealedMessageSchema, { number: HUGE, sealed: randomBytes(300) }) };
    const own = { account: idBytes(alice.identity.account), device: idBytes(alice.identity.device) };
    alice.member.handleEvent({ case: 'logEntry', value: create(LogEntrySchema, { ...own, conversation: idBytes(conversation), sequence: 2n, generation: 1, body: message }) });
    await alice.client.post(conversation, { text: 'two' });
    await world.shows(bob, conversation, 'one', 'two');
    expect(await alice.texts(conversation)).toEqual(['one', 'two']);
  });

  it('with a commit that can’t be applied makes a device enter anew, and no more', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    const stored = world.exchange.conversations.all.get(conversation);
    if (stored === undefined) throw new Error('no conversation');
    const forged = create(LogEntrySchema, {
      conversation: idBytes(conversation),
      sequence: 1n,
      generation: 1,
      epoch: stored.epoch,
      account: idBytes(alice.identity.account),
      device: idBytes(alice.identity.device),
      body: { case: 'commit', value: randomBytes(100) },
    });
    stored.log.push(forged);
    bob.member.handleEvent({ case: 'logEntry', value: forged });
    await world.until(() => stored.log.length === 2, 'bob has entered anew');
    await world.until(async () => (await bob.client.conversations())[0]?.head === 2, 'bob is in');
    expect((await bob.lines(conversation)).map(({ body }) => body.kind)).toEqual(['gap']);
  });
});
