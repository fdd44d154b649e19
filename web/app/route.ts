/** Where in the interface one is: the part of the address behind `#`, so that the back button and deep links work on any host. */

import { signal } from '@preact/signals';

export type SettingsPage = 'presence' | 'privacy' | 'devices' | 'sound' | 'look' | 'account';

export type Route =
  | { at: 'chats' }
  | { at: 'chat'; conversation: string; about: boolean }
  | { at: 'contacts' }
  | { at: 'person'; account: string }
  | { at: 'add'; name: string }
  | { at: 'new-group' }
  | { at: 'settings'; page: SettingsPage | null }
  | { at: 'call' };

const PAGES: readonly string[] = ['presence', 'privacy', 'devices', 'sound', 'look', 'account'];
const ID = /^[0-9a-f]{32}$/;

/** Reads the part behind `#`; whatever is not a place is the list of chats. */
export function parse(hash: string): Route {
  const [place = '', first = '', second = ''] = hash.replace(/^#?\/?/, '').split('/').map(decode);
  switch (place) {
    case 'c':
      return ID.test(first) ? { at: 'chat', conversation: first, about: second === 'about' } : { at: 'chats' };
    case 'contacts':
      if (first === 'add') return { at: 'add', name: second };
      return ID.test(first) ? { at: 'person', account: first } : { at: 'contacts' };
    case 'new-group':
      return { at: 'new-group' };
    case 'settings':
      return { at: 'settings', page: PAGES.includes(first) ? (first as SettingsPage) : null };
    case 'call':
      return { at: 'call' };
    default:
      return { at: 'chats' };
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return '';
  }
}

/** The address of a place. */
export function href(route: Route): string {
  switch (route.at) {
    case 'chats':
      return '#/';
    case 'chat':
      return `#/c/${route.conversation}${route.about ? '/about' : ''}`;
    case 'contacts':
      return '#/contacts';
    case 'person':
      return `#/contacts/${route.account}`;
    case 'add':
      return route.name === '' ? '#/contacts/add' : `#/contacts/add/${encodeURIComponent(route.name)}`;
    case 'new-group':
      return '#/new-group';
    case 'settings':
      return route.page === null ? '#/settings' : `#/settings/${route.page}`;
    case 'call':
      return '#/call';
  }
}

/** The place above: where the back arrow leads. */
export function above(route: Route): Route {
  switch (route.at) {
    case 'chat':
      return route.about ? { ...route, about: false } : { at: 'chats' };
    case 'person':
    case 'add':
      return { at: 'contacts' };
    case 'settings':
      return { at: 'settings', page: null };
    default:
      return { at: 'chats' };
  }
}

export const route = signal<Route>(parse(globalThis.location?.hash ?? ''));

/** How many places of ours lie behind this one in the history. */
let depth = 0;

/** Follows the address; called once. */
export function followAddress(): void {
  depth = stateDepth() ?? 0;
  history.replaceState({ depth }, '');
  const follow = () => {
    const told = stateDepth();
    depth = told ?? depth + 1;
    if (told === null) history.replaceState({ depth }, '');
    route.value = parse(location.hash);
  };
  addEventListener('popstate', follow);
}

function stateDepth(): number | null {
  const state: unknown = history.state;
  return typeof state === 'object' && state !== null && 'depth' in state && typeof state.depth === 'number' ? state.depth : null;
}

/** Goes to a place; `replace` leaves nothing behind to come back to. */
export function go(to: Route, replace = false): void {
  if (href(to) === href(route.value)) return;
  if (!replace) depth += 1;
  history[replace ? 'replaceState' : 'pushState']({ depth }, '', href(to));
  route.value = to;
}

/** Back to where one came from, or up where one came from outside. */
export function back(): void {
  if (depth > 0) history.back();
  else go(above(route.value), true);
}
