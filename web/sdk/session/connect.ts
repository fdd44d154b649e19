/**
 * From a roster to a session: dial, prove, be welcome (docs/protocol.md, section 5).
 *
 * Supernodes are tried in order, each with a head start over the next; the first that welcomes us is taken. One proof at a time: a
 * device has one session, and the newer of two replaces the other.
 */

import type { Dialler } from '../link/dial.ts';
import type { RosterEntry } from '../proto/document.ts';
import type { Fleet } from './fleet.ts';
import { signIn, SignInError, type Proving, type Session } from './sign-in.ts';
import { Wire } from './wire.ts';

/** How an attempt goes about it; milliseconds. */
interface Pace {
  /** Head start of one supernode over the next. */
  every: number;
  /** How long one may take until the link is up. */
  dial: number;
  /** And from then on over the proof. */
  proof: number;
}

/** Outside of a call: nearly every supernode that lives answers within a second, and then it is the only one that is dialled. */
const LEISURELY: Pace = { every: 1_000, dial: 5_000, proof: 10_000 };

/** In a call: a new attempt every 350 ms, each for 2 s (a handshake at a round trip of 900 ms). */
const IN_CALL: Pace = { every: 350, dial: 2_000, proof: 2_000 };

/**
 * Head start of a supernode whose link has fallen silent: it is most often dead. A round trip that is longer costs the next one a handshake
 * for nothing.
 */
const SILENT_HEAD_START_MS = 150;

/** Dials at the same time, and supernodes that are tried in a call. */
const DIALS_MAX = 3;

/** Supernodes tried in one attempt outside of a call: 8 dead ones are 11 s, and then there is a pause. */
const TRIES_MAX = 8;

/** How long a survey waits for the others once the first has answered. */
const SURVEY_WAIT_MS = 300;

/** The way to a session. */
export interface Route {
  /** In the order to try. */
  entries: RosterEntry[];
  /** The first of them is the one whose link has fallen silent. */
  isSilent: boolean;
  /** Of those, the ones to be measured first. */
  survey: RosterEntry[];
}

export interface Context extends Proving {
  dialler: Dialler;
  fleet: Fleet;
  /** A supernode was not what the roster says. */
  doubtRoster(): void;
  /** A proof was given up that the supernode may still take up. */
  noteAbandonedProof(): void;
}

interface Dialled {
  entry: RosterEntry;
  wire: Wire | null;
}

/** Why there is no session. */
export class ConnectError extends Error {
  override readonly name = 'ConnectError';
  constructor(
    text: string,
    /** What the supernode said that told most, `null` where none was reached. */
    readonly signIn: SignInError | null,
  ) {
    super(text);
  }
}

/** Signs in on the first supernode of the route that takes us. Rejects with {@link ConnectError}, or when given up. */
export async function connect(route: Route, context: Context, signal: AbortSignal): Promise<Session> {
  const up = await survey(route.survey, context, signal);
  const entries = up.size > 0 ? context.fleet.order(context.identity.account, route.entries) : route.entries;
  try {
    return await tryEach({ ...route, entries }, up, context, signal);
  } finally {
    for (const wire of up.values()) wire.close();
  }
}

/** `up`: links that are there already; those that are taken leave it. */
async function tryEach({ entries, isSilent }: Route, up: Map<string, Wire>, context: Context, signal: AbortSignal): Promise<Session> {
  using dials = new Dials(context, LEISURELY, signal);
  const { clock } = context;
  let left = entries.slice(0, TRIES_MAX);
  let begun = 0;
  let beginAt = clock.elapsed();
  let failure: SignInError | null = null;
  while (left.length > 0 || dials.busy) {
    signal.throwIfAborted();
    const dialled = dials.take();
    const next = left[0];
    if (dialled !== null) {
      const session = await takeUp(dialled, LEISURELY, context, signal);
      if (!(session instanceof SignInError)) return session;
      failure = session.fault === 'ended' ? (failure ?? session) : session;
      if (session.isFinal) break;
      left = namedFirst(left, session.elsewhere);
      beginAt = clock.elapsed();
    } else if (next !== undefined && dials.running < DIALS_MAX && clock.elapsed() >= beginAt) {
      left = left.slice(1);
      dials.begin(next, up.get(next.supernode));
      up.delete(next.supernode);
      begun += 1;
      beginAt = clock.elapsed() + headStart(begun, isSilent, LEISURELY);
    } else {
      await dials.wait(next !== undefined && dials.running < DIALS_MAX ? beginAt : null);
    }
  }
  throw noSession(failure, entries);
}

/** Of the dial that was begun last over the next one, after so many in all. */
function headStart(begun: number, isSilent: boolean, pace: Pace): number {
  return begun === 1 && isSilent ? SILENT_HEAD_START_MS : pace.every;
}

/** One that is full has named another: that comes next. */
function namedFirst(left: RosterEntry[], named: string | null): RosterEntry[] {
  return [...left.filter(({ supernode }) => supernode === named), ...left.filter(({ supernode }) => supernode !== named)];
}

/**
 * Signs in anew in the middle of a call: dials the first supernodes of the route in parallel, again and again. Ends with a session, or
 * when all of them say no for good.
 */
