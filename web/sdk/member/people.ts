/**
 * People: which account a name is, and which account key was seen first for it.
 *
 * An account key is pinned when the authority names it for the first time. Another one later, from the authority or from a device, is
 * remembered as offered and counts for nothing until the owner of this device accepts it.
 */

import type { AccountId, Person } from '../client.ts';
import { hex, unhex } from '../proto/bytes.ts';
import type { Vault } from '../vault/vault.ts';
import { hasFields, readJson, type Changes } from './changes.ts';

const PIN_PREFIX = 'pin/';
const NAME_PREFIX = 'name/';

/** An account whose key is pinned. Keys are hexadecimal. */
interface Pin {
  name: string;
  key: string;
  /** Accepted earlier: devices bound by them may still stand in groups. */
  past: string[];
  offered: string | null;
}

/** Which account a name is. */
interface NameRecord {
  account: AccountId;
  /** The name has come to be another account's. */
  offered: { account: AccountId; key: string } | null;
}

/** What an account key shown to this device is: the pinned one (or one accepted before it), one of somebody unknown, another one. */
export type Standing = 'pinned' | 'unknown' | 'changed';

/** Everybody this device knows. Bounded by what its owner calls and who calls them: one entry each. */
export class People {
  readonly #pins = new Map<AccountId, Pin>();
  readonly #names = new Map<string, NameRecord>();

  static async load(vault: Vault): Promise<People> {
    const people = new People();
    for (const { key, value } of await vault.range('state', PIN_PREFIX)) {
      const pin = readJson(value, hasFields<Pin>('name', 'key', 'past'));
      if (pin !== null) people.#pins.set(key.slice(PIN_PREFIX.length), pin);
    }
    for (const { key, value } of await vault.range('state', NAME_PREFIX)) {
      const record = readJson(value, hasFields<NameRecord>('account'));
      if (record !== null) people.#names.set(key.slice(NAME_PREFIX.length), record);
    }
    return people;
  }

  /** The account of a name, `null` while unknown or changed. */
  find(name: string): AccountId | null {
    const record = this.#names.get(name);
    if (record === undefined || record.offered !== null) return null;
    const pin = this.#pins.get(record.account);
    return pin === undefined || pin.offered !== null ? null : record.account;
  }

  /** The pinned key of an account. */
  key(account: AccountId): Uint8Array | null {
    const pin = this.#pins.get(account);
    return pin === undefined ? null : unhex(pin.key);
  }

  person(account: AccountId): Person | null {
    const pin = this.#pins.get(account);
    return pin === undefined ? null : { account, name: pin.name };
  }

  /** Whether a change waits to be accepted. */
  hasChanged(name: string): boolean {
    const record = this.#names.get(name);
    return record !== undefined && (record.offered !== null || (this.#pins.get(record.account)?.offered ?? null) !== null);
  }

  standing(account: AccountId, key: Uint8Array): Standing {
    const pin = this.#pins.get(account);
    if (pin === undefined) return 'unknown';
    const shown = hex(key);
    return pin.key === shown || pin.past.includes(shown) ? 'pinned' : 'changed';
  }

  /** Remembers a key that a device showed for a pinned account, and tells of it; `false` where nothing is pinned. */
  offer(account: AccountId, key: Uint8Array, changes: Changes): boolean {
    const pin = this.#pins.get(account);
    if (pin === undefined) return false;
    this.#putPin(account, { ...pin, offered: hex(key) }, changes);
    changes.tell({ kind: 'account-key-changed', person: { account, name: pin.name } });
    return true;
  }

  /** Takes the authority's word for a name: pins what is new; `false` where something changed, which is told once. */
  learn(name: string, account: AccountId, key: Uint8Array, changes: Changes): boolean {
    const known = this.hasChanged(name);
    const good = this.#learn(name, account, hex(key), changes);
    if (!good && !known) changes.tell({ kind: 'account-key-changed', person: { account: this.#names.get(name)?.account ?? account, name } });
    return good;
  }

  /** Makes what was offered for an account, or for its name, the pinned key. `false` when nothing was. */
  accept(account: AccountId, changes: Changes): boolean {
    for (const [name, record] of this.#names) {
      if (record.account !== account || record.offered === null) continue;
      const { offered } = record;
      this.#putName(name, { account: offered.account, offered: null }, changes);
      if (!this.#pins.has(offered.account)) this.#putPin(offered.account, { name, key: offered.key, past: [], offered: null }, changes);
      return true;
    }
    const pin = this.#pins.get(account);
    if (pin === undefined || pin.offered === null) return false;
    const past = [...pin.past.filter((key) => key !== pin.offered), pin.key];
    this.#putPin(account, { ...pin, key: pin.offered, past, offered: null }, changes);
    return true;
  }

  #learn(name: string, account: AccountId, key: string, changes: Changes): boolean {
    const record = this.#names.get(name);
    if (record !== undefined && record.account !== account) {
      this.#putName(name, { ...record, offered: { account, key } }, changes);
      return false;
    }
    const pin = this.#pins.get(account);
    if (pin !== undefined && pin.key !== key) {
      this.#putPin(account, { ...pin, offered: key }, changes);
      if (record === undefined) this.#putName(name, { account, offered: null }, changes);
      return false;
    }
    if (pin !== undefined && pin.offered !== null) return false;
    if (pin === undefined) this.#putPin(account, { name, key, past: [], offered: null }, changes);
    if (record === undefined) this.#putName(name, { account, offered: null }, changes);
    return true;
  }

  #putPin(account: AccountId, pin: Pin, changes: Changes): void {
    this.#pins.set(account, pin);
    changes.putJson('state', PIN_PREFIX + account, pin);
  }

  #putName(name: string, record: NameRecord, changes: Changes): void {
    this.#names.set(name, record);
    changes.putJson('state', NAME_PREFIX + name, record);
  }
}
