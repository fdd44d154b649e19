import { expect, it } from 'vitest';
import { dateOf, timeOf } from './store/when.ts';
import { t } from './text.ts';

const sources = import.meta.glob<string>(['./**/*.{ts,tsx}', '!./**/*.test.ts'], { query: '?raw', import: 'default', eager: true });

it('nothing is formatted, sorted or spelt in another language than the words', () => {
  const places = Object.values(sources).flatMap((source) => source.match(/(?:\bIntl\.\w+|\.toLocale\w+|\.localeCompare)\(.*/g) ?? []);
  expect(places.length).toBeGreaterThan(10);
  expect(places.filter((place) => !/\blocale\b/.test(place))).toEqual([]);
});

it('times and lists read as the words do, whatever the browser speaks', () => {
  const evening = new Date(2026, 10, 27, 19, 5).getTime();
  expect([timeOf(evening), dateOf(evening), t.list(['Ann', 'Bo', 'Cy'])]).toEqual(['19:05', '27 November 2026', 'Ann, Bo and Cy']);
});
