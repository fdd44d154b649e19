/** One message: bubble, quote, reactions, marks, and what can be done with it by finger, pointer and keys. */

import { useSignal, type Signal } from '@preact/signals';
import type { Line, MessageRef, Receipt } from '../../sdk/client.ts';
import { attempt, say } from '../act.ts';
import { clean, cleanLine, isOnlyEmoji, pieces } from '../clean.ts';
import type { Timeline } from '../store/open.ts';
import type { Store } from '../store/store.ts';
import { keyOf, markOf, reactionsOf, type Mark } from '../store/timeline.ts';
import { fullTime, timeOf } from '../store/when.ts';
import { t } from '../text.ts';
import { Avatar } from '../ui/avatar.tsx';
import { Ask } from '../ui/dialog.tsx';
import { IconButton } from '../ui/button.tsx';
import { Icon, type IconName } from '../ui/icon.tsx';
import { memo } from '../ui/memo.ts';
import { Menu, type Item } from '../ui/menu.tsx';
import type { Intent } from './chat.tsx';
import { EmojiPicker, QUICK } from './emoji.tsx';

export interface MessageContext {
  store: Store;
  timeline: Timeline;
  intent: Signal<Intent>;
  conversation: string;
  isGroup: boolean;
  jump: (reference: MessageRef) => void;
}

interface MessageProps {
  line: Line;
  first: boolean;
  last: boolean;
  rowKey: string;
  isNewest: boolean;
  context: MessageContext;
}

export const Message = memo((props: MessageProps) => {
  const { line, first, last, rowKey, isNewest, context } = props;
  const { store } = context;
  const menuAt = useSignal<DOMRect | null>(null);
  const emojiAt = useSignal<DOMRect | null>(null);
  const asks = useSignal(false);
  const isOwn = line.account === store.own.value?.account;
  const actions = actionsOf(line, isOwn, context, asks);
  const text = line.body.kind === 'text' ? clean(line.body.text) : '';
  const author = store.nameOf(line.account);
  const react = (emoji: string) => {
    const own = store.own.peek()?.account;
    const isSet = line.reactions.some((reaction) => reaction.account === own && reaction.emoji === emoji);
    void attempt(() => store.client.react(context.conversation, line.reference, emoji, !isSet));
  };
  const open = (element: Element) => {
    if (actions.length > 0) menuAt.value = (element.querySelector('.bubble') ?? element).getBoundingClientRect();
  };
  const canReact = !line.deleted && line.sequence !== null;
  const press = (event: KeyboardEvent) => {
    if (event.target !== event.currentTarget || event.ctrlKey || event.metaKey || event.altKey) return;
    const article = event.currentTarget as HTMLElement;
    if (event.key === '+' && canReact) emojiAt.value = article.getBoundingClientRect();
    else if (!pressed(event.key, article, actions, open)) return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <article
      class={`message${isOwn ? ' own' : ''}${first ? ' first' : ''}${last ? ' last' : ''}${line.failed ? ' failed' : ''}`}
      data-key={rowKey}
      data-message
      tabIndex={isNewest ? 0 : -1}
      aria-label={`${author}, ${timeOf(line.atMs)}: ${line.deleted ? t.chat.deleted : text}`}
      onKeyDown={press}
      onContextMenu={(event) => {
        if (!matchMedia('(pointer: coarse)').matches) return;
        event.preventDefault();
        open(event.currentTarget);
      }}
    >
      {context.isGroup && !isOwn && (last ? <Avatar name={store.realName(line.account) ?? line.account} shown={author} size="small" /> : <span class="avatar small" />)}
      <div class="message-body">
        {context.isGroup && !isOwn && first && (
          <span class={`author hue${hueOf(line.account)}`}>
            <bdi>{author}</bdi>
          </span>
        )}
        <div class={`bubble${isOnlyEmoji(text) && !line.deleted ? ' only-emoji' : ''}`}>
          {line.body.kind === 'text' && line.body.replyTo !== null && !line.deleted && <Quote reference={line.body.replyTo} context={context} />}
          {line.deleted ? <em class="deleted">{t.chat.deleted}</em> : <Words text={text} />}
          <span class="meta">
            {line.edited && !line.deleted && <span>{t.chat.edited}</span>}
            <time dateTime={new Date(line.atMs).toISOString()} title={fullTime(line.atMs)}>
              {timeOf(line.atMs)}
            </time>
            {isOwn && <Marks line={line} receipts={context.timeline.receipts} />}
          </span>
        </div>
        <Reactions line={line} store={store} onReact={react} />
        {line.failed && (
          <p class="wrong">
            {t.chat.failedText}{' '}
            <button type="button" class="link" onClick={actions[0]?.onPick}>
              {t.chat.again}
            </button>
          </p>
        )}
      </div>
      {actions.length > 0 && (
        <span class="message-tools">
          {canReact && <IconButton icon="smile" label={t.chat.react} tip="none" expanded={emojiAt.value !== null} onClick={(event) => (emojiAt.value = rectOf(event))} />}
          <IconButton icon="more" label={t.chat.actions} tip="none" expanded={menuAt.value !== null} onClick={(event) => (menuAt.value = rectOf(event))} />
        </span>
      )}
      {menuAt.value && (
        <Menu label={t.chat.actions} items={actions} at={menuAt.value} onClose={() => (menuAt.value = null)}>
          {canReact && (
            <div class="quick" role="group" aria-label={t.chat.reactTitle}>
              {QUICK.map((emoji) => (
                <button
                  key={emoji}
                  type="button"
                  role="menuitem"
                  aria-label={emoji}
                  onClick={() => {
                    menuAt.value = null;
                    react(emoji);
                  }}
                >
                  {emoji}
                </button>
              ))}
            </div>
          )}
        </Menu>
      )}
      {emojiAt.value && <EmojiPicker at={emojiAt.value} onPick={react} onClose={() => (emojiAt.value = null)} />}
      {asks.value && (
        <Ask
          title={t.chat.deleteTitle}
          text={t.chat.deleteText}
          yes={t.chat.delete}
          onClose={() => (asks.value = false)}
          onYes={async () => {
            await attempt(() => store.client.delete(context.conversation, line.reference));
            asks.value = false;
          }}
        />
      )}
    </article>
  );
});

