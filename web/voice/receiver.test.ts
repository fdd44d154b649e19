/** Sender and receiver together over scripted paths, in virtual time. */

import { describe, expect, test } from 'vitest';

import { ENCODER_FRAME_SAMPLES } from './codec.ts';
import { PENDING_MAX, SLOTS_MAX } from './receiver.ts';
import { count, FRAME_MS, Line, voice, whole } from './testing/line.ts';

describe('on a still path', () => {
  test('every frame is decoded once playout has begun', async () => {
    const played = await new Line().run(200, () => 40);
    const silent = played.findIndex(({ origin }) => origin !== 'silence');
    expect(silent).toBeGreaterThanOrEqual(2);
    expect(silent).toBeLessThan(10);
    expect(count(played, 'decoded')).toBe(200 - silent);
  });

  test('duplicates change nothing', async () => {
    const line = new Line();
    await line.run(50, () => 40);
    const twice = await line.sender.pushFrame(voice(50), null);
    line.sent += 1;
    for (let copy = 0; copy < 100; copy += 1) if (twice !== null) line.receiver.handlePayload(twice, FRAME_MS * 50);
    expect(whole(await line.run(100, () => 20))).toBe(100);
    expect(line.receiver.statistics().loss).toBe(0);
  });

  test('packets that overtake each other are played in order', async () => {
    const line = new Line();
    const played = await line.run(300, (n) => (n % 7 === 3 ? 75 : 40));
    expect(whole(played.slice(20))).toBe(280);
    expect(line.decoder.packets).toEqual(line.encoder.packets.slice(0, line.decoder.packets.length));
  });
});

describe('what is lost', () => {
  test('comes back to the bit where single packets are lost, and is counted', async () => {
    const line = new Line();
    const played = await line.run(400, (n) => (n % 10 === 5 ? null : 40));
    expect(count(played.slice(20), 'concealed')).toBe(0);
    expect(count(played, 'repaired')).toBeGreaterThanOrEqual(38);
    expect(line.receiver.statistics().loss).toBeCloseTo(0.1, 2);
    expect(line.decoder.packets).toEqual(line.encoder.packets.slice(0, line.decoder.packets.length));
  });

  test('comes back after a burst of six, once bursts were reported', async () => {
    const line = new Line();
    const path = (n: number): number | null => (n % 50 < 44 ? 40 : null);
    for (let round = 0; round < 30; round += 1) {
      await line.run(10, path);
      line.report();
    }
    expect(line.sender.protection).toBe('spaced');
    const played = await line.run(250, path);
    expect(count(played, 'concealed')).toBe(0);
    expect(count(played, 'repaired')).toBeGreaterThanOrEqual(28);
  });

  test('fades to silence where it lasts, and speech comes back', async () => {
    const line = new Line();
    await line.run(100, () => 40);
    const gap = await line.run(100, () => null);
    expect(gap.at(-1)?.samples.every((sample) => sample === 0)).toBe(true);
    const back = await line.run(100, () => 40);
    expect(whole(back.slice(20))).toBe(80);
  });
});

