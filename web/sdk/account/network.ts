/**
 * What a device knows of its network: the root key that it pinned, and what that key vouches for.
 *
 * Documents are kept as they came and verified when they are used, so that a copy that was changed on disk is worth nothing.
 */

import { DocumentError, ROSTER, SIGNING_KEY, verifyDocument, type Roster } from '../proto/document.ts';

export interface Network {
  /** Of the authority, without a slash at its end. */
  url: string;
  /** As in `name@network`. */
  name: string;
  network: string;
  /** 32 bytes; `network` is its fingerprint. */
  rootKey: Uint8Array;
  /** `ahoy-signing-key+jwt` documents, newest first. */
  signingKeys: string[];
  /** An `ahoy-roster+jwt` document. */
  roster: string;
  /** 32 bytes of X25519: what reports are sealed to. */
  reportKey: Uint8Array;
  /** The name that answers every call, for trying one's microphone. */
  echo: string | null;
  minimumVersion: number;
  signUp: 'open' | 'invite' | 'closed';
  /** SHA-256 of certificates that links of browsers accept beside those of the web's authorities. */
  certificateHashes: Uint8Array[];
}

/** Signing keys of a network that are good now, newest first. */
export function signingKeys({ network, rootKey, signingKeys }: Pick<Network, 'network' | 'rootKey' | 'signingKeys'>, nowMs: number): Uint8Array[] {
  const good: Uint8Array[] = [];
  for (const document of signingKeys) {
    try {
      good.push(verifyDocument(document, SIGNING_KEY, { keys: [rootKey], network, nowMs }).key);
    } catch (error) {
      if (!(error instanceof DocumentError)) throw error;
    }
  }
  return good;
}

/** The roster as it is now. Throws {@link DocumentError} where it has expired or is not the network's. */
export function verifiedRoster(network: Network, nowMs: number): Roster {
  return verifyDocument(network.roster, ROSTER, { keys: signingKeys(network, nowMs), network: network.network, nowMs });
}
