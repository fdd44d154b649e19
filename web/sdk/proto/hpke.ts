/**
 * HPKE (RFC 9180) in base mode: anybody can seal to a public key, and nothing says who did. Notes and reports travel so
 * (docs/protocol.md, sections 6.2 and 6.5).
 */

import { Aes128Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from '@hpke/core';
import { x25519 } from '@noble/curves/ed25519.js';

import { concat } from './bytes.ts';

const ENCAPSULATED_LENGTH = 32;

/** What binds a sealed message to its use. */
export interface Purpose {
  info: Uint8Array;
  aad: Uint8Array;
}

function suite(): CipherSuite {
  return new CipherSuite({ kem: new DhkemX25519HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes128Gcm() });
}

/** `enc ‖ ciphertext`, `null` where the key is of no use (of small order). `seed`: 32 random bytes, given by tests only. */
export async function sealTo(publicKey: Uint8Array, plain: Uint8Array, { info, aad }: Purpose, seed?: Uint8Array): Promise<Uint8Array | null> {
  try {
    const hpke = suite();
    const recipientPublicKey = await hpke.kem.deserializePublicKey(concat(publicKey));
    const sender = await hpke.createSenderContext({ recipientPublicKey, info: concat(info), ...(seed && { ekm: concat(seed).buffer }) });
    const sealed = await sender.seal(concat(plain), concat(aad));
    return concat(new Uint8Array(sender.enc), new Uint8Array(sealed));
  } catch {
    return null;
  }
}

/** What {@link sealTo} sealed; `null` for other keys or purposes, and for bytes that were changed. */
export async function openWith(secret: Uint8Array, sealed: Uint8Array, { info, aad }: Purpose): Promise<Uint8Array | null> {
  if (sealed.length <= ENCAPSULATED_LENGTH) return null;
  try {
    const hpke = suite();
    const recipientKey = {
      privateKey: await hpke.kem.deserializePrivateKey(concat(secret)),
      publicKey: await hpke.kem.deserializePublicKey(concat(x25519.getPublicKey(secret))),
    };
    const enc = concat(sealed.subarray(0, ENCAPSULATED_LENGTH));
    const recipient = await hpke.createRecipientContext({ recipientKey, enc, info: concat(info) });
    return new Uint8Array(await recipient.open(concat(sealed.subarray(ENCAPSULATED_LENGTH)), concat(aad)));
  } catch {
    return null;
  }
}
