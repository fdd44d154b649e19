import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';

import { makeBinding, verifyBinding } from './binding.ts';
import { concat, hex, utf8 } from './bytes.ts';
import { comparisonCode } from './comparison.ts';
import { CREDENTIAL, keyId, ROSTER, SUPERNODE_CERTIFICATE, verifyDocument, verifySupernode } from './document.ts';
import { publicKeyOf, signWith, verifySignature } from './ed25519.ts';
import { decodeFlow, encodeFlow } from './flow.ts';
import { encodeClientMessage, frame, SupernodeReader } from './frame.ts';
import { fromHex, golden } from './golden.ts';
import { openWith } from './hpke.ts';
import { fingerprint } from './ids.ts';
import { ClientMessageSchema, ReportContentSchema, SupernodeMessageSchema } from './messages.ts';
import { openNote, sealNote } from './note.ts';
import { choose, rank, type Candidate } from './placement.ts';
import { deviceRequestInput, proofInput } from './proof.ts';
import { sealReport } from './report.ts';
import { publishRequestKey, requestSecretOf, verifyRequestKey } from './request-key.ts';
import {
  openAccountKey,
  parseRecoveryCode,
  passwordSealingKey,
  recoveryCodeText,
  recoverySealingKey,
  sealAccountKey,
} from './sealing.ts';

type Texts<K extends string> = Record<K, string>;

test('ids are the fingerprints of their keys', () => {
  const ids = golden<Texts<'network' | 'root_key' | 'roster_key' | 'supernode'>>('ids');
  expect(fingerprint(fromHex(ids.root_key))).toBe(ids.network);
  expect(fingerprint(fromHex(ids.roster_key))).toBe(ids.supernode);
});

test('comparison codes', () => {
  const { a, b, code } = golden<{ a: Texts<'account' | 'account_key'>; b: Texts<'account' | 'account_key'>; code: string }>('comparison');
  const side = (of: typeof a) => ({ account: of.account, accountKey: fromHex(of.account_key) });
  expect(comparisonCode(side(a), side(b))).toBe(code);
  expect(comparisonCode(side(b), side(a))).toBe(code);
});

describe('documents', () => {
  const documents = golden<
    Texts<'credential' | 'forged_credential' | 'kid' | 'network' | 'roster' | 'signing_key' | 'supernode_certificate'> & { now: number }
  >('documents');
  const against = { keys: [fromHex(documents.signing_key)], network: documents.network, nowMs: documents.now * 1_000 };

  test('all of them verify and say what they say', () => {
    expect(keyId(fromHex(documents.signing_key))).toBe(documents.kid);
    const credential = verifyDocument(documents.credential, CREDENTIAL, against);
    expect(credential).toMatchObject({ account: 'a'.repeat(32), device: 'b'.repeat(32), name: 'alice', expires: 1_800_604_800 });
    const roster = verifyDocument(documents.roster, ROSTER, against);
    expect(roster.serial).toBe(7);
    expect(roster.supernodes).toMatchObject([{ addresses: ['127.0.0.1:8080', '[::1]:8080'], region: 'local', weight: 100, number: 9 }]);
    const certificate = verifyDocument(documents.supernode_certificate, SUPERNODE_CERTIFICATE, against);
    expect(certificate.supernode).toBe(golden<Texts<'supernode'>>('ids').supernode);
    const [entry] = roster.supernodes;
    if (entry === undefined) throw new Error('the roster lists one');
    expect(() => verifySupernode(documents.supernode_certificate, entry, against)).not.toThrow();
  });

  test('the forged one is refused', () => {
    expect(() => verifyDocument(documents.forged_credential, CREDENTIAL, against)).toThrow('forged');
  });
});