describe('the delay', () => {
  test('grows with jitter and shrinks after a calm', async () => {
    const line = new Line();
    await line.run(500, () => 40);
    const still = line.delayMs;
    await line.run(1_000, (n) => (n % 9 === 0 ? 160 : 40));
    const rough = line.delayMs;
    await line.run(2_000, () => 40);
    expect(still).toBeLessThan(90);
    expect(rough).toBeGreaterThan(110);
    expect(line.delayMs).toBeLessThan(90);
  });

  test('shrinks when bursts are gone', async () => {
    const line = new Line();
    for (let round = 0; round < 30; round += 1) {
      await line.run(10, (n) => (n % 30 < 27 ? 40 : null));
      line.report();
    }
    const lossy = line.delayMs;
    line.sender.handleReport({ expected: 250, lost: 0, runs: 0, jitterMs: 0 });
    await line.run(2_000, () => 40);
    expect(lossy).toBeGreaterThan(120);
    expect(line.delayMs).toBeLessThan(90);
  });

  test('is left alone by a window that begins anew', async () => {
    const line = new Line();
    const path = (n: number): number | null => (n % 8 === 5 ? null : 40);
    await line.run(700, path);
    const before = line.delayMs;
    for (const lost of [60, 25, 60, 25]) {
      line.sender.handleReport({ expected: 250, lost, runs: lost, jitterMs: 0 });
      await line.run(20, path);
      expect(Math.abs(line.delayMs - before)).toBeLessThan(5);
    }
  });

  test.each([20.02, 19.98])('is kept while clocks drift apart: a frame of %f ms', async (senderFrameMs) => {
    const line = new Line();
    line.senderFrameMs = senderFrameMs;
    await line.run(500, () => 40);
    const played = await line.run(2_500, () => 40);
    expect(line.delayMs).toBeGreaterThanOrEqual(20);
    expect(line.delayMs).toBeLessThan(100);
    expect(count(played, 'concealed')).toBeLessThanOrEqual(2);
  });

  test('follows a path that becomes longer for good', async () => {
    const line = new Line();
    await line.run(200, () => 40);
    await line.run(300, () => 900);
    expect(whole(await line.run(100, () => 900))).toBe(100);
  });
});

test.each([0, 1, 100, 20_000, 40_000, 65_000])('a call handed over resumes where the sender has gone %d frames on', async (skipped) => {
  const line = new Line();
  await line.run(200, () => 40);
  await line.run(100, () => null);
  line.sender.skip(skipped);
  const back = await line.run(150, () => 90);
  expect(whole(back.slice(50))).toBeGreaterThanOrEqual(95);
});

test('what comes while a frame is pulled is taken in after it', async () => {
  const line = new Line();
  await line.run(50, () => 40);
  const payload = await line.sender.pushFrame(voice(50), { expected: 100, lost: 3, runs: 2, jitterMs: 9 });
  const pulling = line.receiver.pullFrame(FRAME_MS * 50);
  const { slots } = line.receiver.held;
  expect(payload && line.receiver.handlePayload(payload, FRAME_MS * 50)).toEqual({ expected: 100, lost: 3, runs: 2, jitterMs: 9 });
  expect(line.receiver.held.slots).toBe(slots);
  await pulling;
  expect(line.receiver.held.slots).toBe(slots + 1);
});

test('hostile payloads neither throw nor grow the receiver', async () => {
  const line = new Line();
  await line.run(10, () => 0);
  let state = 1;
  const random = (below: number): number => (state = (state * 48_271) % 0x7fffffff) % below;
  for (let round = 0; round < 3_000; round += 1) {
    const bytes = Uint8Array.from({ length: random(150) }, () => random(256));
    // Half of them with a head that parses.
    if (round % 2 === 0) bytes.set([random(5), random(256), random(256), 0x14, 10].slice(0, bytes.length));
    line.receiver.handlePayload(bytes, FRAME_MS * (10 + round));
    const { samples } = await line.receiver.pullFrame(FRAME_MS * (10 + round));
    expect(samples.every(Number.isFinite)).toBe(true);
    expect(line.receiver.held.slots).toBeLessThanOrEqual(SLOTS_MAX);
    expect(line.receiver.held.pending).toBeLessThanOrEqual(PENDING_MAX);
  }
});

test('a frame that could not be encoded leaves a hole in time, and no sums over it', async () => {
  const line = new Line();
  await line.run(20, () => 40);
  const encode = line.encoder.encode.bind(line.encoder);
  line.encoder.encode = () => Promise.resolve(null as never);
  expect(await line.sender.pushFrame(new Float32Array(ENCODER_FRAME_SAMPLES), null)).toBeNull();
  line.encoder.encode = encode;
  line.sent += 1;
  const played = await line.run(60, () => 40);
  expect(count(played, 'concealed')).toBe(1);
  expect(whole(played)).toBe(59);
});
