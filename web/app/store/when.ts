/** Times as people say them, in the language of the words around them. */

import { signal } from '@preact/signals';
import { locale } from '../text-locale.ts';
import { t } from '../text.ts';
import { dayOf } from './timeline.ts';

const DAY_MS = 86_400_000;

/** The time that the interface goes by; tests and pictures set it. */
export const clock = signal<() => number>(() => Date.now());

export function now(): number {
  return clock.value();
}

const hour = new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit' });
const weekday = new Intl.DateTimeFormat(locale, { weekday: 'short' });
const longWeekday = new Intl.DateTimeFormat(locale, { weekday: 'long' });
const day = new Intl.DateTimeFormat(locale, { day: 'numeric', month: 'short' });
const dayYear = new Intl.DateTimeFormat(locale, { day: 'numeric', month: 'long', year: 'numeric' });
const full = new Intl.DateTimeFormat(locale, { dateStyle: 'full', timeStyle: 'short' });

export function timeOf(atMs: number): string {
  return hour.format(atMs);
}

export function fullTime(atMs: number): string {
  return full.format(atMs);
}

export function dateOf(atMs: number): string {
  return dayYear.format(atMs);
}

/** Short, for a list: a time today, a weekday this week, a date before. */
export function shortTime(atMs: number): string {
  const today = now();
  if (dayOf(today) === dayOf(atMs)) return hour.format(atMs);
  return today - atMs < 6 * DAY_MS ? weekday.format(atMs) : day.format(atMs);
}

/** The day above a run of messages. */
export function dayName(atMs: number): string {
  const today = now();
  if (dayOf(today) === dayOf(atMs)) return t.chat.today;
  if (dayOf(today - DAY_MS) === dayOf(atMs)) return t.chat.yesterday;
  return today - atMs < 6 * DAY_MS ? longWeekday.format(atMs) : dayYear.format(atMs);
}

/** A length of time as on a clock: 2:07, 1:02:07. */
export function lasting(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (value: number) => String(value).padStart(2, '0');
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}
