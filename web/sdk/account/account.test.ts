import { describe, expect, test, vi } from 'vitest';

import { base64url, equalBytes } from '../proto/bytes.ts';
import { jwk } from '../proto/document.ts';
import { publicKeyOf } from '../proto/ed25519.ts';
import { ROSTER_BYTES_MAX } from '../proto/limits.ts';
import { changePassword, deleteAccount, recover, renewRecoveryCode, signIn, signUp } from './account.ts';
import { Authority, networkUrl } from './authority.ts';
import { contact, sameNetwork } from './contact.ts';
import { cutName, renameDevice, renewCredential, revokeCredential, revokeDevice } from './devices.ts';
import type { AccountErrorCode } from './error.ts';
import { signingKeys, verifiedRoster, type Network } from './network.ts';
import { TestAuthority } from './testing.ts';

// Each password costs 64 MiB and a quarter of a second, on a busy machine many times that.
vi.setConfig({ testTimeout: 60_000 });

const URL_TEXT = 'http://localhost:8080';
const ALICE = { name: 'Alice', password: 'correct horse battery', deviceName: 'laptop' };

async function world(): Promise<{ authority: TestAuthority; network: Network }> {
  const authority = await TestAuthority.make();
  return { authority, network: await contact(URL_TEXT, null, authority.environment) };
}

const code = (code: AccountErrorCode) => ({ name: 'AccountError', code });

describe('a network', () => {
  test('is known by its address, by https but for this machine', () => {
    expect(networkUrl(' ahoy.example ')).toBe('https://ahoy.example');
    expect(networkUrl('https://ahoy.example:8443/')).toBe('https://ahoy.example:8443');
    for (const local of ['http://localhost:8080', 'http://127.0.0.1:80/', 'http://[::1]:8080']) expect(networkUrl(local), local).not.toBeNull();
    for (const not of ['http://ahoy.example', 'ftp://ahoy.example', 'https://a.b/path', 'https://u:p@a.b', '', 'https://', 'http://localhost.evil.example']) {
      expect(networkUrl(not), not).toBeNull();
    }
  });

  test('says who it is, and is checked', async () => {
    const { authority, network } = await world();
    expect(network).toMatchObject({ url: URL_TEXT, name: 'test', network: authority.network, echo: 'echo', signUp: 'open' });
    expect(network.certificateHashes).toEqual([new Uint8Array(32).fill(8)]);
    expect(signingKeys(network, authority.nowMs)).toEqual([publicKeyOf(authority.signingSecret)]);
    expect(verifiedRoster(network, authority.nowMs).serial).toBe(1);
    expect(sameNetwork(network, structuredClone(network))).toBe(true);
    expect(sameNetwork(network, { ...network, roster: 'x' })).toBe(false);
  });

  test('is refused where its root key is another than the pinned one', async () => {
    const { authority, network } = await world();
    await expect(contact(URL_TEXT, network, authority.environment)).resolves.toBeDefined();
    authority.rootSecret = new Uint8Array(32).fill(7);
    await expect(contact(URL_TEXT, network, authority.environment)).rejects.toMatchObject(code('network-changed'));
  });

  test.each<[string, object, AccountErrorCode]>([
    ['an id that is not its fingerprint', { network: '0'.repeat(32) }, 'not-ahoy'],
    ['a newer protocol', { minimum_version: 2 }, 'version'],
    ['signing keys by another root key', { signing_keys: ['a.b.c'] }, 'document'],
    ['no name', { name: '' }, 'not-ahoy'],
  ])('with %s is refused', async (_, change, expected) => {
    const { authority } = await world();
    const body: object = await (await authority.environment.fetch(`${URL_TEXT}/.well-known/ahoy`)).json();
    authority.intercept = (path) => (path === '/.well-known/ahoy' ? Response.json({ ...body, ...change }) : null);
    await expect(contact(URL_TEXT, null, authority.environment)).rejects.toMatchObject(code(expected));
  });

  test('whose clock is far from ours is told apart', async () => {
    const { authority } = await world();
    const environment = { ...authority.environment, nowMs: () => authority.nowMs - 1_000_000 };
    await expect(contact(URL_TEXT, null, environment)).rejects.toMatchObject(code('document'));
  });

  test('gives the largest roster that there can be, and nothing longer', async () => {
    const { authority } = await world();
    const asked = new Authority(URL_TEXT, authority.environment);
    let length = ROSTER_BYTES_MAX;
    authority.intercept = (path) => (path === '/v1/roster' ? new Response(new Uint8Array(length).fill(0x61)) : null);
    expect((await asked.roster()).length).toBe(length);
    length += 1;
    await expect(asked.roster()).rejects.toMatchObject(code('not-ahoy'));
  });

  test.each<[string, () => Response, AccountErrorCode]>([
    ['a page', () => new Response('<html>'), 'not-ahoy'],
    ['a list', () => Response.json([]), 'not-ahoy'],
    ['an error that is none of an authority', () => new Response('gone', { status: 502 }), 'not-ahoy'],
    ['a body without end', () => new Response(new Uint8Array(70_000)), 'not-ahoy'],
    ['a refusal', () => Response.json({ code: 'rate-limited', text: 'slow', retry_after_ms: 1_500 }, { status: 429 }), 'rate-limited'],
    ['a refusal that is not known', () => Response.json({ code: 'odd', text: 'x' }, { status: 400 }), 'not-ahoy'],
    ['a redirect or a dead line', () => { throw new TypeError('fetch failed'); }, 'unreachable'],
  ])('answers %s', async (_, response, expected) => {
    const { authority } = await world();
    const environment = { ...authority.environment, fetch: async () => response() };
    const refusal = contact(URL_TEXT, null, environment);
    await expect(refusal).rejects.toMatchObject(code(expected));
    if (expected === 'rate-limited') await expect(refusal).rejects.toMatchObject({ retryAfterMs: 1_500, message: 'slow' });
  });
});

