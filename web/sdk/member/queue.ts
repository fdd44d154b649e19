/**
 * Messages of this device on their way into a log.
 *
 * Each has its number from the moment that it is written, and is persisted then: as plaintext until it stands in the log, and sealed
 * from when it was sealed, so that a retry carries the same bytes. They leave in order, one after the other.
 */

import type { ConversationId } from '../client.ts';
import { hex, unhex } from '../proto/bytes.ts';
import type { Vault } from '../vault/vault.ts';
import { hasFields, readJson, type Changes } from './changes.ts';
import type { Said } from './content.ts';

const QUEUE_PREFIX = 'queue/';

/** Messages of one conversation that wait: some days of writing without a network. */
export const QUEUE_MAX = 1_000;

const DIGITS = 16;

/** The bytes that leave. */
export interface Sealed {
  generation: number;
  epoch: number;
  bytes: Uint8Array;
}

/** A message that is not in the log yet, as far as this device knows. */
export interface Queued {
  number: number;
  said: Said;
  sentAtMs: number;
  sealed: Sealed | null;
  /** It is in the log; its place comes with the log. */
  isInLog: boolean;
}

interface Kept {
  said: Said;
  sentAtMs: number;
  sealed: { generation: number; epoch: number; bytes: string } | null;
}

export class Queue {
  /** Refusals since the last success. */
  failures = 0;
  /** Left alone until the next session. */
  isPaused = false;
  #entries: Queued[] = [];

  constructor(private readonly conversation: ConversationId) {}

  /** All queues that were kept. */
  static async load(vault: Vault): Promise<Map<ConversationId, Queue>> {
    const queues = new Map<ConversationId, Queue>();
    for (const { key, value } of await vault.range('state', QUEUE_PREFIX)) {
      const [, conversation, number] = key.split('/');
      const kept = readJson(value, hasFields<Kept>('said', 'sentAtMs', 'sealed'));
      if (conversation === undefined || number === undefined || kept === null) continue;
      const queue = queues.get(conversation) ?? new Queue(conversation);
      queues.set(conversation, queue);
      const bytes = kept.sealed && unhex(kept.sealed.bytes);
      const sealed = kept.sealed && bytes && { ...kept.sealed, bytes };
      queue.#entries.push({ number: Number(number), said: kept.said, sentAtMs: kept.sentAtMs, sealed, isInLog: false });
    }
    return queues;
  }

  get entries(): readonly Queued[] {
    return this.#entries;
  }

  get isFull(): boolean {
    return this.#entries.length >= QUEUE_MAX;
  }

  /** The next message to leave. */
  get next(): Queued | null {
    return this.#entries.find(({ isInLog }) => !isInLog) ?? null;
  }

  push(queued: Queued, changes: Changes): void {
    this.#entries.push(queued);
    this.#write(queued, changes);
  }

  seal(queued: Queued, sealed: Sealed | null, changes: Changes): void {
    queued.sealed = sealed;
    this.#write(queued, changes);
  }

  /** Throws away what was sealed for a state of the group that is gone. */
  unseal(changes: Changes): void {
    for (const queued of this.#entries) if (queued.sealed !== null) this.seal(queued, null, changes);
  }

  /** The supernode says that the log holds this device's messages up to a number. */
  markSent(sent: number): void {
    for (const queued of this.#entries) if (queued.number <= sent) queued.isInLog = true;
  }

  /** Takes a message out that stands in the log. */
  take(number: number, changes: Changes): Queued | null {
    const queued = this.#entries.find((entry) => entry.number === number);
    if (queued === undefined) return null;
    this.#entries = this.#entries.filter((entry) => entry !== queued);
    changes.remove('state', this.#key(number));
    return queued;
  }

  erase(changes: Changes): void {
    for (const { number } of this.#entries) changes.remove('state', this.#key(number));
    this.#entries = [];
  }

  #write({ number, said, sentAtMs, sealed }: Queued, changes: Changes): void {
    const kept: Kept = { said, sentAtMs, sealed: sealed && { ...sealed, bytes: hex(sealed.bytes) } };
    changes.putJson('state', this.#key(number), kept);
  }

  #key(number: number): string {
    return `${QUEUE_PREFIX}${this.conversation}/${String(number).padStart(DIGITS, '0')}`;
  }
}
