/** A made-up harbour town: who lives there and what was said. All of it is invented. */

import type { AccountId, Contact, ContactState, Conversation, Line, LineBody, Presence, Receipt } from '../../sdk/client.ts';

/** Tuesday 25 November 2025, 20:14 in the town. */
export const NOW = new Date(2025, 10, 25, 20, 14).getTime();
export const MINUTE = 60_000;
export const DAY = 86_400_000;

const people = ['alice', 'bob', 'carol', 'dora.k', 'emil', 'yuki', 'frida', 'old_jack', 'layla', 'gustav', 'nour-eldin', 'piet'] as const;
export type Name = (typeof people)[number];

export function idOf(name: string): AccountId {
  const index = people.indexOf(name as Name);
  const seed = index < 0 ? 200 + name.length : index * 17 + 3;
  return seed.toString(16).padStart(2, '0').repeat(16);
}

export function conversationId(index: number): string {
  return (0xa0 + index).toString(16).repeat(16);
}

export const OWN = idOf('alice');

interface Said {
  by: Name;
  /** Minutes before {@link NOW}. */
  ago: number;
  text?: string;
  body?: LineBody;
  replyTo?: number;
  edited?: boolean;
  deleted?: boolean;
  failed?: boolean;
  pending?: boolean;
  reactions?: [Name, string][];
}

export function lineOf(said: Said, sequence: number, all: readonly Line[]): Line {
  const quoted = said.replyTo === undefined ? undefined : all[said.replyTo];
  const waits = said.pending === true || said.failed === true;
  const isText = said.body === undefined;
  return {
    reference: isText ? { device: idOf(said.by), number: sequence } : { device: '0'.repeat(32), number: sequence },
    account: idOf(said.by),
    sequence: waits ? null : sequence,
    atMs: NOW - said.ago * MINUTE,
    body: said.body ?? { kind: 'text', text: said.deleted ? '' : (said.text ?? ''), replyTo: quoted?.reference ?? null },
    edited: said.edited ?? false,
    deleted: said.deleted ?? false,
    failed: said.failed ?? false,
    reactions: (said.reactions ?? []).map(([name, emoji]) => ({ account: idOf(name), emoji })),
    position: sequence * 10,
  };
}

function lines(all: Said[]): Line[] {
  const made: Line[] = [];
  for (const said of all) made.push(lineOf(said, made.length + 1, made));
  return made;
}

const yesterday = 24 * 60;

const withBob: Said[] = [
  { by: 'bob', ago: yesterday + 75, text: 'The mast is up. Took all day.' },
  { by: 'bob', ago: yesterday + 74, text: 'And nobody fell in.' },
  { by: 'alice', ago: yesterday + 70, text: 'Pictures or it did not happen!' },
  { by: 'bob', ago: yesterday + 62, text: 'Tomorrow, by daylight. She looks better then.' },
  { by: 'bob', ago: 42, text: 'Do we still sail on Saturday?', reactions: [['alice', '👍']] },
  { by: 'bob', ago: 41, text: 'The forecast says north-west 5, gusts up to 7, and it turns to the west in the afternoon: https://example.org/tides/saturday' },
  { by: 'alice', ago: 32, text: 'Aye. We leave at eight.', replyTo: 4, edited: true, reactions: [['bob', '❤️'], ['alice', '❤️'], ['bob', '⛵']] },
  { by: 'bob', ago: 30, deleted: true },
  { by: 'bob', ago: 29, text: 'Then I bring the oilskins and the big thermos.' },
  { by: 'bob', ago: 28, text: '☕⛵' },
  { by: 'alice', ago: 5, text: 'Call me when you are home? I would like to talk through the route, the lock at Oste closes at six.' },
];

const crew: Said[] = [
  { by: 'alice', ago: 95, body: { kind: 'membership', joined: [idOf('bob'), idOf('carol'), idOf('dora.k')], left: [] } },
  { by: 'alice', ago: 92, text: 'Ahoy, crew! Who brings the coffee?' },
  { by: 'carol', ago: 82, text: 'Me. ☕', reactions: [['alice', '🙏'], ['bob', '🙏'], ['dora.k', '🙏']] },
  { by: 'alice', ago: 80, body: { kind: 'renamed', title: 'Crew of the Albatross' } },
  { by: 'dora.k', ago: 44, text: 'I take the night watch, then. Somebody has to look at the stars.' },
  { by: 'bob', ago: 36, text: 'Grüße aus Föhr — see https://example.org/tides for the tides.' },
  { by: 'bob', ago: 35, text: 'High water is at 6:12, so we should be out by then.' },
  { by: 'carol', ago: 33, text: 'I have packed:\n• charts\n• the hand bearing compass\n• far too much bread' },
];

const withLayla: Said[] = [
  { by: 'layla', ago: 3 * yesterday, text: 'مساء الخير! هل وصلت الرسالة التي أرسلتها من الميناء؟' },
  { by: 'alice', ago: 3 * yesterday - 8, text: 'It did, thank you! The stamps are beautiful.' },
  { by: 'layla', ago: 2 * yesterday + 10, text: 'ممتاز 🌊 نلتقي يوم الجمعة عند المنارة (lighthouse) الساعة 17:30' },
];

