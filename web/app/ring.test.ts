import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { beWatched, isAnyWatched, type TabLocks } from './tabs.ts';

/** Locks of one origin, as browsers have them. */
class OriginLocks implements TabLocks {
  readonly #held: { name: string; mode: string; lose: () => void }[] = [];
  readonly #waiting: { name: string; mode: string; grant: () => void }[] = [];

  request(name: string, { mode, signal }: Parameters<TabLocks['request']>[1], held: () => Promise<void>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const waiting = {
        name,
        mode,
        grant: () => {
          const lose = () => {
            if (!this.#held.includes(mine)) return;
            this.#held.splice(this.#held.indexOf(mine), 1);
            this.#next();
          };
          const mine = { name, mode, lose };
          this.#held.push(mine);
          void held().then(lose).then(() => resolve(undefined));
        },
      };
      this.#waiting.push(waiting);
      signal.addEventListener('abort', () => {
        const at = this.#waiting.indexOf(waiting);
        if (at < 0) return;
        this.#waiting.splice(at, 1);
        reject(new DOMException('not wanted', 'AbortError'));
      });
      this.#next();
    });
  }

  query() {
    return Promise.resolve({ held: [...this.#held] });
  }

  /** The tab that holds it is closed. */
  close(name: string): void {
    this.#held.find((lock) => lock.name === name)?.lose();
  }

  #next(): void {
    for (const waiting of [...this.#waiting]) {
      const rivals = this.#held.filter(({ name }) => name === waiting.name);
      if (rivals.length > 0 && (waiting.mode === 'exclusive' || rivals.some(({ mode }) => mode === 'exclusive'))) continue;
      this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
      waiting.grant();
    }
  }
}

/** A tab's sound, which counts strokes of the bell; where nobody has touched the tab, it does not get going. */
function audio(isTouched: boolean) {
  const said = { strokes: 0 };
  const param = { value: 0, setValueAtTime: () => undefined, setTargetAtTime: () => undefined, linearRampToValueAtTime: () => undefined, exponentialRampToValueAtTime: () => undefined };
  const node = { connect: (to: unknown) => to, disconnect: () => undefined, gain: param, frequency: param, start: () => void (said.strokes += 1), stop: () => undefined };
  class Context {
    state = 'suspended';
    currentTime = 0;
    destination = {};
    createGain = () => node;
    createOscillator = () => node;
    suspend = async () => void (this.state = 'suspended');
    resume = () => (isTouched ? Promise.resolve(void (this.state = 'running')) : new Promise<void>(() => undefined));
  }
  return { said, Context };
}

const locks = { current: new OriginLocks() };

beforeEach(() => {
  locks.current = new OriginLocks();
  vi.useFakeTimers();
  vi.stubGlobal('navigator', { locks: locks.current });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function tab(isTouched: boolean) {
  const { said, Context } = audio(isTouched);
  vi.resetModules();
  const { ringFor } = await import('./ring.ts');
  const ring = (kind: 'ring' | 'knock' = 'ring') => {
    vi.stubGlobal('AudioContext', Context);
    return ringFor(kind);
  };
  /** Whether it sounds, now. */
  const sounds = async () => {
    const before = said.strokes;
    await vi.advanceTimersByTimeAsync(5_000);
    return said.strokes > before;
  };
  return { ring, sounds };
}

describe('of several tabs', () => {
  it('one that somebody has touched rings, whichever leads, and no other', async () => {
    const tabs = [await tab(false), await tab(true), await tab(true)];
    const ends = tabs.map(({ ring }) => ring());
    await vi.advanceTimersByTimeAsync(0);
    expect(await Promise.all(tabs.map(({ sounds }) => sounds()))).toEqual([false, true, false]);
    for (const end of ends) end();
    expect(await Promise.all(tabs.map(({ sounds }) => sounds()))).toEqual([false, false, false]);
  });

  it('the next one rings on when the one that rang is closed', async () => {
    const [one, two] = [await tab(true), await tab(true)];
    one.ring();
    await vi.advanceTimersByTimeAsync(0);
    two.ring();
    expect(await two.sounds()).toBe(false);
    locks.current.close('ahoy ring');
    expect(await two.sounds()).toBe(true);
  });

  it('one is enough to be looked at', async () => {
    const [one, two] = [beWatched(), beWatched()];
    expect(await isAnyWatched()).toBe(true);
    one();
    await vi.advanceTimersByTimeAsync(0);
    expect(await isAnyWatched()).toBe(true);
    two();
    await vi.advanceTimersByTimeAsync(0);
    expect(await isAnyWatched()).toBe(false);
  });
});

it('a ring that becomes a knock goes on', async () => {
  const one = await tab(true);
  const end = one.ring();
  await vi.advanceTimersByTimeAsync(1_000);
  end();
  one.ring('knock');
  await vi.advanceTimersByTimeAsync(1_000);
  expect(await one.sounds()).toBe(true);
});
