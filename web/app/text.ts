/**
 * Every word that the interface says. A translation is another object of the type {@link Words}; what counts something is a
 * function, so that each language has its own plural rules (`./text-locale.ts`).
 */

import type { Availability, Cause, LastSeen } from '../sdk/client.ts';
import { locale, plural } from './text-locale.ts';
import { screens } from './text-screens.ts';

const list = new Intl.ListFormat(locale, { type: 'conjunction' });

const availability: Record<Availability, string> = {
  offline: 'Offline',
  online: 'Online',
  away: 'Away',
  'do-not-disturb': 'Do not disturb',
  invisible: 'Invisible',
};

const lastSeen: Record<LastSeen, string> = {
  unknown: 'Offline',
  today: 'Last seen today',
  'this-week': 'Last seen this week',
  earlier: 'Last seen a while ago',
};

const cause: Record<Cause, string> = {
  'hung-up': 'Call ended',
  cancelled: 'Call cancelled',
  declined: 'Declined',
  busy: 'In another call',
  'no-answer': 'No answer',
  unreachable: 'Not reachable right now',
  'answered-elsewhere': 'Answered on another device',
  'declined-elsewhere': 'Declined on another device',
  lost: 'The connection was lost',
  incompatible: 'The two clients have no way of talking in common',
  'shutting-down': 'The network is shutting down',
  requested: 'They hear from you as a contact request first',
};

export const en = {
  ...screens,
  app: 'Ahoy',
  you: 'You',
  someone: 'Somebody',
  close: 'Close',
  back: 'Back',
  cancel: 'Cancel',
  save: 'Save',
  copy: 'Copy',
  copied: 'Copied',
  retry: 'Try again',
  dismiss: 'Dismiss',
  loading: 'Loading …',
  optional: 'optional',
  skip: 'Skip to the conversation',
  availability,
  lastSeen,
  cause,
  list: (names: string[]) => list.format(names),

  nav: {
    label: 'Places',
    pane: 'What is open',
    chats: 'Chats',
    contacts: 'Contacts',
    settings: 'Settings',
    unread: (count: number) => plural(count, { one: `${count} unread message`, other: `${count} unread messages` }),
    requests: (count: number) => plural(count, { one: `${count} contact request`, other: `${count} contact requests` }),
    title: (count: number, place: string) => (count > 0 ? `(${count}) ${place}` : place),
  },

  link: {
    connecting: 'Coming aboard …',
    offline: 'No connection. What you write is kept and sent later.',
    reconnecting: 'Connection lost, reconnecting …',
    restored: 'Connected again',
  },

  refusal: {
    'no-such-name': 'Nobody here has this name.',
    'account-key-changed': 'The key of this person is not the one that you know.',
    requested: 'They hear from you as a contact request first.',
    'already-contact': 'You are contacts already.',
    'no-such-contact': 'This is none of your contacts.',
    'no-such-conversation': 'This conversation is gone.',
    length: 'That is too long.',
    'no-key': 'Their devices are not ready for encrypted messages yet.',
    'conversation-refused': 'This device does not trust the group as it is.',
    offline: 'There is no connection right now.',
    limit: 'That is too much at once.',
    'wrong-password': 'That password is not right.',
    'no-microphone': 'The browser gives no microphone.',
    network: 'The network did not accept that.',
    again: (seconds: number) => plural(seconds, { one: `Try again in ${seconds} second.`, other: `Try again in ${seconds} seconds.` }),
    unexpected: 'That did not work.',
  },

  stopped: {
    revoked: { title: 'This device was signed out', text: 'It was removed from your account, so what it kept can no longer be used.', way: 'Sign in again' },
    'state-too-old': { title: 'This browser has old state', text: 'It was put back to an earlier day, and could mix up keys. It has to start anew.', way: 'Sign in again' },
    replaced: { title: 'In use elsewhere', text: 'This device has signed in from another window. Only one can hold the connection.', way: 'Use it here' },
    version: { title: 'A new version is needed', text: 'The network no longer talks to this version. Loading the page anew brings the next.', way: 'Load the new version' },
    storage: { title: 'Nothing can be kept', text: 'The browser’s storage is full or not allowed. Without it messages would be lost, so nothing goes on.', way: 'Try again' },
    clock: { title: 'The clock is wrong', text: 'The clock of this machine is off by more than five minutes. Set it right, then go on.', way: 'Try again' },
  },

  keys: {
    title: 'Keyboard',
    anywhere: 'Anywhere',
    messages: 'On a message',
    writing: 'While writing',
    search: 'Search',
    next: 'Next, previous conversation',
    places: 'Chats, contacts, settings',
    call: 'Call whoever is open',
    answer: 'Answer',
    decline: 'Decline',
    hangUp: 'Hang up',
    mute: 'Mute, unmute',
    help: 'This overview',
    leave: 'Back, close',
    walk: 'Walk through messages',
    reply: 'Reply',
    react: 'React',
    edit: 'Edit',
    delete: 'Delete',
    send: 'Send',
    line: 'A new line',
    last: 'To the newest message',
  },
} as const;

type Loose<T> = T extends (...given: infer G) => string ? (...given: G) => string : T extends string ? string : { [K in keyof T]: Loose<T[K]> };

/** What a translation has to say. */
export type Words = Loose<typeof en>;

/** The words in use. */
export const t: Words = en;
