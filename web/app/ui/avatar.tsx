/** A flag for everybody, made from the name alone: nothing is loaded from anywhere, and the same name flies the same flag everywhere. */

import type { Availability } from '../../sdk/client.ts';
import { locale } from '../text-locale.ts';
import { t } from '../text.ts';
import { memo } from './memo.ts';

/** Ground and figure, dark enough for a letter of cream on both. */
const colours: readonly [string, string][] = [
  ['#155a74', '#0d4458'],
  ['#9b3f2f', '#7e3024'],
  ['#2f6b52', '#235541'],
  ['#7d5a17', '#64470f'],
  ['#4b5291', '#3a4076'],
  ['#7a3f6d', '#613056'],
  ['#2b7079', '#1f5a62'],
  ['#56604a', '#434c39'],
];

/** Figures of signal flags on a square of 40. */
const figures: readonly string[] = [
  'M20 0h20v40H20z',
  'M0 0h40L0 40z',
  'M0 15h15V0h10v15h15v10H25v15H15V25H0z',
  'M0 0h20v20H0zM20 20h20v20H20z',
  'M20 2 38 20 20 38 2 20z',
  'M0 0h7l13 13L33 0h7v7L27 20l13 13v7h-7L20 27 7 40H0v-7l13-13L0 7z',
  'M0 10h40v20H0z',
  'M0 0h14v40H0zM26 0h14v40H26z',
  'M8 8h24v24H8z',
  'M20 7a13 13 0 1 0 0 26 13 13 0 1 0 0-26z',
  'M0 0l28 20L0 40z',
  'M0 0h40v8H0zM0 16h40v8H0zM0 32h40v8H0z',
];

/** FNV-1a: spread well enough to choose a flag. */
function hashOf(name: string): number {
  let hash = 0x811c9dc5;
  for (const sign of name) hash = Math.imul(hash ^ (sign.codePointAt(0) ?? 0), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}

/** The first sign that a reader would call one, as a capital. */
function initialOf(name: string): string {
  const segments = new Intl.Segmenter(locale, { granularity: 'grapheme' }).segment(name.trim());
  for (const { segment } of segments) if (/[\p{L}\p{N}\p{Extended_Pictographic}]/u.test(segment)) return segment.toLocaleUpperCase(locale);
  return '·';
}

interface AvatarProps {
  /** What the flag is made from: the name that never changes. */
  name: string;
  /** What the letter is taken from, if that is another. */
  shown?: string;
  size?: 'small' | 'large' | 'huge';
  group?: boolean;
  availability?: Availability | null;
}

/** Beside a name that is written out, so it says nothing but the presence. */
export const Avatar = memo(({ name, shown = name, size, group = false, availability = null }: AvatarProps) => {
  const hash = hashOf(name);
  const [ground, figure] = colours[hash % colours.length] ?? ['#155a74', '#0d4458'];
  return (
    <span class={`avatar${size ? ` ${size}` : ''}${group ? ' group' : ''}`}>
      <svg viewBox="0 0 40 40" aria-hidden="true">
        <path fill={ground} d="M0 0h40v40H0z" />
        <path fill={figure} d={figures[Math.floor(hash / colours.length) % figures.length]} />
        <text x={group ? 17 : 20} y="27" text-anchor="middle" font-size="19" fill="#fdf6e6">
          {initialOf(shown)}
        </text>
      </svg>
      {availability !== null && <PresenceMark availability={availability} />}
    </span>
  );
});

/** Told apart by shape as well as by colour. */
export function PresenceMark({ availability }: { availability: Availability }) {
  return (
    <span class="presence" role="img" aria-label={t.availability[availability]}>
      <svg viewBox="0 0 12 12" aria-hidden="true">
        {availability === 'online' && <circle cx="6" cy="6" r="6" fill="#2a9d6c" />}
        {availability === 'away' && <path fill="#e2a12c" d="M6 0a6 6 0 1 0 6 6A4.600 4.600 0 0 1 6 0z" />}
        {availability === 'do-not-disturb' && <path fill="#cf4a3a" fill-rule="evenodd" d="M6 0a6 6 0 1 0 0 12A6 6 0 0 0 6 0M2.500 4.800h7v2.400h-7z" />}
        {(availability === 'offline' || availability === 'invisible') && <circle cx="6" cy="6" r="4.700" fill="none" stroke="#8a979d" stroke-width="2.400" />}
      </svg>
    </span>
  );
}
