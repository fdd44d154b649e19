/**
 * Which of several tabs runs the client: whoever holds the lock. A tab that places or answers a call takes it over, because it has
 * the microphone; the one before closes its client first, so that two never write the same state.
 */

import type { Port } from '../sdk/remote.ts';

/** As much of `navigator.locks` as is needed. */
export interface Locks {
  request(name: string, options: { ifAvailable?: boolean; steal?: boolean }, held: (lock: unknown) => Promise<void> | undefined): Promise<unknown>;
}

/** What follows from leading or not. Each is awaited before the next is called. */
export interface Role {
  /** Opens the client. */
  lead(): Promise<void>;
  /** Closes it: nothing is written any more once this has resolved. */
  follow(): Promise<void>;
}

interface Timers {
  after(ms: number, then: () => void): () => void;
}

type Told = { kind: 'lead-yield' | 'lead-yielded'; by: string };

const LOCK = 'ahoy';
/** A leader closes within a transaction; one that does not answer by then is frozen, and so is its worker. */
const YIELD_MS = 2_000;
/** Whoever asked for the lead and did not take it is gone. */
const TAKE_MS = 5_000;

const timers: Timers = {
  after: (ms, then) => {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
};

export class Election {
  #isLead: boolean | null = null;
  #queued = false;
  #turn: Promise<void> = Promise.resolve();
  #yieldedTo: (() => void) | null = null;

  constructor(
    private readonly id: string,
    private readonly locks: Locks,
    private readonly air: Port,
    private readonly role: Role,
    private readonly time: Timers = timers,
  ) {
    air.addEventListener('message', ({ data }) => this.#hear(data));
  }

  get isLead(): boolean {
    return this.#isLead === true;
  }

  /** Leads if nobody does; else follows, and leads when the one that does is gone. Resolves once it is settled. */
  async start(): Promise<void> {
    const isFree = await new Promise<boolean>((resolve) => {
      void this.#hold({ ifAvailable: true }, resolve);
    });
    if (isFree) return this.#turn;
    await this.#become(false);
    this.#queue();
  }

  /** Leads from now on. */
  async take(): Promise<void> {
    if (this.#isLead === true) return this.#turn;
    await this.#askToYield();
    await new Promise<void>((resolve) => {
      void this.#hold({ steal: true }, () => resolve());
    });
    await this.#turn;
  }

  #queue(): void {
    if (this.#queued) return;
    this.#queued = true;
    void this.#hold({}, () => (this.#queued = false));
  }

  /** Requests the lock; `known` is told whether it was given. */
  async #hold(options: { ifAvailable?: boolean; steal?: boolean }, known: (given: boolean) => void): Promise<void> {
    try {
      await this.locks.request(LOCK, options, (lock) => {
        known(lock !== null);
        if (lock === null) return undefined;
        void this.#become(true);
        // Kept until the tab is closed, or another one takes it.
        return new Promise<void>(() => undefined);
      });
    } catch {
      // Taken by another one.
      await this.#become(false);
      this.#queue();
    }
  }

  #become(isLead: boolean): Promise<void> {
    this.#yieldedTo?.();
    this.#yieldedTo = null;
    if (isLead === this.#isLead) return this.#turn;
    this.#isLead = isLead;
    this.#turn = this.#turn.then(() => (isLead ? this.role.lead() : this.role.follow())).catch(() => undefined);
    return this.#turn;
  }

  #askToYield(): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        stop();
        this.air.removeEventListener('message', listen);
        resolve();
      };
      const listen = ({ data }: { data: unknown }) => {
        if (isTold(data) && data.kind === 'lead-yielded' && data.by === this.id) done();
      };
      const stop = this.time.after(YIELD_MS, done);
      this.air.addEventListener('message', listen);
      this.#say({ kind: 'lead-yield', by: this.id });
    });
  }

  #hear(data: unknown): void {
    if (!isTold(data) || data.kind !== 'lead-yield' || this.#isLead !== true) return;
    void this.#become(false).then(() => {
      this.#yieldedTo = this.time.after(TAKE_MS, () => void this.#become(true));
      this.#say({ kind: 'lead-yielded', by: data.by });
    });
  }

  #say(told: Told): void {
    this.air.postMessage(told);
  }
}

function isTold(data: unknown): data is Told {
  return typeof data === 'object' && data !== null && 'kind' in data && (data.kind === 'lead-yield' || data.kind === 'lead-yielded');
}
