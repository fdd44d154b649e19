import { describe, expect, it } from 'vitest';

import { makeBinding } from '../../proto/binding.ts';
import { equalBytes, utf8 } from '../../proto/bytes.ts';
import { makeDeviceKey } from '../../proto/device-key.ts';
import { randomSecret } from '../../proto/ed25519.ts';
import { randomId } from '../../proto/ids.ts';
import { epochOfGroup, groupId, keptRatchets, keptTree, retired, type Group } from './group.ts';
import { keepSecrets, readSecrets, type KeyPackageSecrets } from './key-package.ts';
import { MlsError, parse } from './message.ts';
import { Mls } from './mls.ts';

interface Device {
  mls: Mls;
  account: string;
  device: string;
}

async function device(account = randomId(), secret = randomSecret()): Promise<Device> {
  const key = await makeDeviceKey();
  const id = randomId();
  return { mls: await Mls.of(key, makeBinding(account, id, key.publicKey, secret, 1)), account, device: id };
}

const conversation = randomId();

async function pair(): Promise<{ a: Device; b: Device; atA: Group; atB: Group }> {
  const [a, b] = [await device(), await device()];
  const made = await b.mls.makeKeyPackage(false);
  const { keyPackage } = await a.mls.checkKeyPackage(made.bytes);
  const created = await a.mls.create(groupId(conversation, 1), [keyPackage]);
  const joined = await b.mls.join(created.welcome ?? new Uint8Array(), shelf(made.secrets));
  return { a, b, atA: created.group, atB: joined.group };
}

function shelf(secrets: KeyPackageSecrets): (reference: string) => Promise<KeyPackageSecrets | null> {
  return (reference) => Promise.resolve(reference === secrets.reference ? readSecrets(reference, keepSecrets(secrets)) : null);
}

describe('groups', () => {
  it('a message opens once, for the member it was sealed to, and names its sender', async () => {
    const { a, b, atA, atB } = await pair();
    const { sealed } = await a.mls.seal(atA, utf8('ahoy'));
    const opened = await b.mls.unseal(atB, sealed);
    expect(opened.sender.device).toBe(a.device);
    expect(equalBytes(opened.plain, utf8('ahoy'))).toBe(true);
    await expect(b.mls.unseal(opened.group, sealed)).rejects.toThrow(MlsError);
  });

  it('sealed lengths come in steps of 64 bytes', async () => {
    const { a, atA } = await pair();
    const lengths = new Set<number>();
    for (const length of [1, 20, 50, 60, 61, 62, 63, 64, 65, 100, 200]) {
      const { sealed } = await a.mls.seal(atA, new Uint8Array(length));
      const message = parse(sealed);
      if (message.wireformat !== 'mls_private_message') throw new Error('expected a private message');
      lengths.add((message.privateMessage.ciphertext.length - 16) % 64);
    }
    expect([...lengths]).toEqual([0]);
  });

  it('both sides have the same voice secret, another one in each epoch', async () => {
    const { a, b, atA, atB } = await pair();
    const first = await a.mls.voiceSecret(atA);
    expect(equalBytes(first, await b.mls.voiceSecret(atB))).toBe(true);
    const made = await a.mls.commit(atA, [], []);
    expect(equalBytes(first, await a.mls.voiceSecret(made.group))).toBe(false);
  });

  it('comes back from the vault and goes on, in its epoch and in those before', async () => {
    const { a, b, atA, atB } = await pair();
    const { sealed: late } = await a.mls.seal(atA, utf8('late'));
    const kept = { tree: keptTree(retired(atB)), ratchets: keptRatchets(retired(atB)) };
    const past = b.mls.restore(kept);
    expect(past).not.toBeNull();
    const opened = past && (await b.mls.unseal(past, late));
    expect(opened && equalBytes(opened.plain, utf8('late'))).toBe(true);

    const restored = b.mls.restore({ tree: keptTree(atB), ratchets: keptRatchets(atB) });
    const made = await a.mls.commit(atA, [], []);
    const moved = restored && (await b.mls.advance(restored, made.commit));
    expect(moved && epochOfGroup(moved.group)).toBe(2);
  });

  it('adds and removes a third device, and says what changed', async () => {
    const { a, b, atA, atB } = await pair();
    const c = await device();
    const made = await c.mls.makeKeyPackage(true);
    const { keyPackage } = await a.mls.checkKeyPackage(made.bytes);
    const add = await a.mls.commit(atA, [keyPackage], []);
    const added = await b.mls.advance(atB, add.commit);
    expect(added.added.map(({ device }) => device)).toEqual([c.device]);
    expect(added.by.device).toBe(a.device);
    const joined = await c.mls.join(add.welcome ?? new Uint8Array(), shelf(made.secrets));
    expect(joined.used.lastResort).toBe(true);
    const { sealed } = await c.mls.seal(joined.group, utf8('hello'));
    expect((await b.mls.unseal(added.group, sealed)).sender.device).toBe(c.device);

    const remove = await b.mls.commit(added.group, [], [c.device]);
    const removed = await a.mls.advance(add.group, remove.commit);
    expect(removed.removed.map(({ device }) => device)).toEqual([c.device]);
    await expect(c.mls.advance(joined.group, remove.commit)).rejects.toThrow(MlsError);
  });

  it('a device enters from outside, and again in the place of its old leaf', async () => {
    const { a, b, atA, atB } = await pair();
    const c = await device(a.account);
    const made = await b.mls.commit(atB, [], []);
    const moved = await a.mls.advance(atA, made.commit);
    const entered = await c.mls.enter(made.groupInfo);
    const change = await a.mls.advance(moved.group, entered.commit);
    expect(change).toMatchObject({ external: true, by: { device: c.device } });
    expect(change.removed).toEqual([]);
    const again = await c.mls.enter(entered.groupInfo);
    const changed = await a.mls.advance(change.group, again.commit);
    expect(changed.leaves.filter(({ device }) => device === c.device)).toHaveLength(1);
    const { sealed } = await c.mls.seal(again.group, utf8('back'));
    expect((await a.mls.unseal(changed.group, sealed)).sender.device).toBe(c.device);
  });

  it('refuses a key package whose binding names another key', async () => {
    const [a, b] = [await device(), await device()];
    const key = await makeDeviceKey();
    const other = await makeDeviceKey();
    const forged = await Mls.of(key, makeBinding(b.account, b.device, other.publicKey, randomSecret(), 1));
    await expect(a.mls.checkKeyPackage((await forged.makeKeyPackage(false)).bytes)).rejects.toMatchObject({ fault: 'unbound' });
  });

  it('garbage is malformed and nothing else', async () => {
    const { b, atB } = await pair();
    for (const bytes of [new Uint8Array(), utf8('garbage'), new Uint8Array(200)]) {
      await expect(b.mls.unseal(atB, bytes)).rejects.toMatchObject({ fault: 'malformed' });
      await expect(b.mls.advance(atB, bytes)).rejects.toMatchObject({ fault: 'malformed' });
    }
  });
});
