/**
 * Signed documents: compact JWS (RFC 7515) with EdDSA (RFC 8037), each with a type of its own so that one kind can't pass for
 * another (docs/protocol.md, section 2.1).
 */

import { sha256 } from '@noble/hashes/sha2.js';

import { base64url, equalBytes, hex, unbase64url, unutf8, utf8 } from './bytes.ts';
import { KEY_LENGTH, verifySignature } from './ed25519.ts';
import { fingerprint, isId } from './ids.ts';
import { CLOCK_SKEW_MAX_MS, SUPERNODE_ADDRESSES_MAX, SUPERNODES_MAX } from './limits.ts';
import { isName } from './name.ts';

export type DocumentFault = 'malformed' | 'forged' | 'wrong-network' | 'expired';

/** Why a document is not accepted. */
export class DocumentError extends Error {
  override readonly name = 'DocumentError';
  constructor(readonly fault: DocumentFault) {
    super(`the document is refused: ${fault}`);
  }
}

/** An Ed25519 public key as a JSON Web Key. */
export interface Jwk {
  kty: 'OKP';
  crv: 'Ed25519';
  x: string;
}

export function jwk(publicKey: Uint8Array): Jwk {
  return { kty: 'OKP', crv: 'Ed25519', x: base64url(publicKey) };
}

/** The 32 bytes of the key, `null` where it is none. */
export function jwkBytes(value: unknown): Uint8Array<ArrayBuffer> | null {
  if (!isObject(value) || value['kty'] !== 'OKP' || value['crv'] !== 'Ed25519' || typeof value['x'] !== 'string') return null;
  const bytes = unbase64url(value['x']);
  return bytes?.length === KEY_LENGTH ? bytes : null;
}

/** Claims that all documents have. Times in seconds since the Unix epoch; `expires` is the last good second. */
interface Claims {
  network: string;
  issuedAt: number;
  expires: number;
}

/** The root key's word for a signing key. */
export interface SigningKeyCertificate extends Claims {
  key: Uint8Array;
}

/** Opens sessions, nothing else. */
export interface Credential extends Claims {
  account: string;
  /** The account's name when this was signed. */
  name: string;
  device: string;
  deviceKey: Uint8Array;
}

export interface RosterEntry {
  supernode: string;
  key: Uint8Array;
  /** `host:port`, in order of preference. */
  addresses: string[];
  region: string;
  weight: number;
  number: number;
}

export interface Roster extends Claims {
  serial: number;
  supernodes: RosterEntry[];
}

/** The authority's word that a roster key is a supernode's. Worth something only together with the newest roster. */
export interface SupernodeCertificate extends Claims {
  supernode: string;
  key: Uint8Array;
  number: number;
}

/** What a kind of document is called, and how its own claims are read; `null` where they are not as they should be. */
interface Kind<D extends Claims> {
  type: string;
  read(claims: JsonObject): Omit<D, keyof Claims> | null;
}

type JsonObject = { [claim: string]: unknown };

export const SIGNING_KEY: Kind<SigningKeyCertificate> = {
  type: 'ahoy-signing-key+jwt',
  read(claims) {
    const key = jwkBytes(claims['key']);
    return key && { key };
  },
};

export const CREDENTIAL: Kind<Credential> = {
  type: 'ahoy-credential+jwt',
  read({ sub, name, device, cnf }) {
    const deviceKey = confirmed(cnf);
    if (!isId(sub) || !isId(device) || !isName(name) || deviceKey === null) return null;
    return { account: sub, name, device, deviceKey };
  },
};

export const ROSTER: Kind<Roster> = {
  type: 'ahoy-roster+jwt',
  read({ serial, supernodes }) {
    if (!isCount(serial) || !Array.isArray(supernodes) || supernodes.length > SUPERNODES_MAX) return null;
    const entries = supernodes.map(rosterEntry);
    return entries.every((entry) => entry !== null) ? { serial, supernodes: entries } : null;
  },
};

export const SUPERNODE_CERTIFICATE: Kind<SupernodeCertificate> = {
  type: 'ahoy-supernode+jwt',
  read({ sub, cnf, number, policy }) {
    const key = confirmed(cnf);
    if (!isId(sub) || key === null || !isCount(number) || policy !== 'hosted') return null;
    return fingerprint(key) === sub ? { supernode: sub, key, number } : null;
  },
};