export async function reconnect(route: Route, context: Context, signal: AbortSignal): Promise<Session> {
  using dials = new Dials(context, IN_CALL, signal);
  let targets = route.entries.slice(0, DIALS_MAX);
  let begun = 0;
  let beginAt = context.clock.elapsed();
  let failure: SignInError | null = null;
  while (targets.length > 0) {
    signal.throwIfAborted();
    const dialled = dials.take();
    const next = targets[begun % targets.length];
    if (dialled !== null) {
      const session = await takeUp(dialled, IN_CALL, context, signal);
      if (!(session instanceof SignInError)) return session;
      if (session.isFinal) {
        failure = session;
        targets = targets.filter(({ supernode }) => supernode !== dialled.entry.supernode);
      }
    } else if (next !== undefined && dials.running < DIALS_MAX && context.clock.elapsed() >= beginAt) {
      dials.begin(next, undefined);
      begun += 1;
      beginAt = context.clock.elapsed() + headStart(begun, route.isSilent, IN_CALL);
    } else {
      await dials.wait(dials.running < DIALS_MAX ? beginAt : null);
    }
  }
  throw noSession(failure, route.entries);
}

function noSession(failure: SignInError | null, entries: readonly RosterEntry[]): ConnectError {
  const text = entries.length === 0 ? "the network's roster lists no supernode" : 'no supernode can be reached';
  return new ConnectError(failure?.message ?? text, failure);
}

/** From a dial that has ended to a session; remembers how it went. */
async function takeUp({ entry, wire }: Dialled, pace: Pace, context: Context, signal: AbortSignal): Promise<Session | SignInError> {
  const { fleet } = context;
  const { supernode } = entry;
  if (wire === null) {
    fleet.shelve(supernode, 0);
    return new SignInError('ended', 'no supernode can be reached');
  }
  try {
    const session = await signIn(wire, entry, context, pace.proof, signal);
    fleet.measured(supernode, session.wire.roundTripMs ?? 0);
    return session;
  } catch (error) {
    if (!(error instanceof SignInError)) throw error;
    if (error.fault === 'no-welcome' || error.fault === 'ended') context.noteAbandonedProof();
    // Where it is us that it would not have, others will not have us either.
    if (!error.isFinal && !signal.aborted) fleet.shelve(supernode, error.retryAfterMs);
    if (error.fault === 'not-certified') context.doubtRoster();
    return error;
  }
}

/** Measures supernodes of regions that are not known yet. Gives the links that are up. */
async function survey(entries: readonly RosterEntry[], context: Context, signal: AbortSignal): Promise<Map<string, Wire>> {
  using dials = new Dials(context, LEISURELY, signal);
  const { clock, fleet } = context;
  const up = new Map<string, Wire>();
  for (const entry of entries) dials.begin(entry, undefined);
  let until = entries.length > 0 ? clock.elapsed() + LEISURELY.dial : 0;
  while ((dials.busy || up.size > 0) && clock.elapsed() < until && !signal.aborted) {
    const dialled = dials.take();
    if (dialled === null) {
      await dials.wait(until);
    } else if (dialled.wire === null) {
      fleet.shelve(dialled.entry.supernode, 0);
    } else {
      up.set(dialled.entry.supernode, dialled.wire);
      // Answered before there is a session, too.
      dialled.wire.ping();
      until = Math.min(until, clock.elapsed() + SURVEY_WAIT_MS);
    }
  }
  for (const [supernode, { roundTripMs }] of up) if (roundTripMs !== null) fleet.measured(supernode, roundTripMs);
  return up;
}

/** Dials under way, and those that have ended and are not taken up. */
class Dials implements Disposable {
  readonly #abort = new AbortController();
  readonly #ended: Dialled[] = [];
  readonly #links = new Set<Wire>();
  #running = 0;
  #wake: () => void = () => {};

  constructor(
    readonly context: Context,
    readonly pace: Pace,
    readonly signal: AbortSignal,
  ) {
    signal.addEventListener('abort', this.#giveUp);
  }

  get running(): number {
    return this.#running;
  }

  get busy(): boolean {
    return this.#running > 0 || this.#ended.length > 0;
  }

  /** `wire`: a link that is up already. */
  begin(entry: RosterEntry, wire: Wire | undefined): void {
    if (wire !== undefined) return this.#end({ entry, wire });
    this.#running += 1;
    void this.#dial(entry).then((wire) => {
      this.#running -= 1;
      this.#end({ entry, wire });
    });
  }

  /** The next that has ended, for the caller to see to. */
  take(): Dialled | null {
    const dialled = this.#ended.shift() ?? null;
    if (dialled?.wire) this.#links.delete(dialled.wire);
    return dialled;
  }

  /** Until a dial ends, or something is elapsed. */
  async wait(until: number | null): Promise<void> {
    if (this.#ended.length > 0 || this.#abort.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const cancel = until === null ? () => {} : this.context.clock.after(Math.max(0, until - this.context.clock.elapsed()), resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  [Symbol.dispose](): void {
    this.signal.removeEventListener('abort', this.#giveUp);
    this.#giveUp();
  }

  readonly #giveUp = (): void => {
    this.#abort.abort();
    for (const wire of this.#links) wire.close();
    this.#links.clear();
    this.#wake();
  };

  #end(dialled: Dialled): void {
    if (this.#abort.signal.aborted) return dialled.wire?.close();
    this.#ended.push(dialled);
    if (dialled.wire) this.#links.add(dialled.wire);
    this.#wake();
  }

  async #dial(entry: RosterEntry): Promise<Wire | null> {
    const { clock, dialler, identity } = this.context;
    const abort = new AbortController();
    const giveUp = (): void => abort.abort();
    const cancel = clock.after(this.pace.dial, giveUp);
    this.#abort.signal.addEventListener('abort', giveUp);
    try {
      return new Wire(await dialler.dial(entry, identity.network, abort.signal), clock);
    } catch {
      return null;
    } finally {
      cancel();
      this.#abort.signal.removeEventListener('abort', giveUp);
    }
  }
}
