/** An authority in memory that keeps to docs/protocol.md, section 3; for tests. */

import { sha256 } from '@noble/hashes/sha2.js';
import { ready, server } from '@serenity-kit/opaque';

import { verifyBinding } from '../proto/binding.ts';
import { base64url, equalBytes, hex, randomBytes, unbase64url, utf8 } from '../proto/bytes.ts';
import { jwk, keyId } from '../proto/document.ts';
import { publicKeyOf, signWith, verifySignature } from '../proto/ed25519.ts';
import { fingerprint, idBytes, randomId } from '../proto/ids.ts';
import { deviceRequestInput, type DeviceVerb } from '../proto/proof.ts';
import { verifyRequestKey } from '../proto/request-key.ts';
import type { Environment, Json } from './authority.ts';
import { AccountError, type AccountErrorCode } from './error.ts';

interface Account {
  account: string;
  name: string;
  record: string;
  accountKey: Uint8Array;
  sealed: string;
  recovery: { verifier: string; sealed: string };
  devices: Map<string, { key: Uint8Array; name: string }>;
}

const STATUS: Partial<Record<AccountErrorCode, number>> = { 'sign-in-refused': 401, 'state-refused': 401, 'credential-refused': 401, 'name-taken': 409, 'not-found': 404 };

const DAY = 86_400;

export class TestAuthority {
  rootSecret = new Uint8Array(32).fill(1);
  readonly signingSecret = new Uint8Array(32).fill(2);
  readonly accounts = new Map<string, Account>();
  /** Supernodes, as the roster lists them. */
  supernodes: object[] = [];
  serial = 1;
  minimumVersion = 1;
  nowMs = 1_800_000_000_000;
  /** Paths that were asked for, in order. */
  readonly asked: string[] = [];
  /** Answers in place of the authority, if it gives anything. */
  intercept: (path: string) => Response | null = () => null;
  readonly #setup: string;
  readonly #states = new Map<string, Json>();

  private constructor() {
    this.#setup = server.createSetup();
  }

  static async make(): Promise<TestAuthority> {
    await ready;
    return new TestAuthority();
  }

  get network(): string {
    return fingerprint(publicKeyOf(this.rootSecret));
  }

  get environment(): Environment {
    return { nowMs: () => this.nowMs, fetch: async (input, init) => this.#answer(new URL(String(input)).pathname, String(init?.body ?? '')) };
  }

  sign(type: string, claims: object, secret: Uint8Array = this.signingSecret, life = 7 * DAY): string {
    const iat = Math.floor(this.nowMs / 1_000);
    const part = (value: object): string => base64url(utf8(JSON.stringify(value)));
    const input = `${part({ alg: 'EdDSA', typ: type, kid: keyId(publicKeyOf(secret)) })}.${part({ iss: this.network, iat, exp: iat + life, ...claims })}`;
    return `${input}.${base64url(signWith(secret, utf8(input)))}`;
  }

  roster(): string {
    return this.sign('ahoy-roster+jwt', { serial: this.serial, supernodes: this.supernodes });
  }

  credential(account: string, name: string, device: string, key: Uint8Array): string {
    return this.sign('ahoy-credential+jwt', { sub: account, name, device, cnf: { jwk: jwk(key) } });
  }

  #answer(path: string, body: string): Response {
    this.asked.push(path);
    const instead = this.intercept(path);
    if (instead !== null) return instead;
    if (path === '/v1/roster') return new Response(this.roster());
    try {
      return Response.json(this.#said(path, body === '' ? {} : JSON.parse(body)));
    } catch (error) {
      if (!(error instanceof AccountError)) throw error;
      return Response.json({ code: error.code, text: error.message }, { status: STATUS[error.code] ?? 400 });
    }
  }

  #said(path: string, body: unknown): Json {
    const verbs: Record<string, (body: never) => Json> = {
      '/.well-known/ahoy': () => this.#wellKnown(),
      '/v1/accounts/start': (body) => this.#startAccount(body),
      '/v1/accounts/finish': (body) => this.#finishAccount(body),
      '/v1/sign-in/start': (body) => this.#startSignIn(body),
      '/v1/sign-in/finish': (body) => this.#finishSignIn(body),
      '/v1/devices': (body) => this.#addDevice(body),
      '/v1/password/start': (body) => this.#startPassword(body),
      '/v1/password/finish': (body) => this.#finishPassword(body),
      '/v1/recovery': (body) => this.#recover(body),
      '/v1/credentials/renew': (body) => this.#renew(body),
      '/v1/credentials/revoke': (body) => this.#revoke(body, { verb: 'revoke' }),
      '/v1/devices/revoke': (body) => this.#revoke(body, { verb: 'revoke-device', target: (body as { target: string }).target }),
      '/v1/devices/rename': (body) => this.#rename(body),
      '/v1/accounts/delete': (body) => this.#delete(body),
    };
    const verb = verbs[path];
    if (verb === undefined) throw no('not-found');
    // Each verb says what it expects; tests send nothing else.
    return verb(body as never);
  }

