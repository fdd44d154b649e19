/** Reads the golden bytes in `vectors/`; for tests. */

import { readFileSync } from 'node:fs';

import { unhex } from './bytes.ts';

/** A file of `vectors/`, as its test knows it to be. */
export function golden<T>(name: string): T {
  const file = new URL(`../../../vectors/${name}.json`, import.meta.url);
  return JSON.parse(readFileSync(file, 'utf8')) as T;
}

/** Bytes that a test is sure of. */
export function fromHex(text: string): Uint8Array<ArrayBuffer> {
  const bytes = unhex(text);
  if (bytes === null) throw new TypeError('no hexadecimal digits');
  return bytes;
}
