/**
 * Contacts, their presence and the account's settings: taken in from lists and from the changes of them that come as events.
 *
 * Serials tell order: pages that differ in serial are not one list, and a change newer than the list that is being taken in means that
 * the list has to be asked for again. A change that follows on the list held is applied as it is.
 */

import { create } from '@bufbuild/protobuf';

import type { AccountId, Contact, Presence, Settings } from '../client.ts';
import { unhex } from '../proto/bytes.ts';
import { idOf } from '../proto/ids.ts';
import { CONTACTS_MAX } from '../proto/limits.ts';
import { ListContactsSchema, type ContactChanged, type Contacts as Page, type PresenceChanged, type SettingsChanged } from '../proto/messages.ts';
import type { Vault } from '../vault/vault.ts';
import { hasFields, readJson, type Changes } from './changes.ts';
import { Timers } from './clock.ts';
import { contactOf, moodOf, NOBODY_THERE, readPresence, readRow, readSettings, type Row } from './contact-rows.ts';
import { passOver } from './refusals.ts';
import type { Scope } from './scope.ts';
import { Serial } from './serial.ts';
import type { MemberSession } from './session.ts';

const CONTACT_PREFIX = 'contact/';
const SETTINGS_KEY = 'settings';

/** Presences kept: those of all contacts, and as many again of accounts that are about to become some. */
const PRESENCES_MAX = 2 * CONTACTS_MAX;

/** How long a new home may take to say who is there. */
const PRESENCES_WITHIN_MS = 20_000;

/** Lists begun anew without a pause, because the contacts changed meanwhile. */
const RELISTS_AT_ONCE = 3;

const PAGES_MAX = 100;

export class Contacts {
  readonly #rows = new Map<AccountId, Row>();
  readonly #presences = new Map<AccountId, Presence>();
  /** Those of whom it was told by a home that is gone, and by nobody since. */
  readonly #doubted = new Set<AccountId>();
  readonly #serial = new Serial();
  readonly #timers: Timers<'presences'>;
  #settings: Settings | null = null;
  /** The serial that what is held is up to date as of; `null`: the list is being taken in. */
  #known: number | null = null;
  /** The newest serial that was spoken of. */
  #newest = 0;

  private constructor(private readonly scope: Scope) {
    this.#timers = new Timers(scope.clock);
  }

  static async load(vault: Vault, scope: Scope): Promise<Contacts> {
    const contacts = new Contacts(scope);
    for (const { key, value } of await vault.range('state', CONTACT_PREFIX)) {
      const row = readJson(value, hasFields<Row>('name', 'key', 'state'));
      if (row !== null) contacts.#rows.set(key.slice(CONTACT_PREFIX.length), row);
    }
    contacts.#settings = readJson(await vault.read('state', SETTINGS_KEY), hasFields<Settings>('callsFrom', 'availability'));
    scope.isBlocked = (account) => contacts.row(account)?.state === 'blocked';
    return contacts;
  }

  get settings(): Settings | null {
    return this.#settings;
  }

  /** Whether the account's owner does not want to be disturbed, by any device. */
  get isQuiet(): boolean {
    return this.#settings?.availability === 'do-not-disturb';
  }

  row(account: AccountId): Row | null {
    return this.#rows.get(account) ?? null;
  }

