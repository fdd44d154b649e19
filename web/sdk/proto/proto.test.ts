import { create, fromBinary } from '@bufbuild/protobuf';
import { ed25519 } from '@noble/curves/ed25519.js';
import { describe, expect, test, vi } from 'vitest';

import { base64url, compareBytes, equalBytes, hex, unbase64url, unhex, utf8 } from './bytes.ts';
import { deviceKeyOf, makeDeviceKey } from './device-key.ts';
import { publicKeyOf, randomSecret, signWith, verifySignature } from './ed25519.ts';
import { Assembler, Deframer, encodeClientMessage, encodeSupernodeMessage, frame, FrameError, SupernodeReader } from './frame.ts';
import { fromHex } from './golden.ts';
import { LARGE_MESSAGE_MAX, MESSAGE_MAX } from './limits.ts';
import { ClientMessageSchema, SupernodeMessageSchema } from './messages.ts';
import { foldName, isName, nameFault } from './name.ts';
import { cost, rank } from './placement.ts';
import { parseRecoveryCode, recoveryCodeText } from './sealing.ts';

describe('bytes as text', () => {
  test('there is one text for given bytes, and what is no such text is told', () => {
    for (const length of [0, 1, 2, 3, 4, 31, 20_000]) {
      const bytes = new Uint8Array(length).map((_, index) => (index * 37) & 0xff);
      expect(unbase64url(base64url(bytes))).toEqual(bytes);
      expect(unhex(hex(bytes))).toEqual(bytes);
    }
    for (const text of ['A', 'AB', 'AA==', 'A+8', 'ab cd', 'AAAAA']) expect(unbase64url(text), text).toBeNull();
    for (const text of ['a', 'AB', 'zz', '0 ']) expect(unhex(text), text).toBeNull();
  });

  test('bytes are ordered as numbers, beginnings first', () => {
    const order = [[], [0], [0, 1], [1], [255]].map((bytes) => Uint8Array.from(bytes));
    expect([...order].reverse().sort(compareBytes)).toEqual(order);
  });
});

