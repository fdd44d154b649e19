import { describe, expect, it } from 'vitest';

import { concat, equalBytes, utf8 } from '../proto/bytes.ts';
import { encodeFlow } from '../proto/flow.ts';
import { Cause, ErrorCode } from '../proto/messages.ts';
import { TestDevice, World } from './testing/world.ts';

async function connected(): Promise<{ world: World; alice: TestDevice; bob: TestDevice; call: string }> {
  const world = new World();
  const { alice, bob } = await world.pair();
  const call = await alice.client.call('bob');
  await world.until(() => bob.lastCall?.state === 'ringing', 'it rings');
  await bob.client.answer(call);
  await world.until(() => alice.lastCall?.state === 'connected' && bob.lastCall?.state === 'connected', 'it stands');
  return { world, alice, bob, call };
}

/** A datagram as a voice engine makes it, and whether it arrives. */
async function hears(world: World, from: TestDevice, to: TestDevice, call: string, what: string): Promise<void> {
  const running = from.voice.running.get(call);
  if (running === undefined) throw new Error('no voice');
  const datagram = concat(encodeFlow(running.own.flow), utf8(what));
  running.send(datagram);
  await world.until(() => to.voice.received.some((received) => equalBytes(received, datagram)), `${to.name} hears ${what}`);
}

