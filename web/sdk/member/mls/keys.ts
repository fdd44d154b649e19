/**
 * Keys that come from an epoch's voice secret: of voice legs, and of what is sealed beside the ratchet (docs/protocol.md, sections 7.5
 * and 8.3).
 */

import { xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import { expand } from '@noble/hashes/hkdf.js';
import { sha256 } from '@noble/hashes/sha2.js';

import { concat, u64, utf8 } from '../../proto/bytes.ts';
import { idBytes } from '../../proto/ids.ts';
import { SIGNAL_SEALED_MAX } from '../../proto/limits.ts';

const NONCE_LENGTH = 24;
const EPOCH_LENGTH = 8;
const SIGNAL_LABEL = utf8('ahoy/1 signal');

/** What is sealed beside the ratchet. */
export const RECEIPT = 1;
export const SIGNAL = 2;

/** The SFrame `base_key` of a leg: 16 bytes. */
export function voiceKey(voiceSecret: Uint8Array, call: string, leg: string): Uint8Array {
  return expand(sha256, voiceSecret, concat(idBytes(call), idBytes(leg)), 16);
}

/** What binds a receipt or signal to its place. */
export interface Beside {
  kind: typeof RECEIPT | typeof SIGNAL;
  conversation: string;
  /** The device that sends it. */
  device: string;
}

function signalKey(voiceSecret: Uint8Array, device: string): Uint8Array {
  return expand(sha256, voiceSecret, concat(SIGNAL_LABEL, idBytes(device)), 32);
}

function aadOf({ kind, conversation, device }: Beside): Uint8Array {
  return concat(Uint8Array.of(kind), idBytes(conversation), idBytes(device));
}

/** `nonce`: 24 random bytes. */
export function sealBeside(plain: Uint8Array, beside: Beside, epoch: number, voiceSecret: Uint8Array, nonce: Uint8Array): Uint8Array<ArrayBuffer> {
  const cipher = xchacha20poly1305(signalKey(voiceSecret, beside.device), nonce, aadOf(beside));
  return concat(u64(epoch), nonce, cipher.encrypt(plain));
}

/** `null` where it does not open; `secretOf` gives the voice secret of an epoch that is not too long ago. */
export function openBeside(sealed: Uint8Array, beside: Beside, secretOf: (epoch: number) => Uint8Array | null): Uint8Array | null {
  if (sealed.length > SIGNAL_SEALED_MAX || sealed.length < EPOCH_LENGTH + NONCE_LENGTH) return null;
  const epoch = Number(new DataView(sealed.buffer, sealed.byteOffset).getBigUint64(0));
  const secret = secretOf(epoch);
  if (secret === null) return null;
  const nonce = sealed.subarray(EPOCH_LENGTH, EPOCH_LENGTH + NONCE_LENGTH);
  try {
    return xchacha20poly1305(signalKey(secret, beside.device), nonce, aadOf(beside)).decrypt(sealed.subarray(EPOCH_LENGTH + NONCE_LENGTH));
  } catch {
    return null;
  }
}
