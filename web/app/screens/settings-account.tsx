/** The account: its password, signing out, deleting it. */

import { useSignal } from '@preact/signals';
import { attempt, say } from '../act.ts';
import { useHost, useStore } from '../host.ts';
import { t } from '../text.ts';
import { Avatar } from '../ui/avatar.tsx';
import { Button } from '../ui/button.tsx';
import { Ask, Dialog } from '../ui/dialog.tsx';
import { Field } from '../ui/field.tsx';
import { useSubmit } from '../ui/form.ts';
import { strengthOf } from './names.ts';
import { StrengthLine } from './strength.tsx';

export function AccountPage() {
  const store = useStore();
  const host = useHost();
  const own = store.own.value;
  const opened = useSignal<'sign-out' | 'delete' | null>(null);
  const close = () => (opened.value = null);
  return (
    <>
      {own && (
        <div class="own-card">
          <Avatar name={own.name} />
          <strong>{t.settings.nameAt(own.name, own.network)}</strong>
        </div>
      )}
      <PasswordForm name={own?.name ?? ''} />
      <div class="deeds left">
        <Button look="danger" icon="out" onClick={() => (opened.value = 'sign-out')}>
          {t.settings.signOut}
        </Button>
        <Button look="danger" icon="trash" onClick={() => (opened.value = 'delete')}>
          {t.settings.delete}
        </Button>
      </div>
      {opened.value === 'sign-out' && (
        <Ask
          title={t.settings.signOutTitle}
          text={t.settings.signOutText}
          yes={t.settings.signOut}
          onClose={close}
          onYes={async () => {
            if (await attempt(() => store.client.signOut())) await host.startAnew();
          }}
        />
      )}
      {opened.value === 'delete' && <Delete onClose={close} />}
    </>
  );
}

function PasswordForm({ name }: { name: string }) {
  const store = useStore();
  const old = useSignal('');
  const fresh = useSignal('');
  const strength = strengthOf(fresh.value, name);
  const form = useSubmit(async () => {
    await store.client.changePassword(old.value, fresh.value);
    old.value = '';
    fresh.value = '';
    say(t.settings.passwordDone);
  });
  return (
    <form class="form" onSubmit={form.onSubmit}>
      <h2>{t.settings.password}</h2>
      <input type="text" autocomplete="username" value={name} readOnly hidden />
      <Field label={t.settings.passwordOld} type="password" autocomplete="current-password" value={old.value} onInput={(value) => (old.value = value)} wrong={form.wrong} />
      <Field label={t.settings.passwordFresh} type="password" autocomplete="new-password" value={fresh.value} onInput={(value) => (fresh.value = value)}>
        <StrengthLine password={fresh.value} name={name} />
      </Field>
      <div class="actions">
        <Button look="main" submit busy={form.busy} disabled={old.value === '' || strength === 'short'}>
          {t.settings.password}
        </Button>
      </div>
    </form>
  );
}

function Delete({ onClose }: { onClose: () => void }) {
  const store = useStore();
  const host = useHost();
  const password = useSignal('');
  const form = useSubmit(async () => {
    await store.client.deleteAccount(password.value);
    await host.startAnew();
  });
  return (
    <Dialog title={t.settings.deleteTitle} onClose={onClose}>
      <p class="soft">{t.settings.deleteText}</p>
      <form class="form" onSubmit={form.onSubmit}>
        <Field label={t.welcome.password} type="password" autocomplete="current-password" value={password.value} onInput={(value) => (password.value = value)} wrong={form.wrong} autoFocus />
        <div class="actions">
          <Button onClick={onClose}>{t.cancel}</Button>
          <Button look="red" submit busy={form.busy} disabled={password.value === ''}>
            {t.settings.delete}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
