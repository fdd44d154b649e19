import { describe, expect, it } from 'vitest';
import { clean, cleanLine, isOnlyEmoji, pieces } from './clean.ts';

const links = (text: string) => pieces(text).flatMap((piece) => piece.href ?? []);

describe('what other people wrote', () => {
  it('can neither reorder nor hide what stands beside it', () => {
    expect(clean('pay \u202e00.1\u202c now\u0000\u200b\u2066!')).toBe('pay 00.1 now!');
  });

  it('keeps the joiners that scripts and emoji need', () => {
    expect(clean('👩‍🚀 می‌خواهم')).toBe('👩‍🚀 می‌خواهم');
  });

  it('carries no towers of accents', () => {
    expect(clean(`e${'\u0301'.repeat(40)}!`)).toBe(`e${'\u0301'.repeat(4)}!`);
  });

  it('has no lines where only one fits', () => {
    expect(cleanLine(' a\r\n\u2028 b\tc ')).toBe('a b c');
  });
});

describe('links', () => {
  it('are those of the web, and no others', () => {
    expect(links('javascript:alert(1) data:text/html,x file:///etc ftp://a.example https://a.example/x http://b.example')).toEqual(['https://a.example/x', 'http://b.example/']);
  });

  it('do not deceive with a name before the @', () => {
    expect(links('https://bank.example@evil.example/')).toEqual([]);
  });

  it('end before the signs of the sentence, not within their own brackets', () => {
    expect(pieces('See https://a.example/b_(c), then.').map((piece) => piece.text)).toEqual(['See ', 'https://a.example/b_(c)', ', then.']);
    expect(links('(https://a.example/b)')).toEqual(['https://a.example/b']);
  });

  it('leave every sign of the text where it was', () => {
    const text = 'a https://x.example. b https://user@y.example c';
    expect(pieces(text).map((piece) => piece.text).join('')).toBe(text);
  });
});

it('only emoji are shown large', () => {
  expect(['👍', '☕⛵', '👩‍🚀 🇫🇷', '12', '', 'ok 👍', '#'].map(isOnlyEmoji)).toEqual([true, true, true, false, false, false, false]);
});
