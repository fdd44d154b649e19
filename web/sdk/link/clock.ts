/** Time and chance, handed in: so that tests decide about both. */

export interface Clock {
  /** Milliseconds since the Unix epoch, as this device believes. */
  now(): number;
  /** Milliseconds that have passed since some moment; never goes back, and stands still at no setting of the clock. */
  elapsed(): number;
  /** Calls back once after so many milliseconds, unless the answer is called before. */
  after(ms: number, callback: () => void): () => void;
}

/** Evenly from 0 to below 1. */
export type Share = () => number;

export const SYSTEM_CLOCK: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  after: (ms, callback) => {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};
