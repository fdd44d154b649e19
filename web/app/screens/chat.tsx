/** The conversation that is open: head, messages, composer, and beside it what it is about. */

import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { cleanLine } from '../clean.ts';
import { useHost, useStore } from '../host.ts';
import type { Conversation, Line } from '../../sdk/client.ts';
import { back, go, href, route } from '../route.ts';
import type { Store } from '../store/store.ts';
import { t } from '../text.ts';
import { Avatar } from '../ui/avatar.tsx';
import { Empty } from '../ui/bits.tsx';
import { IconButton } from '../ui/button.tsx';
import { GroupAbout } from './group-about.tsx';
import { PersonAbout } from './person.tsx';
import { placeCall } from './call-place.ts';
import { Composer } from './composer.tsx';
import { Messages } from './messages.tsx';

/** What the composer is at: nothing, answering a message, or changing one. */
export type Intent = { kind: 'reply' | 'edit'; line: Line } | null;

export function ChatPane({ conversation: id, about }: { conversation: string; about: boolean }) {
  const store = useStore();
  const told = store.conversations.value.get(id);
  const intent = useSignal<Intent>(null);
  useEffect(() => {
    if (told !== undefined) store.open(id);
  }, [id, told]);
  const conversation = told?.value;
  if (conversation === undefined) return store.isLoaded.value ? <Empty title={t.chat.missing} /> : null;
  const timeline = store.timeline.value?.conversation === id ? store.timeline.value : null;
  const title = store.titleOf(conversation);
  return (
    <div class="chat-and-about">
      <section class="chat" aria-label={t.chat.label(title)}>
        <ChatHead store={store} conversation={conversation} title={title} about={about} />
        {timeline && <Messages key={id} timeline={timeline} conversation={conversation} title={title} intent={intent} />}
        <TypingLine store={store} conversation={conversation} />
        {conversation.standing === 'inside' ? (
          <Composer key={id} conversation={conversation} title={title} intent={intent} />
        ) : (
          <p class="chat-closed" role="status">
            {conversation.standing === 'joining' ? t.chat.joining : t.chat.refusedText}
          </p>
        )}
      </section>
      {about && (
        <section class="about" aria-label={t.chat.about}>
          {conversation.pair === null ? <GroupAbout conversation={conversation} /> : <PersonAbout account={conversation.pair.account} within={conversation} />}
        </section>
      )}
    </div>
  );
}

function ChatHead({ store, conversation, title, about }: { store: Store; conversation: Conversation; title: string; about: boolean }) {
  const host = useHost();
  const { conversation: id, pair } = conversation;
  const presence = pair === null ? null : store.presenceOf(pair.account);
  const name = pair === null ? null : (store.realName(pair.account) ?? pair.person?.name ?? null);
  return (
    <header class="pane-head">
      <IconButton icon="back" label={t.back} tip="none" class="only-narrow" onClick={() => back()} />
      <a class="chat-who" href={href({ at: 'chat', conversation: id, about: !about })} title={t.chat.about}>
        <Avatar name={name ?? id} shown={title} group={pair === null} availability={presence?.availability ?? null} />
        <span class="middle">
          <h1 class="one-line">
            <bdi>{title}</bdi>
          </h1>
          <span class="note one-line">{subtitleOf(conversation, presence)}</span>
        </span>
      </a>
      {name !== null && <IconButton icon="phone" label={t.chat.call} keys="Alt+C" onClick={() => void placeCall(host, store, name)} />}
      <IconButton
        icon="info"
        label={t.chat.about}
        pressed={about}
        tip="end"
        onClick={() => (about ? back() : go({ at: 'chat', conversation: id, about: true }, false))}
      />
    </header>
  );
}

function subtitleOf(conversation: Conversation, presence: ReturnType<Store['presenceOf']>) {
  if (conversation.pair === null) return t.chats.members(conversation.members);
  if (presence === null) return t.call.encrypted;
  const state = presence.availability === 'offline' ? t.lastSeen[presence.lastSeen] : t.availability[presence.availability];
  const mood = cleanLine(presence.mood);
  return mood === '' ? state : <bdi>{`${state} · ${mood}`}</bdi>;
}

/** Says who types; the place for it is kept, so that nothing jumps. */
function TypingLine({ store, conversation }: { store: Store; conversation: Conversation }) {
  const typing = store.typing.value.get(conversation.conversation) ?? [];
  const names = typing.map((account) => store.nameOf(account));
  return (
    <p class="typing-line" aria-live="polite">
      {names.length > 0 && (
        <>
          <span class="waves" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
          <bdi>{names.length === 1 ? t.chats.typingOne(names[0] ?? '') : t.chats.typingMany(t.list(names))}</bdi>
        </>
      )}
    </p>
  );
}

/** The person of the conversation that is open, for whoever calls by keyboard. */
export function openName(store: Store): string | null {
  const place = route.peek();
  const account = place.at === 'chat' ? store.conversations.peek().get(place.conversation)?.peek().pair?.account : place.at === 'person' ? place.account : undefined;
  return account === undefined ? null : store.realName(account);
}
