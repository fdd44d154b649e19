import { expect, test } from 'vitest';

import { base64url, utf8 } from './bytes.ts';
import { CREDENTIAL, DocumentError, halfLifeMs, jwk, keyId, ROSTER, SUPERNODE_CERTIFICATE, verifyDocument, verifySupernode } from './document.ts';
import { publicKeyOf, signWith } from './ed25519.ts';
import { fingerprint } from './ids.ts';

const SIGNING = new Uint8Array(32).fill(2);
const ROSTER_SECRET = new Uint8Array(32).fill(4);
const KEYS = [publicKeyOf(SIGNING)];
const NETWORK = '1'.repeat(32);

function signed(claims: object, header: object = {}, secret = SIGNING): string {
  const head = { alg: 'EdDSA', typ: 'ahoy-credential+jwt', kid: keyId(publicKeyOf(secret)), ...header };
  const input = `${base64url(utf8(JSON.stringify(head)))}.${base64url(utf8(JSON.stringify(claims)))}`;
  return `${input}.${base64url(signWith(secret, utf8(input)))}`;
}

const CLAIMS = {
  iss: NETWORK,
  sub: 'a'.repeat(32),
  name: 'alice',
  device: 'b'.repeat(32),
  cnf: { jwk: jwk(publicKeyOf(ROSTER_SECRET)) },
  iat: 1_000,
  exp: 2_000,
};

function fault(token: string, kind: typeof CREDENTIAL | typeof ROSTER | typeof SUPERNODE_CERTIFICATE = CREDENTIAL, at = 1_500, graceMs = 0): string {
  try {
    verifyDocument<never>(token, kind as never, { keys: KEYS, network: NETWORK, nowMs: at * 1_000, graceMs });
    return 'none';
  } catch (error) {
    return error instanceof DocumentError ? error.fault : 'thrown';
  }
}

test('a good document is taken until the end of its last second', () => {
  expect(fault(signed(CLAIMS))).toBe('none');
  expect(fault(signed(CLAIMS), CREDENTIAL, 2_000.999)).toBe('none');
  expect(fault(signed(CLAIMS), CREDENTIAL, 2_001)).toBe('expired');
  expect(fault(signed(CLAIMS), CREDENTIAL, 2_001, 5_000)).toBe('none');
});

test('a document from more than 300 s ahead is not taken', () => {
  expect(fault(signed(CLAIMS), CREDENTIAL, 700)).toBe('none');
  expect(fault(signed(CLAIMS), CREDENTIAL, 699)).toBe('expired');
});

test.each([
  ['another algorithm', { alg: 'none' }, 'malformed'],
  ['another type', { typ: 'ahoy-roster+jwt' }, 'malformed'],
  ['a key that is not held', { kid: '0'.repeat(16) }, 'forged'],
  ['no key', { kid: null }, 'malformed'],
])('%s is refused', (_, header, expected) => {
  expect(fault(signed(CLAIMS, header))).toBe(expected);
});

test('a document by a strange key is forged, also where it names ours', () => {
  const strange = new Uint8Array(32).fill(9);
  expect(fault(signed(CLAIMS, {}, strange))).toBe('forged');
  const kid = keyId(publicKeyOf(SIGNING));
  expect(fault(signed(CLAIMS, { kid }, strange))).toBe('forged');
});

test('a document of another network is refused', () => {
  expect(fault(signed({ ...CLAIMS, iss: '2'.repeat(32) }))).toBe('wrong-network');
});

test.each([
  ['an id of another length', { sub: 'aa' }],
  ['a name that is none', { name: 'A lice' }],
  ['no device key', { cnf: {} }],
  ['a device key of another length', { cnf: { jwk: { ...jwk(new Uint8Array(32)), x: 'AAAA' } } }],
  ['times that are none', { exp: '2000' }],
  ['a time in parts of a second', { iat: 1_000.5 }],
])('%s is malformed', (_, claims) => {
  expect(fault(signed({ ...CLAIMS, ...claims }))).toBe('malformed');
});

test('what is no JWS is malformed and nothing else is thrown', () => {
  const whole = signed(CLAIMS);
  for (const token of ['', '.', '..', '...', whole.slice(0, -2), `${whole}.x`, `${whole}=`, whole.replace('.', '.!'), 'e30.e30.e30', 'W10.W10.W10']) {
    expect(['malformed', 'forged'], token).toContain(fault(token));
  }
});

test('a certificate is refused for another policy, another key than its id says, or another supernode than was dialled', () => {
  const key = publicKeyOf(ROSTER_SECRET);
  const claims = { iss: NETWORK, sub: fingerprint(key), cnf: { jwk: jwk(key) }, number: 9, policy: 'hosted', iat: 1_000, exp: 2_000 };
  const header = { typ: 'ahoy-supernode+jwt' };
  expect(fault(signed(claims, header), SUPERNODE_CERTIFICATE)).toBe('none');
  expect(fault(signed({ ...claims, policy: 'promoted' }, header), SUPERNODE_CERTIFICATE)).toBe('malformed');
  expect(fault(signed({ ...claims, sub: '3'.repeat(32) }, header), SUPERNODE_CERTIFICATE)).toBe('malformed');
  const other = publicKeyOf(SIGNING);
  const dialled = { supernode: fingerprint(other), key: other, addresses: [], region: '', weight: 1, number: 1 };
  const against = { keys: KEYS, network: NETWORK, nowMs: 1_500_000 };
  expect(() => verifySupernode(signed(claims, header), dialled, against)).toThrow('forged');
  expect(() => verifySupernode('', dialled, against)).toThrow('malformed');
});

test('a credential is renewed at half of its life', () => {
  expect(halfLifeMs({ issuedAt: 1_000, expires: 2_001 })).toBe(1_500_000);
});
