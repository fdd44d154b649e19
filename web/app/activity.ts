/**
 * Whether somebody is at this device: contacts see one away after a while without a key, and nothing is read by an empty chair. All
 * tabs are one device, so they tell each other when one was touched.
 */

import { effect, signal } from '@preact/signals';
import type { Store } from './store/store.ts';
import { beWatched } from './tabs.ts';

const IDLE_MS = 5 * 60_000;
/** Between two words to other tabs. */
const TOLD_MS = 20_000;
const CHANNEL = 'ahoy activity';

/** Somebody is here, and looks at this page. */
export const isPresent = signal(true);

/** Follows what happens to the page, until the answer is called. */
export function watchActivity(store: Store): () => void {
  const watch = new Watch(store);
  const stirs = ['pointerdown', 'keydown', 'wheel', 'touchstart'] as const;
  const stirred = () => watch.stirred();
  const looked = () => watch.looked();
  for (const kind of stirs) addEventListener(kind, stirred, { passive: true });
  for (const kind of ['focus', 'blur'] as const) addEventListener(kind, looked);
  document.addEventListener('visibilitychange', looked);
  const ends = [
    // A session begins away, whoever is there.
    effect(() => {
      if (store.link.value === 'online') watch.repeat();
    }),
    effect(() => (isPresent.value ? beWatched() : undefined)),
  ];
  return () => {
    for (const end of ends) end();
    watch.close();
    for (const kind of stirs) removeEventListener(kind, stirred);
    for (const kind of ['focus', 'blur'] as const) removeEventListener(kind, looked);
    document.removeEventListener('visibilitychange', looked);
  };
}

class Watch {
  readonly #tabs = new BroadcastChannel(CHANNEL);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isAway: boolean | null = null;
  #told = -TOLD_MS;

  constructor(private readonly store: Store) {
    this.#tabs.onmessage = () => this.#begin();
    if (isWatched()) this.stirred();
    else isPresent.value = false;
  }

  /** A key, a finger, a wheel. */
  stirred(): void {
    this.#begin();
    isPresent.value = isWatched();
    if (performance.now() - this.#told < TOLD_MS) return;
    this.#told = performance.now();
    this.#tabs.postMessage('stirred');
  }

  looked(): void {
    if (isWatched()) this.stirred();
    else isPresent.value = false;
  }

  /** Says it again, to a session that does not know. */
  repeat(): void {
    const away = this.#isAway;
    this.#isAway = null;
    if (away !== null) this.#tell(away);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#tabs.close();
  }

  #begin(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      isPresent.value = false;
      this.#tell(true);
    }, IDLE_MS);
    this.#tell(false);
  }

  #tell(away: boolean): void {
    if (away === this.#isAway) return;
    this.#isAway = away;
    // Told again with the next change, and with the next session.
    this.store.client.setActivity(away).catch(() => undefined);
  }
}

function isWatched(): boolean {
  return document.visibilityState === 'visible' && document.hasFocus();
}