  byName(name: string): { account: AccountId; row: Row } | null {
    for (const [account, row] of this.#rows) if (row.name === name) return { account, row };
    return null;
  }

  /** Everybody that this account has to do with, by name. */
  list(): Contact[] {
    const contacts = [...this.#rows].map(([account, row]) => contactOf(account, row, row.state, this.#presence(account)));
    return contacts.sort((a, b) => (a.person.name < b.person.name ? -1 : 1));
  }

  async setAlias(account: AccountId, row: Row, alias: string | null): Promise<void> {
    const kept = { ...row, alias: (alias && moodOf(alias)) || null };
    await this.scope.change((changes) => this.#put(account, kept, changes));
  }

  /** A session begins on a new link: nobody is there until the supernode says so. Moods last. */
  forgetPresences(): void {
    this.#doubted.clear();
    this.#timers.cancelAll();
    for (const [account, { mood }] of this.#presences) this.#putPresence(account, { ...NOBODY_THERE, mood });
  }

  /** A home that spoke of contacts is gone: until the new one has had its say they are taken to be as they were. */
  doubtPresences(): void {
    for (const [account, { availability }] of this.#presences) if (availability !== 'offline') this.#doubted.add(account);
    this.#timers.set('presences', PRESENCES_WITHIN_MS, () => {
      for (const account of this.#doubted) this.#putPresence(account, { ...NOBODY_THERE, mood: this.#presences.get(account)?.mood ?? '' });
      this.#doubted.clear();
    });
  }

  /** Asks for the contacts until there is a list that is whole. */
  async listAll(session: MemberSession): Promise<void> {
    this.#known = null;
    for (let lists = 0; !(await this.#listOnce(session)); lists += 1) {
      // With thousands of changes a second a list would never be whole.
      if (lists >= RELISTS_AT_ONCE) await session.pause(lists - RELISTS_AT_ONCE, 0);
    }
  }

  async #listOnce(session: MemberSession): Promise<boolean> {
    const pages: Page[] = [];
    for (let after: Uint8Array = new Uint8Array(0); pages.length < PAGES_MAX; ) {
      const page = await session.insist({ case: 'listContacts', value: create(ListContactsSchema, { after }) }, 'contacts');
      pages.push(page);
      if (page.serial !== pages[0]?.serial) return false;
      after = page.contacts.at(-1)?.account ?? after;
      if (!page.more || page.contacts.length === 0) break;
    }
    const serial = Number(pages[0]?.serial ?? 0n);
    return this.#serial.run(async () => {
      session.check();
      if (this.#newest > serial) return false;
      await this.scope.change((changes) => this.#takeList(pages, changes));
      this.#known = serial;
      this.#newest = serial;
      return true;
    });
  }

  async #takeList(pages: Page[], changes: Changes): Promise<void> {
    const listed = new Set<AccountId>();
    for (const contact of pages.flatMap(({ contacts }) => contacts).slice(0, CONTACTS_MAX)) {
      const read = await readRow(contact, this.scope.identity);
      if (read === null || read.row === null) continue;
      listed.add(read.account);
      this.#take(read.account, read.row, changes);
    }
    for (const account of [...this.#rows.keys()]) if (!listed.has(account)) this.#take(account, null, changes);
    const settings = pages[0]?.settings;
    if (settings !== undefined) this.#putSettings(readSettings(settings), changes);
  }

  /** Takes in a change, told as a response or as an event. */
  handleContactChanged({ contact, serial }: ContactChanged): Promise<void> {
    return this.#news(Number(serial), async (changes) => {
      const read = contact === undefined ? null : await readRow(contact, this.scope.identity);
      if (read !== null) this.#take(read.account, read.row, changes);
    });
  }

  handleSettingsChanged({ settings, serial }: SettingsChanged): Promise<void> {
    return this.#news(Number(serial), (changes) => {
      if (settings !== undefined) this.#putSettings(readSettings(settings), changes);
    });
  }

  handlePresenceChanged({ account, presence }: PresenceChanged): void {
    const id = idOf(account);
    if (id === null) return;
    this.#doubted.delete(id);
    this.#putPresence(id, readPresence(presence));
  }

  async #news(serial: number, apply: (changes: Changes) => Promise<void> | void): Promise<void> {
    await this.#serial.run(async () => {
      this.#newest = Math.max(this.#newest, serial);
      const known = this.#known;
      // Told by the list already.
      if (known !== null && serial <= known) return;
      await this.scope.change(apply);
      if (known === null) return;
      if (serial === known + 1) this.#known = serial;
      // Others before it were missed.
      else if (this.scope.session !== null) this.listAll(this.scope.session).catch(passOver);
    });
  }

  /** Takes a row over. The account key of an accepted contact is pinned like that of a name looked up. */
  #take(account: AccountId, row: Row | null, changes: Changes): void {
    const key = row?.state === 'accepted' ? unhex(row.key) : null;
    if (row !== null && key !== null) this.scope.people.learn(row.name, account, key, changes);
    this.#put(account, row === null ? null : { ...row, alias: this.#rows.get(account)?.alias ?? null }, changes);
  }

  #put(account: AccountId, row: Row | null, changes: Changes): void {
    const old = this.#rows.get(account);
    const key = CONTACT_PREFIX + account;
    if (row === null) {
      if (old === undefined) return;
      this.#rows.delete(account);
      this.#presences.delete(account);
      changes.remove('state', key);
      changes.tell({ kind: 'contact', contact: contactOf(account, { ...old, since: 0, note: null, alias: null }, 'none', NOBODY_THERE) });
      return;
    }
    if ((old === undefined && this.#rows.size >= CONTACTS_MAX) || JSON.stringify(old) === JSON.stringify(row)) return;
    if (row.state !== 'accepted' && old?.state === 'accepted') this.#presences.delete(account);
    this.#rows.set(account, row);
    changes.putJson('state', key, row);
    changes.tellLate(() => ({ kind: 'contact', contact: contactOf(account, row, row.state, this.#presence(account)) }));
  }

  #putSettings(settings: Settings, changes: Changes): void {
    if (JSON.stringify(settings) === JSON.stringify(this.#settings)) return;
    this.#settings = settings;
    changes.putJson('state', SETTINGS_KEY, settings);
    changes.tell({ kind: 'settings', settings });
  }

  #putPresence(account: AccountId, presence: Presence): void {
    if (!this.#presences.has(account) && this.#presences.size >= PRESENCES_MAX) return;
    const before = JSON.stringify(this.#presence(account));
    this.#presences.set(account, presence);
    const after = this.#presence(account);
    if (JSON.stringify(after) !== before) this.scope.emit({ kind: 'presence', account, presence: after });
  }

  #presence(account: AccountId): Presence {
    const row = this.#rows.get(account);
    if (row?.state !== 'accepted') return NOBODY_THERE;
    const presence = this.#presences.get(account) ?? NOBODY_THERE;
    const isUntold = presence.availability === 'offline' && presence.lastSeen === 'unknown';
    return isUntold ? { ...presence, lastSeen: row.lastSeen } : presence;
  }
}