test('messages and flow ids', () => {
  const messages = golden<{
    challenge: { framed: string; time_ms: number };
    find_account: { framed: string; name: string; request: number };
    flow_ids: { bytes: string; flow: number }[];
  }>('messages');
  const reader = new SupernodeReader();
  reader.push(fromHex(messages.challenge.framed));
  const challenge = reader.next();
  if (challenge?.body.case !== 'challenge') throw new Error('it is a challenge');
  expect(challenge.body.value).toMatchObject({ timeMs: BigInt(messages.challenge.time_ms), minimumVersion: 1, agent: 'ahoyd/0.1.0' });
  expect(hex(frame(toBinary(SupernodeMessageSchema, challenge)))).toBe(messages.challenge.framed);
  const { framed, name, request } = messages.find_account;
  const find = create(ClientMessageSchema, { request: BigInt(request), body: { case: 'findAccount', value: { name } } });
  expect(hex(encodeClientMessage(find))).toBe(framed);
  for (const { bytes, flow } of messages.flow_ids) {
    expect(hex(encodeFlow(BigInt(flow)))).toBe(bytes);
    expect(decodeFlow(concat(fromHex(bytes), Uint8Array.of(1)))).toEqual({ flow: BigInt(flow), length: bytes.length / 2 });
    expect(decodeFlow(fromHex(bytes).subarray(1))).not.toEqual({ flow: BigInt(flow), length: bytes.length / 2 });
  }
});

describe('people', () => {
  const people = golden<{
    note: Texts<'asked' | 'asking' | 'sealed' | 'seed' | 'text'>;
    report: Texts<'about' | 'content' | 'report_key' | 'report_secret' | 'reporter' | 'sealed' | 'seed'>;
    request_key: Texts<'account' | 'account_secret' | 'published' | 'request_secret'>;
  }>('people');
  const requestSecret = fromHex(people.request_key.request_secret);

  test('request keys', () => {
    const { account, account_secret, published } = people.request_key;
    const secret = fromHex(account_secret);
    expect(requestSecretOf(secret)).toEqual(requestSecret);
    expect(hex(publishRequestKey(account, secret))).toBe(published);
    expect(verifyRequestKey(fromHex(published), account, publicKeyOf(secret))).toEqual(fromHex(published).subarray(0, 32));
    expect(verifyRequestKey(fromHex(published), 'c'.repeat(32), publicKeyOf(secret))).toBeNull();
  });

  test('notes', async () => {
    const { asked, asking, sealed, seed, text } = people.note;
    const key = fromHex(people.request_key.published).subarray(0, 32);
    expect(hex((await sealNote(text, { asking, asked }, key, fromHex(seed))) ?? new Uint8Array(0))).toBe(sealed);
    expect(await openNote(fromHex(sealed), { asking, asked }, requestSecret)).toBe(text);
    expect(await openNote(fromHex(sealed), { asking: asked, asked: asking }, requestSecret)).toBeNull();
    expect(await openNote(fromHex(sealed).subarray(0, 31), { asking, asked }, requestSecret)).toBeNull();
  });

  test('reports', async () => {
    const { about, content, report_key, report_secret, reporter, sealed, seed } = people.report;
    const plain = fromBinary(ReportContentSchema, fromHex(content));
    const made = await sealReport(plain, { reporter, about }, fromHex(report_key), fromHex(seed));
    expect(hex(made ?? new Uint8Array(0))).toBe(sealed);
    const purpose = { info: utf8('ahoy/1 report'), aad: concat(fromHex(reporter), fromHex(about)) };
    expect(hex((await openWith(fromHex(report_secret), fromHex(sealed), purpose)) ?? new Uint8Array(0))).toBe(content);
  });

  test('nothing is sealed to a key of small order', async () => {
    const { asked, asking } = people.note;
    expect(await sealNote('hi', { asking, asked }, new Uint8Array(32))).toBeNull();
  });
});

describe('placement', () => {
  const placement = golden<{
    fleets: { candidates: Candidate[]; ranks: { key: string; rank: number[] }[] }[];
    choice: { candidates: Candidate[]; round_trips_ms: (number | null)[]; orders: { account: string; order: number[] }[] };
  }>('placement');

  test('ranks', () => {
    for (const { candidates, ranks } of placement.fleets) {
      for (const each of ranks) {
        expect(rank(each.key, candidates)).toEqual(each.rank.map((index) => candidates[index]));
      }
    }
  });

  test('choices by round trip', () => {
    const { candidates, orders, round_trips_ms } = placement.choice;
    const roundTrip = (candidate: Candidate) => round_trips_ms[candidates.indexOf(candidate)] ?? null;
    for (const { account, order } of orders) {
      expect(choose(account, candidates, roundTrip)).toEqual(order.map((index) => candidates[index]));
    }
  });
});

