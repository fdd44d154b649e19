/** Whether somebody is at this device: contacts see one away after a while without a key, and nothing is read by an empty chair. */

import { signal } from '@preact/signals';
import type { Store } from './store/store.ts';

const IDLE_MS = 5 * 60_000;

/** Somebody is here, and looks at this page. */
export const isPresent = signal(true);

export function watchActivity(store: Store): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isAway = false;
  const tell = (away: boolean) => {
    if (away === isAway) return;
    isAway = away;
    // Told again with the next change.
    store.client.setActivity(away).catch(() => undefined);
  };
  const stirred = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      isPresent.value = false;
      tell(true);
    }, IDLE_MS);
    isPresent.value = document.visibilityState === 'visible' && document.hasFocus();
    tell(false);
  };
  const looked = () => {
    if (document.visibilityState === 'visible' && document.hasFocus()) stirred();
    else isPresent.value = false;
  };
  const stirs = ['pointerdown', 'keydown', 'wheel', 'touchstart'] as const;
  for (const kind of stirs) addEventListener(kind, stirred, { passive: true });
  for (const kind of ['focus', 'blur'] as const) addEventListener(kind, looked);
  document.addEventListener('visibilitychange', looked);
  stirred();
  return () => {
    clearTimeout(timer);
    for (const kind of stirs) removeEventListener(kind, stirred);
    for (const kind of ['focus', 'blur'] as const) removeEventListener(kind, looked);
    document.removeEventListener('visibilitychange', looked);
  };
}
