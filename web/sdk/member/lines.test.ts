import { describe, expect, it, vi } from 'vitest';

import type { Line } from '../client.ts';
import { MemoryVault } from '../vault/memory.ts';
import { Changes } from './changes.ts';
import { Lines, readHistory, type NewLine } from './lines.ts';

const [CONVERSATION, ALICE, DEVICE] = ['c'.repeat(32), 'a'.repeat(32), 'd'.repeat(32)];

function text(number: number, sequence: number | null, words: string): NewLine {
  return { reference: { device: DEVICE, number }, account: ALICE, sequence, atMs: 1, body: { kind: 'text', text: words, replyTo: null } };
}

/** Changes lines, and tells how they are then. */
async function change(vault: MemoryVault, by: (lines: Lines) => Promise<unknown>): Promise<Line[]> {
  const changes = new Changes(vault);
  await by(new Lines(CONVERSATION, changes, () => undefined));
  await changes.commit();
  return readHistory(vault, CONVERSATION, null, 100);
}

it('a place in the log that is given twice takes nothing from the line that stands there', async () => {
  for (const sequence of [7, 2 ** 53 - 1]) {
    const vault = new MemoryVault();
    for (const number of [1, 2]) await change(vault, (lines) => lines.put(text(number, sequence, `${number}`)));
    await change(vault, (lines) => lines.put(text(3, null, '3')));
    const placed = await change(vault, (lines) => lines.place({ device: DEVICE, number: 3 }, sequence, 2));
    expect(placed.map(({ body }) => body)).toMatchObject([{ text: '1' }, { text: '2' }, { text: '3' }]);
    const found = await Promise.all(placed.map(({ reference }) => new Lines(CONVERSATION, new Changes(vault), () => undefined).find(reference)));
    expect(found).toEqual(placed);
  }
});

it('a place in the log that is given a hundred times is no slower for the last of them', async () => {
  const vault = new MemoryVault();
  const looks = vi.spyOn(vault, 'read');
  for (let number = 1; number <= 100; number += 1) {
    looks.mockClear();
    await change(vault, (lines) => lines.put(text(number, 7, `${number}`)));
    expect(looks.mock.calls.length).toBeLessThan(20);
  }
  const lines = await readHistory(vault, CONVERSATION, null, 100);
  expect(lines.map(({ reference }) => reference.number)).toEqual(Array.from({ length: 100 }, (_, index) => index + 1));
});

describe('one reference is one line', () => {
  it('and the first stays', async () => {
    const vault = new MemoryVault();
    await change(vault, (lines) => lines.put(text(1, 1, 'the first')));
    const first = await change(vault, (lines) => lines.react({ device: DEVICE, number: 1 }, ALICE, '👍', true));
    expect(await change(vault, async (lines) => expect(await lines.put(text(1, 2, 'in its place'))).toBe(false))).toEqual(first);
    expect(first).toHaveLength(1);
  });

  it('unless it was given up, and its number is given again', async () => {
    const vault = new MemoryVault();
    await change(vault, (lines) => lines.put(text(1, null, 'lost')));
    for (const sequence of [null, 3]) {
      await change(vault, (lines) => lines.fail({ device: DEVICE, number: 1 }, 2));
      const lines = await change(vault, (changed) => changed.put(text(1, sequence, 'again')));
      expect(lines).toMatchObject([{ sequence, failed: false, body: { text: 'again' } }]);
    }
  });
});
