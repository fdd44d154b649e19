/** What tabs of one browser settle among themselves: which of them rings, and whether somebody looks at one. A tab that is closed loses its locks by itself. */

/** Held by the tab that rings. */
const RING = 'ahoy ring';
/** Shared by tabs that somebody looks at. */
const WATCHED = 'ahoy watched';

/** As much of `navigator.locks` as is needed. */
export interface TabLocks {
  request(name: string, options: { mode: 'exclusive' | 'shared'; signal: AbortSignal }, held: () => Promise<void>): Promise<unknown>;
  query(): Promise<{ held?: { name?: string }[] }>;
}

/** Sounds as soon as no other tab does, until the answer is called. */
export function soundInTurn(begin: () => () => void, locks: TabLocks = navigator.locks): () => void {
  return hold(locks, RING, 'exclusive', begin);
}

/** Tells all tabs that somebody looks at this one, until the answer is called. */
export function beWatched(locks: TabLocks = navigator.locks): () => void {
  return hold(locks, WATCHED, 'shared', () => () => undefined);
}

/** Whether somebody looks at any of the tabs. */
export async function isAnyWatched(locks: TabLocks = navigator.locks): Promise<boolean> {
  const { held = [] } = await locks.query();
  return held.some(({ name }) => name === WATCHED);
}

function hold(locks: TabLocks, name: string, mode: 'exclusive' | 'shared', begin: () => () => void): () => void {
  const ending = new AbortController();
  const over = new Promise<void>((resolve) => ending.signal.addEventListener('abort', () => resolve()));
  const held = async () => {
    // Given in the moment in which it was no longer wanted.
    if (ending.signal.aborted) return;
    const end = begin();
    await over;
    end();
  };
  // It rejects when it is not wanted any more before it was given.
  void locks.request(name, { mode, signal: ending.signal }, held).catch(() => undefined);
  return () => ending.abort();
}
