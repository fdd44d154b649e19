import { describe, expect, it } from 'vitest';
import { above, href, parse, type Route } from './route.ts';

const id = 'a1'.repeat(16);
const places: Route[] = [
  { at: 'chats' },
  { at: 'chat', conversation: id, about: false },
  { at: 'chat', conversation: id, about: true },
  { at: 'contacts' },
  { at: 'person', account: id },
  { at: 'add', name: '' },
  { at: 'add', name: 'dora.k' },
  { at: 'new-group' },
  { at: 'settings', page: null },
  { at: 'settings', page: 'devices' },
  { at: 'call' },
];

describe('places', () => {
  it.each(places.map((place) => [href(place), place]))('%s leads to itself', (address, place) => {
    expect(parse(address as string)).toEqual(place);
  });

  it('that are none lead to the chats, whatever they hold', () => {
    for (const hash of ['', '#', '#/c/xyz', '#/c/%E0%A4%A', '#/nowhere', `#/c/${id.toUpperCase()}`]) expect(parse(hash)).toEqual({ at: 'chats' });
  });

  it('lead up to a list in at most two steps', () => {
    for (const place of places) expect(['chats', 'contacts', 'settings']).toContain(above(above(place)).at);
  });
});
