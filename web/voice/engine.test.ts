/** Two engines and the datagrams between them, with clocks of their own and a codec that needs no browser. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { decodeFlow } from '../sdk/proto/flow.ts';
import { FRAME_SAMPLES } from './codec.ts';
import { WorkerVoiceEngine } from './engine.ts';
import { PAYLOAD_BYTES } from './payload.ts';
import type { Block } from './ports.ts';
import { FakeDecoder, FakeEncoder } from './testing/fake-codec.ts';
import { FakePort } from './testing/fake-port.ts';

const CALL = 'c1'.repeat(16);
const FRAME_MS = 20;

/** Flow id of one byte, SFrame header of one to five bytes, tag. */
const AROUND_MAX = 1 + 5 + 16;

const leg = (number: number, device = `device ${number}`) => ({ leg: `leg ${number}`, flow: BigInt(number), key: new Uint8Array(16).fill(number), device });

let now = 0;

class Side {
  readonly capture = new FakePort<Block>();
  readonly playback = new FakePort<Block>();
  readonly encoders: FakeEncoder[] = [];
  readonly decoders: FakeDecoder[] = [];
  readonly sent: Uint8Array[] = [];
  readonly engine = new WorkerVoiceEngine({
    now: () => now,
    codec: {
      encoder: () => this.#keep(this.encoders, new FakeEncoder()),
      decoder: () => this.#keep(this.decoders, new FakeDecoder()),
    },
  });

  start(own: number, peers: number[]): this {
    this.engine.start(CALL, leg(own), peers.map((number) => leg(number)), (datagram) => this.sent.push(datagram));
    return this;
  }

  attach(): this {
    this.engine.attach({ kind: 'audio-ports', capture: this.capture.port, playback: this.playback.port });
    return this;
  }

  /** The microphone gives a frame; resolves when its packet is sent. */
  async speak(loudness: number, lost = 0): Promise<Uint8Array> {
    const before = this.sent.length;
    this.capture.onmessage?.({ data: { block: new Float32Array(FRAME_SAMPLES).fill(loudness), lost } });
    await until(() => this.sent.length > before);
    return this.sent.at(-1) ?? new Uint8Array();
  }

  /** The speaker wants a frame. */
  async listen(): Promise<Block> {
    const before = this.playback.posted.length;
    this.playback.onmessage?.({ data: { spare: null, aheadMs: 15 } });
    await until(() => this.playback.posted.length > before);
    return this.playback.posted.at(-1) ?? new Float32Array();
  }

  #keep<T>(kept: T[], one: T): T {
    kept.push(one);
    return one;
  }
}

/** Waits for what runs beside the test, WebCrypto. */
async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 20_000 && !condition(); turn += 1) await new Promise((resolve) => setImmediate(resolve));
  expect(condition()).toBe(true);
}

function opened(side: Side): boolean {
  return side.engine.silentMs(CALL) === 0;
}

beforeEach(() => {
  now = 1_000;
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
});

afterEach(() => {
  vi.useRealTimers();
});

