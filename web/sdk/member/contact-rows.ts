/**
 * Contacts as this device keeps them: the supernode's rows are the truth and these are a copy, kept so that they are there without a
 * session. Two things are this device's own: the alias, and the opened note. What strangers write is plain text of one line.
 */

import type { AccountId, Availability, Contact, ContactState, LastSeen, Presence, Settings } from '../client.ts';
import { hex } from '../proto/bytes.ts';
import { idOf } from '../proto/ids.ts';
import { MOOD_CHARACTERS_MAX } from '../proto/limits.ts';
import {
  Availability as WireAvailability,
  CallsFrom,
  ContactState as WireState,
  type Contact as WireContact,
  type Presence as WirePresence,
  type Settings as WireSettings,
} from '../proto/messages.ts';
import { isName } from '../proto/name.ts';
import { openNote } from '../proto/note.ts';
import { lastSeenOf } from './devices.ts';
import type { Identity } from './identity.ts';
import { toNumber } from './numbers.ts';

/** One contact, as persisted. */
export interface Row {
  name: string;
  /** What the authority says, hexadecimal; the pinned one is another matter. */
  key: string;
  state: Exclude<ContactState, 'none'>;
  /** Seconds since the Unix epoch. */
  since: number;
  /** Opened and cleaned. */
  note: string | null;
  alias: string | null;
  lastSeen: LastSeen;
}

export const NOBODY_THERE: Presence = { availability: 'offline', mood: '', lastSeen: 'unknown' };

const KEY_LENGTH = 32;

/** One contact as the supernode tells it: with the row `null` it is gone. `null` when it is none that this version has. */
export async function readRow(contact: WireContact, identity: Identity): Promise<{ account: AccountId; row: Row | null } | null> {
  const account = idOf(contact.account);
  if (account === null || account === identity.account) return null;
  if (contact.state === WireState.NONE) return { account, row: null };
  const state = STATES.get(contact.state);
  const { name, accountKey } = contact;
  if (state === undefined || !isName(name) || accountKey.length !== KEY_LENGTH) return null;
  const note = state === 'asks' ? await readNote(contact.note, account, identity) : null;
  const lastSeen = state === 'accepted' ? lastSeenOf(contact.lastSeen) : 'unknown';
  return { account, row: { name, key: hex(accountKey), state, since: toNumber(contact.since), note, alias: null, lastSeen } };
}

const STATES: ReadonlyMap<WireState, Row['state']> = new Map<WireState, Row['state']>([
  [WireState.ASKED, 'asked'],
  [WireState.ASKS, 'asks'],
  [WireState.ACCEPTED, 'accepted'],
  [WireState.BLOCKED, 'blocked'],
]);

async function readNote(sealed: Uint8Array, asking: AccountId, identity: Identity): Promise<string | null> {
  const text = sealed.length === 0 ? null : await openNote(sealed, { asking, asked: identity.account }, identity.requestSecret);
  return (text && oneLine(text)) || null;
}

export function contactOf(account: AccountId, row: Row, state: ContactState, presence: Presence): Contact {
  const { name, since, note, alias } = row;
  return { person: { account, name }, state, sinceMs: since * 1_000, note, alias, presence };
}

const AVAILABILITIES: ReadonlyMap<WireAvailability, Availability> = new Map<WireAvailability, Availability>([
  [WireAvailability.ONLINE, 'online'],
  [WireAvailability.AWAY, 'away'],
  [WireAvailability.DO_NOT_DISTURB, 'do-not-disturb'],
  [WireAvailability.INVISIBLE, 'invisible'],
]);

export function toWireAvailability(availability: Availability): WireAvailability | undefined {
  return [...AVAILABILITIES].find(([, name]) => name === availability)?.[0];
}

/** Presence as it is told of others. What can't be is taken for absence. */
export function readPresence(presence: WirePresence | undefined): Presence {
  if (presence === undefined) return NOBODY_THERE;
  const availability = AVAILABILITIES.get(presence.availability) ?? 'offline';
  const mood = moodOf(presence.mood);
  if (availability === 'offline' || availability === 'invisible') return { availability: 'offline', mood, lastSeen: lastSeenOf(presence.lastSeen) };
  return { availability, mood, lastSeen: 'unknown' };
}

const CALLS_FROM: ReadonlyMap<CallsFrom, Settings['callsFrom']> = new Map<CallsFrom, Settings['callsFrom']>([
  [CallsFrom.ANYONE, 'anyone'],
  [CallsFrom.NOBODY, 'nobody'],
  [CallsFrom.CONTACTS, 'contacts'],
]);

export function toWireCallsFrom(callsFrom: Settings['callsFrom']): CallsFrom | undefined {
  return [...CALLS_FROM].find(([, name]) => name === callsFrom)?.[0];
}

/** Values that this program does not know are taken for the defaults. */
export function readSettings(settings: WireSettings): Settings {
  return {
    callsFrom: CALLS_FROM.get(settings.callsFrom) ?? 'contacts',
    availability: AVAILABILITIES.get(settings.availability) ?? 'online',
    mood: moodOf(settings.mood),
    listed: settings.listed,
  };
}

export function moodOf(text: string): string {
  return [...oneLine(text)].slice(0, MOOD_CHARACTERS_MAX).join('');
}

/**
 * Text by somebody else as one line: what would break it becomes a space, what would turn the direction of what stands around it is
 * left out.
 */
export function oneLine(text: string): string {
  return text
    .replace(/[\u202a-\u202e\u2066-\u2069]/g, '')
    .replace(/[\p{Cc}\u2028\u2029]/gu, ' ')
    .trim();
}
