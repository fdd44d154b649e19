/**
 * OPAQUE (RFC 9807) with the network's parameters (docs/protocol.md, section 3.2): the authority never sees the password.
 *
 * Each password is stretched for a quarter of a second and in 64 MiB, on the thread that asks: call it from a worker.
 */

import { characters, unbase64url, utf8 } from '../proto/bytes.ts';
import { AccountError } from './error.ts';

/** Argon2id: 64 MiB, 3 passes, 4 lanes (the second recommendation of RFC 9106). Said in full: a default may change. */
const STRETCHING = { 'argon2id-custom': { memory: 65_536, iterations: 3, parallelism: 4 } };

/** Whoever steals the authority's records and its OPAQUE key can guess at one Argon2id run each: eight characters keep that from being trivial. */
export const PASSWORD_MIN = 8;
/** Bytes of UTF-8. */
export const PASSWORD_MAX = 1_024;

/** Half of all script, so it is loaded when a password is typed and not before. */
async function library(): Promise<typeof import('@serenity-kit/opaque').client> {
  const { client, ready } = await import('@serenity-kit/opaque');
  await ready;
  return client;
}

export interface Registered {
  upload: string;
  exportKey: Uint8Array;
}

/** Throws {@link AccountError} for a password that is too short or too long. */
export function checkPassword(password: string): void {
  if (characters(password) < PASSWORD_MIN || utf8(password).length > PASSWORD_MAX) {
    throw new AccountError('password-length', `a password has at least ${PASSWORD_MIN} characters`);
  }
}

/** Registers a password: `ask` takes the request to the authority and brings its response. */
export async function register(password: string, ask: (request: string) => Promise<string>): Promise<Registered> {
  const client = await library();
  const { clientRegistrationState, registrationRequest } = client.startRegistration({ password });
  const registrationResponse = await ask(registrationRequest);
  const finished = understood(() =>
    client.finishRegistration({ password, registrationResponse, clientRegistrationState, keyStretching: STRETCHING }),
  );
  return { upload: finished.registrationRecord, exportKey: bytes(finished.exportKey) };
}

export interface SignedIn {
  finalization: string;
  exportKey: Uint8Array;
}

/** Signs in by a password: `ask` takes the request to the authority and brings its response. */
export async function logIn(password: string, ask: (request: string) => Promise<string>): Promise<SignedIn> {
  const client = await library();
  const { clientLoginState, startLoginRequest } = client.startLogin({ password });
  const loginResponse = await ask(startLoginRequest);
  const finished = understood(() => client.finishLogin({ password, loginResponse, clientLoginState, keyStretching: STRETCHING }));
  if (finished === undefined) throw new AccountError('sign-in-refused', 'wrong name or password');
  return { finalization: finished.finishLoginRequest, exportKey: bytes(finished.exportKey) };
}

/** The library throws texts at messages that are none. */
function understood<T>(step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw new AccountError('not-ahoy', "the network's answer makes no sense", 0, { cause: error });
  }
}

function bytes(text: string): Uint8Array {
  const read = unbase64url(text);
  if (read === null) throw new TypeError('the export key is base64url');
  return read;
}
