/** Where one writes: grows with the text, keeps a draft, tells the others that one types. */

import { useSignal, type Signal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import type { Conversation } from '../../sdk/client.ts';
import { attempt, say } from '../act.ts';
import { cleanLine } from '../clean.ts';
import { useStore } from '../host.ts';
import { lineKey } from '../store/timeline.ts';
import { t } from '../text.ts';
import { IconButton } from '../ui/button.tsx';
import { Icon } from '../ui/icon.tsx';
import type { Intent } from './chat.tsx';
import { EmojiPicker } from './emoji.tsx';

/** Bytes that a message may have. */
const TEXT_MAX = 16 * 1024;
/** Others are told again that one types; they forget it after eight seconds. */
const TYPING_AGAIN_MS = 5_000;

/** A finger can't press Shift and Enter: on a touch screen Enter makes a line, and the button sends. */
const isTouch = globalThis.matchMedia?.('(pointer: coarse) and (hover: none)').matches ?? false;

interface ComposerProps {
  conversation: Conversation;
  title: string;
  intent: Signal<Intent>;
}

export function Composer({ conversation: { conversation }, title, intent }: ComposerProps) {
  const store = useStore();
  const input = useRef<HTMLTextAreaElement>(null);
  const text = useSignal(store.drafts.peek().get(conversation) ?? '');
  const emojiAt = useSignal<DOMRect | null>(null);
  const typed = useRef(0);
  const aim = intent.value;

  useLayoutEffect(() => fit(input.current), [text.value]);
  // With the drawing, not after it: the next key belongs to the text already.
  useLayoutEffect(() => {
    if (aim?.kind === 'edit' && aim.line.body.kind === 'text') text.value = aim.line.body.text;
    if (aim !== null || !isTouch) input.current?.focus();
  }, [aim]);
  useEffect(() => () => tell(false), []);

  const tell = (typing: boolean) => {
    const now = Date.now();
    if (typing ? now - typed.current < TYPING_AGAIN_MS : typed.current === 0) return;
    typed.current = typing ? now : 0;
    // A courtesy: nothing is lost where it does not arrive.
    store.client.typing(conversation, typing).catch(() => undefined);
  };
  const write = (value: string) => {
    text.value = value;
    if (intent.peek()?.kind !== 'edit') store.setDraft(conversation, value);
    tell(value.trim() !== '');
  };
  const stop = () => {
    if (intent.peek()?.kind === 'edit') text.value = store.drafts.peek().get(conversation) ?? '';
    intent.value = null;
  };
  const send = async () => {
    const said = text.peek().trim();
    if (said === '') return;
    if (new TextEncoder().encode(said).length > TEXT_MAX) {
      say(t.chat.tooLong);
      return;
    }
    const now = intent.peek();
    intent.value = null;
    text.value = now?.kind === 'edit' ? (store.drafts.peek().get(conversation) ?? '') : '';
    if (now?.kind !== 'edit') store.setDraft(conversation, '');
    tell(false);
    store.timeline.peek()?.clearUnread();
    const done = await attempt(() =>
      now?.kind === 'edit'
        ? store.client.edit(conversation, now.line.reference, said)
        : store.client.post(conversation, { text: said, replyTo: now?.line.reference }),
    );
    if (!done && text.peek() === '') write(said);
  };
  const press = (event: KeyboardEvent) => {
    if (event.isComposing) return;
    const sends = event.key === 'Enter' && !event.shiftKey && !event.altKey && (!isTouch || event.ctrlKey);
    if (sends) {
      event.preventDefault();
      void send();
    } else if (event.key === 'Escape' && intent.peek() !== null) {
      event.stopPropagation();
      stop();
    } else if (event.key === 'ArrowUp' && text.peek() === '') {
      event.preventDefault();
      focusNewest();
    }
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
    >
      {aim && (
        <div class="aim">
          <Icon name={aim.kind} />
          <span class="middle">
            <strong>{aim.kind === 'edit' ? t.chat.editing : t.chat.replyingTo(store.nameOf(aim.line.account))}</strong>
            <span class="one-line">
              <bdi>{aim.line.body.kind === 'text' ? cleanLine(aim.line.body.text) : ''}</bdi>
            </span>
          </span>
          <IconButton icon="close" label={t.chat.stop} tip="none" onClick={stop} />
        </div>
      )}
      <div class="composer-row">
        <IconButton
          icon="smile"
          label={t.chat.emoji}
          tip="up"
          expanded={emojiAt.value !== null}
          onClick={(event) => (emojiAt.value = (event.currentTarget as Element).getBoundingClientRect())}
        />
        {emojiAt.value && (
          <EmojiPicker
            at={emojiAt.value}
            onClose={() => (emojiAt.value = null)}
            onPick={(emoji) => {
              insert(input.current, emoji);
              write(input.current?.value ?? text.peek() + emoji);
            }}
          />
        )}
        <textarea
          ref={input}
          id="composer"
          class="composer-input"
          rows={1}
          dir="auto"
          value={text.value}
          placeholder={t.chat.write}
          aria-label={t.chat.writeTo(title)}
          enterkeyhint={isTouch ? 'enter' : 'send'}
          onInput={(event) => write(event.currentTarget.value)}
          onKeyDown={press}
        />
        <button type="submit" class="icon-button main send" aria-label={t.chat.send} disabled={text.value.trim() === ''}>
          <Icon name={aim?.kind === 'edit' ? 'check' : 'send'} />
        </button>
      </div>
    </form>
  );
}

function fit(input: HTMLTextAreaElement | null): void {
  if (input === null) return;
  input.style.height = 'auto';
  input.style.height = `${Math.min(input.scrollHeight, innerHeight * 0.4)}px`;
}

function insert(input: HTMLTextAreaElement | null, emoji: string): void {
  if (input === null) return;
  input.focus();
  input.setRangeText(emoji, input.selectionStart, input.selectionEnd, 'end');
}

function focusNewest(): void {
  [...document.querySelectorAll<HTMLElement>('[data-message]')].at(-1)?.focus();
}

/** Whether a message is the one being changed. */
export function isAim(intent: Intent, key: string): boolean {
  return intent !== null && lineKey(intent.line) === key;
}
