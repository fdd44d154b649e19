/**
 * What ts-mls is handed: suite 1 with this device's own signing key, and the bounds of docs/protocol.md, section 7.
 *
 * The key's secret may be out of reach of any script, so signing goes by {@link DeviceKey} and ts-mls holds no secret in its place.
 */

import {
  defaultKeyPackageEqualityConfig,
  getCiphersuiteFromName,
  getCiphersuiteImpl,
  type CiphersuiteImpl,
  type ClientConfig,
  type Credential,
  type Extension,
} from 'ts-mls';

import { concat, equalBytes, hex } from '../../proto/bytes.ts';
import { verifyBinding, type VerifiedBinding } from '../../proto/binding.ts';
import type { DeviceKey } from '../../proto/device-key.ts';
import { verifySignature } from '../../proto/ed25519.ts';

export const SUITE = 'MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519';

/** A leaf whose binding verifies and names the leaf's own signature key. Whether its account key is the right one, the caller must know. */
export type Leaf = VerifiedBinding;

/** Senders pad to a multiple of so many bytes, so that the length of a word does not show. */
export const PADDING = 64;

/** Messages of one sender that may be lost, or come late, in an epoch. */
const FORWARD_DISTANCE_MAX = 1_000;
const OUT_OF_ORDER_MAX = 16;

/** Bindings that were checked lately: the devices of a full group, at some 700 bytes each 1.4 MB. */
const CHECKED_MAX = 2_048;

/** Stands where ts-mls would hold the signing secret. */
export const NO_SECRET = new Uint8Array(0);

/** Reads leaves' credentials, each binding's signature once. */
export class Bindings {
  readonly #checked = new Map<string, Leaf | null>();

  /** The leaf, `null` where its credential is no good binding of its key. */
  read(credential: Credential, signatureKey: Uint8Array): Leaf | null {
    if (credential.credentialType !== 'basic') return null;
    const name = hex(credential.identity);
    let leaf = this.#checked.get(name);
    if (leaf === undefined) {
      leaf = verifyBinding(credential.identity);
      if (this.#checked.size >= CHECKED_MAX) this.#checked.clear();
      this.#checked.set(name, leaf);
    }
    return leaf !== null && equalBytes(leaf.deviceKey, signatureKey) ? leaf : null;
  }
}

/** Suite 1; whatever it signs, this device's key signs. */
export async function suiteOf(key: DeviceKey): Promise<CiphersuiteImpl> {
  const suite = await getCiphersuiteImpl(getCiphersuiteFromName(SUITE));
  return {
    ...suite,
    signature: {
      sign: (_secret, message) => key.sign(message),
      verify: (publicKey, message, signature) => Promise.resolve(verifySignature(signature, message, publicKey)),
      keygen: () => Promise.resolve({ publicKey: key.publicKey, signKey: NO_SECRET }),
    },
  };
}

export function configOf(bindings: Bindings): ClientConfig {
  return {
    keyRetentionConfig: {
      retainKeysForGenerations: OUT_OF_ORDER_MAX,
      // Past epochs are kept apart from the present one, by whoever uses this.
      retainKeysForEpochs: 1,
      maximumForwardRatchetSteps: FORWARD_DISTANCE_MAX,
    },
    // Key packages end by use, and devices by removal: no clock takes part.
    lifetimeConfig: { maximumTotalLifetime: 0xffff_ffff_ffff_ffffn, validateLifetimeOnReceive: false },
    keyPackageEqualityConfig: defaultKeyPackageEqualityConfig,
    paddingConfig: { kind: 'padUntilLength', padUntilLength: PADDING },
    authService: { validateCredential: (credential, key) => Promise.resolve(bindings.read(credential, key) !== null) },
  };
}

/** Bytes of an X25519 key, and of the length in front of it. */
const KEY_LENGTH = 32;
const FIELD_LENGTH = 1 + KEY_LENGTH;

/** The `external_pub` extension (RFC 9420, section 12.4.3.2): the key with its length in front, which ts-mls leaves out. */
export async function externalPub(externalSecret: Uint8Array, { hpke }: CiphersuiteImpl): Promise<Extension> {
  const { publicKey } = await hpke.deriveKeyPair(externalSecret);
  return { extensionType: 'external_pub', extensionData: concat(Uint8Array.of(KEY_LENGTH), await hpke.exportPublicKey(publicKey)) };
}

/** The same suite, for reading that extension: ts-mls takes what stands in it for the key. */
export function withExternalPub(suite: CiphersuiteImpl): CiphersuiteImpl {
  const importPublicKey: CiphersuiteImpl['hpke']['importPublicKey'] = (key) => {
    const isField = key.length === FIELD_LENGTH && key[0] === KEY_LENGTH;
    return suite.hpke.importPublicKey(isField ? key.subarray(1) : key);
  };
  return { ...suite, hpke: { ...suite.hpke, importPublicKey } };
}
