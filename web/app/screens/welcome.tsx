/** The first visit: what this is, and the ways in. */

import { useSignal } from '@preact/signals';
import { Refusal } from '../../sdk/client.ts';
import { reasonOf } from '../act.ts';
import { useHost, type NetworkAbout } from '../host.ts';
import { t } from '../text.ts';
import { Empty } from '../ui/bits.tsx';
import { Button } from '../ui/button.tsx';
import { Field, Tabs } from '../ui/field.tsx';
import { useSubmit } from '../ui/form.ts';
import { Icon } from '../ui/icon.tsx';
import { cleanName, deviceName, nameProblem, strengthOf } from './names.ts';
import { RecoveryCode } from './recovery-code.tsx';
import { StrengthLine } from './strength.tsx';

export function Welcome() {
  const host = useHost();
  const seat = host.seat.value;
  const code = useSignal<string | null>(null);
  if (code.value !== null) return <RecoveryCode code={code.value} onDone={() => host.enter()} />;
  return (
    <main class="welcome" id="main">
      <section class="welcome-about">
        <h1 class="wordmark">
          <Flag />
          {t.welcome.title}
        </h1>
        <p class="promise">{t.welcome.promise}</p>
        <ul class="points">
          {t.welcome.points.map((point) => (
            <li key={point.title}>
              <Icon name="check" />
              <span>
                <strong>{point.title}</strong> {point.text}
              </span>
            </li>
          ))}
        </ul>
        <Horizon />
      </section>
      <section class="welcome-form" aria-live="polite">
        {seat.kind === 'starting' && (
          <p class="note center" role="status">
            <span class="spinner" aria-hidden="true" /> {t.welcome.reaching}
          </p>
        )}
        {seat.kind === 'unreachable' && (
          <Empty title={t.welcome.unreachable} text={seat.text}>
            <Button look="main" onClick={() => host.retry()}>
              {t.retry}
            </Button>
          </Empty>
        )}
        {seat.kind === 'signed-out' && <Ways network={seat.network} onCode={(told) => (code.value = told)} />}
      </section>
    </main>
  );
}

type Way = 'sign-in' | 'sign-up' | 'recover';

function Ways({ network, onCode }: { network: NetworkAbout; onCode: (code: string) => void }) {
  const way = useSignal<Way>(network.signUp === 'closed' ? 'sign-in' : 'sign-up');
  return (
    <>
      <p class="note">{t.welcome.about(network.name)}</p>
      {way.value !== 'recover' && network.signUp !== 'closed' && (
        <Tabs
          label={t.welcome.title}
          value={way.value}
          options={[
            { value: 'sign-up', label: t.welcome.signUp },
            { value: 'sign-in', label: t.welcome.signIn },
          ]}
          onChoose={(value) => (way.value = value)}
        />
      )}
      {network.signUp === 'closed' && way.value === 'sign-in' && <p class="note">{t.welcome.closed}</p>}
      <WayForm key={way.value} way={way.value} network={network} onCode={onCode} />
      {way.value === 'sign-in' && (
        <Button look="plain" onClick={() => (way.value = 'recover')}>
          {t.welcome.recover}
        </Button>
      )}
      {way.value === 'recover' && (
        <Button look="plain" icon="back" onClick={() => (way.value = 'sign-in')}>
          {t.welcome.signIn}
        </Button>
      )}
    </>
  );
}

