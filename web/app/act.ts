/** Doing what somebody asked for, and saying so when it came to nothing. */

import { signal } from '@preact/signals';
import { Refusal } from '../sdk/client.ts';
import { t } from './text.ts';

export interface Toast {
  id: number;
  text: string;
}

/** Said and not yet dismissed; more than three would be a wall. */
const TOASTS_MAX = 3;
const TOAST_MS = 6_000;

export const toasts = signal<readonly Toast[]>([]);
let made = 0;

/** Says something in passing. */
export function say(text: string): void {
  made += 1;
  const toast = { id: made, text };
  toasts.value = [...toasts.value.filter((other) => other.text !== text), toast].slice(-TOASTS_MAX);
  setTimeout(() => unsay(toast.id), TOAST_MS);
}

export function unsay(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

/** What a refusal means, in words. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Refusal)) return t.refusal.unexpected;
  const known = t.refusal[error.reason];
  const text = error.reason === 'network' && error.message !== '' ? error.message : known;
  return error.retryAfterMs > 0 ? `${text} ${t.refusal.again(Math.ceil(error.retryAfterMs / 1000))}` : text;
}

/** Does it; on a refusal says why. Resolves with whether it was done. */
export async function attempt(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    say(reasonOf(error));
    return false;
  }
}
