/** What is to be seen while one looks elsewhere: the title, the badge of an installed app, notifications. */

import type { Call } from '../sdk/client.ts';
import { cleanLine } from './clean.ts';
import { go } from './route.ts';
import type { Store } from './store/store.ts';
import { isAnyWatched } from './tabs.ts';
import { t } from './text.ts';

/** A call that rings; nothing is shown of it where somebody looks at a tab. */
interface Notified {
  call: string;
  shown: Notification | null;
}

const BLINK_MS = 1_000;

let blink: ReturnType<typeof setInterval> | undefined;
let notified: Notified | null = null;
const lastUnread = new Map<string, number>();

/** Follows the store; an effect. */
export function showOutside(store: Store, isLead: boolean): void {
  const incoming = store.incomingCall.value;
  const unread = store.unread.value;
  clearInterval(blink);
  const plain = t.nav.title(unread, t.app);
  document.title = plain;
  if (incoming !== null) {
    const calling = `☎ ${t.call.incoming(store.nameOf(incoming.peer.account))}`;
    document.title = calling;
    blink = setInterval(() => (document.title = document.title === plain ? calling : plain), BLINK_MS);
  }
  if ('setAppBadge' in navigator) void navigator.setAppBadge(unread).catch(() => undefined);
  showCall(store, isLead ? incoming : null);
  showMessages(store, isLead);
}

/** Whoever looks at one of the tabs sees it there. */
async function mayNotify(): Promise<boolean> {
  return typeof Notification !== 'undefined' && Notification.permission === 'granted' && !(await isAnyWatched());
}

/** On phones only a service worker may notify; a page that can't is no reason to fail. */
function notify(title: string, options: NotificationOptions, onClick: () => void): Notification | null {
  try {
    const shown = new Notification(title, { icon: '/icon-192.png', badge: '/icon-192.png', ...options });
    shown.onclick = () => {
      window.focus();
      shown.close();
      onClick();
    };
    return shown;
  } catch {
    return null;
  }
}

function showCall(store: Store, call: Call | null): void {
  if (notified !== null && notified.call !== call?.call) {
    notified.shown?.close();
    notified = null;
  }
  if (call === null || notified !== null) return;
  const mine: Notified = { call: call.call, shown: null };
  notified = mine;
  const title = t.call.incoming(store.nameOf(call.peer.account));
  void mayNotify().then((may) => {
    // It may have stopped ringing meanwhile.
    if (may && notified === mine) mine.shown = notify(title, { tag: `call ${call.call}`, requireInteraction: true, silent: call.quiet }, () => undefined);
  });
}

function showMessages(store: Store, isLead: boolean): void {
  for (const row of store.order.value) {
    const { conversation, unread, last } = row.value;
    const before = lastUnread.get(conversation);
    lastUnread.set(conversation, unread);
    if (before === undefined || unread <= before || last?.body.kind !== 'text' || !isLead) continue;
    const text = `${store.nameOf(last.account)}: ${cleanLine(last.body.text)}`;
    const quiet = store.settings.peek()?.availability === 'do-not-disturb';
    const title = store.titleOf(row.value);
    const open = () => go({ at: 'chat', conversation, about: false });
    if (!quiet) void mayNotify().then((may) => (may ? notify(title, { body: text, tag: conversation }, open) : undefined));
  }
}

/** Whoever closes the page in a call is asked first; an effect. */
export function guardCall(store: Store, isLead: boolean): () => void {
  if (!isLead || store.activeCall.value === null) return () => undefined;
  const ask = (event: BeforeUnloadEvent) => event.preventDefault();
  addEventListener('beforeunload', ask);
  return () => removeEventListener('beforeunload', ask);
}
