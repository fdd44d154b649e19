/**
 * A supernode in memory, for tests: it answers requests as docs/protocol.md says, one after the other, and sees nothing that is sealed.
 */

import { create } from '@bufbuild/protobuf';

import { compareBytes, hex, unhex } from '../../proto/bytes.ts';
import {
  AccountFoundSchema,
  AccountsFoundSchema,
  Availability,
  CallsFrom,
  CheckedInSchema,
  ContactChangedSchema,
  ContactSchema,
  ContactsSchema,
  ContactState,
  DeviceRecordSchema,
  DoneSchema,
  ErrorCode,
  LastSeen,
  PresenceChangedSchema,
  PresenceSchema,
  SettingsChangedSchema,
  SettingsSchema,
  WelcomeSchema,
  type Contact,
  type Settings,
} from '../../proto/messages.ts';
import { Refused, SessionLost, type ReplyBody, type RequestBody, type Uplink } from '../../session/uplink.ts';
import type { Identity } from '../identity.ts';
import { ExchangeCalls } from './exchange-calls.ts';
import { ExchangeConversations } from './exchange-conversations.ts';

export interface ExchangeAccount {
  id: string;
  name: string;
  accountKey: Uint8Array;
  requestKey: Uint8Array;
  devices: Map<string, { name: string; stateSerial: bigint; isAway: boolean }>;
  rows: Map<string, { state: ContactState; note: Uint8Array; since: number }>;
  settings: Settings;
  serial: bigint;
}

/** Whoever is told something by the exchange. */
export interface ExchangeLink extends Uplink {
  readonly identity: Identity;
  readonly isUp: boolean;
  deliver(body: ReplyBody): void;
  deliverDatagram(bytes: Uint8Array): void;
}

export function refuse(code: ErrorCode, retryAfterMs = 0): never {
  throw new Refused(code, ErrorCode[code], retryAfterMs);
}

const DONE: ReplyBody = { case: 'done', value: create(DoneSchema) };

export class Exchange {
  readonly accounts = new Map<string, ExchangeAccount>();
  readonly links = new Map<string, ExchangeLink>();
  readonly conversations: ExchangeConversations;
  readonly calls: ExchangeCalls;
  readonly reports: Uint8Array[] = [];
  /** Requests that were carried out, by kind. */
  readonly counted = new Map<string, number>();
  /** Refuses requests before they are carried out; answers whether to. */
  refusing: ((body: RequestBody, device: string) => ErrorCode | null) | null = null;
  /** Carries requests out and loses their answers. */
  losing: ((body: RequestBody, device: string) => boolean) | null = null;

  /** Holds an answer back, after the request was carried out, until what it gives has come about. */
  holding: ((body: RequestBody, device: string) => Promise<void> | null) | null = null;

  constructor(readonly now: () => number) {
    this.conversations = new ExchangeConversations(this);
    this.calls = new ExchangeCalls(this);
  }

  addDevice(identity: Identity, requestKey: Uint8Array): void {
    const { account: id, name, accountKey, device } = identity;
    const settings = create(SettingsSchema, { callsFrom: CallsFrom.CONTACTS, availability: Availability.ONLINE });
    const account = this.accounts.get(id) ?? { id, name, accountKey, requestKey, devices: new Map(), rows: new Map(), settings, serial: 0n };
    account.devices.set(device, { name: `${name}'s device`, stateSerial: 0n, isAway: true });
    this.accounts.set(id, account);
  }

  revokeDevice(account: string, device: string): void {
    this.accounts.get(account)?.devices.delete(device);
    this.links.delete(device);
  }

  account(id: string): ExchangeAccount {
    return this.accounts.get(id) ?? refuse(ErrorCode.NOT_FOUND);
  }

  linksOf(account: string): ExchangeLink[] {
    return [...this.links.values()].filter((link) => link.identity.account === account && link.isUp);
  }

  tell(account: string, body: ReplyBody, but?: ExchangeLink): void {
    for (const link of this.linksOf(account)) if (link !== but) link.deliver(body);
  }

  /** A device has signed in. */
  up(link: ExchangeLink): void {
    this.links.set(link.identity.device, link);
    this.calls.signedIn(link);
  }

  down(link: ExchangeLink): void {
    if (this.links.get(link.identity.device) !== link) return;
    this.links.delete(link.identity.device);
    const device = this.accounts.get(link.identity.account)?.devices.get(link.identity.device);
    if (device !== undefined) device.isAway = true;
    this.calls.lost(link.identity.device);
    this.#tellPresence(link.identity.account);
  }

