/**
 * An account's dealings with the authority: sign-up, sign-in, password, recovery, devices (docs/protocol.md, section 3).
 *
 * The authority never sees a password, a recovery code or the secret of an account key; the latter is open here for as long as one verb
 * takes, to sign a device binding or to be sealed anew. Everything rejects with {@link AccountError}.
 */

import { makeBinding } from '../proto/binding.ts';
import { base64url, equalBytes, randomBytes, unbase64url } from '../proto/bytes.ts';
import { makeDeviceKey, type DeviceKey } from '../proto/device-key.ts';
import { jwk, jwkBytes } from '../proto/document.ts';
import { publicKeyOf, randomSecret } from '../proto/ed25519.ts';
import { isId, randomId } from '../proto/ids.ts';
import { foldName } from '../proto/name.ts';
import { publishRequestKey, requestSecretOf } from '../proto/request-key.ts';
import {
  openAccountKey,
  parseRecoveryCode,
  passwordSealingKey,
  RECOVERY_CODE_LENGTH,
  recoveryCodeText,
  recoverySealingKey,
  recoverySecret,
  recoveryVerifier,
  sealAccountKey,
} from '../proto/sealing.ts';
import type { Identity } from '../vault/identity.ts';
import { Authority, notAhoy, PLATFORM, type Environment, type Json } from './authority.ts';
import { cutName, verifiedCredential } from './devices.ts';
import { AccountError } from './error.ts';
import type { Network } from './network.ts';
import { checkPassword, logIn, register, type Registered } from './opaque.ts';

export interface SignedUp {
  /** To be kept. */
  identity: Identity;
  /** Shown once, to be written down: the network does not know it. */
  recoveryCode: string;
}

/** An account that lies open: its key's secret, and the authority's word that this is its owner. */
interface Opened {
  account: string;
  name: string;
  accountSecret: Uint8Array;
  ticket: string;
}

/** A device that the authority is to know. */
interface NewDevice {
  account: string;
  name: string;
  accountSecret: Uint8Array;
  key: DeviceKey;
  device: string;
  binding: Uint8Array;
  announced: Json;
}

/** Makes an account, with this device as its first. */
export async function signUp(
  network: Network,
  { name, password, deviceName, invite }: { name: string; password: string; deviceName: string; invite?: string | undefined },
  environment: Environment = PLATFORM,
): Promise<SignedUp> {
  checkPassword(password);
  const authority = new Authority(network.url, environment);
  let started: { state: string; account: string } = { state: '', account: '' };
  const registered = await register(password, async (registration_request) => {
    const said = await authority.post('/v1/accounts/start', { name, registration_request, ...(invite !== undefined && { invite }) });
    started = { state: text(said, 'state', authority), account: id(said, 'account', authority) };
    return text(said, 'registration_response', authority);
  });
  const accountSecret = randomSecret();
  const opened = { account: started.account, name: foldName(name), accountSecret };
  const device = await newDevice(opened, deviceName, environment);
  const code = randomBytes(RECOVERY_CODE_LENGTH);
  const issued = await authority.post('/v1/accounts/finish', {
    state: started.state,
    ...uploaded(opened, registered),
    account_key: jwk(publicKeyOf(accountSecret)),
    request_key: base64url(publishRequestKey(opened.account, accountSecret)),
    recovery: recovery(opened, code),
    device: device.announced,
  });
  return { identity: identityOf(network, device, issued, authority), recoveryCode: recoveryCodeText(code) };
}

/** Opens an account with its password and adds this device to it. */
export async function signIn(
  network: Network,
  { name, password, deviceName }: { name: string; password: string; deviceName: string },
  environment: Environment = PLATFORM,
): Promise<Identity> {
  const authority = new Authority(network.url, environment);
  return addDevice(network, await open(authority, name, password), deviceName, authority);
}

/** Opens an account by its recovery code, gives it a new password and a new code, and adds this device to it. */
export async function recover(
  network: Network,
  { name, recoveryCode, password, deviceName }: { name: string; recoveryCode: string; password: string; deviceName: string },
  environment: Environment = PLATFORM,
): Promise<SignedUp> {
  checkPassword(password);
  const code = parseRecoveryCode(recoveryCode);
  if (code === null) throw new AccountError('recovery-code', 'a recovery code is 8 groups of 4 letters and digits');
  const authority = new Authority(network.url, environment);
  const said = await authority.post('/v1/recovery', { name, recovery_secret: base64url(recoverySecret(code)) });
  const opened = openedBy(recoverySealingKey(code), said, authority);
  const fresh = randomBytes(RECOVERY_CODE_LENGTH);
  await setPassword(authority, opened, password, fresh);
  return { identity: await addDevice(network, opened, deviceName, authority), recoveryCode: recoveryCodeText(fresh) };
}

/** Replaces the password. The recovery code stays good. */
export async function changePassword(identity: Identity, old: string, fresh: string, environment: Environment = PLATFORM): Promise<void> {
  checkPassword(fresh);
  const authority = new Authority(identity.network.url, environment);
  await setPassword(authority, await openOwn(authority, identity, old), fresh, null);
}

