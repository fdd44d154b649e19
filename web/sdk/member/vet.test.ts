import { describe, expect, it } from 'vitest';

import { makeDeviceKey } from '../proto/device-key.ts';
import { randomBytes } from '../proto/bytes.ts';
import { randomId } from '../proto/ids.ts';
import { MemoryVault } from '../vault/memory.ts';
import { Changes } from './changes.ts';
import type { Identity } from './identity.ts';
import type { Leaf } from './mls/suite.ts';
import { People } from './people.ts';
import { vet, vetChange } from './vet.ts';

function leaf(account: string, accountKey: Uint8Array): Leaf {
  return { account, device: randomId(), deviceKey: randomBytes(32), accountKey };
}

async function scene() {
  const [account, accountKey, device] = [randomId(), randomBytes(32), randomId()];
  const identity: Identity = { account, name: 'alice', accountKey, device, deviceKey: await makeDeviceKey(), binding: new Uint8Array(), requestSecret: new Uint8Array(32) };
  const own = { account, device, deviceKey: randomBytes(32), accountKey };
  const people = await People.load(new MemoryVault());
  const [bob, bobKey] = [randomId(), randomBytes(32)];
  people.learn('bob', bob, bobKey, new Changes(new MemoryVault()));
  return { identity, own, people, bob, bobKey };
}

describe('who may stand in a group', () => {
  it('is each device once, under the pinned account key, and this one', async () => {
    const { identity, own, people, bob, bobKey } = await scene();
    const theirs = leaf(bob, bobKey);
    expect(vet([own, theirs], identity, bob, people)).toBeNull();
    expect(vet([theirs], identity, bob, people)).toEqual({ kind: 'rules' });
    expect(vet([own, theirs, theirs], identity, bob, people)).toEqual({ kind: 'rules' });
    const key = randomBytes(32);
    expect(vet([own, leaf(bob, key)], identity, bob, people)).toEqual({ kind: 'key-changed', account: bob, key });
    expect(vet([own, leaf(identity.account, key)], identity, null, people)).toEqual({ kind: 'rules' });
  });

  it('is nobody else in a one-to-one conversation, and one key for each stranger in a group', async () => {
    const { identity, own, people, bob } = await scene();
    const [carol, key] = [randomId(), randomBytes(32)];
    expect(vet([own, leaf(carol, key)], identity, bob, people)).toEqual({ kind: 'rules' });
    expect(vet([own, leaf(carol, key), leaf(carol, key)], identity, null, people)).toBeNull();
    expect(vet([own, leaf(carol, key), leaf(carol, randomBytes(32))], identity, null, people)).toEqual({ kind: 'rules' });
  });
});

describe('a commit', () => {
  const [a, b, c] = [leaf(randomId(), randomBytes(32)), leaf(randomId(), randomBytes(32)), leaf(randomId(), randomBytes(32))];
  const at = { members: [a.account, b.account], leaves: [a, b], added: [], removed: [] };
  const change = { by: a, external: false, added: [], removed: [], leaves: [] };

  it('adds devices of members and of those who stand in the entry', () => {
    expect(vetChange({ ...change, added: [leaf(b.account, b.accountKey)] }, at)).toBeNull();
    expect(vetChange({ ...change, added: [c] }, at)).not.toBeNull();
    expect(vetChange({ ...change, added: [c] }, { ...at, added: [c.account] })).toBeNull();
  });

  it('removes devices of its maker, of those who stand in the entry and of those who are no members', () => {
    expect(vetChange({ ...change, removed: [leaf(a.account, a.accountKey)] }, at)).toBeNull();
    expect(vetChange({ ...change, removed: [b] }, at)).not.toBeNull();
    expect(vetChange({ ...change, removed: [b] }, { ...at, removed: [b.account] })).toBeNull();
    expect(vetChange({ ...change, removed: [c] }, at)).toBeNull();
  });

  it('comes from a device that stands in the group', () => {
    expect(vetChange({ ...change, by: c }, at)).not.toBeNull();
  });

  it('from outside adds its maker’s device, in the place of its old leaf, and nothing else', () => {
    const external = { ...change, external: true, by: b, added: [b] };
    expect(vetChange(external, at)).toBeNull();
    expect(vetChange({ ...external, removed: [b] }, at)).toBeNull();
    expect(vetChange({ ...external, removed: [a] }, at)).not.toBeNull();
    expect(vetChange({ ...external, by: c, added: [c] }, at)).not.toBeNull();
  });
});
