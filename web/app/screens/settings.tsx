/** Settings: the list of pages, and the pages that are short. */

import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { Availability, ReceiptPolicy, Settings } from '../../sdk/client.ts';
import { attempt } from '../act.ts';
import { cleanLine } from '../clean.ts';
import { useStore } from '../host.ts';
import { go, href, route, type SettingsPage } from '../route.ts';
import { t } from '../text.ts';
import { chooseTheme, theme } from '../theme.ts';
import { Avatar, PresenceMark } from '../ui/avatar.tsx';
import { PaneHead } from '../ui/bits.tsx';
import { Button } from '../ui/button.tsx';
import { Choices, Field, Switch, Tabs } from '../ui/field.tsx';
import { useSubmit } from '../ui/form.ts';
import { Icon, type IconName } from '../ui/icon.tsx';
import { AccountPage } from './settings-account.tsx';
import { DevicesPage } from './settings-devices.tsx';
import { shortcutsOpen } from './shortcuts.tsx';
import { SoundChoice } from './sound.tsx';

const pages: readonly { page: SettingsPage; icon: IconName; label: string }[] = [
  { page: 'presence', icon: 'smile', label: t.settings.presence },
  { page: 'privacy', icon: 'lock', label: t.settings.privacy },
  { page: 'devices', icon: 'device', label: t.settings.devices },
  { page: 'sound', icon: 'speaker', label: t.settings.sound },
  { page: 'look', icon: 'sun', label: t.settings.look },
  { page: 'account', icon: 'key', label: t.settings.account },
];

export function SettingsList() {
  const store = useStore();
  const own = store.own.value;
  const online = store.online.value;
  const here = route.value.at === 'settings' ? route.value.page : null;
  const availability = store.settings.value?.availability ?? 'online';
  return (
    <>
      <header class="list-head">
        <h1>{t.settings.title}</h1>
      </header>
      <div class="list-body">
        {own && (
          <div class="own-card">
            <Avatar name={own.name} availability={online === null ? 'offline' : availability} />
            <span class="middle">
              <strong class="one-line">{own.name}</strong>
              <span class="note one-line">{own.network}</span>
            </span>
          </div>
        )}
        <ul>
          {pages.map(({ page, icon, label }) => (
            <li key={page}>
              <a class="row" href={href({ at: 'settings', page })} aria-current={here === page ? 'page' : undefined}>
                <span class="row-icon">
                  <Icon name={icon} />
                </span>
                <span class="middle">{label}</span>
                <Icon name="next" />
              </a>
            </li>
          ))}
          <li>
            <button type="button" class="row" onClick={() => (shortcutsOpen.value = true)}>
              <span class="row-icon">
                <Icon name="keyboard" />
              </span>
              <span class="middle">{t.settings.keyboard}</span>
              <kbd>?</kbd>
            </button>
          </li>
        </ul>
        {online && (
          <dl class="note connection">
            <dt>{t.settings.connection}</dt>
            <dd>{t.settings.by(online.transport === 'webtransport' ? 'WebTransport' : 'WebSocket', online.region)}</dd>
            <dd>{t.settings.roundTrip(Math.round(online.roundTripMs))}</dd>
          </dl>
        )}
      </div>
    </>
  );
}

export function SettingsPane({ page }: { page: SettingsPage }) {
  const label = pages.find((other) => other.page === page)?.label ?? t.settings.title;
  return (
    <div class="page">
      <PaneHead title={label} onBack={() => go({ at: 'settings', page: null })} />
      <div class="page-body form">
        {page === 'presence' && <PresencePage />}
        {page === 'privacy' && <PrivacyPage />}
        {page === 'devices' && <DevicesPage />}
        {page === 'sound' && <SoundPage />}
        {page === 'look' && <LookPage />}
        {page === 'account' && <AccountPage />}
      </div>
    </div>
  );
}