  #wellKnown(): Json {
    const rootKey = publicKeyOf(this.rootSecret);
    const signing = this.sign('ahoy-signing-key+jwt', { key: jwk(publicKeyOf(this.signingSecret)) }, this.rootSecret, 700 * DAY);
    return {
      name: 'test',
      network: this.network,
      root_key: jwk(rootKey),
      signing_keys: [signing],
      minimum_version: this.minimumVersion,
      sign_up: 'open',
      echo: 'echo',
      supernodes: this.supernodes,
      report_key: base64url(new Uint8Array(32).fill(9)),
      certificate_hashes: [base64url(new Uint8Array(32).fill(8)), 'no hash'],
    };
  }

  #startAccount({ name, registration_request }: { name: string; registration_request: string }): Json {
    if (this.accounts.has(name.toLowerCase())) throw no('name-taken');
    const account = randomId();
    const response = server.createRegistrationResponse({ serverSetup: this.#setup, userIdentifier: account, registrationRequest: registration_request });
    return { state: this.#state({ account, name: name.toLowerCase() }), account, registration_response: response.registrationResponse };
  }

  #finishAccount(body: {
    state: string;
    registration_upload: string;
    account_key: { x: string };
    request_key: string;
    sealed_account_key: string;
    recovery: { verifier: string; sealed_account_key: string };
    device: { device: string; name: string; binding: string };
  }): Json {
    const { account, name } = this.#take(body.state) as { account: string; name: string };
    const accountKey = bytes(body.account_key.x);
    const made: Account = {
      account,
      name,
      record: body.registration_upload,
      accountKey,
      sealed: body.sealed_account_key,
      recovery: { verifier: body.recovery.verifier, sealed: body.recovery.sealed_account_key },
      devices: new Map(),
    };
    const issued = this.#issue(made, body.device, body.request_key);
    this.accounts.set(name, made);
    return issued;
  }

  #startSignIn({ name, credential_request }: { name: string; credential_request: string }): Json {
    const account = this.accounts.get(name.toLowerCase());
    const started = server.startLogin({
      serverSetup: this.#setup,
      userIdentifier: account?.account ?? name,
      registrationRecord: account?.record ?? null,
      startLoginRequest: credential_request,
    });
    return { state: this.#state({ name: account?.name ?? '', login: started.serverLoginState }), credential_response: started.loginResponse };
  }

  #finishSignIn({ state, credential_finalization }: { state: string; credential_finalization: string }): Json {
    const { name, login } = this.#take(state) as { name: string; login: string };
    const account = this.accounts.get(name);
    if (account === undefined) throw no('sign-in-refused');
    server.finishLogin({ serverLoginState: login, finishLoginRequest: credential_finalization });
    return this.#opened(account, account.sealed);
  }

  #recover({ name, recovery_secret }: { name: string; recovery_secret: string }): Json {
    const account = this.accounts.get(name.toLowerCase());
    if (account === undefined || base64url(sha256(bytes(recovery_secret))) !== account.recovery.verifier) throw no('sign-in-refused');
    return this.#opened(account, account.recovery.sealed);
  }

  #opened(account: Account, sealed: string): Json {
    const ticket = this.#state({ name: account.name });
    return { account: account.account, name: account.name, account_key: jwk(account.accountKey), sealed_account_key: sealed, ticket };
  }

  #addDevice(body: { ticket: string; request_key: string; device: { device: string; name: string; binding: string } }): Json {
    return this.#issue(this.#ofTicket(body.ticket), body.device, body.request_key);
  }

  #startPassword({ ticket, registration_request }: { ticket: string; registration_request: string }): Json {
    const { account } = this.#ofTicket(ticket);
    const response = server.createRegistrationResponse({ serverSetup: this.#setup, userIdentifier: account, registrationRequest: registration_request });
    return { registration_response: response.registrationResponse };
  }

  #finishPassword(body: { ticket: string; registration_upload: string; sealed_account_key: string; recovery?: { verifier: string; sealed_account_key: string } }): Json {
    const account = this.#ofTicket(body.ticket);
    account.record = body.registration_upload;
    account.sealed = body.sealed_account_key;
    if (body.recovery) account.recovery = { verifier: body.recovery.verifier, sealed: body.recovery.sealed_account_key };
    return {};
  }

  #renew(body: never): Json {
    const { account, device, key } = this.#asking(body, { verb: 'renew' });
    return { credential: this.credential(account.account, account.name, device, key), time: Math.floor(this.nowMs / 1_000) };
  }

  #revoke(body: never, verb: DeviceVerb): Json {
    const { account, device } = this.#asking(body, verb);
    const target = 'target' in verb ? verb.target : device;
    if (!account.devices.delete(target)) throw no('not-found');
    return {};
  }

  #rename(body: { target: string; name: string }): Json {
    const { account } = this.#asking(body as never, { verb: 'rename-device', target: body.target, name: body.name });
    const device = account.devices.get(body.target);
    if (device === undefined) throw no('not-found');
    device.name = body.name;
    return {};
  }

  #delete({ ticket }: { ticket: string }): Json {
    this.accounts.delete(this.#ofTicket(ticket).name);
    return {};
  }

  #asking({ credential, time, signature }: { credential: string; time: number; signature: string }, verb: DeviceVerb) {
    const claims = JSON.parse(new TextDecoder().decode(bytes(credential.split('.')[1] ?? ''))) as { name: string; device: string };
    const account = this.accounts.get(claims.name);
    const key = account?.devices.get(claims.device)?.key;
    if (account === undefined || key === undefined) throw no('credential-refused');
    if (Math.abs(time * 1_000 - this.nowMs) > 300_000) throw no('credential-refused');
    if (!verifySignature(bytes(signature), deviceRequestInput(verb, this.network, claims.device, time), key)) throw no('credential-refused');
    return { account, device: claims.device, key };
  }

  #issue(account: Account, { device, name, binding }: { device: string; name: string; binding: string }, requestKey: string): Json {
    const bound = verifyBinding(bytes(binding));
    const good = bound !== null && bound.account === account.account && bound.device === device && equalBytes(bound.accountKey, account.accountKey);
    if (!good || verifyRequestKey(bytes(requestKey), account.account, account.accountKey) === null) throw no('invalid');
    account.devices.set(hex(idBytes(device)), { key: bound.deviceKey, name });
    return { credential: this.credential(account.account, account.name, device, bound.deviceKey), time: Math.floor(this.nowMs / 1_000) };
  }

  #ofTicket(ticket: string): Account {
    const { name } = (this.#states.get(ticket) ?? {}) as { name?: string };
    const account = name === undefined ? undefined : this.accounts.get(name);
    if (account === undefined) throw no('state-refused');
    return account;
  }

  #state(held: Json): string {
    const state = base64url(randomBytes(16));
    this.#states.set(state, held);
    return state;
  }

  #take(state: string): Json {
    const held = this.#states.get(state);
    if (held === undefined) throw no('state-refused');
    this.#states.delete(state);
    return held;
  }
}

function no(code: AccountErrorCode): AccountError {
  return new AccountError(code, `refused: ${code}`);
}

function bytes(text: string): Uint8Array {
  const read = unbase64url(text);
  if (read === null) throw no('invalid');
  return read;
}
