/**
 * Voice packets, sealed: SFrame (RFC 9605, AES_128_GCM_SHA256_128) behind the flow id, which is authenticated as metadata.
 *
 * Invariant: a {@link Sealer} owns its counter, so no counter value is used twice under one key; an {@link Opener} gives each packet once.
 */

import { concat, utf8 } from '../sdk/proto/bytes.ts';
import { decodeFlow, encodeFlow } from '../sdk/proto/flow.ts';
import { DATAGRAM_MAX } from '../sdk/proto/limits.ts';

/** AES_128_GCM_SHA256_128. */
const SUITE = 4;

const KEY_BYTES = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Every leg has a key of its own, so none needs a name. */
const KEY_ID = 0;

/** Packets that may arrive behind the newest: 20 s of voice, beyond any path's reordering; docs/protocol.md asks for at least 512. */
const REPLAY_WINDOW = 1_024;

/** Packets of one leg: 2^32 are 2.7 years, and below the 2^34.5 that AES-GCM allows one key. */
const COUNTER_END = 2 ** 32;

/** What the SFrame's nonces and its cipher are made of. */
interface Keys {
  key: CryptoKey;
  salt: Uint8Array;
}

/** Seals what this device says, on one leg. */
export class Sealer {
  readonly #keys: Promise<Keys>;
  readonly #metadata: Uint8Array<ArrayBuffer>;
  readonly #keyId: number;
  #counter: number;

  /** `baseKey`: 16 bytes. Key id, counter and metadata are other than ours only in the vectors of RFC 9605. */
  constructor(baseKey: Uint8Array, flow: bigint, { keyId = KEY_ID, counter = 0, metadata = encodeFlow(flow) } = {}) {
    this.#keys = deriveKeys(baseKey, keyId, 'encrypt');
    this.#keys.catch(() => undefined);
    this.#metadata = metadata;
    this.#keyId = keyId;
    this.#counter = counter;
  }

