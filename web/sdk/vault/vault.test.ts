import 'fake-indexeddb/auto';

import { beforeEach, describe, expect, test, vi } from 'vitest';

import { utf8 } from '../proto/bytes.ts';
import { makeDeviceKey } from '../proto/device-key.ts';
import { verifySignature } from '../proto/ed25519.ts';
import { answer, VaultError } from './database.ts';
import type { Identity } from './identity.ts';
import { IndexedDbVault, KEYS } from './indexed-db.ts';
import { MemoryVault } from './memory.ts';
import { memoryProfile, openProfile, type Profile } from './profile.ts';
import type { Vault } from './vault.ts';

let count = 0;
const fresh = (): string => `profile ${(count += 1)}`;
const text = (bytes: Uint8Array | null): string | null => bytes && new TextDecoder().decode(bytes);
const write = (table: 'state' | 'groups' | 'lines', key: string, value: string | null) => ({ table, key, value: value === null ? null : utf8(value) });

async function keys(vault: Vault, ...range: Parameters<Vault['range']>): Promise<string[]> {
  return (await vault.range(...range)).map(({ key }) => key);
}

describe.each([
  ['in memory', async (): Promise<Vault> => new MemoryVault()],
  ['in IndexedDB', (): Promise<Vault> => IndexedDbVault.open(fresh())],
])('a vault %s', (_, open) => {
  let vault: Vault;
  beforeEach(async () => {
    vault = await open();
  });

  test('reads what was committed, by table and key, and what was removed no more', async () => {
    await vault.commit({ writes: [write('state', 'a', 'one'), write('groups', 'a', 'two'), write('state', 'b', '')] });
    expect([text(await vault.read('state', 'a')), text(await vault.read('groups', 'a')), text(await vault.read('state', 'b'))]).toEqual(['one', 'two', '']);
    expect(await vault.read('lines', 'a')).toBeNull();
    await vault.commit({ writes: [write('state', 'a', null), write('groups', 'a', 'three')] });
    expect(await vault.read('state', 'a')).toBeNull();
    expect(text(await vault.read('groups', 'a'))).toBe('three');
  });

  test('keeps no hold on the bytes that it was given or gave', async () => {
    const value = utf8('kept');
    await vault.commit({ writes: [{ table: 'state', key: 'a', value }] });
    value.fill(0);
    (await vault.read('state', 'a'))?.fill(0);
    expect(text(await vault.read('state', 'a'))).toBe('kept');
  });

  test('gives ranges in the order of keys, by prefix, before a key, and the first or last of them', async () => {
    const all = ['c1/003', 'c1/001', 'c2/001', 'c1/002', 'c1', 'c1/010', 'c'];
    await vault.commit({ writes: all.map((key) => write('lines', key, `of ${key}`)) });
    expect(await keys(vault, 'lines', 'c1/')).toEqual(['c1/001', 'c1/002', 'c1/003', 'c1/010']);
    expect(await keys(vault, 'lines', '')).toEqual(['c', 'c1', 'c1/001', 'c1/002', 'c1/003', 'c1/010', 'c2/001']);
    expect(await keys(vault, 'lines', 'c1/', { before: 'c1/003' })).toEqual(['c1/001', 'c1/002']);
    expect(await keys(vault, 'lines', 'c1/', { before: 'c1/' })).toEqual([]);
    expect(await keys(vault, 'lines', 'c1/', { before: 'z', limit: 2 })).toEqual(['c1/001', 'c1/002']);
    expect(await keys(vault, 'lines', 'c1/', { last: true, limit: 2 })).toEqual(['c1/003', 'c1/010']);
    expect(await keys(vault, 'lines', 'c1/', { before: 'c1/010', last: true, limit: 2 })).toEqual(['c1/002', 'c1/003']);
    expect(await keys(vault, 'lines', 'c1/', { last: true, limit: 0 })).toEqual([]);
    expect(await keys(vault, 'state', '')).toEqual([]);
    expect((await vault.range('lines', 'c2')).map(({ value }) => text(value))).toEqual(['of c2/001']);
  });

  test('commits in the order in which it was asked', async () => {
    const long = 'x'.repeat(200_000);
    await Promise.all([long, 'second', 'third'].map((value) => vault.commit({ writes: [write('state', 'a', value)] })));
    expect(text(await vault.read('state', 'a'))).toBe('third');
  });

  test('takes an empty commit', async () => {
    await expect(vault.commit({ writes: [] })).resolves.toBeUndefined();
  });
});