function WayForm({ way, network, onCode }: { way: Way; network: NetworkAbout; onCode: (code: string) => void }) {
  const host = useHost();
  const name = useSignal('');
  const password = useSignal('');
  const invite = useSignal(new URLSearchParams(location.search).get('invite') ?? '');
  const code = useSignal('');
  const nameWrong = useSignal<string | null>(null);
  const isNew = way !== 'sign-in';
  const wordOf = (error: unknown) => {
    const isRefused = error instanceof Refusal && error.reason === 'wrong-password';
    if (!isRefused) return reasonOf(error);
    return way === 'recover' ? t.welcome.wrongCode : t.welcome.wrong;
  };
  const sending = useSubmit(async () => {
    const form = { name: cleanName(name.value), password: password.value, device: deviceName(navigator.userAgent) };
    nameWrong.value = nameProblem(name.value);
    if (isNew && strengthOf(password.value, form.name) === 'short') return t.welcome.strength.short;
    if (nameWrong.value !== null) return null;
    if (way === 'sign-in') await host.signIn(form);
    else if (way === 'sign-up') onCode(await host.signUp({ ...form, invite: network.signUp === 'invite' ? invite.value.trim() : null }));
    else {
      const fresh = await host.recover({ ...form, code: code.value });
      if (fresh === null) host.enter();
      else onCode(fresh);
    }
    return null;
  }, wordOf);
  return (
    <form class="form" onSubmit={sending.onSubmit}>
      {way === 'recover' && <h2>{t.welcome.recoverTitle}</h2>}
      <Field label={t.welcome.name} value={name.value} autocomplete="username" maxLength={64} onInput={(value) => (name.value = value)} wrong={nameWrong.value} hint={way === 'sign-up' ? t.welcome.nameHint : undefined} />
      {way === 'recover' && <Field label={t.welcome.code} value={code.value} onInput={(value) => (code.value = value)} hint={t.welcome.codeHint} />}
      {way === 'sign-up' && network.signUp === 'invite' && <Field label={t.welcome.invite} value={invite.value} onInput={(value) => (invite.value = value)} hint={t.welcome.inviteHint} />}
      <Field
        label={way === 'recover' ? t.welcome.fresh : t.welcome.password}
        type="password"
        autocomplete={isNew ? 'new-password' : 'current-password'}
        value={password.value}
        onInput={(value) => (password.value = value)}
        wrong={sending.wrong}
        hint={t.welcome.secure}
      >
        {isNew && <StrengthLine password={password.value} name={name.value} />}
      </Field>
      <Button look="main" wide submit busy={sending.busy}>
        {way === 'sign-in' ? t.welcome.signIn : way === 'sign-up' ? t.welcome.signUpLong : t.welcome.recoverDo}
      </Button>
      {sending.busy && (
        <p class="note" role="status">
          {t.welcome.working}
        </p>
      )}
    </form>
  );
}

/** The swallowtail that means A. */
export function Flag() {
  return (
    <svg class="flag" viewBox="0 0 44 40" aria-hidden="true">
      <rect x="2" y="2" width="3" height="37" rx="1.500" fill="currentColor" />
      <path d="M5 4h15v22H5z" fill="#fbf6ea" stroke="currentColor" stroke-width="1" />
      <path d="M20 4h21l-7 11 7 11H20z" fill="#f2b33d" />
    </svg>
  );
}

/** A harbour in the evening: a lighthouse, a boat that leaves, water. */
function Horizon() {
  return (
    <svg class="horizon" viewBox="0 0 480 200" preserveAspectRatio="xMidYMax slice" aria-hidden="true">
      <circle cx="352" cy="104" r="34" fill="#f2b33d" opacity=".9" />
      <path d="M0 130c60-16 110-16 160-6 30 6 60 2 80 6v70H0z" fill="currentColor" opacity=".16" />
      <path d="M84 128l6-62h16l6 62z" fill="#fbf6ea" />
      <path d="M88.200 86l1.600-16h16.400l1.600 16zM86.200 108h23.600l1 12H85z" fill="#c2493a" />
      <path d="M88 66h20l-3-12H91z" fill="currentColor" opacity=".75" />
      <path d="M86 52h24l-12-9z" fill="#c2493a" />
      <path d="M272 88v50" stroke="currentColor" stroke-width="2.500" />
      <path d="M275 92c13 8 20 22 21 38h-21z" fill="#fbf6ea" />
      <path d="M269 98c-8 9-13 19-15 32h15z" fill="#fbf6ea" opacity=".8" />
      <path d="M246 138h56c-4 9-9 12-16 12h-24c-7 0-13-3-16-12z" fill="currentColor" opacity=".85" />
      <path d="M0 150c20 0 20-7 40-7s20 7 40 7 20-7 40-7 20 7 40 7 20-7 40-7 20 7 40 7 20-7 40-7 20 7 40 7 20-7 40-7 20 7 40 7 20-7 40-7 20 7 40 7v50H0z" fill="currentColor" opacity=".35" />
      <path d="M0 172c24 0 24-7 48-7s24 7 48 7 24-7 48-7 24 7 48 7 24-7 48-7 24 7 48 7 24-7 48-7 24 7 48 7 24-7 48-7 24 7 48 7v28H0z" fill="currentColor" opacity=".5" />
    </svg>
  );
}
