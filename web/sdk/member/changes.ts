/**
 * What comes of one thing: writes that are committed in one transaction, and what is told of them, once that is durable.
 */

import type { Event } from '../client.ts';
import { unutf8, utf8 } from '../proto/bytes.ts';
import type { Batch, Table, Vault } from '../vault/vault.ts';

export class Changes {
  readonly #writes = new Map<string, Batch['writes'][number]>();
  readonly #events: (() => Event)[] = [];

  constructor(private readonly vault: Vault) {}

  put(table: Table, key: string, value: Uint8Array): void {
    this.#writes.set(`${table}:${key}`, { table, key, value });
  }

  remove(table: Table, key: string): void {
    this.#writes.set(`${table}:${key}`, { table, key, value: null });
  }

  /** Values that JSON holds. */
  putJson(table: Table, key: string, value: unknown): void {
    this.put(table, key, utf8(JSON.stringify(value)));
  }

  /** As it will be after these changes. */
  async read(table: Table, key: string): Promise<Uint8Array | null> {
    const write = this.#writes.get(`${table}:${key}`);
    return write === undefined ? this.vault.read(table, key) : write.value;
  }

  tell(event: Event): void {
    this.#events.push(() => event);
  }

  /** Tells how a thing is once the changes are durable: meanwhile more may have come to be known of it. */
  tellLate(event: () => Event): void {
    this.#events.push(event);
  }

  /** As things are now. */
  get events(): Event[] {
    return this.#events.map((event) => event());
  }

  /** Makes it durable. */
  async commit(): Promise<void> {
    if (this.#writes.size > 0) await this.vault.commit({ writes: [...this.#writes.values()] });
  }
}

/** What {@link Changes.putJson} wrote; `null` where there is nothing, or nothing that `is` takes. */
export function readJson<T>(bytes: Uint8Array | null, is: (value: unknown) => value is T): T | null {
  const text = bytes === null ? null : unutf8(bytes);
  if (text === null) return null;
  try {
    const value: unknown = JSON.parse(text);
    return is(value) ? value : null;
  } catch {
    return null;
  }
}

/** Whether a value is an object with these fields: what this device wrote itself is checked no further. */
export function hasFields<T extends object>(...fields: (keyof T & string)[]): (value: unknown) => value is T {
  return (value): value is T => typeof value === 'object' && value !== null && fields.every((field) => field in value);
}