describe('in IndexedDB', () => {
  test('what was committed is there when the profile is opened again, and gone when it was wiped', async () => {
    const name = fresh();
    const first = await IndexedDbVault.open(name);
    await first.commit({ writes: [write('state', 'a', 'one')] });
    first.close();
    const second = await IndexedDbVault.open(name);
    expect(text(await second.read('state', 'a'))).toBe('one');
    await second.wipe();
    const third = await IndexedDbVault.open(name);
    expect(await third.read('state', 'a')).toBeNull();
  });

  test('nothing is in the clear, and no script can read the key', async () => {
    const vault = await IndexedDbVault.open(fresh());
    await vault.commit({ writes: [write('state', 'a', 'a secret of some length')] });
    const row: { sealed: Uint8Array } = await answer(vault.database.transaction('state').objectStore('state').get('a'));
    expect(text(row.sealed)).not.toContain('secret');
    await expect(crypto.subtle.exportKey('raw', vault.sealingKey)).rejects.toThrow();
  });

  test('a value that was put in the place of another does not open', async () => {
    const vault = await IndexedDbVault.open(fresh());
    await vault.commit({ writes: [write('state', 'a', 'one'), write('state', 'b', 'two')] });
    const store = (): IDBObjectStore => vault.database.transaction('state', 'readwrite').objectStore('state');
    const row: object = await answer(store().get('a'));
    await answer(store().put({ ...row, key: 'b' }));
    await expect(vault.read('state', 'b')).rejects.toThrow(VaultError);
    await expect(vault.range('state', '')).rejects.toThrow('unreadable');
  });

  test('a commit is one strict transaction, and leaves nothing where it fails', async () => {
    const vault = await IndexedDbVault.open(fresh());
    const transaction = vi.spyOn(vault.database, 'transaction');
    await vault.commit({ writes: [write('state', 'a', 'one'), write('lines', 'b', 'two')] });
    expect(transaction.mock.calls).toEqual([[['state', 'lines'], 'readwrite', { durability: 'strict' }]]);
    const put = IDBObjectStore.prototype.put;
    let puts = 0;
    using _ = vi.spyOn(IDBObjectStore.prototype, 'put').mockImplementation(function (this: IDBObjectStore, ...row) {
      puts += 1;
      if (puts === 2) throw new DOMException('full', 'QuotaExceededError');
      return put.apply(this, row);
    });
    const failing = vault.commit({ writes: [write('state', 'a', 'three'), write('lines', 'b', 'four')] });
    await expect(failing).rejects.toMatchObject({ reason: 'full' });
    expect(text(await vault.read('state', 'a'))).toBe('one');
    await vault.commit({ writes: [write('state', 'c', 'five')] });
    expect(text(await vault.read('state', 'c'))).toBe('five');
  });

  test('two that open a fresh profile at once seal under one key', async () => {
    const name = fresh();
    const [a, b] = await Promise.all([IndexedDbVault.open(name), IndexedDbVault.open(name)]);
    await a.commit({ writes: [write('state', 'a', 'one')] });
    expect(text(await b.read('state', 'a'))).toBe('one');
  });

  test('whoever uses a profile that was wiped elsewhere is told', async () => {
    const name = fresh();
    const [a, b] = [await IndexedDbVault.open(name), await IndexedDbVault.open(name)];
    await a.wipe();
    await expect(b.read('state', 'a')).rejects.toThrow(VaultError);
    await expect(b.commit({ writes: [write('state', 'a', 'one')] })).rejects.toThrow(VaultError);
  });
});

describe.each([
  ['in memory', async (): Promise<Profile> => memoryProfile()],
  ['in IndexedDB', (): Promise<Profile> => openProfile(fresh())],
])('a profile %s', (_, open) => {
  test('keeps who is signed in, and signs with the same key', async () => {
    const profile = await open();
    expect(await profile.identity()).toBeNull();
    const identity = await sample();
    await profile.keep(identity);
    const back = await profile.identity();
    if (back === null) throw new Error('somebody is signed in');
    const { deviceKey, ...record } = back;
    const { deviceKey: _key, ...expected } = identity;
    expect(record).toEqual(expected);
    expect(verifySignature(await deviceKey.sign(utf8('proof')), utf8('proof'), identity.deviceKey.publicKey)).toBe(true);
  });
});

test('a profile that was forgotten holds neither identity nor state', async () => {
  const name = fresh();
  const profile = await openProfile(name);
  await profile.keep(await sample());
  await profile.vault.commit({ writes: [write('state', 'a', 'one')] });
  await profile.forget();
  const again = await openProfile(name);
  expect(await again.identity()).toBeNull();
  expect(await again.vault.read('state', 'a')).toBeNull();
});

test('the identity lies sealed beside a key that no script can read', async () => {
  const name = fresh();
  const profile = await openProfile(name);
  const identity = await sample();
  await profile.keep(identity);
  const vault = await IndexedDbVault.open(name);
  const kept: { sealed: Uint8Array; deviceKey: { key: CryptoKey } } = await answer(vault.database.transaction(KEYS).objectStore(KEYS).get('identity'));
  expect(text(kept.sealed)).not.toContain('alice');
  await expect(crypto.subtle.exportKey('pkcs8', kept.deviceKey.key)).rejects.toThrow();
});

async function sample(): Promise<Identity> {
  return {
    network: {
      url: 'https://ahoy.example',
      name: 'example',
      network: '1'.repeat(32),
      rootKey: new Uint8Array(32).fill(1),
      signingKeys: ['a.b.c'],
      roster: 'd.e.f',
      reportKey: new Uint8Array(32).fill(2),
      echo: null,
      minimumVersion: 1,
      signUp: 'open',
      certificateHashes: [new Uint8Array(32).fill(3)],
    },
    account: 'a'.repeat(32),
    name: 'alice',
    accountKey: new Uint8Array(32).fill(4),
    device: 'b'.repeat(32),
    deviceKey: await makeDeviceKey(),
    binding: Uint8Array.of(1, 2, 3),
    requestSecret: new Uint8Array(32).fill(5),
    credential: 'g.h.i',
  };
}