  /** The payload as a datagram; `null` once the counter is used up, or without a key. */
  async seal(payload: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer> | null> {
    if (this.#counter >= COUNTER_END) return null;
    const counter = this.#counter;
    this.#counter += 1;
    const header = encodeHeader(this.#keyId, counter);
    try {
      const { key, salt } = await this.#keys;
      const sealed = await crypto.subtle.encrypt(parameters(salt, counter, concat(header, this.#metadata)), key, payload);
      return concat(this.#metadata, header, new Uint8Array(sealed));
    } catch {
      return null;
    }
  }
}

/** Opens what another device says, on one leg. */
export class Opener {
  readonly flow: bigint;
  readonly #keys: Promise<Keys>;
  readonly #keyId: number;
  readonly #seen = new ReplayWindow();

  constructor(baseKey: Uint8Array, flow: bigint, { keyId = KEY_ID } = {}) {
    this.flow = flow;
    this.#keys = deriveKeys(baseKey, keyId, 'decrypt');
    this.#keys.catch(() => undefined);
    this.#keyId = keyId;
  }

  /** The payload in a datagram; `null` where it is of another flow, changed, forged, come before or too old. */
  async open(datagram: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer> | null> {
    const prefix = decodeFlow(datagram);
    if (prefix === null || prefix.flow !== this.flow || datagram.length > DATAGRAM_MAX) return null;
    const header = decodeHeader(datagram, prefix.length);
    if (header === null || header.keyId !== this.#keyId || !this.#seen.isNew(header.counter)) return null;
    if (datagram.length - header.end < TAG_BYTES) return null;
    const metadata = datagram.subarray(0, prefix.length);
    const aad = concat(datagram.subarray(prefix.length, header.end), metadata);
    try {
      const { key, salt } = await this.#keys;
      const opened = await crypto.subtle.decrypt(parameters(salt, header.counter, aad), key, datagram.subarray(header.end));
      // Only now is the counter known to be the sender's own; the same packet may have opened meanwhile.
      return this.#seen.take(header.counter) ? new Uint8Array(opened) : null;
    } catch {
      return null;
    }
  }
}

/** Which of the last {@link REPLAY_WINDOW} counters were taken. */
class ReplayWindow {
  /** The counter last taken at each place; a place's counters are {@link REPLAY_WINDOW} apart. */
  readonly #taken = new Float64Array(REPLAY_WINDOW).fill(-1);
  #newest = -1;

  isNew(counter: number): boolean {
    return counter > this.#newest - REPLAY_WINDOW && this.#taken[counter % REPLAY_WINDOW] !== counter;
  }

  /** Whether it was new; it no longer is. */
  take(counter: number): boolean {
    if (!this.isNew(counter)) return false;
    this.#taken[counter % REPLAY_WINDOW] = counter;
    this.#newest = Math.max(this.#newest, counter);
    return true;
  }
}

async function deriveKeys(baseKey: Uint8Array, keyId: number, usage: 'encrypt' | 'decrypt'): Promise<Keys> {
  const base = await crypto.subtle.importKey('raw', baseKey.slice(), 'HKDF', false, ['deriveBits']);
  const derive = async (label: string, length: number): Promise<Uint8Array<ArrayBuffer>> => {
    const info = concat(utf8(label), numberBytes(keyId, 8), numberBytes(SUITE, 2));
    const bits = await crypto.subtle.deriveBits({ name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(), info }, base, length * 8);
    return new Uint8Array(bits);
  };
  const [secret, salt] = await Promise.all([derive('SFrame 1.0 Secret key ', KEY_BYTES), derive('SFrame 1.0 Secret salt ', NONCE_BYTES)]);
  return { key: await crypto.subtle.importKey('raw', secret, 'AES-GCM', false, [usage]), salt };
}

function parameters(salt: Uint8Array, counter: number, additionalData: Uint8Array<ArrayBuffer>): AesGcmParams {
  const iv = numberBytes(counter, NONCE_BYTES);
  for (let at = 0; at < NONCE_BYTES; at += 1) iv[at] = (iv[at] ?? 0) ^ (salt[at] ?? 0);
  return { name: 'AES-GCM', iv, additionalData, tagLength: TAG_BYTES * 8 };
}

/** The header: X K K K Y C C C, then the key id and the counter where they are 8 or more. */
function encodeHeader(keyId: number, counter: number): Uint8Array<ArrayBuffer> {
  const [id, count] = [keyId, counter].map((value) => (value < 8 ? new Uint8Array() : numberBytes(value, bytesFor(value))));
  if (id === undefined || count === undefined) throw new TypeError('two numbers give two');
  const nibble = (value: number, bytes: Uint8Array): number => (bytes.length === 0 ? value : 8 | (bytes.length - 1));
  return concat(Uint8Array.of((nibble(keyId, id) << 4) | nibble(counter, count)), id, count);
}

/** `null` where the header is cut off or a number is above what a leg can have. */
function decodeHeader(bytes: Uint8Array, start: number): { keyId: number; counter: number; end: number } | null {
  const config = bytes[start];
  if (config === undefined) return null;
  let end = start + 1;
  const numbers = [config >> 4, config & 15].map((nibble) => {
    if (nibble < 8) return nibble;
    const from = end;
    end += (nibble & 7) + 1;
    return bytes.subarray(from, end).reduce((value, octet) => value * 256 + octet, 0);
  });
  const [keyId, counter] = numbers;
  if (keyId === undefined || counter === undefined || end > bytes.length || counter >= COUNTER_END) return null;
  return { keyId, counter, end };
}

function bytesFor(value: number): number {
  let count = 1;
  while (value >= 256 ** count) count += 1;
  return count;
}

/** Big-endian. */
function numberBytes(value: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let rest = value;
  for (let at = length - 1; at >= 0 && rest > 0; at -= 1) {
    bytes[at] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return bytes;
}
