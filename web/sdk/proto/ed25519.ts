/** Ed25519 (RFC 8032), verified by the strict rules; and the account key, which is used and forgotten. */

import { ed25519 } from '@noble/curves/ed25519.js';
import { sha512 } from '@noble/hashes/sha2.js';

import { concat, equalBytes, randomBytes } from './bytes.ts';

const { Point } = ed25519;

export const KEY_LENGTH = 32;
export const SIGNATURE_LENGTH = 64;

/**
 * Whether a signature is good: canonical encodings, no keys or nonces of small order, and the equation without the cofactor.
 * RFC 8032 leaves room for verifiers to differ; where members of a group did, the group would fall apart.
 */
export function verifySignature(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
  if (signature.length !== SIGNATURE_LENGTH || publicKey.length !== KEY_LENGTH) return false;
  const commitment = signature.subarray(0, KEY_LENGTH);
  const scalar = littleEndian(signature.subarray(KEY_LENGTH));
  if (scalar >= Point.Fn.ORDER) return false;
  try {
    const key = Point.fromBytes(publicKey, false);
    if (key.isSmallOrder() || Point.fromBytes(commitment, false).isSmallOrder()) return false;
    const challenge = littleEndian(sha512(concat(commitment, publicKey, message))) % Point.Fn.ORDER;
    const expected = Point.BASE.multiplyUnsafe(scalar).subtract(key.multiplyUnsafe(challenge));
    return equalBytes(expected.toBytes(), commitment);
  } catch {
    // Bytes that are no point.
    return false;
  }
}

function littleEndian(bytes: Uint8Array): bigint {
  let value = 0n;
  for (let index = bytes.length - 1; index >= 0; index -= 1) value = (value << 8n) | BigInt(bytes[index] ?? 0);
  return value;
}

/** A secret of 32 random bytes. */
export function randomSecret(): Uint8Array<ArrayBuffer> {
  return randomBytes(KEY_LENGTH);
}

export function publicKeyOf(secret: Uint8Array): Uint8Array {
  return ed25519.getPublicKey(secret);
}

export function signWith(secret: Uint8Array, message: Uint8Array): Uint8Array {
  return ed25519.sign(message, secret);
}
