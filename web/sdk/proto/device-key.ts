/**
 * A device's key: signs session proofs, device requests and the device's MLS leaves.
 *
 * Where the platform has Ed25519 the secret never leaves it: not even this device's own scripts can read it.
 */

import { concat } from './bytes.ts';
import { publicKeyOf, randomSecret, signWith } from './ed25519.ts';

/** What a database keeps of a device key; can be cloned, and stored in IndexedDB. */
export type KeptDeviceKey =
  | { kind: 'platform'; key: CryptoKey; publicKey: Uint8Array }
  /** 32 bytes. */
  | { kind: 'secret'; secret: Uint8Array };

export interface DeviceKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 64 bytes of Ed25519. */
  sign(bytes: Uint8Array): Promise<Uint8Array>;
  readonly kept: KeptDeviceKey;
}

/** A fresh key, of the platform's if it has any. */
export async function makeDeviceKey(): Promise<DeviceKey> {
  try {
    const pair = await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify']);
    if (!('privateKey' in pair)) throw new TypeError('Ed25519 keys come in pairs');
    const publicKey = new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey));
    return deviceKeyOf({ kind: 'platform', key: pair.privateKey, publicKey });
  } catch {
    // Browsers from before 2025.
    return deviceKeyOf({ kind: 'secret', secret: randomSecret() });
  }
}

export function deviceKeyOf(kept: KeptDeviceKey): DeviceKey {
  if (kept.kind === 'secret') {
    const publicKey = publicKeyOf(kept.secret);
    return { kept, publicKey, sign: (bytes) => Promise.resolve(signWith(kept.secret, bytes)) };
  }
  const sign = async (bytes: Uint8Array): Promise<Uint8Array> => new Uint8Array(await crypto.subtle.sign('Ed25519', kept.key, concat(bytes)));
  return { kept, publicKey: kept.publicKey, sign };
}
