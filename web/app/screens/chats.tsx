/** The list of conversations, with search through conversations and people. */

import { useComputed, useSignal, type Signal } from '@preact/signals';
import { attempt } from '../act.ts';
import { cleanLine } from '../clean.ts';
import { useHost, useStore } from '../host.ts';
import type { Contact, Conversation } from '../../sdk/client.ts';
import { go, href, route } from '../route.ts';
import type { Store } from '../store/store.ts';
import { markOf } from '../store/timeline.ts';
import { shortTime } from '../store/when.ts';
import { locale } from '../text-locale.ts';
import { t } from '../text.ts';
import { Avatar } from '../ui/avatar.tsx';
import { Badge, Empty } from '../ui/bits.tsx';
import { Button, IconButton } from '../ui/button.tsx';
import { Search } from '../ui/field.tsx';
import { Icon } from '../ui/icon.tsx';
import { Menu } from '../ui/menu.tsx';
import { memo } from '../ui/memo.ts';
import { placeCall } from './call-place.ts';

/** Rows drawn at first; more of them come with the scroll. */
const ROWS = 60;

export function Chats() {
  const store = useStore();
  const query = useSignal('');
  const shown = useSignal(ROWS);
  const menuAt = useSignal<DOMRect | null>(null);
  const wanted = cleanLine(query.value).toLocaleLowerCase(locale);
  const found = wanted === '' ? store.order.value : store.order.value.filter((row) => store.titleOf(row.value).toLocaleLowerCase(locale).includes(wanted));
  const people = wanted === '' ? [] : peopleFound(store, wanted);
  return (
    <>
      <header class="list-head">
        <h1>{t.chats.title}</h1>
        <IconButton icon="add" label={t.chats.fresh} tip="end" expanded={menuAt.value !== null} onClick={(event) => (menuAt.value = (event.currentTarget as Element).getBoundingClientRect())} />
        {menuAt.value && (
          <Menu
            label={t.chats.fresh}
            at={menuAt.value}
            onClose={() => (menuAt.value = null)}
            items={[
              { label: t.chats.newChat, icon: 'chats', onPick: () => go({ at: 'contacts' }) },
              { label: t.chats.newGroup, icon: 'group', onPick: () => go({ at: 'new-group' }) },
              { label: t.contacts.add, icon: 'add', onPick: () => go({ at: 'add', name: '' }) },
            ]}
          />
        )}
        <Search id="search" label={t.chats.search} value={query.value} onInput={(value) => (query.value = value)} onEnter={openFirst} />
      </header>
      <div class="list-body" onScroll={(event) => grow(event.currentTarget, shown)}>
        {wanted === '' && <RequestsRow />}
        {!store.isLoaded.value && <Waiting />}
        {store.isLoaded.value && store.order.value.length === 0 && wanted === '' && <FirstDay />}
        <ul aria-label={t.chats.conversations}>
          {found.slice(0, shown.value).map((conversation) => (
            <ChatRow key={conversation.value.conversation} conversation={conversation} />
          ))}
        </ul>
        {people.length > 0 && (
          <>
            <h2 class="list-title">{t.chats.people}</h2>
            <ul>
              {people.map((contact) => (
                <PersonHit key={contact.person.account} contact={contact} />
              ))}
            </ul>
          </>
        )}
        {wanted !== '' && found.length + people.length === 0 && <p class="list-none">{t.chats.none}</p>}
      </div>
    </>
  );
}

/** Enter in the search takes what was found first. */
function openFirst(): void {
  document.querySelector<HTMLElement>('.list-body ul a')?.click();
}

function grow(list: HTMLElement, shown: Signal<number>): void {
  if (list.scrollTop + list.clientHeight > list.scrollHeight - 600) shown.value += ROWS;
}

/** Contacts that one has no conversation with. */
function peopleFound(store: Store, wanted: string): Contact[] {
  const known = new Set(store.order.value.map((row) => row.value.pair?.account));
  return [...store.contacts.value.values()].filter(
    ({ person, alias, state }) => state === 'accepted' && !known.has(person.account) && `${person.name} ${alias ?? ''}`.toLocaleLowerCase(locale).includes(wanted),
  );
}

function PersonHit({ contact }: { contact: Contact }) {
  const store = useStore();
  const { account, name } = contact.person;
  return (
    <li>
      <a class="row" href={href({ at: 'person', account })}>
        <Avatar name={name} availability={store.presenceOf(account)?.availability ?? null} />
        <span class="middle one-line">{store.nameOf(account)}</span>
      </a>
    </li>
  );
}

