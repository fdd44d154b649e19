/** What the keyboard does, and its overview. A letter alone never does anything while one writes. */

import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { attempt } from '../act.ts';
import { useHost, useStore, type Host } from '../host.ts';
import { above, go, href, route } from '../route.ts';
import type { Store } from '../store/store.ts';
import { t } from '../text.ts';
import { Dialog } from '../ui/dialog.tsx';
import { answerCall, placeCall } from './call-place.ts';
import { openName } from './chat.tsx';

export const shortcutsOpen = signal(false);

const groups: readonly { title: string; keys: readonly [string, string][] }[] = [
  {
    title: t.keys.anywhere,
    keys: [
      ['Ctrl K', t.keys.search],
      ['Alt ↑ ↓', t.keys.next],
      ['Alt 1 2 3', t.keys.places],
      ['Alt C', t.keys.call],
      ['Alt Y', t.keys.answer],
      ['Alt N', t.keys.decline],
      ['Alt H', t.keys.hangUp],
      ['Alt M', t.keys.mute],
      ['Esc', t.keys.leave],
      ['?', t.keys.help],
    ],
  },
  {
    title: t.keys.writing,
    keys: [
      ['Enter', t.keys.send],
      ['Shift Enter', t.keys.line],
      ['↑', t.keys.last],
    ],
  },
  {
    title: t.keys.messages,
    keys: [
      ['↑ ↓', t.keys.walk],
      ['R', t.keys.reply],
      ['+', t.keys.react],
      ['E', t.keys.edit],
      ['X', t.keys.delete],
    ],
  },
];

export function Shortcuts() {
  const store = useStore();
  const host = useHost();
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.isComposing || !take(event, host, store)) return;
      event.preventDefault();
    };
    addEventListener('keydown', press);
    return () => removeEventListener('keydown', press);
  }, [store, host]);
  if (!shortcutsOpen.value) return null;
  return (
    <Dialog title={t.keys.title} reads onClose={() => (shortcutsOpen.value = false)}>
      {groups.map((group) => (
        <section key={group.title} class="keys">
          <h3>{group.title}</h3>
          <dl>
            {group.keys.map(([keys, what]) => (
              <div key={keys}>
                <dt>{what}</dt>
                <dd>
                  {keys.split(' ').map((key) => (
                    <kbd key={key}>{key}</kbd>
                  ))}
                </dd>
              </div>
            ))}
          </dl>
        </section>
      ))}
    </Dialog>
  );
}

/** Does what a key asks for; says whether it asked for anything. */
function take(event: KeyboardEvent, host: Host, store: Store): boolean {
  if (event.altKey && !event.ctrlKey && !event.metaKey) return takeAlt(event, host, store);
  if ((event.ctrlKey || event.metaKey) && event.code === 'KeyK') {
    const search = document.getElementById('search');
    if (search === null) go({ at: 'chats' });
    requestAnimationFrame(() => document.getElementById('search')?.focus());
    return true;
  }
  if (document.querySelector('dialog[open]') !== null || event.ctrlKey || event.metaKey) return false;
  if (event.key === 'Escape') return leave();
  if (isWriting(event.target)) return false;
  if (event.key === '?') shortcutsOpen.value = true;
  else if (event.key === '/') document.getElementById('search')?.focus();
  else return false;
  return true;
}

function takeAlt(event: KeyboardEvent, host: Host, store: Store): boolean {
  const incoming = store.incomingCall.peek();
  const active = store.activeCall.peek();
  // By place on the keyboard: with Alt some systems make other letters.
  switch (event.code) {
    case 'KeyY':
      if (incoming !== null) void answerCall(host, store, incoming);
      return incoming !== null;
    case 'KeyN':
      if (incoming !== null) void attempt(() => store.client.decline(incoming.call));
      return incoming !== null;
    case 'KeyH':
      if (active !== null) void attempt(() => store.client.hangUp(active.call));
      return active !== null;
    case 'KeyM':
      if (active === null) return false;
      store.muted.value = !(store.muted.peek() ?? store.quality.peek().get(active.call)?.muted ?? false);
      void attempt(() => store.client.setMuted(active.call, store.muted.peek() ?? false));
      return true;
    case 'KeyC': {
      const name = openName(store);
      if (name !== null) void placeCall(host, store, name);
      return name !== null;
    }
    case 'ArrowUp':
    case 'ArrowDown':
      return step(store, event.code === 'ArrowUp' ? -1 : 1);
    case 'Digit1':
      go({ at: 'chats' });
      return true;
    case 'Digit2':
      go({ at: 'contacts' });
      return true;
    case 'Digit3':
      go({ at: 'settings', page: null });
      return true;
    default:
      return false;
  }
}

/** To the conversation below or above in the list. */
function step(store: Store, by: number): boolean {
  const ids = store.order.peek().map((row) => row.peek().conversation);
  const place = route.peek();
  const at = place.at === 'chat' ? ids.indexOf(place.conversation) : by > 0 ? -1 : ids.length;
  const to = ids[at + by];
  if (to !== undefined) go({ at: 'chat', conversation: to, about: false });
  return to !== undefined;
}

/** Up from where one is; the keyboard goes to the list. */
function leave(): boolean {
  const place = route.peek();
  if (place.at === 'chats' || place.at === 'contacts') return false;
  const left = href(place);
  go(above(place));
  requestAnimationFrame(() => document.querySelector<HTMLElement>(`.list-pane a[href="${left}"], .list-pane a`)?.focus());
  return true;
}

function isWriting(target: EventTarget | null): boolean {
  return target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
}
