/** What a device signs: session proofs (docs/protocol.md, section 5) and requests to the authority (section 3.3). */

import { concat, label, u64, utf8 } from './bytes.ts';
import { idBytes } from './ids.ts';

/** The nonce of a challenge, in bytes. */
export const NONCE_LENGTH = 32;

/** The input of `Prove.signature`. `exporter`: of the TLS session; empty on links of browsers, which can't export from TLS. */
export function proofInput(network: string, supernode: string, nonce: Uint8Array, exporter: Uint8Array = new Uint8Array(0)): Uint8Array {
  return concat(label('ahoy/1 session proof'), idBytes(network), idBytes(supernode), nonce, exporter);
}

/** What a device asks of the authority with its key alone. */
export type DeviceVerb =
  | { verb: 'renew' }
  | { verb: 'revoke' }
  | { verb: 'revoke-device'; target: string }
  | { verb: 'rename-device'; target: string; name: string };

const VERBS = { renew: 1, revoke: 2, 'revoke-device': 3, 'rename-device': 4 } as const;

/** The input of a device request's signature. `time`: seconds since the Unix epoch, by the device's clock. */
export function deviceRequestInput(verb: DeviceVerb, network: string, device: string, time: number): Uint8Array {
  const target = 'target' in verb ? idBytes(verb.target) : new Uint8Array(0);
  const name = 'name' in verb ? utf8(verb.name) : new Uint8Array(0);
  const head = concat(label('ahoy/1 device request'), Uint8Array.of(VERBS[verb.verb]));
  return concat(head, idBytes(network), idBytes(device), u64(time), target, name);
}
