import { describe, expect, it } from 'vitest';
import type { Port } from '../sdk/remote.ts';
import { Election, type Locks } from './lead.ts';

/** Locks of one origin, as browsers have them. */
class OneLock implements Locks {
  #held: { lose: (why: Error) => void } | null = null;
  readonly #waiting: (() => void)[] = [];

  request(_name: string, options: { ifAvailable?: boolean; steal?: boolean }, given: (lock: unknown) => Promise<void> | undefined): Promise<unknown> {
    if (options.ifAvailable === true && this.#held !== null) return Promise.resolve(given(null));
    return new Promise((resolve, reject) => {
      const grant = () => {
        const holder = { lose: reject };
        this.#held = holder;
        void given({})?.then(() => {
          if (this.#held === holder) this.free();
          resolve(undefined);
        });
      };
      if (options.steal === true) {
        this.#held?.lose(new DOMException('stolen', 'AbortError'));
        grant();
      } else if (this.#held === null) grant();
      else this.#waiting.push(grant);
    });
  }

  /** The tab that holds it is closed. */
  free(): void {
    this.#held = null;
    this.#waiting.shift()?.();
  }
}

/** All tabs of one origin. */
class Origin {
  readonly locks = new OneLock();
  readonly #ports = new Map<string, Set<(event: { data: unknown }) => void>>();
  readonly timers: { then: () => void }[] = [];
  /** What happened, in order. */
  readonly told: string[] = [];
  /** Tabs that are frozen hear nothing. */
  readonly frozen = new Set<string>();

  tab(id: string): Election {
    const heard = new Set<(event: { data: unknown }) => void>();
    this.#ports.set(id, heard);
    const port: Port = {
      postMessage: (data) => {
        for (const [other, listeners] of this.#ports) if (other !== id && !this.frozen.has(other)) for (const listener of listeners) queueMicrotask(() => listener({ data }));
      },
      addEventListener: (_, listener) => void heard.add(listener),
      removeEventListener: (_, listener) => void heard.delete(listener),
    };
    const role = {
      lead: async () => void this.told.push(`${id} leads`),
      follow: async () => void this.told.push(`${id} follows`),
    };
    const after = (_: number, then: () => void) => {
      const timer = { then };
      this.timers.push(timer);
      return () => void this.timers.splice(this.timers.indexOf(timer), 1);
    };
    return new Election(id, this.locks, port, role, { after });
  }
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}

describe('of several tabs', () => {
  it('the first leads and the others follow', async () => {
    const origin = new Origin();
    const [one, two] = [origin.tab('one'), origin.tab('two')];
    await one.start();
    await two.start();
    expect([one.isLead, two.isLead]).toEqual([true, false]);
    expect(origin.told).toEqual(['one leads', 'two follows']);
  });

  it('the next one leads when the first is closed', async () => {
    const origin = new Origin();
    const [one, two] = [origin.tab('one'), origin.tab('two')];
    await one.start();
    await two.start();
    origin.locks.free();
    await settled();
    expect(two.isLead).toBe(true);
    expect(origin.told.at(-1)).toBe('two leads');
  });

  it('one takes the lead only after the leader has closed its client', async () => {
    const origin = new Origin();
    const tabs = ['one', 'two', 'three'].map((id) => origin.tab(id));
    for (const tab of tabs) await tab.start();
    await tabs[2]?.take();
    expect(origin.told.slice(3)).toEqual(['one follows', 'three leads']);
    await settled();
    expect(tabs.map((tab) => tab.isLead)).toEqual([false, false, true]);
    await tabs[0]?.take();
    expect(origin.told.slice(5)).toEqual(['three follows', 'one leads']);
  });

  it('one that is frozen is not waited for', async () => {
    const origin = new Origin();
    const [one, two] = [origin.tab('one'), origin.tab('two')];
    await one.start();
    await two.start();
    origin.frozen.add('one');
    const taken = two.take();
    await settled();
    origin.timers[0]?.then();
    await taken;
    expect([one.isLead, two.isLead]).toEqual([false, true]);
  });

  it('a leader that yielded to a tab that was then closed leads again', async () => {
    const origin = new Origin();
    const [one, two] = [origin.tab('one'), origin.tab('two')];
    await one.start();
    await two.start();
    origin.frozen.add('two');
    void two.take();
    await settled();
    expect(one.isLead).toBe(false);
    origin.timers.at(-1)?.then();
    await settled();
    expect(one.isLead).toBe(true);
  });

  it('taking the lead again changes nothing', async () => {
    const origin = new Origin();
    const one = origin.tab('one');
    await one.start();
    await one.take();
    expect(origin.told).toEqual(['one leads']);
  });
});
