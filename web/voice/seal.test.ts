/** SFrame against RFC 9605, and what a relay or a stranger can do to a packet. */

import { expect, test } from 'vitest';

import { hex, utf8 } from '../sdk/proto/bytes.ts';
import { fromHex } from '../sdk/proto/golden.ts';
import { Opener, Sealer } from './seal.ts';

const KEY = new Uint8Array(16).fill(7);
const BASE_KEY = Uint8Array.from({ length: 16 }, (_, at) => at);

async function sealed(sealer: Sealer, payload: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const datagram = await sealer.seal(payload);
  if (datagram === null) throw new Error('not sealed');
  return datagram;
}

test('the vector of RFC 9605, appendix C.3, AES_128_GCM_SHA256_128, comes out', async () => {
  const metadata = fromHex('4945544620534672616d65205747');
  const sealer = new Sealer(BASE_KEY, 0n, { keyId: 0x123, counter: 0x4567, metadata });
  const datagram = await sealed(sealer, utf8('draft-ietf-sframe-enc'));
  expect(hex(datagram.subarray(0, metadata.length))).toBe(hex(metadata));
  expect(hex(datagram.subarray(metadata.length))).toBe(
    '9901234567b7412c2513a1b66dbb48841bbaf17f598751176ad847681a69c6d0b091c07018ce4adb34eb',
  );
});

test('what is sealed opens once, in any order', async () => {
  const [sealer, opener] = [new Sealer(KEY, 77n), new Opener(KEY, 77n)];
  const datagrams = await Promise.all([0, 1, 2, 3, 4].map((value) => sealed(sealer, new Uint8Array(104).fill(value))));
  for (const at of [1, 0, 4, 2, 3]) expect((await opener.open(datagrams[at] ?? new Uint8Array()))?.[0]).toBe(at);
  for (const datagram of datagrams) expect(await opener.open(datagram)).toBeNull();
});

test('of two copies that are opened at once only one opens', async () => {
  const datagram = await sealed(new Sealer(KEY, 77n), new Uint8Array(104));
  const opener = new Opener(KEY, 77n);
  const opened = await Promise.all([opener.open(datagram), opener.open(datagram)]);
  expect(opened.filter((payload) => payload !== null)).toHaveLength(1);
});

test('a packet 1,023 behind the newest opens, one farther behind does not', async () => {
  const [sealer, opener] = [new Sealer(KEY, 77n), new Opener(KEY, 77n)];
  const older = await sealed(sealer, Uint8Array.of(1));
  const old = await sealed(sealer, Uint8Array.of(2));
  for (let packet = 2; packet < 1_024; packet += 1) await sealer.seal(Uint8Array.of(3));
  await opener.open(await sealed(sealer, Uint8Array.of(3)));
  expect(await opener.open(old)).toEqual(Uint8Array.of(2));
  expect(await opener.open(older)).toBeNull();
});

test('no byte of a packet can be changed', async () => {
  const datagram = await sealed(new Sealer(KEY, 77n), new Uint8Array(104).fill(9));
  const opener = new Opener(KEY, 77n);
  for (let at = 0; at < datagram.length; at += 1) {
    const changed = datagram.slice();
    changed[at] = (changed[at] ?? 0) ^ 1;
    expect(await opener.open(changed)).toBeNull();
  }
  expect(await opener.open(datagram)).not.toBeNull();
});

test('another flow, another key and noise are refused', async () => {
  const datagram = await sealed(new Sealer(KEY, 77n), new Uint8Array(104));
  expect(await new Opener(KEY, 78n).open(datagram)).toBeNull();
  expect(await new Opener(BASE_KEY, 77n).open(datagram)).toBeNull();
  for (let length = 0; length < 40; length += 1) expect(await new Opener(KEY, 77n).open(datagram.slice(0, length))).toBeNull();
});

test('a forged packet does not move the window', async () => {
  const opener = new Opener(KEY, 77n);
  const first = await sealed(new Sealer(KEY, 77n), Uint8Array.of(1));
  const forged = await sealed(new Sealer(BASE_KEY, 77n, { counter: 1_000_000 }), Uint8Array.of(2));
  expect(await opener.open(forged)).toBeNull();
  expect(await opener.open(first)).toEqual(Uint8Array.of(1));
});

test('the counter ends rather than begin anew', async () => {
  const sealer = new Sealer(KEY, 1n, { counter: 2 ** 32 - 1 });
  const last = await sealed(sealer, Uint8Array.of(1));
  expect(await new Opener(KEY, 1n).open(last)).toEqual(Uint8Array.of(1));
  expect(await sealer.seal(Uint8Array.of(2))).toBeNull();
});
