/**
 * What this device knows of the network's supernodes beyond the roster: how far away they are, and which had better not be tried now.
 * Bounded by the roster: what is not in it is forgotten.
 */

import { unutf8, utf8 } from '../proto/bytes.ts';
import type { RosterEntry } from '../proto/document.ts';
import { choose } from '../proto/placement.ts';

/** How long a round trip that was measured counts. */
const ROUND_TRIP_LIFE_MS = 86_400_000;

/** A round trip that has changed by less is not worth a write. */
const ROUND_TRIP_CHANGE_MS = 10;

/** How long a supernode that could not be reached, or would not have us, is tried after all others. */
const SHELVED_MS = 60_000;

/** The longest that a supernode may have itself left alone. */
const SHELVED_MAX_MS = 600_000;

/** Supernodes measured in one survey, one of each region. */
const SURVEY_MAX = 3;

export interface RoundTrip {
  supernode: string;
  ms: number;
  /** Milliseconds since the Unix epoch. */
  at: number;
}

/** Two clocks: that of the wall for what outlives the process, and what has elapsed for the rest. */
export interface Moment {
  now(): number;
  elapsed(): number;
}

export class Fleet {
  readonly #roundTrips = new Map<string, RoundTrip>();
  readonly #shelved = new Map<string, number>();
  #changed = false;

  constructor(
    readonly clock: Moment,
    kept: readonly RoundTrip[] = [],
  ) {
    for (const trip of kept) this.#roundTrips.set(trip.supernode, trip);
  }

  /** Forgets supernodes that are not in the roster. */
  prune(roster: readonly RosterEntry[]): void {
    const listed = new Set(roster.map(({ supernode }) => supernode));
    for (const known of [this.#roundTrips, this.#shelved]) {
      for (const supernode of known.keys()) if (!listed.has(supernode)) known.delete(supernode);
    }
  }

  /** Supernodes in the order to try: by placement, those that are shelved last. Where none takes anything, in the roster's order. */
  order(account: string, roster: readonly RosterEntry[]): RosterEntry[] {
    const chosen = choose(account, roster, (entry) => this.#roundTrip(entry, roster));
    const order = chosen.length > 0 ? chosen : [...roster];
    const until = ({ supernode }: RosterEntry): number => {
      const at = this.#shelved.get(supernode) ?? 0;
      return at > this.clock.elapsed() ? at : 0;
    };
    // Stable: those that are not shelved stay in their order.
    return order.sort((a, b) => until(a) - until(b));
  }

  /** Of an order, the first of each region, if there are several regions and one of them is not measured. */
  survey(order: readonly RosterEntry[]): RosterEntry[] {
    const firsts: RosterEntry[] = [];
    for (const entry of order) {
      if (firsts.length < SURVEY_MAX && firsts.every(({ region }) => region !== entry.region)) firsts.push(entry);
    }
    const unknown = firsts.some((entry) => this.#roundTrip(entry, order) === null);
    return firsts.length > 1 && unknown ? firsts : [];
  }

  /** A link to it has this round trip. */
  measured(supernode: string, roundTripMs: number): void {
    const ms = Math.round(roundTripMs);
    const [old, now] = [this.#roundTrips.get(supernode), this.clock.now()];
    this.#shelved.delete(supernode);
    // What is kept is near enough, and is kept anew before it is too old.
    if (old && Math.abs(old.ms - ms) < ROUND_TRIP_CHANGE_MS && now - old.at < ROUND_TRIP_LIFE_MS / 2) return;
    this.#roundTrips.set(supernode, { supernode, ms, at: now });
    this.#changed = true;
  }

  /** It could not be reached or would not have us. `retryAfterMs`: as it says. */
  shelve(supernode: string, retryAfterMs: number): void {
    this.#shelved.set(supernode, this.clock.elapsed() + Math.min(Math.max(retryAfterMs, SHELVED_MS), SHELVED_MAX_MS));
  }

  /** What is to be kept for sessions to come, `null` where it is kept already. */
  takeChanged(): RoundTrip[] | null {
    if (!this.#changed) return null;
    this.#changed = false;
    return [...this.#roundTrips.values()];
  }

  /** As measured, or else as the nearest of its region: those stand in one place. */
  #roundTrip(entry: RosterEntry, roster: readonly RosterEntry[]): number | null {
    const own = ({ supernode }: RosterEntry): number | null => {
      const trip = this.#roundTrips.get(supernode);
      const age = trip === undefined ? Infinity : this.clock.now() - trip.at;
      return trip !== undefined && age >= 0 && age < ROUND_TRIP_LIFE_MS ? trip.ms : null;
    };
    const measured = own(entry);
    if (measured !== null || entry.region === '') return measured;
    const near = roster.filter(({ region }) => region === entry.region).map(own).filter((ms) => ms !== null);
    return near.length > 0 ? Math.min(...near) : null;
  }
}

/** Reads what {@link encodeRoundTrips} wrote; nothing where it is otherwise than it should be. */
export function decodeRoundTrips(bytes: Uint8Array): RoundTrip[] {
  try {
    const kept: unknown = JSON.parse(unutf8(bytes) ?? '');
    return Array.isArray(kept) ? kept.filter(isRoundTrip) : [];
  } catch {
    return [];
  }
}

export function encodeRoundTrips(trips: readonly RoundTrip[]): Uint8Array {
  return utf8(JSON.stringify(trips));
}

function isRoundTrip(value: unknown): value is RoundTrip {
  const { supernode, ms, at } = (value ?? {}) as Partial<RoundTrip>;
  return typeof supernode === 'string' && typeof ms === 'number' && typeof at === 'number';
}
