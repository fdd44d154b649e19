/**
 * Where a device keeps its state: one transaction commits what came of one thing, so that nothing is taken in twice or lost.
 *
 * Keys are text, values bytes. Implementations seal values before they are written.
 */

/** What is to be committed in one transaction: by table and key, a value or `null` to remove it. */
export interface Batch {
  writes: { table: Table; key: string; value: Uint8Array | null }[];
}

/** `state`: small things by name. `lines`: history, by conversation and position; see {@link Vault.range}. */
export type Table = 'state' | 'groups' | 'lines';

export interface Vault {
  read(table: Table, key: string): Promise<Uint8Array | null>;
  /** Entries whose keys begin so and are below `before`, in the order of keys; with `last`, only the last `limit` of them. */
  range(table: Table, prefix: string, options?: { before?: string; last?: boolean; limit?: number }): Promise<{ key: string; value: Uint8Array }[]>;
  /** Resolves once it is durable; all of it or nothing. */
  commit(batch: Batch): Promise<void>;
  /** Forgets everything, keys included. */
  wipe(): Promise<void>;
  close(): void;
}