test('sealed account keys and the recovery code', () => {
  const sealed = golden<Texts<'account' | 'account_secret' | 'export_key' | 'nonce' | 'recovery_code' | 'under_password' | 'under_recovery_code'>>('sealed');
  const [secret, nonce] = [fromHex(sealed.account_secret), fromHex(sealed.nonce)];
  const byPassword = passwordSealingKey(fromHex(sealed.export_key));
  expect(hex(sealAccountKey(secret, sealed.account, byPassword, nonce))).toBe(sealed.under_password);
  expect(openAccountKey(fromHex(sealed.under_password), sealed.account, byPassword)).toEqual(secret);
  const code = parseRecoveryCode(sealed.recovery_code);
  if (code === null) throw new Error('the code is one');
  expect(recoveryCodeText(code)).toBe(sealed.recovery_code);
  expect(hex(sealAccountKey(secret, sealed.account, recoverySealingKey(code), nonce))).toBe(sealed.under_recovery_code);
  expect(openAccountKey(fromHex(sealed.under_recovery_code), sealed.account, byPassword)).toBeNull();
  expect(openAccountKey(fromHex(sealed.under_password), 'c'.repeat(32), byPassword)).toBeNull();
});

describe('signatures', () => {
  const vectors = golden<{
    account_secret: string;
    device_secret: string;
    binding: string;
    device_request: Texts<'input' | 'signature'> & { time: number };
    device_request_rename_device: Texts<'input' | 'name' | 'target'> & { time: number };
    device_request_revoke_device: Texts<'input' | 'target'> & { time: number };
    proof: Texts<'exporter' | 'input' | 'input_without_exporter' | 'nonce' | 'signature' | 'supernode'>;
  }>('signatures');
  const { network } = golden<Texts<'network'>>('ids');
  const deviceSecret = fromHex(vectors.device_secret);
  const devicePublic = publicKeyOf(deviceSecret);
  const [account, device] = ['a'.repeat(32), 'b'.repeat(32)];

  test('session proofs', () => {
    const { exporter, input, input_without_exporter, nonce, signature, supernode } = vectors.proof;
    expect(hex(proofInput(network, supernode, fromHex(nonce), fromHex(exporter)))).toBe(input);
    expect(hex(proofInput(network, supernode, fromHex(nonce)))).toBe(input_without_exporter);
    expect(hex(signWith(deviceSecret, fromHex(input)))).toBe(signature);
    expect(verifySignature(fromHex(signature), fromHex(input), devicePublic)).toBe(true);
  });

  test('device requests', () => {
    const renew = vectors.device_request;
    expect(hex(deviceRequestInput({ verb: 'renew' }, network, device, renew.time))).toBe(renew.input);
    expect(hex(signWith(deviceSecret, fromHex(renew.input)))).toBe(renew.signature);
    const rename = vectors.device_request_rename_device;
    const renaming = { verb: 'rename-device', target: rename.target, name: rename.name } as const;
    expect(hex(deviceRequestInput(renaming, network, device, rename.time))).toBe(rename.input);
    const revoke = vectors.device_request_revoke_device;
    expect(hex(deviceRequestInput({ verb: 'revoke-device', target: revoke.target }, network, device, revoke.time))).toBe(revoke.input);
  });

  test('device bindings', () => {
    const encoded = fromHex(vectors.binding);
    const verified = verifyBinding(encoded);
    expect(verified).toMatchObject({ account, device, deviceKey: devicePublic, accountKey: publicKeyOf(fromHex(vectors.account_secret)) });
    expect(hex(makeBinding(account, device, devicePublic, fromHex(vectors.account_secret), 1_800_000_000))).toBe(vectors.binding);
    for (const at of [2, 20, 40, 75, encoded.length - 1]) {
      const changed = encoded.slice();
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(verifyBinding(changed), `byte ${at}`).toBeNull();
    }
  });
});