describe('framing', () => {
  const messages = [0, 1, 127, 128, 300, 5_000].map((length) => new Uint8Array(length).fill(length & 0xff));
  const stream = messages.flatMap((message) => [...frame(message)]);

  test.each([1, 2, 3, 7, 64, 10_000])('messages come out whole however the stream is cut (%i)', (cut) => {
    const deframer = new Deframer();
    const seen: Uint8Array[] = [];
    for (let at = 0; at < stream.length; at += cut) {
      deframer.push(Uint8Array.from(stream.slice(at, at + cut)));
      for (let next = deframer.next(MESSAGE_MAX); next !== null; next = deframer.next(MESSAGE_MAX)) seen.push(next);
    }
    expect(seen).toEqual(messages);
  });

  test('a message over the limit is refused before it is there', () => {
    const deframer = new Deframer();
    deframer.push(frame(new Uint8Array(200)).subarray(0, 2));
    expect(() => deframer.next(199)).toThrow(FrameError);
  });

  test('a length without end is refused', () => {
    const deframer = new Deframer();
    deframer.push(fromHex('80808080'));
    expect(() => deframer.next(MESSAGE_MAX)).toThrow(FrameError);
  });

  test('a long message travels in fragments, each in a frame that the other side takes', () => {
    const groupInfo = new Uint8Array(1_000_000).map((_, index) => index & 0xff);
    const message = create(ClientMessageSchema, { request: 3n, body: { case: 'commit', value: { groupInfo } } });
    const deframer = new Deframer();
    deframer.push(encodeClientMessage(message));
    const assembler = new Assembler();
    let whole: Uint8Array | null = null;
    for (let next = deframer.next(MESSAGE_MAX); next !== null; next = deframer.next(MESSAGE_MAX)) {
      const { request, body } = fromBinary(ClientMessageSchema, next);
      if (body.case !== 'fragment') throw new Error('there is nothing but fragments');
      expect(request).toBe(0n);
      whole = assembler.push(body.value.piece, body.value.last);
    }
    const { request, body } = fromBinary(ClientMessageSchema, whole ?? new Uint8Array(0));
    if (body.case !== 'commit') throw new Error('a commit was sent');
    expect(request).toBe(3n);
    expect(equalBytes(body.value.groupInfo, groupInfo)).toBe(true);
    expect(assembler.held).toBe(0);
  });

  test('a message that is longer than any may be is not sent', () => {
    const groupInfo = new Uint8Array(LARGE_MESSAGE_MAX);
    const message = create(ClientMessageSchema, { request: 3n, body: { case: 'commit', value: { groupInfo } } });
    expect(() => encodeClientMessage(message)).toThrow(RangeError);
  });

  test('a message put together from fragments is read between others', () => {
    const long = create(SupernodeMessageSchema, { inReplyTo: 5n, body: { case: 'groupInfo', value: { groupInfo: new Uint8Array(200_000) } } });
    const short = create(SupernodeMessageSchema, { inReplyTo: 6n, body: { case: 'done', value: {} } });
    const bytes = encodeSupernodeMessage(long);
    const deframer = new Deframer();
    deframer.push(bytes);
    const firstLength = frame(deframer.next(MESSAGE_MAX) ?? new Uint8Array(0)).length;
    expect(firstLength).toBeLessThan(bytes.length / 2);
    const reader = new SupernodeReader();
    reader.push(bytes.subarray(0, firstLength));
    reader.push(encodeSupernodeMessage(short));
    reader.push(bytes.subarray(firstLength));
    expect([reader.next(), reader.next(), reader.next()]).toEqual([short, long, null]);
  });

  test('fragments that are empty, endless or within each other are refused', () => {
    expect(() => new Assembler().push(new Uint8Array(0), true)).toThrow(FrameError);
    const assembler = new Assembler();
    assembler.push(new Uint8Array(LARGE_MESSAGE_MAX), false);
    expect(() => assembler.push(new Uint8Array(1), true)).toThrow(FrameError);
    expect(assembler.held).toBe(0);
    const inner = create(SupernodeMessageSchema, { body: { case: 'fragment', value: { piece: Uint8Array.of(1), last: true } } });
    const piece = encodeSupernodeMessage(inner).subarray(1);
    const reader = new SupernodeReader();
    reader.push(encodeSupernodeMessage(create(SupernodeMessageSchema, { body: { case: 'fragment', value: { piece, last: true } } })));
    expect(() => reader.next()).toThrow(FrameError);
  });

  test('noise is a frame error and nothing else', () => {
    for (let seed = 1; seed < 200; seed += 1) {
      const reader = new SupernodeReader();
      reader.push(new Uint8Array(40).map((_, index) => (seed * (index + 7) * 2_654_435_761) >>> 24));
      try {
        while (reader.next() !== null);
      } catch (error) {
        expect(error).toBeInstanceOf(FrameError);
      }
    }
  });
});

