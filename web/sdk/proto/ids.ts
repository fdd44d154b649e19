/** Ids: 16 bytes, at the API 32 lower-case hexadecimal digits (docs/protocol.md, section 1). */

import { sha256 } from '@noble/hashes/sha2.js';

import { hex, randomBytes, unhex } from './bytes.ts';

/** Length of an id, in bytes. */
export const ID_LENGTH = 16;

const ID = /^[0-9a-f]{32}$/;

export function isId(text: unknown): text is string {
  return typeof text === 'string' && ID.test(text);
}

/** The bytes of an id. Throws where the text is none: ids of others are checked when they come in. */
export function idBytes(id: string): Uint8Array<ArrayBuffer> {
  const bytes = unhex(id);
  if (bytes?.length !== ID_LENGTH) throw new TypeError('an id is 32 lower-case hexadecimal digits');
  return bytes;
}

/** The id of these bytes, `null` where there are not 16. */
export function idOf(bytes: Uint8Array): string | null {
  return bytes.length === ID_LENGTH ? hex(bytes) : null;
}

export function randomId(): string {
  return hex(randomBytes(ID_LENGTH));
}

/** The id that a public key gives to its network or supernode: the first 16 bytes of its SHA-256. */
export function fingerprint(publicKey: Uint8Array): string {
  return hex(sha256(publicKey).subarray(0, ID_LENGTH));
}