const availabilities: readonly Availability[] = ['online', 'away', 'do-not-disturb', 'invisible'];
const MOOD_MAX = 140;

function useChange(): (change: Partial<Settings>) => Promise<boolean> {
  const store = useStore();
  return (change) => attempt(() => store.client.changeSettings(change));
}

function PresencePage() {
  const store = useStore();
  const change = useChange();
  const settings = store.settings.value;
  const mood = useSignal<string | null>(null);
  const shown = mood.value ?? settings?.mood ?? '';
  const form = useSubmit(() => store.client.changeSettings({ mood: cleanLine(shown) }));
  if (settings === null) return <p class="note">{t.loading}</p>;
  return (
    <>
      <div class="card">
        <Choices
          legend={t.settings.presence}
          value={settings.availability}
          options={availabilities.map((value) => ({ value, label: t.availability[value], mark: <PresenceMark availability={value} /> }))}
          onChoose={(availability) => void change({ availability })}
        />
      </div>
      <form class="form" onSubmit={form.onSubmit}>
        <Field label={t.settings.mood} value={shown} onInput={(value) => (mood.value = value)} hint={t.settings.moodHint} wrong={form.wrong} maxLength={MOOD_MAX} />
        <div class="actions">
          <Button look="main" submit busy={form.busy} disabled={cleanLine(shown) === settings.mood}>
            {t.save}
          </Button>
        </div>
      </form>
    </>
  );
}

function PrivacyPage() {
  const store = useStore();
  const change = useChange();
  const settings = store.settings.value;
  const policy = useSignal<ReceiptPolicy | null>(null);
  useEffect(() => {
    store.client.receiptPolicy().then(
      (told) => (policy.value = told),
      () => undefined,
    );
  }, []);
  const setPolicy = async (fresh: ReceiptPolicy) => {
    if (await attempt(() => store.client.setReceiptPolicy(fresh))) policy.value = fresh;
  };
  return (
    <>
      {settings && (
        <>
          <h2>{t.settings.callsFrom}</h2>
          <div class="card">
            <Choices
              legend={t.settings.callsFrom}
              value={settings.callsFrom}
              options={(['contacts', 'anyone', 'nobody'] as const).map((value) => ({ value, label: t.settings.callers[value], hint: t.settings.callersHint[value] }))}
              onChoose={(callsFrom) => void change({ callsFrom })}
            />
          </div>
          <div class="card">
            <Switch label={t.settings.listed} hint={t.settings.listedHint} on={settings.listed} onChange={(listed) => void change({ listed })} />
          </div>
        </>
      )}
      {policy.value && (
        <div class="card">
          <Switch label={t.settings.delivered} hint={t.settings.receiptsHint} on={policy.value.delivered} onChange={(delivered) => void setPolicy({ read: policy.value?.read ?? false, delivered })} />
          <Switch label={t.settings.read} hint={t.settings.receiptsHint} on={policy.value.read} onChange={(read) => void setPolicy({ delivered: policy.value?.delivered ?? false, read })} />
        </div>
      )}
    </>
  );
}

function SoundPage() {
  const permission = useSignal(typeof Notification === 'undefined' ? 'denied' : Notification.permission);
  return (
    <>
      <SoundChoice />
      <h2>{t.settings.notify}</h2>
      <p class="note">{permission.value === 'denied' ? t.settings.notifyDenied : t.settings.notifyOn}</p>
      {permission.value === 'default' && (
        <div>
          <Button
            icon="bell"
            onClick={async () => {
              permission.value = await Notification.requestPermission();
            }}
          >
            {t.settings.notifyAsk}
          </Button>
        </div>
      )}
    </>
  );
}

function LookPage() {
  return (
    <Tabs
      sets
      label={t.settings.look}
      value={theme.value}
      options={(['system', 'light', 'dark'] as const).map((value) => ({ value, label: t.settings.themes[value] }))}
      onChoose={chooseTheme}
    />
  );
}
