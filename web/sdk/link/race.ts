/** Attempts that begin one after another, of which the first to succeed is taken. */

import type { Clock } from './clock.ts';

/** One attempt. It ends soon after its signal, and then leaves nothing behind. */
export type Attempt<T> = (signal: AbortSignal) => Promise<T>;

/**
 * Begins the attempts in their order, each `headStartMs` after the one before, or as soon as that failed. Resolves with the first that
 * succeeds and aborts the others; what succeeds too late all the same is given to `discard`. Rejects as the last one that failed.
 */
export function race<T>(
  attempts: readonly Attempt<T>[],
  { headStartMs, clock, signal, discard }: { headStartMs: number; clock: Clock; signal: AbortSignal; discard: (late: T) => void },
): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = new AbortController();
    let begun = 0;
    let failed = 0;
    let cancelNext = (): void => {};
    const end = (settle: () => void): void => {
      cancelNext();
      signal.removeEventListener('abort', aborted);
      settle();
      abort.abort();
    };
    const aborted = (): void => end(() => reject(signal.reason));
    const begin = (): void => {
      cancelNext();
      const attempt = attempts[begun];
      if (attempt === undefined) return;
      begun += 1;
      cancelNext = clock.after(headStartMs, begin);
      attempt(abort.signal).then(succeed, fail);
    };
    const succeed = (value: T): void => {
      if (abort.signal.aborted) discard(value);
      else end(() => resolve(value));
    };
    const fail = (error: unknown): void => {
      failed += 1;
      if (abort.signal.aborted) return;
      if (failed === attempts.length) end(() => reject(error));
      else if (failed === begun) begin();
    };
    if (signal.aborted) return aborted();
    signal.addEventListener('abort', aborted);
    if (attempts.length === 0) return end(() => reject(new DialError('there is no address')));
    begin();
  });
}

/** No link came about. */
export class DialError extends Error {
  override readonly name = 'DialError';
}
