/** A vault in memory: for Node, and for tests. Nothing of it outlives its process. */

import type { Batch, Table, Vault } from './vault.ts';

export class MemoryVault implements Vault {
  readonly #tables: Record<Table, Map<string, Uint8Array>> = { state: new Map(), groups: new Map(), lines: new Map() };

  async read(table: Table, key: string): Promise<Uint8Array | null> {
    return this.#tables[table].get(key)?.slice() ?? null;
  }

  async range(
    table: Table,
    prefix: string,
    { before, last = false, limit = Infinity }: { before?: string; last?: boolean; limit?: number } = {},
  ): Promise<{ key: string; value: Uint8Array }[]> {
    const inside = (key: string): boolean => key.startsWith(prefix) && (before === undefined || key < before);
    const keys = [...this.#tables[table].keys()].filter(inside).sort();
    const chosen = last ? keys.slice(Math.max(0, keys.length - limit)) : keys.slice(0, limit);
    return chosen.map((key) => ({ key, value: this.#tables[table].get(key)?.slice() ?? new Uint8Array(0) }));
  }

  async commit({ writes }: Batch): Promise<void> {
    for (const { table, key, value } of writes) {
      if (value === null) this.#tables[table].delete(key);
      else this.#tables[table].set(key, value.slice());
    }
  }

  async wipe(): Promise<void> {
    for (const table of Object.values(this.#tables)) table.clear();
  }

  close(): void {}
}
