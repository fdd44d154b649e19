/** This device's key packages: a stock at the supernode, and the secrets of all that may still be used. */

import { create } from '@bufbuild/protobuf';

import { KEY_PACKAGES_MAX } from '../proto/limits.ts';
import { PublishKeyPackagesSchema } from '../proto/messages.ts';
import type { Vault } from '../vault/vault.ts';
import { hasFields, readJson, type Changes } from './changes.ts';
import { keepSecrets, readSecrets, type KeyPackageSecrets } from './mls/key-package.ts';
import type { Scope } from './scope.ts';
import { Serial } from './serial.ts';
import type { MemberSession } from './session.ts';

const SECRETS_PREFIX = 'key-package/';
const RECORD_KEY = 'key-packages';

/** Key packages kept at the supernode: 20 new conversations between two visits, at about 10 KB to publish. */
const STOCK = 20;

/** Published anew when this few are left. */
const STOCK_LOW = 10;

interface KeyPackagesRecord {
  /** Left at the supernode, as far as this device can know; 0 until it has confirmed the first. */
  stock: number;
  /** References of all whose secrets are kept, oldest first. */
  order: string[];
}

export class KeyPackages {
  readonly #serial = new Serial();

  private constructor(private record: KeyPackagesRecord) {}

  static async load(vault: Vault): Promise<KeyPackages> {
    const record = readJson(await vault.read('state', RECORD_KEY), hasFields<KeyPackagesRecord>('stock', 'order'));
    return new KeyPackages(record ?? { stock: 0, order: [] });
  }

  /** The secrets of one, by its reference. */
  async find(changes: Changes, reference: string): Promise<KeyPackageSecrets | null> {
    const kept = await changes.read('state', SECRETS_PREFIX + reference);
    return kept === null ? null : readSecrets(reference, kept);
  }

  /** One was used: never again, unless it is that of last resort, which says that all others are used up. */
  use({ reference, lastResort }: KeyPackageSecrets, changes: Changes): void {
    if (lastResort) return this.#put({ ...this.record, stock: 0 }, changes);
    changes.remove('state', SECRETS_PREFIX + reference);
    const order = this.record.order.filter((other) => other !== reference);
    this.#put({ stock: Math.max(0, this.record.stock - 1), order }, changes);
  }

  /** One was handed out, to this device itself. */
  claimed(changes: Changes): void {
    this.#put({ ...this.record, stock: Math.max(0, this.record.stock - 1) }, changes);
  }

  /** Publishes more if the stock is low; what was made is durable before it leaves. */
  restock(scope: Scope, session: MemberSession): Promise<void> {
    return this.#serial.run(async () => {
      if (this.record.stock >= STOCK_LOW) return;
      const request = await scope.change((changes) => this.#make(scope, changes));
      await session.insist({ case: 'publishKeyPackages', value: request }, 'done');
      await scope.change((changes) => this.#put({ ...this.record, stock: STOCK }, changes));
    });
  }

  async #make(scope: Scope, changes: Changes): Promise<ReturnType<typeof publish>> {
    const fresh: KeyPackageSecrets[] = [];
    const keyPackages: Uint8Array[] = [];
    for (let count = this.record.stock; count < STOCK; count += 1) {
      const { bytes, secrets } = await scope.mls.makeKeyPackage(false);
      keyPackages.push(bytes);
      fresh.push(secrets);
    }
    let lastResort: Uint8Array = new Uint8Array(0);
    if (this.record.stock === 0) {
      const made = await scope.mls.makeKeyPackage(true);
      lastResort = made.bytes;
      fresh.push(made.secrets);
    }
    for (const secrets of fresh) changes.put('state', SECRETS_PREFIX + secrets.reference, keepSecrets(secrets));
    const order = [...this.record.order, ...fresh.map(({ reference }) => reference)];
    for (const old of order.splice(0, Math.max(0, order.length - KEY_PACKAGES_MAX))) changes.remove('state', SECRETS_PREFIX + old);
    this.#put({ ...this.record, order }, changes);
    return publish(keyPackages, lastResort);
  }

  #put(record: KeyPackagesRecord, changes: Changes): void {
    this.record = record;
    changes.putJson('state', RECORD_KEY, record);
  }
}

function publish(keyPackages: Uint8Array[], lastResort: Uint8Array) {
  return create(PublishKeyPackagesSchema, { keyPackages, lastResort });
}
