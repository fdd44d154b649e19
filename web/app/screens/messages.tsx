/** The messages of a conversation: a window of rows that moves with the scroll, and stays where the eye is when rows come or go. */

import { useSignal, type Signal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { isPresent } from '../activity.ts';
import { cleanLine } from '../clean.ts';
import { useStore } from '../host.ts';
import type { Conversation, Line, MessageRef } from '../../sdk/client.ts';
import type { Timeline } from '../store/open.ts';
import type { Store } from '../store/store.ts';
import { keyOf, type Row } from '../store/timeline.ts';
import { dayName } from '../store/when.ts';
import { t } from '../text.ts';
import { Badge, Empty } from '../ui/bits.tsx';
import { Button } from '../ui/button.tsx';
import { Icon } from '../ui/icon.tsx';
import { Message, type MessageContext } from './message.tsx';
import type { Intent } from './chat.tsx';

/** Rows in the document: enough for three tall screens, few enough to be laid out within a frame. */
const ROWS_MAX = 240;
const STEP = 60;
/** Pixels from an edge at which the window moves. */
const NEAR = 600;
/** Pixels from the end within which new messages keep one at the end. */
const AT_END = 60;

interface MessagesProps {
  timeline: Timeline;
  conversation: Conversation;
  title: string;
  intent: Signal<Intent>;
}

export function Messages({ timeline, conversation, title, intent }: MessagesProps) {
  const store = useStore();
  const scroller = useRef<HTMLDivElement>(null);
  /** Rows after the window, and in it. */
  const tail = useSignal(0);
  const count = useSignal(ROWS_MAX / 2);
  const atEnd = useSignal(true);
  const anchor = useRef<{ key: string; top: number } | null>(null);
  const opened = useRef(false);
  const rows = timeline.rows.value;
  const to = Math.max(0, rows.length - tail.value);
  const from = Math.max(0, to - count.value);
  const shown = rows.slice(from, to);

  useLayoutEffect(() => {
    const box = scroller.current;
    if (box === null || rows.length === 0) return;
    if (!opened.current) {
      opened.current = true;
      const divider = box.querySelector('[data-key="unread"]');
      if (divider instanceof HTMLElement) box.scrollTop = divider.offsetTop - box.clientHeight / 3;
      else box.scrollTop = box.scrollHeight;
      atEnd.value = isAtEnd(box);
    } else if (atEnd.peek() && tail.peek() === 0) box.scrollTop = box.scrollHeight;
    else holdStill(box, anchor.current);
  }, [rows, from, to]);

  useEffect(() => {
    if (atEnd.value && tail.value === 0 && isPresent.value) timeline.markRead();
  }, [rows, atEnd.value, tail.value, isPresent.value]);

  // The composer grows and keyboards rise: whoever was at the end stays there.
  useEffect(() => {
    const box = scroller.current;
    if (box === null) return;
    const watch = new ResizeObserver(() => {
      if (atEnd.peek()) box.scrollTop = box.scrollHeight;
    });
    watch.observe(box);
    return () => watch.disconnect();
  }, []);

  const scrolled = () => {
    const box = scroller.current;
    if (box === null) return;
    atEnd.value = tail.peek() === 0 && timeline.atEnd.peek() && isAtEnd(box);
    anchor.current = anchorOf(box);
    if (box.scrollTop < NEAR) {
      if (from > 0) {
        const more = count.peek() + STEP;
        tail.value += Math.max(0, more - ROWS_MAX);
        count.value = Math.min(more, ROWS_MAX);
      } else void timeline.loadEarlier();
    } else if (box.scrollHeight - box.scrollTop - box.clientHeight < NEAR && tail.peek() > 0) {
      tail.value = Math.max(0, tail.peek() - STEP);
    }
  };
  const toEnd = async () => {
    await timeline.toEnd();
    tail.value = 0;
    count.value = ROWS_MAX / 2;
    atEnd.value = true;
    requestAnimationFrame(() => scroller.current?.scrollTo({ top: scroller.current.scrollHeight }));
  };
  const jump = async (reference: MessageRef) => {
    if (!(await timeline.find(reference))) return;
    const key = keyOf(reference);
    const index = timeline.rows.peek().findIndex((row) => row.key === key);
    atEnd.value = false;
    count.value = ROWS_MAX;
    tail.value = Math.max(0, timeline.rows.peek().length - index - ROWS_MAX / 2);
    requestAnimationFrame(() => {
      const found = scroller.current?.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`);
      found?.scrollIntoView({ block: 'center' });
      found?.focus();
      found?.animate([{ backgroundColor: 'color-mix(in srgb, var(--buoy) 45%, transparent)' }, { backgroundColor: 'transparent' }], 1400);
    });
  };
  const context = useContextOf(store, timeline, conversation, intent, jump);

  return (
    <div class="messages-box">
      <div ref={scroller} class="messages" role="log" aria-label={t.chat.messages} aria-live="off" aria-busy={timeline.isLoading.value} onScroll={scrolled}>
        {timeline.failed.value && (
          <p class="note center">
            {t.refusal.unexpected} <Button onClick={() => timeline.load()}>{t.retry}</Button>
          </p>
        )}
        {timeline.isLoading.value && rows.length === 0 && <Loading />}
        {timeline.atStart.value && from === 0 && !timeline.isLoading.value && <Beginning title={title} isEmpty={rows.length === 0} />}
        {timeline.isLoading.value && rows.length > 0 && (
          <p class="note center" role="status">
            <span class="spinner" aria-hidden="true" /> {t.loading}
          </p>
        )}
        {shown.map((row, index) => (
          <RowOf key={row.key} row={row} context={context} isNewest={to === rows.length && index === shown.length - 1} />
        ))}
      </div>
      {!atEnd.value && rows.length > 0 && (
        <button type="button" class="to-end" aria-label={t.chat.newest} onClick={() => void toEnd()}>
          <Icon name="down" />
          <Badge count={conversation.unread} label={t.chat.newer(conversation.unread)} />
        </button>
      )}
      <Announcer store={store} timeline={timeline} />
    </div>
  );
}

/** The same object as long as nothing in it changes, so that messages need not be drawn anew. */
function useContextOf(store: Store, timeline: Timeline, conversation: Conversation, intent: Signal<Intent>, jump: (reference: MessageRef) => Promise<void>): MessageContext {
  const latest = useRef(jump);
  latest.current = jump;
  const kept = useRef<MessageContext | null>(null);
  kept.current ??= {
    store,
    timeline,
    intent,
    conversation: conversation.conversation,
    isGroup: conversation.pair === null,
    jump: (reference) => void latest.current(reference),
  };
  return kept.current;
}

function RowOf({ row, context, isNewest }: { row: Row; context: MessageContext; isNewest: boolean }) {
  switch (row.kind) {
    case 'day':
      return (
        <div class="day" data-key={row.key}>
          <h2>{dayName(row.atMs)}</h2>
        </div>
      );
    case 'unread':
      return (
        <div class="unread-line" data-key={row.key}>
          <span>{t.chat.unread}</span>
        </div>
      );
    case 'gap':
      return (
        <div class="gap" data-key={row.key}>
          <strong>{t.chat.gap}</strong>
          <span>{t.chat.gapText}</span>
        </div>
      );
    case 'note':
      return (
        <p class="event" data-key={row.key}>
          <bdi>{noteOf(context.store, row.line)}</bdi>
        </p>
      );
    case 'message':
      return <Message line={row.line} first={row.first} last={row.last} rowKey={row.key} isNewest={isNewest} context={context} />;
  }
}

function noteOf(store: Store, line: Line): string {
  const names = (accounts: string[]) => t.list(accounts.map((account) => store.nameOf(account)));
  if (line.body.kind === 'renamed') return t.chat.renamed(cleanLine(line.body.title));
  if (line.body.kind !== 'membership') return '';
  const { joined, left } = line.body;
  return [joined.length > 0 && t.chat.joined(names(joined)), left.length > 0 && t.chat.left(names(left))].filter(Boolean).join(' · ');
}

function Beginning({ title, isEmpty }: { title: string; isEmpty: boolean }) {
  if (isEmpty) return <Empty title={t.chat.first} text={t.chat.startText} />;
  return (
    <p class="beginning">
      <Icon name="lock" />
      <span>
        {t.chat.start(title)} {t.chat.startText}
      </span>
    </p>
  );
}

function Loading() {
  return (
    <div class="waiting" role="status" aria-label={t.loading}>
      {[1, 2, 3, 4].map((row) => (
        <div key={row} class="skeleton" />
      ))}
    </div>
  );
}

/** Reads new messages of others out to screen readers; the list itself stays silent, for it also grows at its beginning. */
function Announcer({ store, timeline }: { store: Store; timeline: Timeline }) {
  const newest = timeline.lines.value.at(-1);
  const known = useRef<number | null>(null);
  const text = useSignal('');
  useEffect(() => {
    if (newest === undefined) return;
    const isNew = known.current !== null && newest.position > known.current;
    known.current = newest.position;
    if (isNew && newest.body.kind === 'text' && newest.account !== store.own.peek()?.account) text.value = `${store.nameOf(newest.account)}: ${cleanLine(newest.body.text)}`;
  }, [newest]);
  return (
    <p class="unseen" aria-live="polite">
      {text.value}
    </p>
  );
}

function isAtEnd(box: HTMLElement): boolean {
  return box.scrollHeight - box.scrollTop - box.clientHeight < AT_END;
}

/** The first row in sight and where it stands. */
function anchorOf(box: HTMLElement): { key: string; top: number } | null {
  for (const row of box.querySelectorAll<HTMLElement>('[data-key]')) {
    const top = row.offsetTop - box.scrollTop;
    if (top + row.offsetHeight > 0) return { key: row.dataset['key'] ?? '', top };
  }
  return null;
}

/** Browsers differ in this, so it is done here: the row that was in sight stays where it was. */
function holdStill(box: HTMLElement, anchor: { key: string; top: number } | null): void {
  if (anchor === null) return;
  const row = box.querySelector<HTMLElement>(`[data-key="${CSS.escape(anchor.key)}"]`);
  if (row !== null) box.scrollTop = row.offsetTop - anchor.top;
}