describe('Ed25519', () => {
  const secret = new Uint8Array(32).fill(1);
  const message = utf8('message');

  test('a signature is of one key and one message', () => {
    const signature = signWith(secret, message);
    expect(verifySignature(signature, message, publicKeyOf(secret))).toBe(true);
    expect(verifySignature(signature, utf8('massage'), publicKeyOf(secret))).toBe(false);
    expect(verifySignature(signature, message, publicKeyOf(randomSecret()))).toBe(false);
    expect(verifySignature(signature.subarray(1), message, publicKeyOf(secret))).toBe(false);
  });

  test('a signature whose scalar is not reduced is refused', () => {
    const signature = signWith(secret, message);
    const raised = signature.slice();
    let carry = 0;
    const order = fromHex('edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010');
    for (let at = 0; at < 32; at += 1) {
      const sum = (raised[32 + at] ?? 0) + (order[at] ?? 0) + carry;
      raised[32 + at] = sum & 0xff;
      carry = sum >> 8;
    }
    expect(carry).toBe(0);
    expect(verifySignature(raised, message, publicKeyOf(secret))).toBe(false);
  });

  test('keys of small order sign nothing', () => {
    // The neutral element and the point of order 2, with the signature that satisfies the equation for the first.
    const neutral = fromHex('01' + '00'.repeat(31));
    const signature = new Uint8Array(64);
    signature.set(neutral);
    expect(ed25519.verify(signature, message, neutral, { zip215: true })).toBe(true);
    expect(verifySignature(signature, message, neutral)).toBe(false);
    expect(verifySignature(signature, message, fromHex('ec' + 'ff'.repeat(30) + '7f'))).toBe(false);
  });

  test('a device key of the platform and one of ours sign alike, and survive being kept', async () => {
    const platform = await makeDeviceKey();
    expect(platform.kept.kind).toBe('platform');
    for (const key of [platform, deviceKeyOf({ kind: 'secret', secret }), deviceKeyOf(structuredClone(platform.kept))]) {
      expect(verifySignature(await key.sign(message), message, key.publicKey)).toBe(true);
    }
  });

  test('where the platform has no Ed25519 the device has a key all the same', async () => {
    using _ = vi.spyOn(crypto.subtle, 'generateKey').mockRejectedValue(new DOMException('no', 'NotSupportedError'));
    const key = await makeDeviceKey();
    expect(key.kept.kind).toBe('secret');
    expect(verifySignature(await key.sign(message), message, key.publicKey)).toBe(true);
  });
});

test('a recovery code is read as people type it, and nothing else is', () => {
  const code = new Uint8Array(20).fill(8);
  const text = recoveryCodeText(code);
  expect(text).toMatch(/^(?:[0-9A-Z]{4}-){7}[0-9A-Z]{4}$/);
  for (const typed of [text.toLowerCase(), text.replaceAll('-', ' '), ` ${text} `, text.replaceAll('0', 'o').replaceAll('1', 'l')]) {
    expect(parseRecoveryCode(typed), typed).toEqual(code);
  }
  for (const typed of ['', text.slice(1), `${text}0`, text.replace('0', 'U')]) expect(parseRecoveryCode(typed), typed).toBeNull();
});

test('names keep to their rules', () => {
  for (const name of ['abc', 'a.b', 'a-b_c.d', 'x'.repeat(32), '007']) expect(isName(name), name).toBe(true);
  expect(['ab', 'x'.repeat(33)].map(nameFault)).toEqual(['length', 'length']);
  expect(['a b', 'müller', 'a\nb'].map(nameFault)).toEqual(['alphabet', 'alphabet', 'alphabet']);
  expect(['.ab', 'ab-', 'a..b', 'a._b'].map(nameFault)).toEqual(['separator', 'separator', 'separator', 'separator']);
  expect(nameFault('Alice')).toBeNull();
  expect(isName('Alice')).toBe(false);
  expect(foldName('AlİCE')).toBe('alİce');
});

describe('placement', () => {
  test('a cost is the logarithm rounded up', () => {
    expect(cost(0n)).toBe(64n << 24n);
    expect(cost(1n << 63n)).toBe(1n << 24n);
    expect(cost((1n << 64n) - 1n)).toBe(1n);
  });

  test('when one goes, only its keys move', () => {
    const fleet = [1, 2, 3, 4].map((number) => ({ supernode: String(number).repeat(32), weight: 100 * number }));
    for (let number = 0; number < 200; number += 1) {
      const key = number.toString(16).padStart(32, '7');
      const [best, ...others] = rank(key, fleet);
      expect(rank(key, fleet.filter((candidate) => candidate !== best))).toEqual(others);
    }
  });
});
