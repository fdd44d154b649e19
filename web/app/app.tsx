/** The whole interface: what stands above the list of places, beside and below it. */

import { effect } from '@preact/signals';
import { useEffect, useMemo } from 'preact/hooks';
import { HostContext, StoreContext, useStore, type Host } from './host.ts';
import { watchActivity } from './activity.ts';
import { guardCall, showOutside } from './outside.ts';
import { href, route, type Route } from './route.ts';
import { AddContact } from './screens/add-contact.tsx';
import { Banner } from './screens/banner.tsx';
import { CallBar, IncomingCall } from './screens/call-bar.tsx';
import { CallScreen } from './screens/call.tsx';
import { ChatPane } from './screens/chat.tsx';
import { Chats } from './screens/chats.tsx';
import { Contacts } from './screens/contacts.tsx';
import { KeyChanged, NewDevice } from './screens/notices.tsx';
import { NewGroup } from './screens/new-group.tsx';
import { PersonPane } from './screens/person.tsx';
import { SettingsList, SettingsPane } from './screens/settings.tsx';
import { Shortcuts } from './screens/shortcuts.tsx';
import { Stopped } from './screens/stopped.tsx';
import { Welcome } from './screens/welcome.tsx';
import { Store } from './store/store.ts';
import { t } from './text.ts';
import { Badge, Empty, Toasts } from './ui/bits.tsx';
import { Icon, type IconName } from './ui/icon.tsx';

export function App({ host }: { host: Host }) {
  const seat = host.seat.value;
  const client = seat.kind === 'signed-in' ? seat.client : null;
  const store = useMemo(() => (client === null ? null : new Store(client)), [client]);
  useEffect(() => {
    if (store === null) return undefined;
    // What can't be read shows as a stopped client, which tells so itself.
    store.load().catch(() => undefined);
    const ends = [effect(() => showOutside(store, host.isLead.value)), effect(() => guardCall(store, host.isLead.value)), watchActivity(store)];
    return () => {
      for (const end of ends) end();
      store.close();
    };
  }, [store]);
  const moved = host.moved.value;
  useEffect(() => {
    if (moved > 0) store?.reload().catch(() => undefined);
  }, [moved]);
  return (
    <HostContext.Provider value={host}>
      {store === null ? (
        <Welcome />
      ) : (
        <StoreContext.Provider value={store}>
          <Aboard store={store} />
        </StoreContext.Provider>
      )}
      <Toasts />
    </HostContext.Provider>
  );
}

function Aboard({ store }: { store: Store }) {
  if (store.stopped.value !== null) return <Stopped stop={store.stopped.value} />;
  const place = route.value;
  const isPane = place.at === 'chat' || place.at === 'person' || place.at === 'add' || place.at === 'new-group' || place.at === 'call' || (place.at === 'settings' && place.page !== null);
  return (
    <div class={`aboard${isPane ? ' has-pane' : ''}${place.at === 'chat' && place.about ? ' has-about' : ''}`}>
      <a class="skip" href="#pane" onClick={skip}>
        {t.skip}
      </a>
      <div class="above">
        <Banner />
        <NewDevice />
        <IncomingCall />
        {place.at !== 'call' && <CallBar />}
      </div>
      <Places place={place} />
      <main class="both" id="main">
        <section class="list-pane" aria-label={listName(place)}>
          {place.at === 'settings' ? <SettingsList /> : isContacts(place) ? <Contacts /> : <Chats />}
        </section>
        <section class="pane" id="pane" tabIndex={-1} aria-label={t.nav.pane}>
          <Pane place={place} />
        </section>
      </main>
      <Shortcuts />
      <KeyChanged />
    </div>
  );
}

function skip(event: MouseEvent): void {
  event.preventDefault();
  document.getElementById('pane')?.focus();
}

function isContacts(place: Route): boolean {
  return place.at === 'contacts' || place.at === 'person' || place.at === 'add';
}

function listName(place: Route): string {
  if (place.at === 'settings') return t.nav.settings;
  return isContacts(place) ? t.nav.contacts : t.nav.chats;
}

function Pane({ place }: { place: Route }) {
  switch (place.at) {
    case 'chat':
      return <ChatPane key={place.conversation} conversation={place.conversation} about={place.about} />;
    case 'person':
      return <PersonPane key={place.account} account={place.account} />;
    case 'add':
      return <AddContact key={place.name} name={place.name} />;
    case 'new-group':
      return <NewGroup />;
    case 'settings':
      return <SettingsPane page={place.page ?? 'presence'} />;
    case 'call':
      return <CallScreen />;
    default:
      return <Empty title={t.chats.choose} text={t.chats.chooseText} />;
  }
}

function Places({ place }: { place: Route }) {
  return (
    <nav class="places" aria-label={t.nav.label}>
      <PlaceLink to={{ at: 'chats' }} icon="chats" label={t.nav.chats} here={place.at === 'chats' || place.at === 'chat' || place.at === 'new-group'} />
      <PlaceLink to={{ at: 'contacts' }} icon="contacts" label={t.nav.contacts} here={isContacts(place)} />
      <PlaceLink to={{ at: 'settings', page: null }} icon="settings" label={t.nav.settings} here={place.at === 'settings'} />
    </nav>
  );
}

function PlaceLink({ to, icon, label, here }: { to: Route; icon: IconName; label: string; here: boolean }) {
  return (
    <a href={href(to)} class="place" aria-current={here ? 'page' : undefined}>
      <Icon name={icon} />
      <span>{label}</span>
      {to.at === 'chats' && <Unread />}
      {to.at === 'contacts' && <Requests />}
    </a>
  );
}

function Unread() {
  const count = useStore().unread.value;
  return <Badge count={count} label={t.nav.unread(count)} />;
}

function Requests() {
  const count = useStore().requests.value.length;
  return <Badge count={count} label={t.nav.requests(count)} />;
}
