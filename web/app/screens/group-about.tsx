/** What a group is: its members and what can be changed. */

import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { Conversation, MemberOf } from '../../sdk/client.ts';
import { attempt } from '../act.ts';
import { cleanLine } from '../clean.ts';
import { useStore } from '../host.ts';
import { back, go, href } from '../route.ts';
import { t } from '../text.ts';
import { Avatar } from '../ui/avatar.tsx';
import { PaneHead } from '../ui/bits.tsx';
import { Button, IconButton } from '../ui/button.tsx';
import { Ask, Dialog } from '../ui/dialog.tsx';
import { Field } from '../ui/field.tsx';
import { useSubmit } from '../ui/form.ts';
import { TITLE_MAX } from './new-group.tsx';
import { PickPeople } from './pick-people.tsx';

export function GroupAbout({ conversation }: { conversation: Conversation }) {
  const store = useStore();
  const id = conversation.conversation;
  const members = useSignal<MemberOf[] | null>(null);
  const opened = useSignal<'invite' | 'rename' | 'leave' | null>(null);
  const removes = useSignal<MemberOf | null>(null);
  const close = () => (opened.value = null);
  useEffect(() => {
    store.client.members(id).then(
      (told) => (members.value = told),
      () => undefined,
    );
  }, [id, conversation.head, conversation.members]);
  const title = store.titleOf(conversation);
  const isOwner = members.value?.some((member) => member.account === store.own.value?.account && member.isOwner) ?? false;
  return (
    <div class="person">
      <PaneHead title={t.chat.about} backAlways onBack={back} />
      <Avatar name={id} shown={title} size="large" group />
      <h2 class="person-name">
        <bdi>{title}</bdi>
      </h2>
      <p class="note">{t.chats.members(conversation.members)}</p>
      <div class="person-actions">
        <Button look="main" icon="add" onClick={() => (opened.value = 'invite')}>
          {t.group.invite}
        </Button>
        <Button icon="edit" onClick={() => (opened.value = 'rename')}>
          {t.group.rename}
        </Button>
      </div>
      <h3 class="list-title">{t.group.members}</h3>
      <ul class="members" aria-busy={members.value === null}>
        {members.value?.map((member) => <Member key={member.account} member={member} canRemove={isOwner} onRemove={() => (removes.value = member)} />)}
      </ul>
      <div class="deeds">
        <Button look="danger" icon="out" onClick={() => (opened.value = 'leave')}>
          {t.group.leave}
        </Button>
      </div>
      {opened.value === 'invite' && <Invite conversation={id} members={members.value ?? []} onClose={close} />}
      {opened.value === 'rename' && <Rename conversation={id} title={title} onClose={close} />}
      {opened.value === 'leave' && (
        <Ask
          title={t.group.leaveTitle}
          text={t.group.leaveText}
          yes={t.group.leave}
          onClose={close}
          onYes={async () => {
            close();
            if (await attempt(() => store.client.leave(id))) go({ at: 'chats' }, true);
          }}
        />
      )}
      {removes.value && (
        <Ask
          title={t.group.removeTitle(store.nameOf(removes.value.account))}
          text={t.group.removeText}
          yes={t.group.remove}
          onClose={() => (removes.value = null)}
          onYes={async () => {
            const account = removes.value?.account ?? '';
            await attempt(() => store.client.removeMember(id, account));
            removes.value = null;
          }}
        />
      )}
    </div>
  );
}

function Member({ member, canRemove, onRemove }: { member: MemberOf; canRemove: boolean; onRemove: () => void }) {
  const store = useStore();
  const { account, person, isOwner, devices } = member;
  const isOwn = account === store.own.value?.account;
  const name = store.nameOf(account);
  const inside = (
    <>
      <Avatar name={person?.name ?? account} shown={isOwn ? (person?.name ?? name) : name} availability={store.presenceOf(account)?.availability ?? null} />
      <span class="middle">
        <span class="first one-line">
          <bdi>{name}</bdi>
        </span>
        <span class="second">{[isOwner && t.group.owner, t.group.devices(devices)].filter(Boolean).join(' · ')}</span>
      </span>
    </>
  );
  return (
    <li class="member">
      {store.contacts.value.has(account) ? (
        <a class="row" href={href({ at: 'person', account })}>
          {inside}
        </a>
      ) : !isOwn && person ? (
        <a class="row" href={href({ at: 'add', name: person.name })}>
          {inside}
        </a>
      ) : (
        <span class="row">{inside}</span>
      )}
      {canRemove && !isOwn && <IconButton icon="close" label={`${t.group.remove}: ${name}`} tip="none" onClick={onRemove} />}
    </li>
  );
}

function Invite({ conversation, members, onClose }: { conversation: string; members: MemberOf[]; onClose: () => void }) {
  const store = useStore();
  const chosen = useSignal<ReadonlySet<string>>(new Set());
  const invite = async () => {
    if (await attempt(() => store.client.invite(conversation, [...chosen.value]))) onClose();
  };
  return (
    <Dialog title={t.group.inviteTitle} onClose={onClose}>
      <PickPeople chosen={chosen.value} without={new Set(members.map((member) => member.account))} onChange={(next) => (chosen.value = next)} />
      <div class="actions">
        <Button look="main" disabled={chosen.value.size === 0} onClick={invite}>
          {t.group.invite}
        </Button>
      </div>
    </Dialog>
  );
}

function Rename({ conversation, title, onClose }: { conversation: string; title: string; onClose: () => void }) {
  const store = useStore();
  const text = useSignal(title);
  const form = useSubmit(async () => {
    await store.client.rename(conversation, cleanLine(text.value));
    onClose();
  });
  return (
    <Dialog title={t.group.rename} onClose={onClose}>
      <form class="form" onSubmit={form.onSubmit}>
        <Field label={t.group.title} value={text.value} onInput={(value) => (text.value = value)} wrong={form.wrong} maxLength={TITLE_MAX} autoFocus />
        <div class="actions">
          <Button look="main" submit busy={form.busy} disabled={cleanLine(text.value) === ''}>
            {t.save}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