describe('an account', () => {
  test('is made with its first device, and opened on a second by name and password', async () => {
    const { authority, network } = await world();
    const { identity, recoveryCode } = await signUp(network, ALICE, authority.environment);
    expect(recoveryCode).toMatch(/^(?:[0-9A-Z]{4}-){7}[0-9A-Z]{4}$/);
    expect(identity.name).toBe('alice');
    const second = await signIn(network, { ...ALICE, deviceName: 'phone' }, authority.environment);
    expect(second).toMatchObject({ account: identity.account, name: 'alice' });
    expect(equalBytes(second.accountKey, identity.accountKey)).toBe(true);
    expect(equalBytes(second.requestSecret, identity.requestSecret)).toBe(true);
    expect(second.device).not.toBe(identity.device);
    expect([...(authority.accounts.get('alice')?.devices.values() ?? [])].map(({ name }) => name)).toEqual(['laptop', 'phone']);
  });

  test('does not open by a wrong password or an unknown name, and nobody learns which', async () => {
    const { authority, network } = await world();
    await signUp(network, ALICE, authority.environment);
    const wrong = signIn(network, { ...ALICE, password: 'incorrect horse' }, authority.environment);
    await expect(wrong).rejects.toMatchObject({ ...code('sign-in-refused'), message: 'wrong name or password' });
    const unknown = signIn(network, { ...ALICE, name: 'bob' }, authority.environment);
    await expect(unknown).rejects.toMatchObject({ ...code('sign-in-refused'), message: 'wrong name or password' });
  });

  test('is not made where the name is taken or the password is too short, and then nothing is asked', async () => {
    const { authority, network } = await world();
    await signUp(network, ALICE, authority.environment);
    await expect(signUp(network, ALICE, authority.environment)).rejects.toMatchObject(code('name-taken'));
    authority.asked.length = 0;
    await expect(signUp(network, { ...ALICE, password: 'short' }, authority.environment)).rejects.toMatchObject(code('password-length'));
    expect(authority.asked).toEqual([]);
  });

  test('is recovered by its code, which is void then, and has the new password', async () => {
    const { authority, network } = await world();
    const { identity, recoveryCode } = await signUp(network, ALICE, authority.environment);
    const lost = { name: 'alice', recoveryCode: recoveryCode.toLowerCase(), password: 'another password', deviceName: 'new' };
    const recovered = await recover(network, lost, authority.environment);
    expect(equalBytes(recovered.identity.accountKey, identity.accountKey)).toBe(true);
    expect(recovered.recoveryCode).not.toBe(recoveryCode);
    await expect(signIn(network, ALICE, authority.environment)).rejects.toMatchObject(code('sign-in-refused'));
    await expect(signIn(network, { ...ALICE, password: 'another password' }, authority.environment)).resolves.toBeDefined();
    await expect(recover(network, lost, authority.environment)).rejects.toMatchObject(code('sign-in-refused'));
    await expect(recover(network, { ...lost, recoveryCode: 'abc' }, authority.environment)).rejects.toMatchObject(code('recovery-code'));
  });

  test('has its password changed and its recovery code renewed by whoever knows the password', async () => {
    const { authority, network } = await world();
    const { identity, recoveryCode } = await signUp(network, ALICE, authority.environment);
    await expect(changePassword(identity, 'not the password', 'second password', authority.environment)).rejects.toMatchObject(code('sign-in-refused'));
    await changePassword(identity, ALICE.password, 'second password', authority.environment);
    const fresh = await renewRecoveryCode(identity, 'second password', authority.environment);
    expect(fresh).not.toBe(recoveryCode);
    const lost = { name: 'alice', password: 'third password', deviceName: 'x' };
    await expect(recover(network, { ...lost, recoveryCode }, authority.environment)).rejects.toMatchObject(code('sign-in-refused'));
    await expect(recover(network, { ...lost, recoveryCode: fresh }, authority.environment)).resolves.toBeDefined();
  });

  test('is deleted by whoever knows its password', async () => {
    const { authority, network } = await world();
    const { identity } = await signUp(network, ALICE, authority.environment);
    await deleteAccount(identity, ALICE.password, authority.environment);
    expect(authority.accounts.size).toBe(0);
  });

  test('is not opened where the authority gives back another key', async () => {
    const { authority, network } = await world();
    await signUp(network, ALICE, authority.environment);
    const account = authority.accounts.get('alice');
    if (account === undefined) throw new Error('there is one');
    account.accountKey = publicKeyOf(new Uint8Array(32).fill(6));
    await expect(signIn(network, ALICE, authority.environment)).rejects.toMatchObject(code('account-key'));
  });

  test('takes no credential of another device', async () => {
    const { authority, network } = await world();
    const { identity } = await signUp(network, ALICE, authority.environment);
    const strange = authority.credential(identity.account, 'alice', identity.device, publicKeyOf(new Uint8Array(32).fill(6)));
    authority.intercept = (path) => (path === '/v1/credentials/renew' ? Response.json({ credential: strange, time: 0 }) : null);
    await expect(renewCredential(identity, authority.environment)).rejects.toMatchObject(code('not-ahoy'));
    authority.intercept = (path) => (path === '/v1/credentials/renew' ? Response.json({ credential: 'a.b.c', time: 0 }) : null);
    await expect(renewCredential(identity, authority.environment)).rejects.toMatchObject(code('document'));
  });
});

