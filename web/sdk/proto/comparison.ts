/** The comparison code: 60 digits by which two people make sure of each other's account keys (docs/protocol.md, section 2.4). */

import { sha512 } from '@noble/hashes/sha2.js';

import { concat, label } from './bytes.ts';
import { idBytes } from './ids.ts';

/** Hashes of one side: a look-alike key costs as many for each guess. */
const ROUNDS = 5_200;

const GROUPS = 6;

/** An account and the key that is taken to be its. */
export interface ComparedKey {
  account: string;
  accountKey: Uint8Array;
}

/** 12 groups of 5 digits, the same on both sides. Takes a tenth of a second. */
export function comparisonCode(a: ComparedKey, b: ComparedKey): string {
  // Groups have one length, so the order of the texts is that of the lists.
  return [side(a), side(b)].sort().join(' ');
}

function side({ account, accountKey }: ComparedKey): string {
  let hash = sha512(concat(label('ahoy/1 comparison code'), idBytes(account), accountKey));
  for (let round = 1; round < ROUNDS; round += 1) hash = sha512(concat(hash, accountKey));
  return Array.from({ length: GROUPS }, (_, group) => digits(hash.subarray(5 * group, 5 * group + 5))).join(' ');
}

/** 5 bytes are at most 2⁴⁰, which a number holds exactly. */
function digits(bytes: Uint8Array): string {
  const number = bytes.reduce((value, byte) => value * 256 + byte, 0);
  return String(number % 100_000).padStart(5, '0');
}