describe('a call', () => {
  it('rings, is answered, carries voice under keys that both have, and is hung up', async () => {
    const { world, alice, bob, call } = await connected();
    const [a, b] = [alice.voice.running.get(call), bob.voice.running.get(call)];
    expect(a && b && equalBytes(a.own.key, b.peers[0]?.key ?? new Uint8Array())).toBe(true);
    expect(a?.peers[0]?.flow).toBe(b?.own.flow);
    await hears(world, alice, bob, call, 'ahoy');
    await hears(world, bob, alice, call, 'ahoy!');
    await world.clock.pass(1_000);
    expect(alice.last('quality')?.quality).toMatchObject({ call, muted: false, playoutDelayMs: 40 });
    await alice.client.setMuted(call, true);
    await world.clock.pass(1_000);
    expect(alice.last('quality')?.quality.muted).toBe(true);
    await alice.client.hangUp(call);
    await world.until(() => bob.lastCall?.state === 'ended', 'bob hears of it');
    expect(bob.lastCall?.cause).toBe('hung-up');
    expect(alice.lastCall?.cause).toBe('hung-up');
    expect([alice.voice.stopped, bob.voice.stopped]).toEqual([1, 1]);
    expect(await alice.client.calls()).toEqual([]);
  });

  it('makes the conversation that it needs', async () => {
    const world = new World();
    const [alice, bob] = await world.online('alice', 'bob');
    await world.befriend(alice, bob);
    await alice.client.call('bob');
    await world.until(() => bob.lastCall?.state === 'ringing', 'it rings');
    expect(bob.lastCall?.peer).toEqual({ account: alice.identity.account, name: 'alice' });
    await bob.client.decline(bob.lastCall?.call ?? '');
    await world.until(() => alice.lastCall?.cause === 'declined', 'alice hears of it');
  });

  it('is cancelled before an answer, and answered on one device only', async () => {
    const world = new World();
    const { alice, bob } = await world.pair();
    const [tablet] = await world.online('bob');
    const first = await alice.client.call('bob');
    await world.until(() => bob.lastCall?.state === 'ringing' && tablet.lastCall?.state === 'ringing', 'both ring');
    await alice.client.hangUp(first);
    await world.until(() => tablet.lastCall?.cause === 'cancelled', 'it is cancelled');
    const second = await alice.client.call('bob');
    await world.until(() => bob.lastCall?.call === second && tablet.lastCall?.call === second, 'both ring');
    await tablet.client.answer(second);
    await world.until(() => bob.lastCall?.cause === 'answered-elsewhere', 'the other one stops');
    await world.until(() => alice.lastCall?.state === 'connected', 'it stands');
  });

  it('of a stranger becomes a contact request', async () => {
    const world = new World();
    const [alice, bob] = await world.online('alice', 'bob');
    await alice.client.call('bob');
    await world.until(() => alice.lastCall?.cause === 'requested', 'it is a request');
    await world.until(async () => (await bob.client.contacts())[0]?.state === 'asks', 'bob is asked');
    expect(bob.count('call')).toBe(0);
  });

  it('of a stranger rings where anybody may call, quietly if its owner wishes so, under the name that the network has for them', async () => {
    const world = new World();
    const [bob, alice] = await world.online('bob', 'alice');
    await bob.client.changeSettings({ callsFrom: 'anyone', availability: 'do-not-disturb' });
    await alice.client.call('bob');
    await world.until(() => bob.lastCall?.state === 'ringing', 'it rings');
    expect(bob.lastCall).toMatchObject({ quiet: true, peer: { account: alice.identity.account, name: 'alice' } });
    await bob.client.decline(bob.lastCall?.call ?? '');
    await world.until(() => alice.lastCall?.cause === 'declined', 'alice hears of it');

    // Somebody who gives another's name does not ring.
    const mallory = await world.device('mallory');
    const liar = await (await TestDevice.start(world, { ...mallory.identity, name: 'alice' })).ready();
    const told = bob.count('call');
    await liar.client.call('bob');
    await world.until(() => liar.lastCall?.cause === 'incompatible', 'it is declined');
    expect(bob.count('call')).toBe(told);
  });

  it('to a device that is in one is busy', async () => {
    const { world, bob, alice } = await connected();
    const [carol] = await world.online('carol');
    await world.befriend(carol, bob);
    await carol.client.call('bob');
    await world.until(() => carol.lastCall?.cause === 'busy', 'bob is busy');
    expect(bob.lastCall?.state).toBe('connected');
    await expect(alice.client.call('carol')).rejects.toMatchObject({ reason: 'limit' });
  });

  it('of two who call each other at once is one call', async () => {
    const world = new World();
    const { alice, bob } = await world.pair();
    const [a, b] = await Promise.all([alice.client.call('bob'), bob.client.call('alice')]);
    const [winner, loser] = a < b ? [alice, bob] : [bob, alice];
    await world.until(() => loser.lastCall?.direction === 'incoming' && loser.lastCall.state === 'ringing', 'the lower id rings');
    expect(loser.events.some((event) => event.kind === 'call' && event.call.cause === 'busy')).toBe(true);
    await loser.client.answer(a < b ? a : b);
    await world.until(() => winner.lastCall?.state === 'connected', 'it stands');
  });

  it('rings for a minute at most, should nobody end it', async () => {
    const world = new World();
    const { alice, bob } = await world.pair();
    await alice.client.call('bob');
    await world.until(() => bob.lastCall?.state === 'ringing', 'it rings');
    await world.until(() => alice.lastCall?.state === 'ringing', 'alice hears it ring');
    world.exchange.calls.all.clear();
    await world.clock.pass(60_000);
    expect([alice.lastCall?.state, bob.lastCall?.state]).toEqual(['ended', 'ended']);
  });

  it('that can’t be asked for again is hung up where it rings', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    await alice.client.call('bob');
    await world.until(() => alice.lastCall?.state === 'ringing' && bob.lastCall?.state === 'ringing', 'it rings');
    alice.member.conversations.require(conversation).voiceSecret = () => null;
    alice.resync();
    await world.until(() => alice.lastCall?.cause === 'incompatible', 'it is given up');
    await world.until(() => bob.lastCall?.cause === 'cancelled', 'it does not ring on');
  });

  it('is asked for again with a fresh leg while the network can’t take it', async () => {
    const world = new World();
    const { alice, bob } = await world.pair();
    const legs = new Set<string>();
    world.exchange.refusing = (body) => {
      if (body.case !== 'startCall') return null;
      legs.add(String(body.value.leg));
      return legs.size < 3 ? ErrorCode.UNAVAILABLE : null;
    };
    await alice.client.call('bob');
    await world.passUntil(() => bob.lastCall?.state === 'ringing', 'it rings', 6_000);
    expect(legs.size).toBe(3);
  });
});

describe('a call that rings', () => {
  it('is answered by the process that comes after the one that it rang in', async () => {
    const world = new World();
    const { alice, bob } = await world.pair();
    const call = await alice.client.call('bob');
    await world.until(() => bob.lastCall?.state === 'ringing', 'it rings');
    const again = await bob.restart();
    const answered = again.client.answer(call);
    await again.ready();
    await answered;
    await world.until(() => alice.lastCall?.state === 'connected' && again.lastCall?.state === 'connected', 'it stands');
  });
});