function rectOf(event: MouseEvent): DOMRect {
  return (event.currentTarget as Element).getBoundingClientRect();
}

/** Eight hues that names in groups are told apart by. */
function hueOf(account: string): number {
  return Number.parseInt(account.slice(0, 2), 16) % 8 || 0;
}

/** Keys on a focused message; says whether one was taken. */
function pressed(key: string, article: HTMLElement, actions: readonly (Item & { key: string })[], open: (element: Element) => void): boolean {
  if (key === 'ArrowUp' || key === 'ArrowDown') {
    const all = [...document.querySelectorAll<HTMLElement>('[data-message]')];
    const to = all[all.indexOf(article) + (key === 'ArrowUp' ? -1 : 1)];
    (to ?? (key === 'ArrowDown' ? document.getElementById('composer') : null))?.focus();
    return true;
  }
  if (key === 'Escape') {
    document.getElementById('composer')?.focus();
    return true;
  }
  if (key === 'Enter') {
    open(article);
    return true;
  }
  const action = actions.find((other) => other.key.split(' ').includes(key));
  action?.onPick();
  return action !== undefined;
}

function actionsOf(line: Line, isOwn: boolean, context: MessageContext, asks: Signal<boolean>): (Item & { key: string })[] {
  const { body, deleted, failed, sequence } = line;
  if (body.kind !== 'text' || deleted) return [];
  const isSent = sequence !== null;
  const again = () => void attempt(() => context.store.client.post(context.conversation, { text: body.text, replyTo: body.replyTo ?? undefined }));
  const copy = () => void navigator.clipboard.writeText(body.text).then(() => say(t.copied));
  return [
    ...(failed ? [{ key: 's', label: t.chat.again, icon: 'send' as IconName, onPick: again }] : []),
    ...(isSent ? [{ key: 'r', label: t.chat.reply, icon: 'reply' as IconName, onPick: () => (context.intent.value = { kind: 'reply', line }) }] : []),
    { key: 'c', label: t.chat.copyText, icon: 'copy', onPick: copy },
    ...(isOwn && isSent ? [{ key: 'e', label: t.chat.edit, icon: 'edit' as IconName, onPick: () => (context.intent.value = { kind: 'edit', line }) }] : []),
    ...(isOwn && isSent ? [{ key: 'x Delete', label: t.chat.delete, icon: 'trash' as IconName, danger: true, onPick: () => (asks.value = true) }] : []),
  ];
}

function Words({ text }: { text: string }) {
  return (
    <span class="words" dir="auto">
      {pieces(text).map((piece, index) =>
        piece.href === null ? (
          piece.text
        ) : (
          <a key={index} href={piece.href} target="_blank" rel="noopener noreferrer nofollow">
            {piece.text}
          </a>
        ),
      )}
    </span>
  );
}

function Quote({ reference, context }: { reference: MessageRef; context: MessageContext }) {
  const quoted = context.timeline.byReference(reference);
  const isText = quoted?.body.kind === 'text' && !quoted.deleted;
  return (
    <button type="button" class="quote" tabIndex={-1} title={t.chat.jump} onClick={() => context.jump(reference)} data-to={keyOf(reference)}>
      {quoted && (
        <strong>
          <bdi>{context.store.nameOf(quoted.account)}</bdi>
        </strong>
      )}
      <span class="one-line">
        <bdi>{isText && quoted.body.kind === 'text' ? cleanLine(quoted.body.text) : quoted ? t.chat.deleted : t.chat.quoteGone}</bdi>
      </span>
    </button>
  );
}

const markIcons: Record<Mark, IconName> = { pending: 'clock', sent: 'check', delivered: 'checks', read: 'checks', failed: 'warn' };

function Marks({ line, receipts }: { line: Line; receipts: Signal<readonly Receipt[]> }) {
  const mark = markOf(line, receipts.value);
  return (
    <span class={`mark ${mark}`} role="img" aria-label={t.chat[mark]} title={t.chat[mark]}>
      <Icon name={markIcons[mark]} />
    </span>
  );
}

function Reactions({ line, store, onReact }: { line: Line; store: Store; onReact: (emoji: string) => void }) {
  if (line.reactions.length === 0 || line.deleted) return null;
  const own = store.own.value?.account ?? '';
  return (
    <div class="reactions">
      {reactionsOf(line).map(({ emoji, by }) => {
        const label = t.chat.reacted(emoji, t.list(by.map((account) => store.nameOf(account))));
        return (
          <button key={emoji} type="button" class="reaction" aria-pressed={by.includes(own)} aria-label={label} title={label} onClick={() => onReact(emoji)}>
            {cleanLine(emoji).slice(0, 16)}
            {by.length > 1 && <span>{by.length}</span>}
          </button>
        );
      })}
    </div>
  );
}
