/** The list of contacts, with requests on top. */

import { useSignal } from '@preact/signals';
import type { Contact } from '../../sdk/client.ts';
import { attempt } from '../act.ts';
import { clean, cleanLine } from '../clean.ts';
import { useStore } from '../host.ts';
import { go, href, route } from '../route.ts';
import { locale } from '../text-locale.ts';
import { t } from '../text.ts';
import { Avatar } from '../ui/avatar.tsx';
import { Badge, Empty } from '../ui/bits.tsx';
import { Button, IconButton } from '../ui/button.tsx';
import { Ask } from '../ui/dialog.tsx';
import { Search } from '../ui/field.tsx';

const order = { online: 0, away: 1, 'do-not-disturb': 2, invisible: 3, offline: 3 };

export function Contacts() {
  const store = useStore();
  const query = useSignal('');
  const wanted = cleanLine(query.value).toLocaleLowerCase(locale);
  const all = [...store.contacts.value.values()].filter(({ person, alias }) => `${person.name} ${alias ?? ''}`.toLocaleLowerCase(locale).includes(wanted));
  const by = (state: Contact['state']) =>
    all
      .filter((contact) => contact.state === state)
      .sort((first, second) => order[first.presence.availability] - order[second.presence.availability] || store.nameOf(first.person.account).localeCompare(store.nameOf(second.person.account), locale));
  const [asks, accepted, asked, blocked] = [by('asks'), by('accepted'), by('asked'), by('blocked')];
  return (
    <>
      <header class="list-head">
        <h1>{t.contacts.title}</h1>
        <IconButton icon="add" label={t.contacts.add} tip="end" onClick={() => go({ at: 'add', name: '' })} />
        <Search id="search" label={t.contacts.search} value={query.value} onInput={(value) => (query.value = value)} />
      </header>
      <div class="list-body">
        {asks.length > 0 && (
          <section aria-label={t.contacts.requests} class="requests">
            <h2 class="list-title">
              {t.contacts.requests} <Badge count={asks.length} label={t.nav.requests(asks.length)} />
            </h2>
            {asks.map((contact) => (
              <Request key={contact.person.account} contact={contact} />
            ))}
          </section>
        )}
        {store.isLoaded.value && store.contacts.value.size === 0 && (
          <Empty title={t.contacts.empty} text={t.contacts.emptyText}>
            <Button look="main" icon="add" onClick={() => go({ at: 'add', name: '' })}>
              {t.contacts.add}
            </Button>
          </Empty>
        )}
        <Part contacts={accepted} />
        <Part title={t.contacts.asked} contacts={asked} />
        <Part title={t.contacts.blocked} contacts={blocked} />
        {wanted !== '' && all.length === 0 && <p class="list-none">{t.chats.none}</p>}
      </div>
    </>
  );
}

function Part({ title, contacts }: { title?: string; contacts: Contact[] }) {
  if (contacts.length === 0) return null;
  return (
    <section>
      {title && <h2 class="list-title">{title}</h2>}
      <ul>
        {contacts.map((contact) => (
          <ContactRow key={contact.person.account} contact={contact} />
        ))}
      </ul>
    </section>
  );
}

function ContactRow({ contact }: { contact: Contact }) {
  const store = useStore();
  const { account, name } = contact.person;
  const place = route.value;
  const mood = cleanLine(contact.presence.mood);
  const second = contact.state === 'accepted' ? mood || stateOf(contact) : contact.state === 'asked' ? t.contacts.waiting : '';
  return (
    <li>
      <a class="row" href={href({ at: 'person', account })} aria-current={place.at === 'person' && place.account === account ? 'page' : undefined}>
        <Avatar name={name} shown={store.nameOf(account)} availability={contact.state === 'accepted' ? contact.presence.availability : null} />
        <span class="middle">
          <span class="first one-line">
            <bdi>{store.nameOf(account)}</bdi>
          </span>
          {second && (
            <span class="second one-line">
              <bdi>{second}</bdi>
            </span>
          )}
        </span>
      </a>
    </li>
  );
}

export function stateOf({ presence }: Contact): string {
  return presence.availability === 'offline' ? t.lastSeen[presence.lastSeen] : t.availability[presence.availability];
}

/** Somebody asks: their note, and what to do. */
export function Request({ contact }: { contact: Contact }) {
  const store = useStore();
  const blocks = useSignal(false);
  const { account, name } = contact.person;
  return (
    <article class="request card" aria-label={`${name} ${t.contacts.asks}`}>
      <div class="request-who">
        <Avatar name={name} />
        <p>
          <strong>
            <bdi>{name}</bdi>
          </strong>{' '}
          {t.contacts.asks}
        </p>
      </div>
      {contact.note && (
        <blockquote dir="auto">{clean(contact.note)}</blockquote>
      )}
      <div class="actions">
        <Button look="danger" onClick={() => (blocks.value = true)}>
          {t.contacts.block}
        </Button>
        <Button onClick={() => attempt(() => store.client.answerContact(account, false))}>{t.contacts.decline}</Button>
        <Button look="main" onClick={() => attempt(() => store.client.answerContact(account, true))}>
          {t.contacts.accept}
        </Button>
      </div>
      <p class="note">{t.contacts.declineHint}</p>
      {blocks.value && (
        <Ask
          title={t.contacts.blockTitle(name)}
          text={t.contacts.blockText}
          yes={t.contacts.block}
          onClose={() => (blocks.value = false)}
          onYes={() => attempt(() => store.client.block(account, true))}
        />
      )}
    </article>
  );
}
