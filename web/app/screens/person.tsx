/** Somebody: who they are, how they are, and what one can do about them. Beside a conversation, or as a pane of its own. */

import { useSignal } from '@preact/signals';
import type { Contact, Conversation } from '../../sdk/client.ts';
import { attempt } from '../act.ts';
import { cleanLine } from '../clean.ts';
import { useHost, useStore } from '../host.ts';
import { back, go } from '../route.ts';
import { dateOf } from '../store/when.ts';
import { t } from '../text.ts';
import { Avatar } from '../ui/avatar.tsx';
import { Empty, PaneHead } from '../ui/bits.tsx';
import { Button } from '../ui/button.tsx';
import { Ask, Dialog } from '../ui/dialog.tsx';
import { Field } from '../ui/field.tsx';
import { useSubmit } from '../ui/form.ts';
import { placeCall } from './call-place.ts';
import { openChat } from './chats.tsx';
import { Compare } from './compare.tsx';
import { Request, stateOf } from './contacts.tsx';
import { Report } from './report.tsx';

export function PersonPane({ account }: { account: string }) {
  const store = useStore();
  const contact = store.contacts.value.get(account);
  return (
    <div class="page">
      <PaneHead title={store.nameOf(account)} />
      <div class="page-body">
        {contact?.state === 'asks' && <Request contact={contact} />}
        {contact ? <PersonAbout account={account} within={null} /> : store.isLoaded.value && <Empty title={t.refusal['no-such-contact']} />}
      </div>
    </div>
  );
}

type Opened = 'compare' | 'report' | 'alias' | 'remove' | 'block' | null;

export function PersonAbout({ account, within }: { account: string; within: Conversation | null }) {
  const store = useStore();
  const opened = useSignal<Opened>(null);
  const close = () => (opened.value = null);
  const contact = store.contacts.value.get(account);
  const name = store.realName(account) ?? within?.pair?.person?.name ?? null;
  const shown = store.nameOf(account);
  if (name === null) return <Empty title={t.refusal['no-such-contact']} />;
  return (
    <div class="person">
      {within && <PaneHead title={t.chat.about} backAlways onBack={back} />}
      <Avatar name={name} shown={shown} size="large" availability={contact?.state === 'accepted' ? contact.presence.availability : null} />
      <h2 class="person-name">
        <bdi>{shown}</bdi>
      </h2>
      {shown !== name && <p class="note">{t.contacts.realName(name)}</p>}
      {contact && <State contact={contact} />}
      <PersonActions name={name} contact={contact} within={within !== null} />
      <div class="deeds">
        <Button look="plain" icon="key" onClick={() => (opened.value = 'compare')}>
          {t.contacts.compare}
        </Button>
        {contact?.state === 'accepted' && (
          <Button look="plain" icon="edit" onClick={() => (opened.value = 'alias')}>
            {t.contacts.alias}
          </Button>
        )}
        <Button look="danger" icon="flag" onClick={() => (opened.value = 'report')}>
          {t.contacts.report}
        </Button>
        {contact?.state === 'blocked' ? (
          <Button look="plain" icon="block" onClick={() => attempt(() => store.client.block(account, false))}>
            {t.contacts.unblock}
          </Button>
        ) : (
          <Button look="danger" icon="block" onClick={() => (opened.value = 'block')}>
            {t.contacts.block}
          </Button>
        )}
        {contact && contact.state !== 'blocked' && contact.state !== 'asks' && (
          <Button look="danger" icon="trash" onClick={() => (opened.value = 'remove')}>
            {t.contacts.remove}
          </Button>
        )}
      </div>
      {opened.value === 'compare' && <Compare account={account} name={shown} onClose={close} />}
      {opened.value === 'report' && <Report account={account} name={shown} onClose={close} />}
      {opened.value === 'alias' && <Alias account={account} alias={contact?.alias ?? ''} onClose={close} />}
      {opened.value === 'block' && (
        <Ask title={t.contacts.blockTitle(shown)} text={t.contacts.blockText} yes={t.contacts.block} onClose={close} onYes={() => attempt(() => store.client.block(account, true)).then(close)} />
      )}
      {opened.value === 'remove' && (
        <Ask
          title={t.contacts.removeTitle(shown)}
          text={t.contacts.removeText}
          yes={t.contacts.remove}
          onClose={close}
          onYes={async () => {
            close();
            if ((await attempt(() => store.client.removeContact(account))) && within === null) go({ at: 'contacts' }, true);
          }}
        />
      )}
    </div>
  );
}

function State({ contact }: { contact: Contact }) {
  const mood = cleanLine(contact.presence.mood);
  if (contact.state === 'asked') return <p class="note">{t.contacts.waiting}</p>;
  if (contact.state === 'blocked') return <p class="note">{t.contacts.blocked}</p>;
  if (contact.state !== 'accepted') return null;
  return (
    <>
      <p>{stateOf(contact)}</p>
      {mood && (
        <p class="mood">
          <bdi>{mood}</bdi>
        </p>
      )}
      <p class="note">{t.contacts.since(dateOf(contact.sinceMs))}</p>
    </>
  );
}

function PersonActions({ name, contact, within }: { name: string; contact: Contact | undefined; within: boolean }) {
  const store = useStore();
  const host = useHost();
  if (contact?.state === 'blocked') return null;
  return (
    <div class="person-actions">
      {!within && (
        <Button look="main" icon="chats" onClick={() => openChat(store, name)}>
          {t.contacts.message}
        </Button>
      )}
      <Button look={within ? 'main' : 'quiet'} icon="phone" onClick={() => placeCall(host, store, name)}>
        {t.contacts.call}
      </Button>
      {contact === undefined && (
        <Button icon="add" onClick={() => go({ at: 'add', name })}>
          {t.contacts.add}
        </Button>
      )}
    </div>
  );
}

const ALIAS_MAX = 64;

function Alias({ account, alias, onClose }: { account: string; alias: string; onClose: () => void }) {
  const store = useStore();
  const text = useSignal(alias);
  const form = useSubmit(async () => {
    const chosen = cleanLine(text.value);
    await store.client.setAlias(account, chosen === '' ? null : chosen);
    onClose();
  });
  return (
    <Dialog title={t.contacts.alias} onClose={onClose}>
      <form class="form" onSubmit={form.onSubmit}>
        <Field label={t.contacts.alias} value={text.value} onInput={(value) => (text.value = value)} hint={t.contacts.aliasHint} wrong={form.wrong} maxLength={ALIAS_MAX} autoFocus />
        <div class="actions">
          <Button look="main" submit busy={form.busy}>
            {t.save}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