describe('a device', () => {
  test('renews its credential, renames and revokes devices, and signs itself out, by its key alone', async () => {
    const { authority, network } = await world();
    const { identity } = await signUp(network, ALICE, authority.environment);
    const second = await signIn(network, { ...ALICE, deviceName: 'phone' }, authority.environment);
    authority.nowMs += 1_000;
    const renewed = await renewCredential(identity, authority.environment);
    expect(renewed).not.toBe(identity.credential);
    await renameDevice(identity, second.device, 'Büro', authority.environment);
    const devices = authority.accounts.get('alice')?.devices;
    expect(devices?.get(second.device)?.name).toBe('Büro');
    await revokeDevice(identity, second.device, authority.environment);
    expect(devices?.has(second.device)).toBe(false);
    await expect(renewCredential(second, authority.environment)).rejects.toMatchObject(code('credential-refused'));
    await expect(revokeDevice(identity, second.device, authority.environment)).rejects.toMatchObject(code('not-found'));
    await revokeCredential(identity, authority.environment);
    expect(devices?.size).toBe(0);
  });

  test("'s name is cut to what the authority takes, in whole characters", () => {
    expect(cutName('Alice\u0007 laptop\n')).toBe('Alice laptop');
    expect(cutName('🌊'.repeat(20))).toBe('🌊'.repeat(16));
    expect(cutName('a'.repeat(70))).toBe('a'.repeat(64));
  });
});

test('nothing secret travels in the clear', async () => {
  const { authority, network } = await world();
  const bodies: string[] = [];
  const environment = {
    ...authority.environment,
    fetch: (input: RequestInfo | URL, init?: RequestInit) => {
      bodies.push(String(init?.body));
      return authority.environment.fetch(input, init);
    },
  };
  const { identity, recoveryCode } = await signUp(network, ALICE, environment);
  const all = bodies.join('\n');
  expect(all).toContain(JSON.stringify(jwk(identity.accountKey)));
  for (const secret of [ALICE.password, base64url(new TextEncoder().encode(ALICE.password)), recoveryCode, base64url(identity.requestSecret)]) {
    expect(all).not.toContain(secret);
  }
});
