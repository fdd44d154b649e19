/** How lines become what is shown: by day, by author, with the divider before what is unread. Pure. */

import type { AccountId, Line, MessageRef, Receipt } from '../../sdk/client.ts';

export type Row =
  | { kind: 'day'; key: string; atMs: number }
  | { kind: 'unread'; key: string }
  | { kind: 'gap'; key: string }
  | { kind: 'note'; key: string; line: Line }
  /** `first` and `last` of a run of messages of the same author. */
  | { kind: 'message'; key: string; line: Line; first: boolean; last: boolean };

/** Messages of one author stand together when no more lies between them. */
const RUN_MS = 5 * 60_000;

export function keyOf(reference: MessageRef, position = 0): string {
  return /^0+$/.test(reference.device) ? `@${position}` : `${reference.device}:${reference.number}`;
}

export function lineKey(line: Line): string {
  return keyOf(line.reference, line.position);
}

/** The first message of others after `read`: where the divider stands. */
export function firstUnread(lines: readonly Line[], read: number, own: AccountId): string | null {
  const found = lines.find((line) => line.body.kind === 'text' && line.account !== own && line.sequence !== null && line.sequence > read);
  return found === undefined ? null : lineKey(found);
}

/** Rows for lines in the order of their positions. */
export function rowsOf(lines: readonly Line[], unread: string | null): Row[] {
  const rows: Row[] = [];
  let before: Line | null = null;
  for (const line of lines) {
    const key = lineKey(line);
    if (before === null || !sameDay(before.atMs, line.atMs)) {
      rows.push({ kind: 'day', key: `day ${dayOf(line.atMs)} ${key}`, atMs: line.atMs });
    }
    if (key === unread) rows.push({ kind: 'unread', key: 'unread' });
    rows.push(rowOf(line, key, rows.at(-1)));
    before = line;
  }
  return rows;
}

function rowOf(line: Line, key: string, above: Row | undefined): Row {
  if (line.body.kind === 'gap') return { kind: 'gap', key };
  if (line.body.kind !== 'text') return { kind: 'note', key, line };
  const continues = above?.kind === 'message' && above.line.account === line.account && line.atMs - above.line.atMs < RUN_MS;
  if (continues) above.last = false;
  return { kind: 'message', key, line, first: !continues, last: true };
}

/** Puts a line where it belongs, in place of the one with its reference; gives the same list where nothing changes. */
export function put(lines: readonly Line[], line: Line): readonly Line[] {
  const key = lineKey(line);
  const kept = lines.filter((other) => lineKey(other) !== key);
  let at = kept.length;
  while (at > 0 && (kept[at - 1]?.position ?? 0) > line.position) at -= 1;
  kept.splice(at, 0, line);
  return kept;
}

/** Earlier lines in front, each once. */
export function putBefore(lines: readonly Line[], earlier: readonly Line[]): readonly Line[] {
  const known = new Set(lines.map(lineKey));
  return [...earlier.filter((line) => !known.has(lineKey(line))), ...lines];
}

export type Mark = 'pending' | 'sent' | 'delivered' | 'read' | 'failed';

/** How far one's own message has come: what all others tell, of whom at least one tells anything. */
export function markOf(line: Line, receipts: readonly Receipt[]): Mark {
  if (line.failed) return 'failed';
  const sequence = line.sequence;
  if (sequence === null) return 'pending';
  if (receipts.length > 0 && receipts.every((receipt) => receipt.read >= sequence)) return 'read';
  if (receipts.length > 0 && receipts.every((receipt) => Math.max(receipt.delivered, receipt.read) >= sequence)) return 'delivered';
  return 'sent';
}

/** Reactions by emoji, in the order in which they first came. */
export function reactionsOf(line: Line): { emoji: string; by: AccountId[] }[] {
  const found = new Map<string, AccountId[]>();
  for (const { account, emoji } of line.reactions) found.set(emoji, [...(found.get(emoji) ?? []), account]);
  return [...found].map(([emoji, by]) => ({ emoji, by }));
}

export function dayOf(atMs: number): string {
  const day = new Date(atMs);
  return `${day.getFullYear()}-${day.getMonth() + 1}-${day.getDate()}`;
}

function sameDay(first: number, second: number): boolean {
  return dayOf(first) === dayOf(second);
}
