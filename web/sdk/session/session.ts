/**
 * Keeps one session up, through whatever happens to its links (docs/protocol.md, section 5).
 *
 * Inputs are the clock, what comes on links, and the browser's word that the network is back; what it does is tell its {@link Upper}.
 */

import { create } from '@bufbuild/protobuf';

import { PLATFORM } from '../account/authority.ts';
import type { Online } from '../client.ts';
import { SYSTEM_CLOCK, type Clock, type Share } from '../link/clock.ts';
import type { Dialler } from '../link/dial.ts';
import type { LinkEnd } from '../link/link.ts';
import type { RosterEntry } from '../proto/document.ts';
import { CALL_SILENCE_MS, PING_TIMEOUT_MS } from '../proto/limits.ts';
import { ErrorCode, RenewSessionSchema, Urgency } from '../proto/messages.ts';
import type { Identity } from '../vault/identity.ts';
import type { Vault } from '../vault/vault.ts';
import { Backoff, SPREAD_MS } from './backoff.ts';
import { Channel } from './channel.ts';
import { connect, ConnectError, reconnect, type Context, type Route } from './connect.ts';
import { Departure } from './departure.ts';
import { decodeRoundTrips, encodeRoundTrips, Fleet } from './fleet.ts';
import type { SessionHandle, SessionOptions, Stopped, StopReason } from './options.ts';
import { Pulse } from './pulse.ts';
import { LOOK_EVERY_MS, Renewal } from './renewal.ts';
import type { Session } from './sign-in.ts';
import type { ReplyBody, Upper } from './uplink.ts';

const AGENT = 'ahoy-web/0.1.0';

/** The row of the vault's `state` that is the session's own. */
const ROUND_TRIPS = 'session/round-trips';

/** How long an old link is kept in a call: voice that is under way comes by it. */
const PART_AFTER_MS = 2_000;

/** Of a session that has given way to one of ours. */
const NEVER_CAME: LinkEnd = { code: null, text: 'it gave way to a session that did not come about' };

/** The longest pause that a supernode can ask for. */
const RETRY_AFTER_MAX_MS = 300_000;

/** A proof that was given up may be taken up so much later, and its session replace the present one. */
const ABANDONED_MS = 30_000;

/** How often it is looked whether a call still is, while a session is dialled for its sake. */
const CALL_LOOK_MS = 100;

export function openSession(options: SessionOptions): SessionHandle {
  return new Driver(options);
}

/** A session that is being sought. */
interface Attempt {
  abort: AbortController;
  inCall: boolean;
}

class Driver implements SessionHandle {
  readonly #upper: Upper;
  readonly #dialler: Dialler;
  readonly #renewal: Renewal;
  readonly #vault: Vault | null;
  readonly #clock: Clock;
  readonly #share: Share;
  readonly #agent: string;
  readonly #backoff = new Backoff();
  #fleet: Fleet;
  #channel: Channel | null = null;
  #pulse: Pulse | null = null;
  /** The channel has ended, and given way to one of ours whose welcome is on its way. */
  #isSuperseded = false;
  /** The supernode used last. */
  #last: string | null = null;
  #attempt: Attempt | null = null;
  #cancelRetry: (() => void) | null = null;
  /** The session that is to take the place of the one that there is. */
  #move: Attempt | null = null;
  readonly #departure: Departure;
  /** The link before, while it is kept. */
  #parting: { channel: Channel; cancel: () => void } | null = null;
  #resync: { at: number; cancel: () => void } | null = null;
  /** When a session of ours was given up, or not heard to end, that a supernode may have all the same. */
  #abandonedAt = -Infinity;
  #cancelLook: () => void = () => {};
  #toldOnline = false;
  #over = false;
  readonly #onlineListeners = new Set<(online: Online | null) => void>();
  readonly #stoppedListeners = new Set<(stopped: Stopped) => void>();

