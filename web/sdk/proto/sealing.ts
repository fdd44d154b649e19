/**
 * How an account key travels through the authority without the authority holding it: sealed under a key from OPAQUE's export key, and
 * once more under one from the recovery code (docs/protocol.md, section 3.4).
 */

import { xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import { hkdf } from '@noble/hashes/hkdf.js';
import { sha256 } from '@noble/hashes/sha2.js';

import { concat, randomBytes, utf8 } from './bytes.ts';
import { KEY_LENGTH } from './ed25519.ts';
import { idBytes } from './ids.ts';

const SEAL_NONCE_LENGTH = 24;
const TAG_LENGTH = 16;
export const SEALED_ACCOUNT_KEY_LENGTH = SEAL_NONCE_LENGTH + KEY_LENGTH + TAG_LENGTH;

/** 160 random bits: nothing has to slow a guess down. */
export const RECOVERY_CODE_LENGTH = 20;

/** HKDF with SHA-256, no salt, 32 bytes. */
export function derive(secret: Uint8Array, info: string): Uint8Array {
  return hkdf(sha256, secret, undefined, utf8(info), KEY_LENGTH);
}

/** The key that the account key is sealed under, from OPAQUE's export key. */
export function passwordSealingKey(exportKey: Uint8Array): Uint8Array {
  return derive(exportKey, 'ahoy/1 account key');
}

/** The same from a recovery code. */
export function recoverySealingKey(code: Uint8Array): Uint8Array {
  return derive(code, 'ahoy/1 recovery key');
}

/** What the authority is shown to recover. */
export function recoverySecret(code: Uint8Array): Uint8Array {
  return derive(code, 'ahoy/1 recovery secret');
}

/** What the authority keeps of it. */
export function recoveryVerifier(code: Uint8Array): Uint8Array {
  return sha256(recoverySecret(code));
}

/** `nonce` is given by tests only. */
export function sealAccountKey(secret: Uint8Array, account: string, key: Uint8Array, nonce = randomBytes(SEAL_NONCE_LENGTH)): Uint8Array<ArrayBuffer> {
  return concat(nonce, xchacha20poly1305(key, nonce, idBytes(account)).encrypt(secret));
}

/** The 32 secret bytes, `null` where they were not sealed with this key for this account. */
export function openAccountKey(sealed: Uint8Array, account: string, key: Uint8Array): Uint8Array | null {
  if (sealed.length !== SEALED_ACCOUNT_KEY_LENGTH) return null;
  const nonce = sealed.subarray(0, SEAL_NONCE_LENGTH);
  try {
    return xchacha20poly1305(key, nonce, idBytes(account)).decrypt(sealed.subarray(SEAL_NONCE_LENGTH));
  } catch {
    return null;
  }
}

/** Crockford's base32. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** A recovery code as it is shown: groups of four. */
export function recoveryCodeText(code: Uint8Array): string {
  let bits = '';
  for (const byte of code) bits += byte.toString(2).padStart(8, '0');
  const letters = bits.match(/.{5}/g)?.map((digit) => ALPHABET.charAt(Number.parseInt(digit, 2))) ?? [];
  return letters.join('').match(/.{4}/g)?.join('-') ?? '';
}

/** Reads a code as people type it: hyphens, spaces and case don't matter, I and L are 1, O is 0. `null` where it is none. */
export function parseRecoveryCode(text: string): Uint8Array<ArrayBuffer> | null {
  const letters = text.trim().toUpperCase().replace(/[- ]/g, '').replace(/[IL]/g, '1').replaceAll('O', '0');
  if (letters.length !== (RECOVERY_CODE_LENGTH * 8) / 5) return null;
  let bits = '';
  for (const letter of letters) {
    const digit = ALPHABET.indexOf(letter);
    if (digit < 0) return null;
    bits += digit.toString(2).padStart(5, '0');
  }
  return Uint8Array.from({ length: RECOVERY_CODE_LENGTH }, (_, index) => Number.parseInt(bits.slice(8 * index, 8 * index + 8), 2));
}