describe('a call that stands', () => {
  it('asks again for a leg before anybody wonders, where its home has died', async () => {
    const { world, alice, bob } = await connected();
    let refusals = 2;
    world.exchange.refusing = (body) => (body.case === 'attachLeg' && refusals-- > 0 ? ErrorCode.UNAVAILABLE : null);
    alice.down();
    await world.until(() => bob.lastCall?.state === 'lost', 'bob hears that she is away');
    await alice.ready();
    // 100 ms and 200 ms, and half as much again at most, in steps of 250 ms.
    await world.passUntil(() => bob.lastCall?.state === 'connected', 'she is back', 750);
  });

  it('outlives its session, by a fresh leg', async () => {
    const { world, alice, bob, call } = await connected();
    const before = alice.voice.running.get(call)?.own.leg;
    alice.down();
    await world.until(() => bob.lastCall?.state === 'lost', 'bob hears that she is away');
    expect(alice.member.isInCall()).toBe(true);
    await alice.ready();
    await world.until(() => bob.lastCall?.state === 'connected', 'she is back');
    await world.until(() => alice.voice.running.get(call)?.own.leg !== before, 'by a fresh leg');
    await hears(world, alice, bob, call, 'back');
    await hears(world, bob, alice, call, 'good');
  });

  it('moves to another link without a word', async () => {
    const { world, alice, bob, call } = await connected();
    const told = [alice.count('call'), bob.count('call')];
    const before = alice.voice.running.get(call)?.own.leg;
    alice.up(true);
    await world.until(() => alice.voice.running.get(call)?.own.leg !== before, 'by a fresh leg');
    await world.until(() => bob.voice.running.get(call)?.peers[0]?.leg === alice.voice.running.get(call)?.own.leg, 'bob knows it');
    expect([alice.count('call'), bob.count('call')]).toEqual(told);
    await hears(world, bob, alice, call, 'here');
  });

  it('is attached again after a resync', async () => {
    const { world, alice, bob, call } = await connected();
    const before = alice.voice.running.get(call)?.own.leg;
    alice.resync();
    await world.until(() => alice.voice.running.get(call)?.own.leg !== before, 'by a fresh leg');
    await hears(world, bob, alice, call, 'still');
  });

  it('survives a reload within ten seconds', async () => {
    const { world, alice, bob, call } = await connected();
    await alice.client.setMuted(call, true);
    await world.clock.pass(4_000);
    const again = await alice.restart();
    await world.clock.pass(3_000);
    expect(again.member.isInCall()).toBe(true);
    expect((await again.client.calls())[0]).toMatchObject({ call, state: 'lost', peer: { name: 'bob' } });
    await again.ready();
    await world.until(() => again.lastCall?.state === 'connected', 'it goes on');
    expect(again.lastCall?.connectedAtMs).toBe(alice.lastCall?.connectedAtMs);
    expect(again.voice.running.get(call)?.muted).toBe(true);
    await hears(world, again, bob, call, 'reloaded');
    await hears(world, bob, again, call, 'welcome back');
  });

  it('goes on though the other side has come back by another leg during a reload', async () => {
    const { world, alice, bob, call } = await connected();
    const again = await alice.restart();
    const leg = (): string | undefined => bob.voice.running.get(call)?.own.leg;
    const before = leg();
    bob.down();
    await bob.ready();
    await world.until(() => leg() !== before, 'bob has a fresh leg');
    await again.ready();
    await world.until(() => again.voice.running.get(call)?.peers.some((peer) => peer.leg === leg()) === true, 'it is known');
    await hears(world, bob, again, call, 'both were away');
    await hears(world, again, bob, call, 'indeed');
  });

  it('is over after a longer one', async () => {
    const { world, alice } = await connected();
    await world.clock.pass(2_000);
    await alice.member.close();
    await world.clock.pass(11_000);
    const again = await alice.restart();
    expect(again.member.isInCall()).toBe(false);
    expect(await again.client.calls()).toEqual([]);
  });

  it('that was hung up without a session is told to the supernode with the next', async () => {
    const { world, alice, bob, call } = await connected();
    alice.down();
    await alice.client.hangUp(call);
    expect(bob.lastCall?.state).not.toBe('ended');
    await alice.ready();
    await world.until(() => bob.lastCall?.state === 'ended', 'bob hears of it');
  });

  it('is given up when no session comes', async () => {
    const { world, alice } = await connected();
    alice.down();
    await world.clock.pass(60_000);
    expect(alice.lastCall).toMatchObject({ state: 'ended', cause: 'lost' });
  });

  it('ends with the cause that the supernode names', async () => {
    const { world, alice, call } = await connected();
    const stored = world.exchange.calls.all.get(call);
    if (stored === undefined) throw new Error('no call');
    world.exchange.calls.end(stored, Cause.LOST);
    await world.until(() => alice.lastCall?.cause === 'lost', 'alice hears of it');
  });
});