  constructor(options: SessionOptions) {
    this.#upper = options.upper;
    this.#dialler = options.dialler;
    this.#vault = options.vault ?? null;
    this.#clock = options.clock ?? SYSTEM_CLOCK;
    this.#share = options.share ?? Math.random;
    this.#agent = options.agent ?? AGENT;
    this.#fleet = new Fleet(this.#clock);
    this.#renewal = new Renewal(options.identity, this.#clock, options.environment ?? PLATFORM, {
      keep: options.keep,
      handleFresh: () => this.#renewSession(),
      handleStop: (reason, text) => this.#stop(reason, text),
    });
    this.#departure = new Departure(this.#clock, this.#share, () => this.#leave());
    globalThis.addEventListener?.('online', this.#handleNetwork);
    void this.#start();
  }

  get identity(): Identity {
    return this.#renewal.identity;
  }

  online(): Online | null {
    if (this.#channel === null || this.#pulse?.isSilent || (this.#isSuperseded && !this.#toldOnline)) return null;
    const { wire, entry, skewMs } = this.#channel.session;
    return { region: entry.region, transport: wire.link.transport, roundTripMs: Math.round(wire.roundTripMs ?? 0), skewMs };
  }

  onOnline(listener: (online: Online | null) => void): () => void {
    this.#onlineListeners.add(listener);
    return () => this.#onlineListeners.delete(listener);
  }

  onStopped(listener: (stopped: Stopped) => void): () => void {
    this.#stoppedListeners.add(listener);
    return () => this.#stoppedListeners.delete(listener);
  }

  close(): void {
    if (this.#over) return;
    this.#over = true;
    globalThis.removeEventListener?.('online', this.#handleNetwork);
    this.#cancelLook();
    this.#forgetAttempts();
    this.#part();
    this.#pulse?.stop();
    this.#channel?.close();
    [this.#channel, this.#pulse] = [null, null];
  }

  async #start(): Promise<void> {
    const kept = await this.#vault?.read('state', ROUND_TRIPS).catch(() => null);
    this.#fleet = new Fleet(this.#clock, kept ? decodeRoundTrips(kept) : []);
    if (this.#over) return;
    this.#look();
    this.#begin();
  }

  // Attempts

  /** Seeks a session; what was sought before is given up. */
  #begin(): void {
    this.#cancelRetry?.();
    this.#cancelRetry = null;
    this.#giveUp(this.#attempt);
    const inCall = this.#upper.isInCall();
    this.#attempt = this.#run(inCall, async (signal) => {
      await this.#renewal.freshen();
      signal.throwIfAborted();
      const route = this.#route(inCall);
      return inCall ? reconnect(route, this.#context(inCall), signal) : connect(route, this.#context(inCall), signal);
    });
    if (inCall) this.#watchAttempt(this.#attempt);
  }

  #run(inCall: boolean, seek: (signal: AbortSignal) => Promise<Session>): Attempt {
    const attempt: Attempt = { abort: new AbortController(), inCall };
    seek(attempt.abort.signal).then(
      (session) => {
        if (this.#attempt === attempt || this.#move === attempt) this.#handleSession(session);
        else session.wire.close();
      },
      (error: unknown) => {
        if (this.#attempt === attempt) this.#handleNoSession(error);
        else if (this.#move === attempt) this.#handleNotMoved(error);
      },
    );
    return attempt;
  }

  /** A call that ends takes the hurry out of what is sought for its sake. */
  #watchAttempt(attempt: Attempt): void {
    this.#clock.after(CALL_LOOK_MS, () => {
      if (this.#attempt !== attempt) return;
      if (this.#upper.isInCall()) return this.#watchAttempt(attempt);
      this.#giveUp(attempt);
      this.#attempt = null;
      if (this.#loseSuperseded()) return;
      this.#retryIn(this.#waitAfterFailure(0));
    });
  }

  /** What it proved may be taken up all the same. */
  #giveUp(attempt: Attempt | null): void {
    if (attempt === null) return;
    attempt.abort.abort();
    this.#abandonedAt = this.#clock.elapsed();
  }

  #forgetAttempts(): void {
    for (const attempt of [this.#attempt, this.#move]) attempt?.abort.abort();
    [this.#attempt, this.#move] = [null, null];
    this.#cancelRetry?.();
    this.#cancelRetry = null;
    this.#departure.forget();
    this.#resync?.cancel();
    this.#resync = null;
  }

  #retryIn(ms: number): void {
    this.#cancelRetry?.();
    this.#cancelRetry = this.#clock.after(ms, () => this.#begin());
  }

  /** After a session was lost or an attempt failed. Those who were asked to wait for as long do not come back in the same moment. */
  #waitAfterFailure(retryAfterMs: number): number {
    const isFleet = this.#roster().length > 1;
    const wait = this.#backoff.handleFailure(this.#clock.elapsed(), { share: this.#share(), leastMs: isFleet ? SPREAD_MS : 0 });
    return Math.min(retryAfterMs, RETRY_AFTER_MAX_MS) + wait;
  }

  #roster(): RosterEntry[] {
    return this.#renewal.roster?.supernodes ?? [];
  }

  /** While the present link is only silent its supernode is the first to be tried; in a call, when it has ended, the last. */
  #route(inCall: boolean): Route {
    const roster = this.#roster();
    this.#fleet.prune(roster);
    const entries = this.#fleet.order(this.identity.account, roster);
    const survey = inCall || this.#channel !== null ? [] : this.#fleet.survey(entries);
    const isLast = ({ supernode }: RosterEntry): boolean => supernode === this.#last;
    // Nobody, where it has left the roster.
    const last = entries.filter(isLast);
    const others = entries.filter((entry) => !isLast(entry));
    if (this.#channel !== null && !this.#isSuperseded) return { entries: [...last, ...others], isSilent: last.length > 0, survey };
    return { entries: inCall ? [...others, ...last] : entries, isSilent: false, survey };
  }

  #context(inCall: boolean): Context {
    return {
      identity: this.identity,
      urgency: inCall ? Urgency.IN_CALL : this.#last === null ? Urgency.UNSPECIFIED : Urgency.RESUME,
      agent: this.#agent,
      clock: this.#clock,
      dialler: this.#dialler,
      fleet: this.#fleet,
      doubtRoster: () => this.#renewal.doubtRoster(),
      noteAbandonedProof: () => {
        this.#abandonedAt = this.#clock.elapsed();
      },
    };
  }

  #handleSession(session: Session): void {
    const [old, pulse] = [this.#channel, this.#pulse];
    if (old !== null) this.#abandonedAt = this.#clock.elapsed();
    this.#isSuperseded = false;
    this.#forgetAttempts();
    this.#backoff.handleUp(this.#clock.elapsed());
    this.#last = session.entry.supernode;
    pulse?.stop();
    old?.retire();
    if (old !== null) this.#partFrom(old);
    const channel: Channel = new Channel(session, this.#clock, {
      handleEvent: (body) => this.#handleEvent(body),
      handleDatagram: (bytes) => this.#upper.handleDatagram(bytes),
      handleHeard: () => {
        if (this.#channel === channel) this.#pulse?.handleHeard();
      },
      handleEnd: (end, retryAfterMs) => this.#handleEnd(end, retryAfterMs),
      handleAsked: () => this.#pulse?.handleRequest(),
    });
    this.#channel = channel;
    this.#pulse = new Pulse(session.wire, session.welcome.keepaliveMs, this.#clock, this.#vital(), this.#share);
    // What was rejected above is seen to before.
    queueMicrotask(() => {
      if (this.#channel !== channel) return;
      this.#upper.handleUp(channel, old !== null);
      channel.open();
      this.#toldOnline = false;
      this.#tellOnline(true);
      this.#renewSession();
      this.#lookAtRoster(session);
    });
  }

  #handleNoSession(error: unknown): void {
    this.#attempt = null;
    const refusal = error instanceof ConnectError ? error.signIn : null;
    if (refusal?.code === ErrorCode.CREDENTIAL_EXPIRED) void this.#renewal.renew();
    else if (refusal?.isFinal) return this.#stop(reasonOf(refusal), refusal.message);
    else this.#renewal.askForRoster();
    if (this.#loseSuperseded()) return;
    this.#retryIn(this.#waitAfterFailure(refusal?.retryAfterMs ?? 0));
  }

  // The session's link

  #vital(): ConstructorParameters<typeof Pulse>[3] {
    return {
      isInCall: () => this.#upper.isInCall(),
      // Another session is sought beside it; what waits for an answer waits on.
      handleSilent: () => {
        this.#tellOnline(false);
        this.#begin();
      },
      // What was dialled in its place is not needed.
      handleAlive: () => {
        this.#giveUp(this.#attempt);
        this.#attempt = null;
        this.#cancelRetry?.();
        this.#cancelRetry = null;
        this.#tellOnline(true);
      },
      handleLost: () => {
        this.#channel?.close();
        this.#lose({ code: null, text: 'the link is silent' }, 0);
      },
    };
  }

  #handleEvent(body: ReplyBody): void {
    if (body.case === 'goAway') {
      if (this.#channel !== null) this.#departure.handleGoAway(body.value, this.#channel.session.entry.supernode);
    } else if (body.case === 'resync') {
      this.#handleResync(body.value.spreadMs * this.#share());
    } else {
      this.#upper.handleEvent(body);
      this.#pulse?.watch();
    }
  }

  /** The old supernode's word of a newer session may come before the new one's: nothing is lost then, and what is under way goes on. */
  #handleEnd(end: LinkEnd, retryAfterMs: number): void {
    if (end.code !== ErrorCode.SESSION_REPLACED || !this.#seeks) return this.#lose(end, retryAfterMs);
    this.#isSuperseded = true;
    this.#pulse?.stop();
    this.#pulse = null;
    const channel = this.#channel;
    // As long as a link may say nothing.
    this.#clock.after(this.#upper.isInCall() ? CALL_SILENCE_MS : PING_TIMEOUT_MS, () => {
      if (this.#isSuperseded && this.#channel === channel) this.#lose(NEVER_CAME, 0);
    });
  }

  /** What was under way has come to nothing: a session that gave way to it is lost, and what is next is settled. `false`: none has. */
  #loseSuperseded(): boolean {
    const loses = this.#isSuperseded && !this.#seeks;
    if (loses) this.#lose(NEVER_CAME, 0);
    return loses;
  }

  /** The session is gone: in a call dials at once, else waits a random while. */
  #lose({ code, text }: LinkEnd, retryAfterMs: number): void {
    const channel = this.#channel;
    if (channel === null) return;
    this.#pulse?.stop();
    [this.#channel, this.#pulse, this.#isSuperseded] = [null, null, false];
    // It closes links because it goes down, is full or has enough of us: others are tried first.
    if (code !== null) this.#fleet.shelve(channel.session.entry.supernode, retryAfterMs);
    // Not heard to end, it may be there for a while.
    else this.#abandonedAt = this.#clock.elapsed();
    const leaveMs = this.#departure.pendingMs;
    this.#departure.forget();
    this.#resync?.cancel();
    this.#resync = null;
    this.#part();
    this.#upper.handleDown();
    this.#tellOnline(false);
    if (code === ErrorCode.CREDENTIAL_REVOKED) return this.#stop('revoked', text);
    if (code === ErrorCode.SESSION_REPLACED && this.#isStranger()) return this.#stop('replaced', 'this device signed in elsewhere');
    if (code === ErrorCode.CREDENTIAL_EXPIRED) void this.#renewal.renew();
    this.#seekAfterLoss(this.#waitAfterFailure(retryAfterMs), leaveMs);
  }

  #seekAfterLoss(wait: number, leaveMs: number | null): void {
    const move = this.#move;
    this.#move = null;
    if (this.#upper.isInCall()) {
      this.#giveUp(move);
      // What is sought in a hurry already goes on.
      if (!this.#attempt?.inCall) this.#begin();
    } else if (this.#attempt === null && this.#cancelRetry === null) {
      // What is under way elsewhere is the next session.
      this.#attempt = move;
      // Whoever was asked to go at a moment to come goes then: all others go as well.
      if (move === null) this.#retryIn(leaveMs ?? wait);
    } else {
      this.#giveUp(move);
    }
  }

  get #seeks(): boolean {
    return this.#attempt !== null || this.#move !== null;
  }

  /** Whether a session that replaced ours was not made here. */
  #isStranger(): boolean {
    return !this.#seeks && this.#clock.elapsed() - this.#abandonedAt > ABANDONED_MS;
  }

  #handleResync(waitMs: number): void {
    const at = this.#clock.elapsed() + waitMs;
    if (this.#resync !== null && this.#resync.at <= at) return;
    this.#resync?.cancel();
    this.#resync = null;
    if (waitMs <= 0) return this.#resyncNow();
    this.#resync = { at, cancel: this.#clock.after(waitMs, () => this.#resyncNow()) };
  }

  #resyncNow(): void {
    this.#resync = null;
    const channel = this.#channel;
    channel?.resync();
    queueMicrotask(() => {
      if (channel !== null && this.#channel === channel) this.#upper.handleResync(channel);
    });
  }

  // Going elsewhere

  #leave(): void {
    const present = this.#channel?.session.entry.supernode;
    if (present === undefined || this.#move !== null) return;
    const entries = this.#route(false).entries.filter(({ supernode }) => supernode !== present);
    const { to } = this.#departure;
    const named = entries.filter(({ supernode }) => supernode === to);
    if (to !== null && named.length === 0 && this.#departure.seekRoster()) {
      void this.#renewal.fetchRoster().then(() => this.#departure.handleRoster());
      return;
    }
    // It is kept until it ends.
    if (entries.length === 0) return this.#departure.forget();
    const route = { entries: [...named, ...entries.filter(({ supernode }) => supernode !== to)], isSilent: false, survey: [] };
    const inCall = this.#upper.isInCall();
    this.#move = this.#run(inCall, (signal) => connect(route, this.#context(inCall), signal));
  }

  /** No session elsewhere: the one that there is goes on. */
  #handleNotMoved(error: unknown): void {
    this.#move = null;
    this.#renewal.settleDoubt();
    if (this.#loseSuperseded()) return;
    this.#departure.handleFailure(error instanceof ConnectError ? (error.signIn?.retryAfterMs ?? 0) : 0);
  }

  #partFrom(old: Channel): void {
    this.#part();
    if (!this.#upper.isInCall()) return old.close();
    const cancel = this.#clock.after(PART_AFTER_MS, () => this.#part());
    this.#parting = { channel: old, cancel };
  }

  #part(): void {
    this.#parting?.cancel();
    this.#parting?.channel.session.wire.close();
    this.#parting = null;
  }

  /** The browser says that the network is back, or another one. */
  readonly #handleNetwork = (): void => {
    if (this.#over) return;
    if (this.#channel !== null) this.#pulse?.ask();
    if (this.#cancelRetry !== null) this.#begin();
  };

  // The authority

  #look(): void {
    this.#cancelLook = this.#clock.after(LOOK_EVERY_MS, () => this.#look());
    this.#renewal.look();
    this.#keepRoundTrips();
  }

  /** Lets the session go on with the newest credential, if it was opened with an older one. */
  #renewSession(): void {
    const session = this.#channel?.session;
    if (session === undefined || session.credential === this.identity.credential) return;
    session.credential = this.identity.credential;
    const value = create(RenewSessionSchema, { credential: session.credential });
    // Where it is refused the session ends with the old one, and the next begins with this.
    this.#channel?.request({ case: 'renewSession', value }).catch(() => undefined);
  }

  #lookAtRoster({ welcome }: Session): void {
    const known = this.#renewal.roster?.serial ?? 0;
    if (welcome.rosterSerial > BigInt(known)) void this.#renewal.fetchRoster();
    else this.#renewal.settleDoubt();
  }

  #keepRoundTrips(): void {
    const session = this.#channel?.session;
    if (session?.wire.roundTripMs) this.#fleet.measured(session.entry.supernode, session.wire.roundTripMs);
    const changed = this.#fleet.takeChanged();
    if (changed === null) return;
    const value = encodeRoundTrips(changed);
    // Without them the next start measures anew.
    this.#vault?.commit({ writes: [{ table: 'state', key: ROUND_TRIPS, value }] }).catch(() => undefined);
  }

  // What is told

  #tellOnline(up: boolean): void {
    if (this.#toldOnline === up) return;
    this.#toldOnline = up;
    const online = this.online();
    if (up) this.#keepRoundTrips();
    for (const listener of this.#onlineListeners) listener(up ? online : null);
  }

  #stop(reason: StopReason, text: string): void {
    if (this.#over) return;
    const wasUp = this.#channel !== null;
    this.close();
    if (wasUp) this.#upper.handleDown();
    this.#tellOnline(false);
    for (const listener of this.#stoppedListeners) listener({ reason, text });
  }
}

function reasonOf({ fault, code }: { fault: string; code: ErrorCode | null }): StopReason {
  if (fault === 'version' || code === ErrorCode.VERSION_TOO_OLD) return 'version';
  return fault === 'clock' ? 'clock' : 'revoked';
}
