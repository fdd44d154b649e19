/**
 * What other people wrote, made fit to be shown: nothing that reorders or hides what stands beside it, no towers of accents; and
 * where links lie in it.
 */

/** Marks without width that may follow each other: no script stacks more. */
const MARKS_MAX = 4;

/** Direction overrides, fillers, annotations, tags and controls; the joiners that scripts and emoji need are not among them. */
const UNSEEN =
  /[\u0000-\u0008\u000e-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\u{e0000}-\u{e001f}\u{e0080}-\u{e0fff}]/gu;
const TOWERS = new RegExp(`(\\p{M}{${MARKS_MAX}})\\p{M}+`, 'gu');

/** A text of several lines. */
export function clean(text: string): string {
  return text
    .replace(/\r\n?|[\u000b\u000c\u0085\u2028\u2029]/g, '\n')
    .replace(UNSEEN, '')
    .replace(TOWERS, '$1');
}

/** As {@link clean}, in one line: for moods, titles and previews. */
export function cleanLine(text: string): string {
  return clean(text).replace(/\s+/g, ' ').trim();
}

/** A piece of a text; with `href`, a link. */
export interface Piece {
  text: string;
  href: string | null;
}

/** Links of a message that become clickable: more of them are noise. */
const LINKS_MAX = 50;
const LINK = /\bhttps?:\/\/[^\s<>"'`{}|\\^]+/giu;

/** Cuts a text at its http and https links. */
export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let at = 0;
  for (const match of text.matchAll(LINK)) {
    if (found.length >= 2 * LINKS_MAX) break;
    const shown = withoutTail(match[0]);
    const href = safeHref(shown);
    if (href === null) continue;
    if (match.index > at) found.push({ text: text.slice(at, match.index), href: null });
    found.push({ text: shown, href });
    at = match.index + shown.length;
  }
  if (at < text.length) found.push({ text: text.slice(at), href: null });
  return found;
}

/** Signs at the end that belong to the sentence; a closing bracket stays where one was opened. */
function withoutTail(link: string): string {
  let end = link.length;
  while (end > 0) {
    const last = link[end - 1] ?? '';
    const opens = last === ')' && link.slice(0, end).split('(').length >= link.slice(0, end).split(')').length;
    if (opens || !/[.,;:!?)\]»”’]/u.test(last)) break;
    end -= 1;
  }
  return link.slice(0, end);
}

/** The link as it is opened, or `null`; names in front of `@` only serve to deceive. */
function safeHref(link: string): string | null {
  if (!URL.canParse(link)) return null;
  const url = new URL(link);
  const isWeb = url.protocol === 'https:' || url.protocol === 'http:';
  return isWeb && url.username === '' && url.password === '' ? url.href : null;
}

/** Nothing but a few emoji: shown large. */
export function isOnlyEmoji(text: string): boolean {
  return text.length <= 40 && /^(?:\p{Emoji_Presentation}|\p{Extended_Pictographic}\ufe0f?|\p{Emoji_Modifier}|\u200d|[\u{1f1e6}-\u{1f1ff}]|\s){1,12}$/u.test(text) && text.trim() !== '';
}
