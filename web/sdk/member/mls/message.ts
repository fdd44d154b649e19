/** MLS messages as bytes: parsed to the end, or not at all. */

import { decodeMlsMessage, encodeMlsMessage, type MLSMessage } from 'ts-mls';

/** Why an operation failed; nothing has changed. */
export type MlsFault =
  /** Not an MLS message of the kind expected, or of another group or suite. */
  | 'malformed'
  /** Of an epoch that this device is not in yet. */
  | 'future'
  /** Does not open or verify: forged, replayed, from too long ago, or for somebody else. */
  | 'refused'
  /** A leaf without a valid binding. */
  | 'unbound'
  /** There is no state of the group. */
  | 'no-group';

export class MlsError extends Error {
  override readonly name = 'MlsError';
  constructor(readonly fault: MlsFault) {
    super(fault);
  }
}

/** Parses any MLS message; the whole of the bytes. */
export function parse(bytes: Uint8Array): MLSMessage {
  let parsed: [MLSMessage, number] | undefined;
  try {
    parsed = decodeMlsMessage(bytes, 0);
  } catch {
    throw new MlsError('malformed');
  }
  if (parsed === undefined || parsed[1] !== bytes.length) throw new MlsError('malformed');
  return parsed[0];
}

export function write(message: MLSMessage): Uint8Array {
  return encodeMlsMessage(message);
}

/** The epoch that a handshake or application message says it is of. */
export function epochOf(bytes: Uint8Array): number {
  const message = parse(bytes);
  if (message.wireformat === 'mls_private_message') return Number(message.privateMessage.epoch);
  if (message.wireformat === 'mls_public_message') return Number(message.publicMessage.content.epoch);
  throw new MlsError('malformed');
}

/** Runs what ts-mls does with the bytes of others: whatever it throws is a refusal. */
export async function guarded<T>(operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    throw error instanceof MlsError ? error : new MlsError('refused');
  }
}
