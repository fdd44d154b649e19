/** The golden bytes in `vectors/voice.json` come out of the same inputs, and are read back. */

import { describe, expect, test } from 'vitest';

import { fromHex, golden } from '../sdk/proto/golden.ts';
import { hex } from '../sdk/proto/bytes.ts';
import { encodePayload, parsePayload, PAYLOAD_BYTES, PAYLOAD_BYTES_MAX } from './payload.ts';
import { makeRepairs, Repairer } from './repair.ts';

interface Stream {
  frames: string[];
  payloads: string[];
  lost: number[];
  repaired: { by: number; timestamp: number }[];
}

const { first_timestamp: first, streams } = golden<{ first_timestamp: number; streams: Stream[] }>('voice');

describe.each(streams.map((stream) => [stream.frames[0]?.length ?? 0, stream] as const))('the golden stream of %d hex digits a frame', (_, stream) => {
  const frames = stream.frames.map(fromHex);
  const payloads = stream.payloads.map(fromHex);

  test('is read as it was meant', () => {
    for (const [at, bytes] of payloads.entries()) {
      const payload = parsePayload(bytes);
      expect(bytes.length).toBe(PAYLOAD_BYTES);
      expect(payload?.timestamp).toBe((first + at) & 0xffff);
      expect(payload?.primary).toEqual(frames[at]);
    }
  });

  test('is made anew to the bit', () => {
    for (const [at, bytes] of payloads.entries()) {
      const payload = parsePayload(bytes);
      if (payload === null) throw new Error('no payload');
      const earlier = [1, 2, 3, 4].filter((distance) => distance <= at);
      const repaired = earlier.map((distance) => ({ number: (first + at - distance) & 0xffff, frame: frames[at - distance] ?? new Uint8Array() }));
      const repairs = makeRepairs(payload.timestamp, repaired, at === 0 ? 0 : payload.repairs.length);
      expect(hex(encodePayload({ ...payload, repairs }))).toBe(stream.payloads[at]);
    }
  });

  test('gives back what is lost, by the payloads that are stated', () => {
    const repairer = new Repairer();
    const repaired: { by: number; timestamp: number }[] = [];
    for (const [at, bytes] of payloads.entries()) {
      const payload = parsePayload(bytes);
      if (payload === null || stream.lost.includes(payload.timestamp)) continue;
      for (const { number, frame } of repairer.handle(first + at, payload.primary, payload.window ?? { near: 1, far: 4 }, payload.repairs)) {
        expect(frame).toEqual(frames[number - first]);
        repaired.push({ by: payload.timestamp, timestamp: number & 0xffff });
      }
    }
    expect(repaired).toEqual(stream.repaired);
    expect(repaired.length).toBe(stream.lost.length);
  });
});

describe('bytes that are no payload', () => {
  test.each([
    ['nothing', []],
    ['another version', [0b0010_0000, 0, 0, 0]],
    ['a primary cut short', [0, 0, 0, 5, 1, 2]],
    ['too many repairs', [5, 0, 0, 0x11, 0]],
    ['a window that ends before it begins', [1, 0, 0, 0x21, 0]],
    ['a window that holds the frame itself', [1, 0, 0, 0x01, 0]],
    ['repairs cut short', [1, 0, 0, 0x14, 2, 1, 1]],
    ['a report cut short', [0b0001_0000, 0, 0, 1, 2]],
  ])('are refused: %s', (_, bytes) => {
    expect(parsePayload(Uint8Array.from(bytes))).toBeNull();
  });

  test('are refused: longer than a datagram', () => {
    expect(parsePayload(new Uint8Array(PAYLOAD_BYTES_MAX))).not.toBeNull();
    expect(parsePayload(new Uint8Array(PAYLOAD_BYTES_MAX + 1))).toBeNull();
  });
});

test('a bit that we send 0 is ignored', () => {
  expect(parsePayload(Uint8Array.of(0b0000_1000, 1, 2, 1, 9))).toMatchObject({ timestamp: 258, primary: Uint8Array.of(9), repairs: [] });
});
