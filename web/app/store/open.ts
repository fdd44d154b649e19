/** The lines of the conversation that is open: loaded page by page, bounded, kept up to date. */

import { batch, computed, signal, type ReadonlySignal, type Signal } from '@preact/signals';
import type { AccountId, Client, ConversationId, Line, MessageRef, Receipt } from '../../sdk/client.ts';
import { firstUnread, keyOf, lineKey, put, putBefore, rowsOf, type Row } from './timeline.ts';

/** Lines read at a time: two screens of a tall window. */
const PAGE = 60;
/** Lines in memory, at about 1 KB each; whoever scrolls further up has to jump back to the newest. */
const LINES_MAX = 3_000;

export class Timeline {
  readonly conversation: ConversationId;
  readonly lines: Signal<readonly Line[]> = signal([]);
  readonly receipts: Signal<readonly Receipt[]> = signal([]);
  readonly isLoading: Signal<boolean> = signal(true);
  /** Nothing lies before the first line. */
  readonly atStart: Signal<boolean> = signal(false);
  /** The newest line is here. */
  readonly atEnd: Signal<boolean> = signal(true);
  readonly failed: Signal<boolean> = signal(false);
  /** The message before which the divider stands. */
  readonly unread: Signal<string | null> = signal(null);
  readonly rows: ReadonlySignal<Row[]> = computed(() => rowsOf(this.lines.value, this.unread.value));

  readonly #client: Client;
  readonly #own: AccountId;
  #read: number;
  #marked = 0;

  constructor(client: Client, conversation: ConversationId, own: AccountId, read: number) {
    this.#client = client;
    this.conversation = conversation;
    this.#own = own;
    this.#read = read;
  }

  /** Reads the newest page. */
  async load(): Promise<void> {
    this.isLoading.value = true;
    this.failed.value = false;
    try {
      const [lines, receipts] = await Promise.all([
        this.#client.history(this.conversation, null, PAGE),
        this.#client.receipts(this.conversation),
      ]);
      batch(() => {
        // What came meanwhile is newer than what was read.
        this.lines.value = this.lines.peek().reduce(put, lines as readonly Line[]);
        if (this.receipts.peek().length === 0) this.receipts.value = receipts;
        this.atStart.value = lines.length < PAGE;
        this.atEnd.value = true;
        this.unread.value = firstUnread(this.lines.peek(), this.#read, this.#own);
      });
    } catch {
      this.failed.value = true;
    } finally {
      this.isLoading.value = false;
    }
  }

  /** Reads the page before the first line. */
  async loadEarlier(): Promise<void> {
    const first = this.lines.peek()[0];
    if (this.isLoading.peek() || this.atStart.peek() || first === undefined) return;
    this.isLoading.value = true;
    try {
      const earlier = await this.#client.history(this.conversation, first.position, PAGE);
      batch(() => {
        const all = putBefore(this.lines.peek(), earlier);
        this.lines.value = all.slice(0, LINES_MAX);
        if (all.length > LINES_MAX) this.atEnd.value = false;
        this.atStart.value = earlier.length < PAGE;
      });
    } catch {
      this.failed.value = true;
    } finally {
      this.isLoading.value = false;
    }
  }

  /** Reads the newest page again, over what is there. */
  async reload(): Promise<void> {
    const lines = await this.#client.history(this.conversation, null, PAGE);
    const first = lines[0];
    const last = this.lines.peek().at(-1);
    // More was missed than a page: what is shown would have a hole.
    if (first !== undefined && last !== undefined && first.position > last.position) {
      this.lines.value = [];
      return this.load();
    }
    this.lines.value = lines.reduce<readonly Line[]>(put, this.lines.peek());
    this.receipts.value = await this.#client.receipts(this.conversation);
  }

  /** Back to the newest page, where it is not here any more. */
  async toEnd(): Promise<void> {
    if (this.atEnd.peek()) return;
    this.lines.value = [];
    await this.load();
  }

  /** Loads earlier pages until a message is there; says whether it is. */
  async find(reference: MessageRef): Promise<boolean> {
    const key = keyOf(reference);
    for (let pages = 0; pages < LINES_MAX / PAGE; pages += 1) {
      if (this.lines.peek().some((line) => lineKey(line) === key)) return true;
      if (this.atStart.peek() || this.failed.peek()) return false;
      await this.loadEarlier();
    }
    return false;
  }

  take(conversation: ConversationId, line: Line): void {
    if (conversation !== this.conversation) return;
    const isKnown = this.lines.peek().some((other) => lineKey(other) === lineKey(line));
    const first = this.lines.peek()[0];
    const isEarlier = first !== undefined && line.position < first.position && !this.atStart.peek();
    if (!isKnown && (!this.atEnd.peek() || isEarlier)) return;
    const all = put(this.lines.peek(), line);
    // Whoever reads at the end loses sight of the oldest, which can be loaded again.
    if (all.length > LINES_MAX) this.atStart.value = false;
    this.lines.value = all.slice(-LINES_MAX);
  }

  takeReceipt(conversation: ConversationId, receipt: Receipt): void {
    if (conversation !== this.conversation) return;
    this.receipts.value = [...this.receipts.peek().filter((other) => other.account !== receipt.account), receipt];
  }

  byReference(reference: MessageRef): Line | null {
    const key = keyOf(reference);
    return this.lines.value.find((line) => lineKey(line) === key) ?? null;
  }

  /** Everything here has been seen: told once for each new line. */
  markRead(): void {
    const newest = this.lines.peek().findLast((line) => line.sequence !== null)?.sequence ?? 0;
    if (!this.atEnd.peek() || newest <= this.#marked || newest <= this.#read) return;
    this.#marked = newest;
    // Told again with the next line, should this be lost.
    this.#client.markRead(this.conversation, newest).catch(() => undefined);
  }

  /** One has written, so what was new is not any more. */
  clearUnread(): void {
    this.unread.value = null;
    this.#read = Math.max(this.#read, this.#marked);
  }
}
