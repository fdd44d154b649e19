/** The small pieces that handle samples and packets: level, stretch, decimator, the outside of Opus packets. */

import { describe, expect, test } from 'vitest';

import { FRAME_SAMPLES, SAMPLE_RATE } from './codec.ts';
import { Decimator } from './decimator.ts';
import { level, rootMeanSquare, SILENCE_DBOV } from './level.ts';
import { is20MsPacket, isSilkWideband } from './opus-packet.ts';
import { findSeam, lengthen, shorten } from './stretch.ts';

test('full scale is 0, half is 6 and nothing is 127', () => {
  expect(level(new Float32Array(960).fill(1))).toBe(0);
  expect(level(new Float32Array(960).fill(-0.5))).toBe(6);
  expect(level(new Float32Array(960))).toBe(SILENCE_DBOV);
  expect(level(new Float32Array())).toBe(SILENCE_DBOV);
  expect(level(new Float32Array(960).fill(Number.NaN))).toBe(SILENCE_DBOV);
});

describe('a stretch of a voice of 150 Hz', () => {
  const PERIOD = 320;
  const wave = (at: number): number => Math.sin((2 * Math.PI * at) / PERIOD) + 0.3 * Math.sin((6 * Math.PI * at) / PERIOD);
  const samples = Float32Array.from({ length: 2_400 }, (_, at) => wave(at) * 0.2);
  const seam = findSeam(samples, 720);

  test('is found at whole periods', () => {
    expect(seam.likeness).toBeGreaterThan(0.999);
    expect(Math.abs(seam.lag % PERIOD)).toBeLessThan(2);
  });

  test.each([
    ['shortens', shorten(samples, seam), -seam.lag],
    ['lengthens', lengthen(samples, seam), seam.lag],
  ])('%s it without a step', (_, stretched, change) => {
    expect(stretched.length).toBe(samples.length + change);
    expect(stretched[0]).toBeCloseTo(samples[0] ?? 0, 2);
    for (let at = 1; at < stretched.length; at += 1) expect(Math.abs((stretched[at] ?? 0) - (stretched[at - 1] ?? 0))).toBeLessThan(0.02);
  });
});

describe('the decimator', () => {
  const loudness = (frequency: number): number => {
    const decimator = new Decimator();
    let output = new Float32Array();
    for (let frame = 0; frame < 5; frame += 1) {
      const start = frame * FRAME_SAMPLES;
      const tone = Float32Array.from({ length: FRAME_SAMPLES }, (_, at) => Math.sin((2 * Math.PI * frequency * (start + at)) / SAMPLE_RATE));
      output = decimator.push(tone);
    }
    return rootMeanSquare(output) * Math.SQRT2;
  };

  test.each([100, 1_000, 3_000, 6_000, 7_000])('passes %d Hz', (frequency) => {
    expect(loudness(frequency)).toBeCloseTo(1, 1);
  });

  test.each([9_000, 12_000, 15_900, 20_000])('stops %d Hz', (frequency) => {
    expect(loudness(frequency)).toBeLessThan(0.01);
  });
});

describe('an Opus packet', () => {
  test.each([
    ['of SILK, wideband, 20 ms', [0x48, 1, 2, 3]],
    ['of two frames of 10 ms', [0x41, 1, 2, 3, 4]],
    ['of two frames of 10 ms of their own lengths', [0x42, 1, 7, 8]],
    ['of one frame, padded', [0x4b, 0x41, 2, 9, 9, 0, 0]],
    ['of CELT, 20 ms', [0x98, 1]],
  ])('%s is taken', (_, packet) => {
    expect(is20MsPacket(Uint8Array.from(packet))).toBe(true);
  });

  test.each([
    ['empty', []],
    ['of 60 ms', [0x58, 1, 2]],
    ['of two frames of 20 ms', [0x49, 1, 2]],
    ['of two frames of 10 ms of uneven length', [0x41, 1, 2, 3]],
    ['whose first frame is longer than it', [0x42, 9, 7, 8]],
    ['without its count', [0x4b]],
    ['of no frames', [0x4b, 0]],
    ['padded beyond its end', [0x4b, 0x41, 9, 1]],
    ['whose padding does not end', [0x4b, 0x41, 255]],
    ['longer than any', Array.from({ length: 1_276 }, () => 0x48)],
  ])('%s is refused', (_, packet) => {
    expect(is20MsPacket(Uint8Array.from(packet))).toBe(false);
  });

  test('is known as SILK in wideband by its first byte', () => {
    expect([0x48, 0x4b, 0x58].map((toc) => isSilkWideband(Uint8Array.of(toc)))).toEqual([true, true, true]);
    expect([0x08, 0x28, 0x68, 0x78, 0x98].map((toc) => isSilkWideband(Uint8Array.of(toc)))).toEqual([false, false, false, false, false]);
  });
});
