/** What the parts of a member share: who this device is, and where what it knows is kept. */

import type { AccountId, Event } from '../client.ts';
import type { Vault } from '../vault/vault.ts';
import { Changes } from './changes.ts';
import type { Chance, Clock } from './clock.ts';
import type { Conversation } from './conversation.ts';
import type { Identity } from './identity.ts';
import type { Mls } from './mls/mls.ts';
import type { People } from './people.ts';
import { offline, StorageFailed } from './refusals.ts';
import type { MemberSession } from './session.ts';

/** Longest pause before a device does what others may do too: remove leaves, tell a title. */
const COURTESY_MS = 5_000;

/** How long a command waits for a session: one whose link has just come up is there within a second. */
const SESSION_WITHIN_MS = 8_000;

/** Conversations whose groups are in memory; those of 512 devices take a megabyte each. */
const WARM_MAX = 32;

export interface ScopeParts {
  identity: Identity;
  mls: Mls;
  vault: Vault;
  clock: Clock;
  chance: Chance;
  people: People;
  emit: (event: Event) => void;
  /** The vault has failed: nothing more is to be done. */
  fail: (error: unknown) => void;
}

export class Scope {
  readonly identity: Identity;
  readonly mls: Mls;
  readonly vault: Vault;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly people: People;
  /** Whether this account has blocked another. */
  isBlocked: (account: AccountId) => boolean = () => false;
  /** Tells what became of a conversation at the end of a set of changes. */
  onChanged: (conversation: Conversation, changes: Changes) => void = () => undefined;

  readonly #commits = new Set<Promise<void>>();
  readonly #waiting = new Set<(session: MemberSession | null) => void>();
  #session: MemberSession | null = null;
  #isStopped = false;
  #isClosed = false;
  /** Used last is last. */
  readonly #warmed = new Set<Conversation>();

  constructor(private readonly parts: ScopeParts) {
    this.identity = parts.identity;
    this.mls = parts.mls;
    this.vault = parts.vault;
    this.clock = parts.clock;
    this.chance = parts.chance;
    this.people = parts.people;
  }

  /** The session that is up, once this device has checked in. */
  get session(): MemberSession | null {
    return this.#session;
  }

  set session(session: MemberSession | null) {
    this.#session = session;
    if (session !== null) for (const done of [...this.#waiting]) done(session);
  }

  /** The session, for what is tried again anyway. */
  requireSession(): MemberSession {
    if (this.#session === null) throw offline();
    return this.#session;
  }

  /** The session, for a command that needs one: between a link that is up and its session there is the check-in. */
  sessionSoon(): Promise<MemberSession> {
    if (this.#session !== null) return Promise.resolve(this.#session);
    if (this.#isStopped) return Promise.reject(offline());
    return new Promise((resolve, reject) => {
      const done = (session: MemberSession | null): void => {
        cancel();
        this.#waiting.delete(done);
        if (session === null) reject(offline());
        else resolve(session);
      };
      const cancel = this.clock.after(SESSION_WITHIN_MS, () => done(null));
      this.#waiting.add(done);
    });
  }

  /** No session comes any more. */
  stop(): void {
    this.#isStopped = true;
    for (const done of [...this.#waiting]) done(null);
  }

  /** Makes changes durable, then tells of them. */
  async change<T>(task: (changes: Changes) => Promise<T> | T): Promise<T> {
    const changes = new Changes(this.vault);
    const result = await task(changes);
    await this.#finish(changes);
    return result;
  }

  /** Changes one conversation, after all other changes of it. */
  exclusive<T>(conversation: Conversation, task: (changes: Changes) => Promise<T> | T): Promise<T> {
    return conversation.serial.run(() =>
      this.change(async (changes) => {
        const result = await task(changes);
        conversation.flush(changes);
        this.onChanged(conversation, changes);
        this.#warm(conversation);
        return result;
      }),
    );
  }

  /** The one that was not used for longest lets go of its groups, after whatever it is at. */
  #warm(conversation: Conversation): void {
    this.#warmed.delete(conversation);
    this.#warmed.add(conversation);
    const [oldest] = this.#warmed;
    if (this.#warmed.size <= WARM_MAX || oldest === undefined) return;
    this.#warmed.delete(oldest);
    void oldest.serial.run(() => Promise.resolve(oldest.cool()));
  }

  emit(event: Event): void {
    this.parts.emit(event);
  }

  /** The time of day, in whole milliseconds. */
  now(): number {
    return Math.floor(this.clock.now());
  }

  /** A random part of a pause of at most five seconds. */
  courtesy(): number {
    return Math.floor(this.chance.share() * COURTESY_MS);
  }

  /** Nothing is written any more once this has resolved. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled(this.#commits);
  }

  async #finish(changes: Changes): Promise<void> {
    if (this.#isClosed) throw new StorageFailed('this device is closed');
    const commit = changes.commit();
    this.#commits.add(commit);
    try {
      await commit;
    } catch (error) {
      this.parts.fail(error);
      throw new StorageFailed('the vault has failed', { cause: error });
    } finally {
      this.#commits.delete(commit);
    }
    for (const event of changes.events) this.parts.emit(event);
  }
}
