import { describe, expect, it } from 'vitest';
import type { Line } from '../../sdk/client.ts';
import { firstUnread, lineKey, markOf, put, putBefore, rowsOf } from './timeline.ts';

const [ALICE, BOB] = ['aa'.repeat(16), 'bb'.repeat(16)];
const MORNING = new Date(2025, 10, 25, 9).getTime();
const MINUTE = 60_000;

function line(number: number, change: Partial<Line> = {}): Line {
  return {
    reference: { device: BOB, number },
    account: BOB,
    sequence: number,
    atMs: MORNING + number * MINUTE,
    body: { kind: 'text', text: `text ${number}`, replyTo: null },
    edited: false,
    deleted: false,
    failed: false,
    reactions: [],
    position: number * 10,
    ...change,
  };
}

const shape = (lines: Line[], unread: string | null = null) => rowsOf(lines, unread).map((row) => (row.kind === 'message' ? `${row.first ? '[' : ''}${row.line.reference.number}${row.last ? ']' : ''}` : row.kind));

describe('rows', () => {
  it('stand together by author, and apart after a pause', () => {
    expect(shape([line(1), line(2), line(3, { account: ALICE }), line(20, { account: ALICE })])).toEqual(['day', '[1', '2]', '[3]', '[20]']);
  });

  it('begin anew with each day, though one writes across midnight', () => {
    const before = new Date(2025, 10, 25, 23, 59).getTime();
    expect(shape([line(1, { atMs: before }), line(2, { atMs: before + 2 * MINUTE })])).toEqual(['day', '[1]', 'day', '[2]']);
  });

  it('are parted by what is unread, by notes and by gaps', () => {
    const gap = line(3, { reference: { device: '0'.repeat(32), number: 0 }, body: { kind: 'gap' } });
    expect(shape([line(1), line(2), gap, line(4)], lineKey(line(2)))).toEqual(['day', '[1]', 'unread', '[2]', 'gap', '[4]']);
  });

  it('have keys of their own, also where lines are no messages', () => {
    const note = (number: number) => line(number, { reference: { device: '0'.repeat(32), number: 0 }, body: { kind: 'renamed', title: 'x' } });
    const keys = rowsOf([note(1), note(2), line(3)], null).map((row) => row.key);
    expect(new Set(keys).size).toBe(keys.length);
  });
});

describe('lines', () => {
  it('take the place of the one with their reference, wherever they now belong', () => {
    const waiting = line(9, { sequence: null, position: 1_000 });
    const lines = put(put([line(1), line(2)], waiting), line(3));
    expect(lines.map((each) => each.reference.number)).toEqual([1, 2, 3, 9]);
    const accepted = put(lines, { ...waiting, sequence: 3, position: 25 });
    expect(accepted.map((each) => each.reference.number)).toEqual([1, 2, 9, 3]);
  });

  it('that are loaded come once', () => {
    expect(putBefore([line(2), line(3)], [line(1), line(2)]).map((each) => each.reference.number)).toEqual([1, 2, 3]);
  });

  it('are unread from the first of others beyond what was read', () => {
    const lines = [line(1), line(2, { account: ALICE }), line(3)];
    expect(firstUnread(lines, 1, ALICE)).toBe(lineKey(line(3)));
    expect(firstUnread(lines, 3, ALICE)).toBeNull();
  });
});

describe('marks', () => {
  const own = line(5, { account: ALICE });
  const receipt = (account: string, delivered: number, read: number) => ({ account, delivered, read });

  it('say what all others tell, not what one of them does', () => {
    expect(markOf(own, [receipt(BOB, 5, 5), receipt('cc'.repeat(16), 5, 4)])).toBe('delivered');
    expect(markOf(own, [receipt(BOB, 5, 5), receipt('cc'.repeat(16), 0, 0)])).toBe('sent');
    expect(markOf(own, [receipt(BOB, 0, 5)])).toBe('read');
  });

  it('say no more than sent where nobody tells anything', () => {
    expect(markOf(own, [])).toBe('sent');
  });

  it('tell what waits from what was given up', () => {
    expect(markOf({ ...own, sequence: null }, [])).toBe('pending');
    expect(markOf({ ...own, sequence: null, failed: true }, [])).toBe('failed');
  });
});