describe('what is said', () => {
  test('at one end is heard at the other', async () => {
    const [alice, bob] = [new Side().start(1, [2]).attach(), new Side().start(2, [1]).attach()];
    let heard: Block = new Float32Array();
    for (let frame = 0; frame < 40; frame += 1) {
      bob.engine.handleDatagram(await alice.speak(0.25));
      await until(() => opened(bob));
      heard = await bob.listen();
      now += FRAME_MS;
    }
    const loudness = Math.sqrt(heard.reduce((sum, sample) => sum + sample * sample, 0) / FRAME_SAMPLES);
    expect(loudness).toBeCloseTo(0.25, 1);
    expect(alice.engine.quality(CALL)).toMatchObject({ muted: false });
    expect(alice.engine.quality(CALL)?.levelOut).toBeCloseTo(0.25, 1);
    expect(bob.engine.quality(CALL)?.levelIn).toBeCloseTo(0.25, 1);
    expect(bob.engine.quality(CALL)?.lossIn).toBe(0);
    expect(bob.engine.quality(CALL)?.playoutDelayMs).toBeGreaterThan(15);
  });

  test('leaves in packets of one length, whatever it is', async () => {
    const alice = new Side().start(1, [2]).attach();
    for (const loudness of [0, 0.5, 0.01]) expect((await alice.speak(loudness)).length).toBeLessThanOrEqual(PAYLOAD_BYTES + AROUND_MAX);
    expect(new Set(alice.sent.map(({ length }) => length)).size).toBe(1);
  });

  test('is silence while muted, at the same pace', async () => {
    const alice = new Side().start(1, [2]).attach();
    alice.engine.setMuted(CALL, true);
    for (let frame = 0; frame < 6; frame += 1) await alice.speak(0.5);
    expect(alice.encoders[0]?.packets.map((packet) => packet[1])).toEqual([0, 0, 0, 0, 0, 0]);
    expect(alice.engine.quality(CALL)).toMatchObject({ muted: true, levelOut: 0 });
    alice.engine.setMuted(CALL, false);
    await alice.speak(0.5);
    await alice.speak(0.5);
    expect(alice.encoders[0]?.packets.at(-1)?.[1]).toBeGreaterThan(100);
  });

  test('goes out for the leg that was attached last', async () => {
    const alice = new Side().start(1, [2]).attach();
    expect(decodeFlow(await alice.speak(0))?.flow).toBe(1n);
    alice.engine.handleOwnLeg(CALL, leg(9));
    expect(decodeFlow(await alice.speak(0))?.flow).toBe(9n);
  });

  test('goes back to the microphone as a block that is free', async () => {
    const alice = new Side().start(1, [2]).attach();
    await alice.speak(0);
    expect(alice.capture.posted[0]?.length).toBe(FRAME_SAMPLES);
  });
});

describe('without a microphone', () => {
  test('silence is said at the pace of voice, and stops when one speaks', async () => {
    const alice = new Side().start(1, [2]);
    now += 100;
    vi.advanceTimersByTime(2 * FRAME_MS);
    await until(() => alice.sent.length === 5);
    alice.attach();
    await alice.speak(0.1);
    now += FRAME_MS;
    vi.advanceTimersByTime(FRAME_MS);
    await alice.speak(0.1);
    expect(alice.sent.length).toBe(7);
  });

  test('after a long sleep time jumps, and nothing is made up for', async () => {
    const alice = new Side().start(1, [2]);
    now += 60_000;
    vi.advanceTimersByTime(2 * FRAME_MS);
    now += FRAME_MS;
    vi.advanceTimersByTime(FRAME_MS);
    await until(() => alice.sent.length > 1);
    expect(alice.encoders[0]?.packets.length).toBe(2);
  });
});

test('what the microphone said while the worker stood still is said once, and no silence besides', async () => {
  const alice = new Side().start(1, [2]).attach();
  await alice.speak(0.1);
  now += 100;
  vi.advanceTimersByTime(FRAME_MS);
  for (let frame = 0; frame < 5; frame += 1) await alice.speak(0.1);
  now += FRAME_MS;
  vi.advanceTimersByTime(FRAME_MS);
  // Frames are said in order: once the loud ones came by, so have all before.
  const packets = alice.encoders[0]?.packets ?? [];
  for (let frame = 0; frame < 2; frame += 1) await alice.speak(0.9);
  await until(() => packets.filter((packet) => (packet[1] ?? 0) > 200).length > 0);
  expect(packets.findIndex((packet) => (packet[1] ?? 0) > 200)).toBeLessThanOrEqual(8);
  expect(packets.slice(2, 6).every((packet) => (packet[1] ?? 0) > 20)).toBe(true);
});

test('time goes on over frames that a slow worker lost: the other side hears a gap, and no delay', async () => {
  const [alice, bob] = [new Side().start(1, [2]).attach(), new Side().start(2, [1]).attach()];
  for (let frame = 0; frame < 10; frame += 1) bob.engine.handleDatagram(await alice.speak(0.1));
  bob.engine.handleDatagram(await alice.speak(0.1, 5));
  for (let frame = 0; frame < 3; frame += 1) bob.engine.handleDatagram(await alice.speak(0.1));
  await until(() => opened(bob) && (bob.engine.quality(CALL)?.lossIn ?? 0) > 0);
  // Of 18 frames the last three are not settled.
  expect(bob.engine.quality(CALL)?.lossIn).toBeCloseTo(5 / 15, 1);
});

