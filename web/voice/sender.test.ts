/** How protection follows reports, and the lengths that result. */

import { expect, test } from 'vitest';

import { parsePayload } from './payload.ts';
import { primaryLength, Sender } from './sender.ts';
import { FakeEncoder } from './testing/fake-codec.ts';
import { voice } from './testing/line.ts';

test('protection rises at once and falls slowly', () => {
  const sender = new Sender(new FakeEncoder());
  const after = (expected: number, lost: number, runs: number): string => {
    sender.handleReport({ expected, lost, runs, jitterMs: 0 });
    return sender.protection;
  };
  expect(after(50, 0, 0)).toBe('cautious');
  expect(after(50, 10, 8)).toBe('cautious');
  expect(after(100, 0, 0)).toBe('light');
  expect(after(120, 2, 2)).toBe('close');
  expect(after(250, 60, 48)).toBe('dense');
  expect(after(250, 35, 30)).toBe('dense');
  expect(after(250, 25, 8)).toBe('spaced');
  expect(after(250, 25, 15)).toBe('spaced');
  expect(after(250, 3, 3)).toBe('close');
  expect(after(250, 2, 2)).toBe('light');
});

test('primaries are as long as the bit rates of docs/voice.md', () => {
  expect([1, 2, 3].map((count) => primaryLength(count) * 400)).toEqual([25_200, 18_800, 15_200]);
});

test('a window begins anew where the length changes', async () => {
  const sender = new Sender(new FakeEncoder());
  const next = async (): Promise<unknown> => {
    const payload = parsePayload((await sender.pushFrame(voice(0), null)) ?? new Uint8Array());
    return payload && [payload.primary.length, payload.repairs.length, payload.window?.far ?? 0];
  };
  const cautious = [await next(), await next(), await next(), await next(), await next(), await next()];
  expect(cautious).toEqual([[47, 0, 0], [47, 2, 1], [47, 2, 2], [47, 2, 3], [47, 2, 4], [47, 2, 4]]);
  sender.handleReport({ expected: 250, lost: 0, runs: 0, jitterMs: 0 });
  expect([await next(), await next()]).toEqual([[63, 0, 0], [63, 1, 1]]);
});

test('timestamps step on with time, sent or not', async () => {
  const sender = new Sender(new FakeEncoder());
  const timestamp = async (): Promise<number | undefined> =>
    parsePayload((await sender.pushFrame(voice(0), null)) ?? new Uint8Array())?.timestamp;
  expect(await timestamp()).toBe(0);
  sender.skip(65_534);
  expect([await timestamp(), await timestamp()]).toEqual([65_535, 0]);
});
