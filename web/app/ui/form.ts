/** Sending forms: what they come to, and that nothing is sent twice. */

import { signal } from '@preact/signals';
import { useMemo } from 'preact/hooks';
import { reasonOf } from '../act.ts';

/** Does what a form is for; what is wrong with what was filled in may be the answer. */
type Work = () => Promise<string | null | void>;

/** One sending after another: a second one while the first goes on does nothing. */
export class Sending {
  /** What is to be said about the last one. */
  readonly wrong = signal<string | null>(null);
  readonly busy = signal(false);

  async send(work: Work, wordOf: (error: unknown) => string): Promise<void> {
    if (this.busy.peek()) return;
    this.busy.value = true;
    this.wrong.value = null;
    try {
      this.wrong.value = (await work()) ?? null;
    } catch (error) {
      this.wrong.value = wordOf(error);
    } finally {
      this.busy.value = false;
    }
  }
}

export function useSubmit(work: Work, wordOf: (error: unknown) => string = reasonOf): { wrong: string | null; busy: boolean; onSubmit: (event: Event) => void } {
  const sending = useMemo(() => new Sending(), []);
  const onSubmit = (event: Event) => {
    event.preventDefault();
    void sending.send(work, wordOf);
  };
  return { wrong: sending.wrong.value, busy: sending.busy.value, onSubmit };
}
