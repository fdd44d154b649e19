/** Who is signed in on this device: all that a session needs, and nothing that opens the account. */

import type { Network } from '../account/network.ts';
import { base64url, unbase64url, unutf8, utf8 } from '../proto/bytes.ts';
import type { DeviceKey } from '../proto/device-key.ts';

export interface Identity {
  network: Network;
  account: string;
  /** Of the account. */
  name: string;
  /** 32 bytes, public. */
  accountKey: Uint8Array;
  device: string;
  deviceKey: DeviceKey;
  /** An encoded `Binding`: the identity of this device's MLS leaves. */
  binding: Uint8Array;
  /** 32 bytes: opens the notes of contact requests. */
  requestSecret: Uint8Array;
  /** An `ahoy-credential+jwt` document. */
  credential: string;
}

/** What of an identity is text; the device key is kept beside it. */
export type IdentityRecord = Omit<Identity, 'deviceKey'>;

const BYTES = '\u0001';

/** Bytes in JSON are text that begins with a character which no text of an identity begins with. */
export function encodeRecord(record: IdentityRecord): Uint8Array {
  const text = JSON.stringify(record, (_, value: unknown) => (value instanceof Uint8Array ? BYTES + base64url(value) : value));
  return utf8(text);
}

/** Reads what {@link encodeRecord} wrote, and this device sealed: its shape is not in doubt. */
export function decodeRecord(bytes: Uint8Array): IdentityRecord {
  const read = (_: string, value: unknown): unknown =>
    typeof value === 'string' && value.startsWith(BYTES) ? unbase64url(value.slice(BYTES.length)) : value;
  return JSON.parse(unutf8(bytes) ?? '', read) as IdentityRecord;
}
