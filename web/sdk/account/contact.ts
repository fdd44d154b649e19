/** First contact with a network, and every later one: what it says of itself, checked against what was pinned (section 3.1). */

import { base64url, equalBytes, unbase64url } from '../proto/bytes.ts';
import { DocumentError, jwkBytes } from '../proto/document.ts';
import { fingerprint, isId } from '../proto/ids.ts';
import { PROTOCOL_VERSION } from '../proto/limits.ts';
import { isName } from '../proto/name.ts';
import { Authority, networkUrl, notAhoy, PLATFORM, type Environment, type Json } from './authority.ts';
import { AccountError } from './error.ts';
import { signingKeys, verifiedRoster, type Network } from './network.ts';

/** Signing keys read of one network: the present one, the next, and some past. */
const SIGNING_KEYS_MAX = 16;

/** Certificates of one network that browsers are to accept: the present one and the next of each supernode that has no name. */
const CERTIFICATE_HASHES_MAX = 64;

/** Longest name of a network: that of a domain. */
const NETWORK_NAME_MAX = 253;

const HASH_LENGTH = 32;
const REPORT_KEY_LENGTH = 32;

/** Asks a network who it is. `pinned`: what an earlier contact left. Throws {@link AccountError}. */
export async function contact(address: string, pinned: Network | null, environment: Environment = PLATFORM): Promise<Network> {
  const url = networkUrl(address);
  if (url === null) throw new AccountError('not-ahoy', `${address} is not the address of a network; it looks like https://example.org`);
  const authority = new Authority(url, environment);
  const said = read(await authority.get('/.well-known/ahoy'), url);
  if (pinned !== null && !equalBytes(pinned.rootKey, said.rootKey)) {
    throw new AccountError('network-changed', `${url} is not the network that it was: its root key has changed`);
  }
  if (said.minimumVersion > PROTOCOL_VERSION) {
    throw new AccountError('version', 'this program is too old for the network: update it');
  }
  const network = { ...said, roster: await authority.roster() };
  checkDocuments(network, environment.nowMs());
  return network;
}

function checkDocuments(network: Network, nowMs: number): void {
  try {
    if (signingKeys(network, nowMs).length === 0) throw new DocumentError('expired');
    verifiedRoster(network, nowMs);
  } catch (error) {
    throw new AccountError('document', "the network's roster is not valid; is this device's clock right?", 0, { cause: error });
  }
}

function read(said: Json, url: string): Omit<Network, 'roster'> {
  const { name, network, signing_keys, minimum_version, sign_up, echo } = said;
  const rootKey = jwkBytes(said['root_key']);
  const named = typeof name === 'string' && name.length > 0 && name.length <= NETWORK_NAME_MAX;
  if (!named || rootKey === null || !isId(network) || network !== fingerprint(rootKey)) throw notAhoy(url);
  if (!Array.isArray(signing_keys) || typeof minimum_version !== 'number') throw notAhoy(url);
  return {
    url,
    name,
    network,
    rootKey,
    signingKeys: signing_keys.slice(0, SIGNING_KEYS_MAX).filter((key): key is string => typeof key === 'string'),
    reportKey: reportKey(said['report_key']),
    echo: isName(echo) ? echo : null,
    minimumVersion: minimum_version,
    signUp: sign_up === 'open' || sign_up === 'invite' ? sign_up : 'closed',
    certificateHashes: hashes(said['certificate_hashes']),
  };
}

/** Empty where the network takes no reports. */
function reportKey(value: unknown): Uint8Array {
  const bytes = typeof value === 'string' ? unbase64url(value) : null;
  return bytes?.length === REPORT_KEY_LENGTH ? bytes : new Uint8Array(0);
}

function hashes(value: unknown): Uint8Array[] {
  if (!Array.isArray(value)) return [];
  const texts = value.slice(0, CERTIFICATE_HASHES_MAX).filter((text): text is string => typeof text === 'string');
  return texts.map(unbase64url).filter((bytes) => bytes !== null).filter((bytes) => bytes.length === HASH_LENGTH);
}

/** Whether two contacts say the same, to the byte. */
export function sameNetwork(a: Network, b: Network): boolean {
  const text = (network: Network): string => JSON.stringify(network, (_, value: unknown) => (value instanceof Uint8Array ? base64url(value) : value));
  return text(a) === text(b);
}