  async request(link: ExchangeLink, body: RequestBody): Promise<ReplyBody> {
    await Promise.resolve();
    if (!link.isUp) throw new SessionLost('down');
    const code = this.refusing?.(body, link.identity.device) ?? null;
    if (code !== null) refuse(code);
    this.counted.set(body.case, (this.counted.get(body.case) ?? 0) + 1);
    const reply = this.#answer(link, body);
    await this.holding?.(body, link.identity.device);
    if (this.losing?.(body, link.identity.device)) throw new SessionLost('lost');
    return reply;
  }

  areContacts(a: string, b: string): boolean {
    return this.account(a).rows.get(b)?.state === ContactState.ACCEPTED;
  }

  /** Whether `from` may make a conversation with, add, or ring `to`. */
  mayReach(from: string, to: string): boolean {
    return this.areContacts(from, to) || this.account(to).settings.callsFrom === CallsFrom.ANYONE;
  }

  #answer(link: ExchangeLink, body: RequestBody): ReplyBody {
    const own = this.account(link.identity.account);
    switch (body.case) {
      case 'checkIn': {
        const device = own.devices.get(link.identity.device) ?? refuse(ErrorCode.NOT_FOUND);
        if (body.value.stateSerial <= device.stateSerial) refuse(ErrorCode.STATE_TOO_OLD);
        device.stateSerial = body.value.stateSerial;
        return this.#devices(own);
      }
      case 'listDevices':
        return this.#devices(own);
      case 'findAccount': {
        const found = [...this.accounts.values()].find(({ name }) => name === body.value.name) ?? refuse(ErrorCode.NOT_FOUND);
        return { case: 'accountFound', value: this.#found(found) };
      }
      case 'searchDirectory': {
        const found = [...this.accounts.values()].filter(({ name, settings }) => settings.listed && name.startsWith(body.value.prefix));
        return { case: 'accountsFound', value: create(AccountsFoundSchema, { accounts: found.map((account) => this.#found(account)) }) };
      }
      case 'changeSettings': {
        own.serial += 1n;
        const { callsFrom, availability, mood, listed } = body.value;
        own.settings = create(SettingsSchema, {
          callsFrom: callsFrom ?? own.settings.callsFrom,
          availability: availability ?? own.settings.availability,
          mood: mood ?? own.settings.mood,
          listed: listed ?? own.settings.listed,
        });
        const changed: ReplyBody = { case: 'settingsChanged', value: create(SettingsChangedSchema, { settings: own.settings, serial: own.serial }) };
        this.tell(own.id, changed, link);
        this.#tellPresence(own.id);
        return changed;
      }
      case 'setActivity': {
        const device = own.devices.get(link.identity.device);
        if (device !== undefined) device.isAway = body.value.away;
        this.#tellPresence(own.id);
        return DONE;
      }
      case 'listContacts':
        return this.#listContacts(link, own, body.value.after);
      case 'requestContact':
      case 'answerContact':
      case 'removeContact':
      case 'blockAccount':
        return this.#changeContact(link, own, body);
      case 'report':
        this.reports.push(body.value.sealed);
        return DONE;
      default:
        return this.conversations.answer(link, body) ?? this.calls.answer(link, body) ?? refuse(ErrorCode.UNIMPLEMENTED);
    }
  }

  #devices(own: ExchangeAccount): ReplyBody {
    const devices = [...own.devices].map(([device, { name }]) => create(DeviceRecordSchema, { device: bytes(device), name, madeAt: 1n, lastSeen: LastSeen.TODAY }));
    return { case: 'checkedIn', value: create(CheckedInSchema, { devices }) };
  }

  #found({ id, name, accountKey, requestKey }: ExchangeAccount) {
    return create(AccountFoundSchema, { account: bytes(id), name, accountKey, requestKey });
  }

  #contact(own: ExchangeAccount, other: string): Contact {
    const { name, accountKey } = this.account(other);
    const row = own.rows.get(other);
    const note = row?.state === ContactState.ASKS ? row.note : new Uint8Array(0);
    return create(ContactSchema, { account: bytes(other), name, accountKey, state: row?.state ?? ContactState.NONE, since: BigInt(row?.since ?? 0), note });
  }

  /** Two contacts on a page, so that lists have pages. */
  #listContacts(link: ExchangeLink, own: ExchangeAccount, after: Uint8Array): ReplyBody {
    const ids = [...own.rows.keys()].sort().filter((id) => after.length === 0 || compareBytes(bytes(id), after) > 0);
    const contacts = ids.slice(0, 2).map((id) => this.#contact(own, id));
    const isFirst = after.length === 0;
    if (isFirst) {
      queueMicrotask(() => {
        for (const [id, { state }] of own.rows) if (state === ContactState.ACCEPTED) link.deliver(this.#presence(id));
      });
    }
    return { case: 'contacts', value: create(ContactsSchema, { contacts, more: ids.length > 2, serial: own.serial, ...(isFirst && { settings: own.settings }) }) };
  }

  #changeContact(link: ExchangeLink, own: ExchangeAccount, body: Extract<RequestBody, { case: 'requestContact' | 'answerContact' | 'removeContact' | 'blockAccount' }>): ReplyBody {
    const other = this.account(hex(body.value.account));
    const [mine, theirs] = [own.rows.get(other.id)?.state, other.rows.get(own.id)?.state];
    const { ASKED, ASKS, ACCEPTED, BLOCKED } = ContactState;
    switch (body.case) {
      case 'requestContact':
        if (mine === BLOCKED) refuse(ErrorCode.FORBIDDEN);
        if (mine === ACCEPTED) break;
        if (mine === ASKS || theirs === ASKED || theirs === ACCEPTED) {
          this.#put(own, other, ACCEPTED, link);
          if (theirs !== ACCEPTED) this.#put(other, own, ACCEPTED);
        } else {
          this.#put(own, other, ASKED, link);
          if (theirs !== BLOCKED) this.#put(other, own, ASKS, undefined, body.value.note);
        }
        break;
      case 'answerContact':
        if (mine !== ASKS) refuse(ErrorCode.NOT_FOUND);
        this.#put(own, other, body.value.accept ? ACCEPTED : null, link);
        if (body.value.accept && theirs === ASKED) this.#put(other, own, ACCEPTED);
        break;
      case 'removeContact':
        if (mine !== ASKED && mine !== ACCEPTED) refuse(ErrorCode.NOT_FOUND);
        this.#put(own, other, null, link);
        if (theirs === ASKS || theirs === ACCEPTED) this.#put(other, own, null);
        break;
      case 'blockAccount':
        this.#put(own, other, body.value.block ? BLOCKED : theirs === ACCEPTED ? ACCEPTED : null, link);
        if (body.value.block && theirs === ASKS) this.#put(other, own, null);
    }
    return { case: 'contactChanged', value: create(ContactChangedSchema, { contact: this.#contact(own, other.id), serial: own.serial }) };
  }

  #put(own: ExchangeAccount, other: ExchangeAccount, state: ContactState | null, but?: ExchangeLink, note: Uint8Array = new Uint8Array(0)): void {
    own.serial += 1n;
    if (state === null) own.rows.delete(other.id);
    else own.rows.set(other.id, { state, note, since: Math.floor(this.now() / 1_000) });
    this.tell(own.id, { case: 'contactChanged', value: create(ContactChangedSchema, { contact: this.#contact(own, other.id), serial: own.serial }) }, but);
    if (state === ContactState.ACCEPTED) this.tell(own.id, this.#presence(other.id));
  }

  #presence(id: string): ReplyBody {
    const { settings, devices } = this.account(id);
    const there = this.linksOf(id).map(({ identity }) => devices.get(identity.device));
    const isThere = there.length > 0 && settings.availability !== Availability.INVISIBLE;
    const follows = settings.availability === Availability.ONLINE;
    const followed = there.every((device) => device?.isAway !== false) ? Availability.AWAY : Availability.ONLINE;
    const availability = isThere ? (follows ? followed : settings.availability) : Availability.OFFLINE;
    const presence = create(PresenceSchema, { availability, mood: settings.mood, lastSeen: isThere ? LastSeen.UNSPECIFIED : LastSeen.TODAY });
    return { case: 'presenceChanged', value: create(PresenceChangedSchema, { account: bytes(id), presence }) };
  }

  #tellPresence(id: string): void {
    for (const [other, account] of this.accounts) if (account.rows.get(id)?.state === ContactState.ACCEPTED) this.tell(other, this.#presence(id));
  }
}

/** The bytes of an id. */
export function bytes(id: string): Uint8Array<ArrayBuffer> {
  return unhex(id) ?? new Uint8Array(0);
}

export const WELCOME = create(WelcomeSchema, { session: new Uint8Array(16), keepaliveMs: 5_000, maxMessage: 65_536 });