function RequestsRow() {
  const requests = useStore().requests.value;
  if (requests.length === 0) return null;
  return (
    <a class="row notice" href={href({ at: 'contacts' })}>
      <span class="notice-mark">
        <Icon name="contacts" />
      </span>
      <span class="middle">
        <span class="first">{t.nav.requests(requests.length)}</span>
        <span class="second one-line">{t.list(requests.slice(0, 3).map((request) => request.person.name))}</span>
      </span>
      <Icon name="next" />
    </a>
  );
}

function Waiting() {
  return (
    <div role="status" aria-label={t.loading} class="waiting">
      {[1, 2, 3, 4, 5].map((row) => (
        <div key={row} class="skeleton" />
      ))}
    </div>
  );
}

/** What there is to do before anybody was met. */
function FirstDay() {
  const store = useStore();
  const host = useHost();
  const echo = store.own.value?.echo ?? null;
  return (
    <Empty title={t.chats.empty} text={t.chats.emptyText}>
      <Button look="main" icon="add" onClick={() => go({ at: 'add', name: '' })}>
        {t.contacts.add}
      </Button>
      {echo !== null && (
        <>
          <Button icon="phone" onClick={() => placeCall(host, store, echo)}>
            {t.chats.echo}
          </Button>
          <p class="note">{t.chats.echoText}</p>
        </>
      )}
    </Empty>
  );
}

const ChatRow = memo(({ conversation: told }: { conversation: Signal<Conversation> }) => {
  const store = useStore();
  const conversation = told.value;
  const { conversation: id, pair, last, unread } = conversation;
  const isHere = useComputed(() => route.value.at === 'chat' && route.value.conversation === id);
  const title = store.titleOf(conversation);
  return (
    <li>
      <a class={`row chat-row${unread > 0 ? ' unread' : ''}`} href={href({ at: 'chat', conversation: id, about: false })} aria-current={isHere.value ? 'page' : undefined}>
        <Avatar
          name={pair === null ? id : (store.realName(pair.account) ?? id)}
          shown={title}
          group={pair === null}
          availability={pair === null ? null : (store.presenceOf(pair.account)?.availability ?? null)}
        />
        <span class="middle">
          <span class="first">
            <span class="one-line grow">
              <bdi>{title}</bdi>
            </span>
            {last && <time>{shortTime(last.atMs)}</time>}
          </span>
          <span class="second">
            <span class="one-line grow">
              <LastLine store={store} conversation={conversation} />
            </span>
            <Badge count={unread} label={t.nav.unread(unread)} />
          </span>
        </span>
      </a>
    </li>
  );
});

function LastLine({ store, conversation }: { store: Store; conversation: Conversation }) {
  const { conversation: id, last, pair, standing } = conversation;
  const typing = store.typing.value.get(id) ?? [];
  const draft = store.drafts.value.get(id);
  if (typing.length > 0) return <span class="typing">{pair ? t.chats.typing : t.chats.typingMany(t.list(typing.map((account) => store.nameOf(account))))}</span>;
  if (draft !== undefined) {
    return (
      <>
        <span class="draft">{t.chats.draft}</span> {cleanLine(draft)}
      </>
    );
  }
  if (standing !== 'inside') return <i>{standing === 'joining' ? t.chats.joining : t.chats.refused}</i>;
  if (last === null) return null;
  const isOwn = last.account === store.own.value?.account;
  const author = last.body.kind === 'text' && (isOwn || pair === null) ? `${store.nameOf(last.account)}: ` : '';
  if (isOwn && markOf(last, []) === 'failed') return <span class="wrong">{t.chats.failed}</span>;
  return <bdi>{author + summaryOf(store, conversation)}</bdi>;
}

function summaryOf(store: Store, conversation: Conversation): string {
  const line = conversation.last;
  if (line === null) return '';
  if (line.deleted) return t.chats.deleted;
  const { body } = line;
  switch (body.kind) {
    case 'text':
      return cleanLine(body.text);
    case 'renamed':
      return t.chat.renamed(cleanLine(body.title));
    case 'membership':
      return body.joined.length > 0
        ? t.chat.joined(t.list(body.joined.map((account) => store.nameOf(account))))
        : t.chat.left(t.list(body.left.map((account) => store.nameOf(account))));
    case 'gap':
      return t.chat.gap;
  }
}

/** Opens the conversation with somebody, making it where there is none. */
export async function openChat(store: Store, name: string): Promise<void> {
  await attempt(async () => go({ at: 'chat', conversation: await store.client.conversationWith(name), about: false }));
}
