/** The request key of an account: what a stranger seals the note of a contact request to (docs/protocol.md, section 2.3). */

import { x25519 } from '@noble/curves/ed25519.js';

import { concat, label } from './bytes.ts';
import { KEY_LENGTH, signWith, verifySignature } from './ed25519.ts';
import { idBytes } from './ids.ts';
import { derive } from './sealing.ts';

/** Length of a published request key: the key and a signature. */
export const REQUEST_KEY_LENGTH = KEY_LENGTH + 64;

/** What every device of the account keeps: 32 bytes of X25519. */
export function requestSecretOf(accountSecret: Uint8Array): Uint8Array {
  return derive(accountSecret, 'ahoy/1 request key');
}

/** What is published: 96 bytes. */
export function publishRequestKey(account: string, accountSecret: Uint8Array): Uint8Array<ArrayBuffer> {
  const publicKey = x25519.getPublicKey(requestSecretOf(accountSecret));
  return concat(publicKey, signWith(accountSecret, input(account, publicKey)));
}

/** The X25519 public key of what was published, `null` where its signature is not the account key's. */
export function verifyRequestKey(published: Uint8Array, account: string, accountKey: Uint8Array): Uint8Array | null {
  if (published.length !== REQUEST_KEY_LENGTH) return null;
  const publicKey = published.subarray(0, KEY_LENGTH);
  return verifySignature(published.subarray(KEY_LENGTH), input(account, publicKey), accountKey) ? publicKey : null;
}

function input(account: string, publicKey: Uint8Array): Uint8Array {
  return concat(label('ahoy/1 request key'), idBytes(account), publicKey);
}