/** A new recovery code, which voids the old one; shown once. */
export async function renewRecoveryCode(identity: Identity, password: string, environment: Environment = PLATFORM): Promise<string> {
  const authority = new Authority(identity.network.url, environment);
  const code = randomBytes(RECOVERY_CODE_LENGTH);
  await setPassword(authority, await openOwn(authority, identity, password), password, code);
  return recoveryCodeText(code);
}

/** Deletes the account for good. What this device keeps is the profile's to forget. */
export async function deleteAccount(identity: Identity, password: string, environment: Environment = PLATFORM): Promise<void> {
  const authority = new Authority(identity.network.url, environment);
  const { ticket } = await openOwn(authority, identity, password);
  await authority.post('/v1/accounts/delete', { ticket });
}

async function open(authority: Authority, name: string, password: string): Promise<Opened> {
  let state = '';
  const signedIn = await logIn(password, async (credential_request) => {
    const said = await authority.post('/v1/sign-in/start', { name, credential_request });
    state = text(said, 'state', authority);
    return text(said, 'credential_response', authority);
  });
  const said = await authority.post('/v1/sign-in/finish', { state, credential_finalization: signedIn.finalization });
  return openedBy(passwordSealingKey(signedIn.exportKey), said, authority);
}

/** Opens the account of this device, and no other. */
async function openOwn(authority: Authority, identity: Identity, password: string): Promise<Opened> {
  const opened = await open(authority, identity.name, password);
  const own = opened.account === identity.account && equalBytes(publicKeyOf(opened.accountSecret), identity.accountKey);
  if (!own) throw strangeKey();
  return opened;
}

function openedBy(key: Uint8Array, said: Json, authority: Authority): Opened {
  const account = id(said, 'account', authority);
  const accountKey = jwkBytes(said['account_key']);
  const sealed = unbase64url(text(said, 'sealed_account_key', authority));
  const accountSecret = sealed && openAccountKey(sealed, account, key);
  if (accountKey === null || accountSecret === null || !equalBytes(publicKeyOf(accountSecret), accountKey)) throw strangeKey();
  return { account, name: text(said, 'name', authority), accountSecret, ticket: text(said, 'ticket', authority) };
}

async function setPassword(authority: Authority, opened: Opened, password: string, code: Uint8Array | null): Promise<void> {
  const { ticket } = opened;
  const registered = await register(password, async (registration_request) => {
    const said = await authority.post('/v1/password/start', { ticket, registration_request });
    return text(said, 'registration_response', authority);
  });
  await authority.post('/v1/password/finish', { ticket, ...uploaded(opened, registered), ...(code && { recovery: recovery(opened, code) }) });
}

async function addDevice(network: Network, opened: Opened, deviceName: string, authority: Authority): Promise<Identity> {
  const device = await newDevice(opened, deviceName, authority.environment);
  const issued = await authority.post('/v1/devices', {
    ticket: opened.ticket,
    request_key: base64url(publishRequestKey(opened.account, opened.accountSecret)),
    device: device.announced,
  });
  return identityOf(network, device, issued, authority);
}

async function newDevice(opened: Omit<Opened, 'ticket'>, deviceName: string, environment: Environment): Promise<NewDevice> {
  const { account, name, accountSecret } = opened;
  const key = await makeDeviceKey();
  const device = randomId();
  const binding = makeBinding(account, device, key.publicKey, accountSecret, Math.floor(environment.nowMs() / 1_000));
  const announced = { device, name: cutName(deviceName), binding: base64url(binding) };
  return { account, name, accountSecret, key, device, binding, announced };
}

function identityOf(network: Network, of: NewDevice, issued: Json, authority: Authority): Identity {
  const credential = text(issued, 'credential', authority);
  verifiedCredential(credential, { network, account: of.account, device: of.device, deviceKey: of.key }, authority.environment.nowMs());
  return {
    network,
    account: of.account,
    name: of.name,
    accountKey: publicKeyOf(of.accountSecret),
    device: of.device,
    deviceKey: of.key,
    binding: of.binding,
    requestSecret: requestSecretOf(of.accountSecret),
    credential,
  };
}

function uploaded({ account, accountSecret }: Omit<Opened, 'ticket'>, { upload, exportKey }: Registered): Json {
  const sealed = sealAccountKey(accountSecret, account, passwordSealingKey(exportKey));
  return { registration_upload: upload, sealed_account_key: base64url(sealed) };
}

function recovery({ account, accountSecret }: Omit<Opened, 'ticket'>, code: Uint8Array): Json {
  const sealed = sealAccountKey(accountSecret, account, recoverySealingKey(code));
  return { verifier: base64url(recoveryVerifier(code)), sealed_account_key: base64url(sealed) };
}

function text(said: Json, field: string, authority: Authority): string {
  const value = said[field];
  if (typeof value !== 'string') throw notAhoy(authority.url);
  return value;
}

function id(said: Json, field: string, authority: Authority): string {
  const value = said[field];
  if (!isId(value)) throw notAhoy(authority.url);
  return value;
}

function strangeKey(): AccountError {
  return new AccountError('account-key', "the network gave back an account key that is not this account's");
}
