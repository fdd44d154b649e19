/** What a device asks of the authority with its key alone: the next credential, and the end of this or another device (section 3.3). */

import { base64url, equalBytes, utf8 } from '../proto/bytes.ts';
import { CREDENTIAL, verifyDocument, type Credential } from '../proto/document.ts';
import { DEVICE_NAME_MAX } from '../proto/limits.ts';
import { deviceRequestInput, type DeviceVerb } from '../proto/proof.ts';
import type { Identity } from '../vault/identity.ts';
import { Authority, notAhoy, PLATFORM, type Environment, type Json } from './authority.ts';
import { AccountError } from './error.ts';
import { signingKeys } from './network.ts';

type Holder = Pick<Identity, 'network' | 'account' | 'device' | 'deviceKey'>;

/** The next credential of this device. */
export async function renewCredential(identity: Identity, environment: Environment = PLATFORM): Promise<string> {
  const { credential } = await asked(identity, '/v1/credentials/renew', { verb: 'renew' }, environment);
  if (typeof credential !== 'string') throw notAhoy(identity.network.url);
  verifiedCredential(credential, identity, environment.nowMs());
  return credential;
}

/** Signs this device out: its credential is void and the authority forgets it. */
export async function revokeCredential(identity: Identity, environment: Environment = PLATFORM): Promise<void> {
  await asked(identity, '/v1/credentials/revoke', { verb: 'revoke' }, environment);
}

/** Signs another device of the account out, or this one. */
export async function revokeDevice(identity: Identity, target: string, environment: Environment = PLATFORM): Promise<void> {
  await asked(identity, '/v1/devices/revoke', { verb: 'revoke-device', target }, environment);
}

/** Calls a device of the account otherwise. The name is for the owner's eyes; it is cut to 64 bytes. */
export async function renameDevice(identity: Identity, target: string, name: string, environment: Environment = PLATFORM): Promise<void> {
  await asked(identity, '/v1/devices/rename', { verb: 'rename-device', target, name: cutName(name) }, environment);
}

/** A credential that is good now and this device's. Throws {@link AccountError}. */
export function verifiedCredential(credential: string, { network, account, device, deviceKey }: Holder, nowMs: number): Credential {
  let verified: Credential;
  try {
    verified = verifyDocument(credential, CREDENTIAL, { keys: signingKeys(network, nowMs), network: network.network, nowMs });
  } catch (error) {
    throw new AccountError('document', "the network's credential is not valid; is this device's clock right?", 0, { cause: error });
  }
  const own = verified.account === account && verified.device === device && equalBytes(verified.deviceKey, deviceKey.publicKey);
  if (!own) throw notAhoy(network.url);
  return verified;
}

async function asked(identity: Identity, path: string, verb: DeviceVerb, environment: Environment): Promise<Json> {
  const { network, device, deviceKey, credential } = identity;
  const time = Math.floor(environment.nowMs() / 1_000);
  const signature = base64url(await deviceKey.sign(deviceRequestInput(verb, network.network, device, time)));
  const { verb: _, ...particulars } = verb;
  return new Authority(network.url, environment).post(path, { credential, time, signature, ...particulars });
}

/** A device's name as the authority takes it: no control characters, and at most 64 bytes in whole characters. */
export function cutName(name: string): string {
  let cut = '';
  let length = 0;
  for (const character of name.replace(/\p{Cc}/gu, '')) {
    length += utf8(character).length;
    if (length > DEVICE_NAME_MAX) break;
    cut += character;
  }
  return cut;
}
