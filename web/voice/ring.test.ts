/** How much sound waits in the audio thread. */

import { expect, test } from 'vitest';

import { FRAME_SAMPLES } from './codec.ts';
import { Ring } from './ring.ts';

const QUANTUM = 128;

/** Plays `quanta` blocks; a frame that is asked for comes `late` blocks after. Gives how many blocks had a gap, and the least that waited. */
function play(ring: Ring, quanta: number, late: (quantum: number) => number): { gaps: number; least: number } {
  const due: number[] = [];
  let gaps = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let quantum = 0; quantum < quanta; quantum += 1) {
    while ((due[0] ?? Number.POSITIVE_INFINITY) <= quantum) {
      due.shift();
      ring.push(new Float32Array(FRAME_SAMPLES).fill(1));
    }
    const output = new Float32Array(QUANTUM);
    ring.pull(output);
    if (output.at(-1) === 0) gaps += 1;
    least = Math.min(least, ring.length);
    while (ring.ask()) due.push(quantum + late(quantum));
  }
  for (const _ of due) ring.push(new Float32Array(FRAME_SAMPLES).fill(1));
  return { gaps, least };
}

test('what is pushed comes out in order, and silence after it', () => {
  const ring = new Ring();
  const output = new Float32Array(FRAME_SAMPLES + 2);
  for (let round = 0; round < 20; round += 1) {
    ring.push(Float32Array.from({ length: FRAME_SAMPLES }, (_, at) => round + at));
    ring.pull(output);
    expect([output[0], output[FRAME_SAMPLES - 1], output[FRAME_SAMPLES]]).toEqual([round, round + FRAME_SAMPLES - 1, 0]);
  }
});

test('an engine that answers at once leaves no gaps, and less and less waits', () => {
  const ring = new Ring();
  play(ring, 20, () => 1);
  const first = play(ring, 1_000, () => 1);
  play(ring, 20_000, () => 1);
  const later = play(ring, 1_000, () => 1);
  expect(first.gaps + later.gaps).toBe(0);
  expect(later.least).toBeLessThan(first.least);
  expect(later.least).toBeGreaterThan(0);
});

test('an engine that needs 30 ms now and then is waited for, once it was noticed', () => {
  const ring = new Ring();
  const late = (quantum: number): number => (quantum % 200 < 8 ? 11 : 1);
  const before = play(ring, 2_000, late);
  const after = play(ring, 2_000, late);
  expect(before.gaps).toBeGreaterThan(0);
  expect(after.gaps).toBe(0);
});

test('no more than three frames are asked for at a time, and what has no room is dropped', () => {
  const ring = new Ring();
  for (let gap = 0; gap < 20; gap += 1) {
    ring.push(new Float32Array(FRAME_SAMPLES));
    ring.pull(new Float32Array(2 * FRAME_SAMPLES));
  }
  let asked = 0;
  while (ring.ask()) asked += 1;
  expect(asked).toBe(3);
  for (let frame = 0; frame < 100; frame += 1) ring.push(new Float32Array(FRAME_SAMPLES));
  expect(ring.length).toBeLessThanOrEqual(8 * FRAME_SAMPLES);
});

test('an answer that never comes is asked for anew after a second', () => {
  const ring = new Ring();
  while (ring.ask());
  const asks: number[] = [];
  for (let quantum = 0; quantum < 400; quantum += 1) {
    ring.pull(new Float32Array(QUANTUM));
    if (ring.ask()) asks.push(quantum);
  }
  expect(asks[0]).toBe(375);
});
