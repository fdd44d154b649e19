/**
 * History: lines in the order of their positions, each found by its reference too.
 *
 * A line that stands in the log has its place there; one that waits comes after all of those, in the order of numbers.
 */

import type { ConversationId, DeviceId, Line, LineBody, MessageRef } from '../client.ts';
import type { Vault } from '../vault/vault.ts';
import { hasFields, readJson, type Changes } from './changes.ts';

/** Positions between two log entries: for lines that were given up there. */
const STEP = 1_024;

/** Log entries that have places of their own; what a supernode makes up beyond them shares the last one. */
const PLACES = 2 ** 42;

/** First position of lines that wait. */
const WAITING = PLACES * STEP;

const DIGITS = 16;

/** Lines that one call gives at most. */
export const HISTORY_MAX = 500;

/** The device of lines that are no messages. */
const NO_DEVICE: DeviceId = '0'.repeat(32);

export function referenceOfEntry(sequence: number): MessageRef {
  return { device: NO_DEVICE, number: sequence };
}

export function positionOf(sequence: number): number {
  return Math.min(sequence, PLACES - 1) * STEP;
}

/** Reactions kept of one line: each of 256 accounts with a few. */
const REACTIONS_MAX = 1_024;

function lineKey(conversation: ConversationId, position: number): string {
  return `${conversation}/${String(position).padStart(DIGITS, '0')}`;
}

function referenceKey(conversation: ConversationId, { device, number }: MessageRef): string {
  return `at/${conversation}/${device}/${number}`;
}

const isLine = hasFields<Line>('reference', 'account', 'body', 'position', 'reactions');

/** A line as it is made. */
export interface NewLine {
  reference: MessageRef;
  account: string;
  /** `null`: it waits. */
  sequence: number | null;
  atMs: number;
  body: LineBody;
}

/** What a change of history is told by. */
type Told = (line: Line) => void;

/** One conversation's history within one set of changes. */
export class Lines {
  constructor(
    private readonly conversation: ConversationId,
    private readonly changes: Changes,
    private readonly told: Told,
  ) {}

  async find(reference: MessageRef): Promise<Line | null> {
    const at = await this.changes.read('lines', referenceKey(this.conversation, reference));
    if (at === null) return null;
    return readJson(await this.changes.read('lines', lineKey(this.conversation, Number(new TextDecoder().decode(at)))), isLine);
  }

  /**
   * Puts a line there, unless there is one of that reference; `false`: there was. What was given up is in nobody's log, and makes way:
   * its number may be given again. So does what stood there for a line that waits: this device numbers what it writes.
   */
  async put(made: NewLine): Promise<boolean> {
    const before = await this.find(made.reference);
    if (before !== null && !before.failed && made.sequence !== null) return false;
    if (before !== null) this.changes.remove('lines', lineKey(this.conversation, before.position));
    const position = await this.#vacant(made.sequence === null ? WAITING + made.reference.number : positionOf(made.sequence));
    this.#write({ ...made, edited: false, deleted: false, failed: false, reactions: [], position });
    return true;
  }

  /** A line that waited stands in the log. */
  async place(reference: MessageRef, sequence: number, atMs: number): Promise<void> {
    const line = await this.find(reference);
    if (line === null) return;
    this.changes.remove('lines', lineKey(this.conversation, line.position));
    this.#write({ ...line, sequence, atMs, failed: false, position: await this.#vacant(positionOf(sequence)) });
  }

  /** A line that waited is given up; it stays where the log was then. */
  async fail(reference: MessageRef, head: number): Promise<void> {
    const line = await this.find(reference);
    if (line === null || line.sequence !== null) return;
    this.changes.remove('lines', lineKey(this.conversation, line.position));
    this.#write({ ...line, failed: true, position: await this.#vacant(positionOf(head) + 1 + (reference.number % (STEP - 1))) });
  }

  /** Replaces a text by the same account's. */
  async edit(target: MessageRef, by: string, text: string): Promise<void> {
    const line = await this.#textBy(target, by);
    if (line === null || line.body.kind !== 'text') return;
    this.#write({ ...line, body: { ...line.body, text }, edited: true });
  }

  /** Erases a text of the same account. */
  async delete(target: MessageRef, by: string): Promise<void> {
    const line = await this.#textBy(target, by);
    if (line === null || line.body.kind !== 'text') return;
    this.#write({ ...line, body: { kind: 'text', text: '', replyTo: null }, deleted: true, reactions: [] });
  }

  async react(target: MessageRef, account: string, emoji: string, set: boolean): Promise<void> {
    const line = await this.find(target);
    if (line === null || line.body.kind !== 'text' || line.deleted) return;
    const others = line.reactions.filter((reaction) => reaction.account !== account || reaction.emoji !== emoji);
    if (set === others.length < line.reactions.length || (set && others.length >= REACTIONS_MAX)) return;
    this.#write({ ...line, reactions: set ? [...others, { account, emoji }] : others });
  }

  /** A text that its account may still change. */
  async #textBy(target: MessageRef, by: string): Promise<Line | null> {
    const line = await this.find(target);
    return line !== null && line.account === by && line.body.kind === 'text' && !line.deleted ? line : null;
  }

  /**
   * A position from one on where no line stands, after those that do: a supernode may give a place in the log twice. It may give it a
   * thousand times: so the looks double their steps, then halve them.
   */
  async #vacant(from: number): Promise<number> {
    const isTaken = async (position: number): Promise<boolean> => (await this.changes.read('lines', lineKey(this.conversation, position))) !== null;
    let taken = from - 1;
    let vacant = from;
    while (await isTaken(vacant)) {
      taken = vacant;
      vacant += vacant - from + 1;
    }
    while (vacant - taken > 1) {
      const middle = taken + Math.floor((vacant - taken) / 2);
      if (await isTaken(middle)) taken = middle;
      else vacant = middle;
    }
    return vacant;
  }

  #write(line: Line): void {
    this.changes.putJson('lines', lineKey(this.conversation, line.position), line);
    this.changes.put('lines', referenceKey(this.conversation, line.reference), new TextEncoder().encode(String(line.position)));
    this.told(line);
  }
}

/** The last lines before a position, earliest first. */
export async function readHistory(vault: Vault, conversation: ConversationId, before: number | null, limit: number): Promise<Line[]> {
  const bounded = { last: true, limit: Math.max(0, Math.min(limit, HISTORY_MAX)) };
  const options = before === null ? bounded : { ...bounded, before: lineKey(conversation, before) };
  const entries = await vault.range('lines', `${conversation}/`, options);
  return entries.flatMap(({ value }) => readJson(value, isLine) ?? []);
}
