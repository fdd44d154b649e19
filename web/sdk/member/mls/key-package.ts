/** Key packages: by them others bring this device into groups while it is away. */

import { makeKeyPackageRef, verifyKeyPackage } from 'ts-mls/keyPackage.js';
import { verifyLeafNodeSignatureKeyPackage } from 'ts-mls/leafNode.js';
import { generateKeyPackageWithKey, type CiphersuiteImpl, type Extension, type KeyPackage, type PrivateKeyPackage } from 'ts-mls';

import { concat, equalBytes, hex } from '../../proto/bytes.ts';
import type { DeviceKey } from '../../proto/device-key.ts';
import { parse, write } from './message.ts';
import { NO_SECRET, SUITE } from './suite.ts';

/** What a device keeps of a key package until a Welcome to it comes. */
export interface KeyPackageSecrets {
  /** Its reference, hexadecimal. */
  reference: string;
  keyPackage: KeyPackage;
  privatePackage: PrivateKeyPackage;
  lastResort: boolean;
}

export interface MadeKeyPackage {
  /** As it travels. */
  bytes: Uint8Array;
  keyPackage: KeyPackage;
  secrets: KeyPackageSecrets;
}

/** Who makes it. */
interface Maker {
  suite: CiphersuiteImpl;
  key: DeviceKey;
  binding: Uint8Array;
}

/** Of IANA's registry of MLS extension types. */
const LAST_RESORT = 0x000a;

/** They end by use and by removal, not by a clock. */
const LIFETIME = { notBefore: 0n, notAfter: 0xffff_ffff_ffff_ffffn };

const SECRET_LENGTH = 32;

async function make({ suite, key, binding }: Maker, lastResort: boolean): Promise<MadeKeyPackage> {
  const extensions: Extension[] = lastResort ? [{ extensionType: LAST_RESORT, extensionData: new Uint8Array(0) }] : [];
  const { publicPackage, privatePackage } = await generateKeyPackageWithKey(
    { credentialType: 'basic', identity: binding },
    { versions: ['mls10'], ciphersuites: [SUITE], extensions: [], proposals: [], credentials: ['basic'] },
    LIFETIME,
    extensions,
    { signKey: NO_SECRET, publicKey: key.publicKey },
    suite,
  );
  const reference = hex(await makeKeyPackageRef(publicPackage, suite.hash));
  const bytes = write({ version: 'mls10', wireformat: 'mls_key_package', keyPackage: publicPackage });
  return { bytes, keyPackage: publicPackage, secrets: { reference, keyPackage: publicPackage, privatePackage, lastResort } };
}

async function verify(keyPackage: KeyPackage, { signature }: CiphersuiteImpl): Promise<boolean> {
  if (equalBytes(keyPackage.initKey, keyPackage.leafNode.hpkePublicKey)) return false;
  return (await verifyLeafNodeSignatureKeyPackage(keyPackage.leafNode, signature)) && verifyKeyPackage(keyPackage, signature);
}

/** What suite 1 makes and takes. */
export const SUITE_KEY_PACKAGES = { make, verify };

/** A key package's secrets for the vault. */
export function keepSecrets({ keyPackage, privatePackage, lastResort }: KeyPackageSecrets): Uint8Array<ArrayBuffer> {
  const bytes = write({ version: 'mls10', wireformat: 'mls_key_package', keyPackage });
  return concat(Uint8Array.of(lastResort ? 1 : 0), privatePackage.initPrivateKey, privatePackage.hpkePrivateKey, bytes);
}

/** What {@link keepSecrets} wrote; `null` where it can't be read. */
export function readSecrets(reference: string, kept: Uint8Array): KeyPackageSecrets | null {
  try {
    const message = parse(kept.subarray(1 + 2 * SECRET_LENGTH));
    if (message.wireformat !== 'mls_key_package') return null;
    const initPrivateKey = kept.slice(1, 1 + SECRET_LENGTH);
    const hpkePrivateKey = kept.slice(1 + SECRET_LENGTH, 1 + 2 * SECRET_LENGTH);
    return { reference, keyPackage: message.keyPackage, privatePackage: { initPrivateKey, hpkePrivateKey, signaturePrivateKey: NO_SECRET }, lastResort: kept[0] === 1 };
  } catch {
    return null;
  }
}