/** A long harbour log for scrolling. */
function harbourLog(): Said[] {
  const words = ['Buoy 12 is back in its place.', 'The ferry is ten minutes late.', 'Fog over the inner basin, the horn is on.', 'Two visitors from Delfzijl at pontoon C.', 'Crane is free again.', 'Water at the gauge: 512 cm.'];
  const all: Said[] = [];
  for (let index = 0; index < 1_400; index += 1) {
    const by = (['gustav', 'piet', 'dora.k', 'alice'] as const)[Math.floor(index / 3) % 4] ?? 'piet';
    all.push({ by, ago: 10 * yesterday - index * 10, text: `${words[index % words.length] ?? ''} (${index + 1})` });
  }
  all.push({ by: 'gustav', ago: 9, body: { kind: 'gap' } });
  all.push({ by: 'gustav', ago: 8, text: 'Good night from the harbour office. The pilot boat is back.' });
  all.push({ by: 'alice', ago: 7, text: 'Good night, and thank you for the lights!', failed: true });
  all.push({ by: 'alice', ago: 6, text: 'On my way to pontoon C.', pending: true });
  return all;
}

export interface TownConversation {
  conversation: Conversation;
  lines: Line[];
  receipts: Receipt[];
  members: Name[];
}

function place(index: number, said: Said[], options: { with?: Name; title?: string; members: Name[]; unread?: number; receipts?: Receipt[] }): TownConversation {
  const made = lines(said);
  const head = made.length;
  const texts = made.filter((line) => line.body.kind === 'text' && line.account !== OWN);
  const unread = options.unread ?? 0;
  const read = unread === 0 ? head : (texts.at(-unread)?.sequence ?? 1) - 1;
  const withId = options.with === undefined ? null : idOf(options.with);
  return {
    conversation: {
      conversation: conversationId(index),
      pair: withId === null ? null : { account: withId, person: { account: withId, name: options.with ?? '' } },
      title: options.title ?? '',
      standing: 'inside',
      members: options.members.length,
      head,
      read,
      unread,
      last: made.at(-1) ?? null,
    },
    lines: made,
    receipts: options.receipts ?? [],
    members: options.members,
  };
}

export function townConversations(): TownConversation[] {
  const told = (name: Name, delivered: number, read: number): Receipt => ({ account: idOf(name), delivered, read });
  return [
    place(1, withBob, { with: 'bob', members: ['alice', 'bob'], receipts: [told('bob', 11, 9)] }),
    place(2, crew, { title: 'Crew of the Albatross', members: ['alice', 'bob', 'carol', 'dora.k'], unread: 3, receipts: [told('bob', 2, 2), told('carol', 8, 8), told('dora.k', 5, 5)] }),
    place(3, [{ by: 'carol', ago: 26 * 60, text: 'Good winds!' }], { with: 'carol', members: ['alice', 'carol'] }),
    place(4, [{ by: 'yuki', ago: 4 * yesterday, text: 'また明日 🌙' }], { with: 'yuki', members: ['alice', 'yuki'], unread: 1 }),
    place(5, withLayla, { with: 'layla', members: ['alice', 'layla'] }),
    place(6, harbourLog(), { title: 'Harbour office, lights and locks of the lower river', members: ['alice', 'gustav', 'piet', 'dora.k', 'nour-eldin'] }),
    place(7, [{ by: 'nour-eldin', ago: 9 * yesterday, text: `Supercalifragilisticexpialidocious${'wave'.repeat(40)}` }], { with: 'nour-eldin', members: ['alice', 'nour-eldin'] }),
    place(8, [{ by: 'emil', ago: 11 * yesterday, text: 'The sail is mended. You can fetch it from Thursday on, in the loft behind the chandlery; ring twice, the bell is weak.' }], { with: 'emil', members: ['alice', 'emil'] }),
    place(9, [{ by: 'piet', ago: 13 * yesterday, text: '👋' }], { with: 'piet', members: ['alice', 'piet'] }),
  ];
}

export function townContacts(): Contact[] {
  const contact = (name: Name, state: ContactState, presence: Partial<Presence> = {}, more: Partial<Contact> = {}): Contact => ({
    person: { account: idOf(name), name },
    state,
    sinceMs: NOW - (people.indexOf(name) + 1) * 19 * DAY,
    note: null,
    alias: null,
    presence: { availability: 'offline', mood: '', lastSeen: 'this-week', ...presence },
    ...more,
  });
  return [
    contact('bob', 'accepted', { availability: 'online', mood: 'back at noon' }),
    contact('carol', 'accepted', { availability: 'away' }),
    contact('dora.k', 'accepted', { availability: 'do-not-disturb', mood: 'on watch' }),
    contact('emil', 'accepted', { lastSeen: 'today' }, { alias: 'Emil the sailmaker' }),
    contact('yuki', 'accepted', { availability: 'online', mood: '東京' }),
    contact('layla', 'accepted', { availability: 'online', mood: 'عند البحر' }, { alias: 'ليلى' }),
    contact('gustav', 'accepted', { lastSeen: 'earlier' }),
    contact('nour-eldin', 'accepted', { availability: 'away', mood: '🐟 mending nets, and after that mending the other nets' }),
    contact('piet', 'accepted'),
    contact('frida', 'asked'),
    contact('old_jack', 'asks', {}, { note: 'We met in the harbour of Cuxhaven. I have your compass.' }),
  ];
}

export const strangers = ['ahab', 'anna', 'anne.b', 'annika', 'andreas', 'antje'];