describe('what comes', () => {
  test('before its flow is named is kept for a moment', async () => {
    const [alice, bob] = [new Side().start(1, [2]).attach(), new Side().start(2, [])];
    const early = await alice.speak(0.1);
    now += 30;
    bob.engine.handleDatagram(early);
    now += 30;
    bob.engine.handlePeerLeg(CALL, leg(1));
    await until(() => bob.engine.silentMs(CALL) === 30);
  });

  test('for nobody holds little: the newest 64', async () => {
    const [alice, bob] = [new Side().start(1, [2]).attach(), new Side().start(2, [])];
    const first = await alice.speak(0.1);
    bob.engine.handleDatagram(first);
    for (let stray = 0; stray < 64; stray += 1) bob.engine.handleDatagram(Uint8Array.of(7, stray));
    now += 50;
    bob.engine.handlePeerLeg(CALL, leg(1));
    const second = await alice.speak(0.1);
    bob.engine.handleDatagram(second);
    await until(() => opened(bob));
    // Of the two only the second opened: the first gave way.
    await bob.attach().listen();
    expect(bob.engine.quality(CALL)?.lossIn).toBe(0);
    now += 5;
    bob.engine.handleDatagram(first);
    await until(() => opened(bob));
  });

  test('together is taken in as it came, though it may be opened in another order', async () => {
    const [alice, bob] = [new Side().start(1, [2]).attach(), new Side().start(2, [1])];
    const datagrams: Uint8Array[] = [];
    for (let frame = 0; frame < 40; frame += 1) datagrams.push(await alice.speak(0.1));
    bob.engine.handleDatagram(datagrams.shift() ?? new Uint8Array());
    await until(() => opened(bob));
    const decrypt = crypto.subtle.decrypt.bind(crypto.subtle);
    const held: (() => void)[] = [];
    const hold = vi.spyOn(crypto.subtle, 'decrypt').mockImplementation(async (...packet) => {
      await new Promise<void>((resolve) => held.unshift(resolve));
      return decrypt(...packet);
    });
    for (const datagram of datagrams) bob.engine.handleDatagram(datagram);
    await until(() => held.length === datagrams.length);
    for (const release of held) release();
    hold.mockRestore();
    now += 5;
    bob.engine.handleDatagram(await alice.speak(0.1));
    await until(() => opened(bob));
    expect(bob.engine.quality(CALL)?.lossIn).toBe(0);
  });

  test('by a leg that another of the same device has replaced is passed over', async () => {
    const [alice, bob] = [new Side().start(1, [2]).attach(), new Side().start(2, [1])];
    bob.engine.handlePeerLeg(CALL, leg(5, 'device 1'));
    now += 40;
    bob.engine.handleDatagram(await alice.speak(0));
    alice.engine.handleOwnLeg(CALL, leg(5));
    now += 10;
    bob.engine.handleDatagram(await alice.speak(0));
    await until(() => opened(bob));
    expect(bob.decoders).toHaveLength(1);
  });

  test('forged or broken changes nothing', async () => {
    const [alice, bob] = [new Side().start(1, [2]).attach(), new Side().start(2, [1]).attach()];
    const datagram = await alice.speak(0.1);
    const forged = datagram.map((value, at) => (at === 40 ? value ^ 1 : value));
    now += 500;
    for (const bytes of [new Uint8Array(), Uint8Array.of(1), Uint8Array.of(0xff), forged, new Uint8Array(2_000).fill(1)]) bob.engine.handleDatagram(bytes);
    await bob.listen();
    expect(bob.engine.silentMs(CALL)).toBe(500);
    bob.engine.handleDatagram(datagram);
    await until(() => opened(bob));
  });
});

test('a call that is over is forgotten: its codecs are closed and nothing is said', async () => {
  const alice = new Side().start(1, [2]).attach();
  await alice.speak(0.1);
  alice.engine.stop(CALL);
  expect([alice.encoders[0]?.closed, alice.decoders[0]?.closed]).toEqual([true, true]);
  expect(alice.engine.quality(CALL)).toBeNull();
  expect(alice.engine.silentMs(CALL)).toBe(0);
  now += 1_000;
  vi.advanceTimersByTime(1_000);
  expect(vi.getTimerCount()).toBe(0);
  expect(alice.sent.length).toBe(1);
});

test('ports that take the place of others close them', () => {
  const side = new Side().attach();
  side.engine.attach(null);
  expect([side.capture.closed, side.playback.closed]).toEqual([true, true]);
});