/** A roster's entry, or one of the well-known document's. */
export function rosterEntry(value: unknown): RosterEntry | null {
  if (!isObject(value)) return null;
  const { supernode, addresses, region, weight, number } = value;
  const key = jwkBytes(value['key']);
  if (!isId(supernode) || key === null || typeof region !== 'string' || !isCount(weight) || weight >= 2 ** 32) return null;
  if (!Array.isArray(addresses) || addresses.length > SUPERNODE_ADDRESSES_MAX) return null;
  if (!addresses.every((address): address is string => typeof address === 'string')) return null;
  if (fingerprint(key) !== supernode || !(number === undefined || isCount(number))) return null;
  return { supernode, key, addresses, region, weight, number: number ?? 0 };
}

/** A key's name in the header's `kid`. */
export function keyId(publicKey: Uint8Array): string {
  return hex(sha256(publicKey).subarray(0, 8));
}

/** What a document is checked against. */
export interface Against {
  /** Of those that sign this kind. */
  keys: readonly Uint8Array[];
  network: string;
  /** Milliseconds since the Unix epoch. */
  nowMs: number;
  /** How long ago it may have expired. */
  graceMs?: number;
}

/** Checks type, signature, network and time, in that order, and gives the document. Throws {@link DocumentError}. */
export function verifyDocument<D extends Claims>(token: string, kind: Kind<D>, against: Against): D {
  const [header, payload, tail, more] = token.split('.', 4);
  if (header === undefined || payload === undefined || tail === undefined || more !== undefined) throw new DocumentError('malformed');
  const { alg, typ, kid } = parsed(header);
  if (alg !== 'EdDSA' || typ !== kind.type || typeof kid !== 'string') throw new DocumentError('malformed');
  const signature = unbase64url(tail);
  if (signature === null) throw new DocumentError('malformed');
  const key = against.keys.find((held) => keyId(held) === kid);
  if (key === undefined || !verifySignature(signature, utf8(`${header}.${payload}`), key)) throw new DocumentError('forged');
  return read(parsed(payload), kind, against);
}

function read<D extends Claims>(claims: JsonObject, kind: Kind<D>, { network, nowMs, graceMs = 0 }: Against): D {
  const { iss, iat, exp } = claims;
  const own = kind.read(claims);
  if (!isId(iss) || !isCount(iat) || !isCount(exp) || own === null) throw new DocumentError('malformed');
  if (iss !== network) throw new DocumentError('wrong-network');
  const lastMs = exp * 1_000 + 999;
  if (iat * 1_000 > nowMs + CLOCK_SKEW_MAX_MS || nowMs > lastMs + graceMs) throw new DocumentError('expired');
  // `Omit` of a type parameter and the rest of it: TypeScript does not put the two together by itself.
  return { ...own, network: iss, issuedAt: iat, expires: exp } as unknown as D;
}

/** When the holder of a document should ask for the next one: at half of its life. Milliseconds since the Unix epoch. */
export function halfLifeMs(document: { issuedAt: number; expires: number }): number {
  return (document.issuedAt + Math.floor((document.expires - document.issuedAt) / 2)) * 1_000;
}

/** Whether the certificate that a supernode shows is that of the roster entry which was dialled. Throws {@link DocumentError}. */
export function verifySupernode(certificate: string, entry: RosterEntry, against: Against): void {
  const { supernode, key } = verifyDocument(certificate, SUPERNODE_CERTIFICATE, against);
  if (supernode !== entry.supernode || !equalBytes(key, entry.key)) throw new DocumentError('forged');
}

function parsed(part: string): JsonObject {
  const bytes = unbase64url(part);
  const text = bytes && unutf8(bytes);
  if (text === null) throw new DocumentError('malformed');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new DocumentError('malformed');
  }
  if (!isObject(value)) throw new DocumentError('malformed');
  return value;
}

function confirmed(cnf: unknown): Uint8Array | null {
  return isObject(cnf) ? jwkBytes(cnf['jwk']) : null;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
