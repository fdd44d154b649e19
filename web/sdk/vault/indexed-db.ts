/**
 * A vault in IndexedDB. Values are sealed by AES-256-GCM under a key that the platform keeps and no script can read; each is bound to its
 * table and key, so that none passes for another.
 *
 * Whoever has the disk and not the browser's own storage keys may still find the key there: this is no more than browsers offer.
 */

import { concat, label, randomBytes, utf8 } from '../proto/bytes.ts';
import { answer, deleteDatabase, openDatabase, transact, VaultError } from './database.ts';
import type { Batch, Table, Vault } from './vault.ts';

const VERSION = 1;
const TABLES: readonly Table[] = ['state', 'groups', 'lines'];

/** The store of what is no bytes: the sealing key, and the device key. */
export const KEYS = 'keys';

const SEALING_KEY = 'sealing';

/** Random nonces of 96 bits are safe for 2³² writes under one key: ten a second for 13 years. */
const NONCE_LENGTH = 12;

/** Sorts after every character that a key holds. */
const LAST = '\uffff';

interface Row {
  key: string;
  sealed: Uint8Array<ArrayBuffer>;
}

export class IndexedDbVault implements Vault {
  /** Commits are written in the order in which they were asked for, however long each takes to seal. */
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(
    readonly name: string,
    readonly database: IDBDatabase,
    readonly sealingKey: CryptoKey,
  ) {}

  static async open(name: string): Promise<IndexedDbVault> {
    const database = await openDatabase(name, VERSION, (fresh) => {
      fresh.createObjectStore(KEYS);
      for (const table of TABLES) fresh.createObjectStore(table, { keyPath: 'key' });
    });
    return new IndexedDbVault(name, database, await sealingKey(database));
  }

  async read(table: Table, key: string): Promise<Uint8Array | null> {
    const row: Row | undefined = await answer(this.#store(table).get(key));
    return row === undefined ? null : this.open(table, key, row.sealed);
  }

  async range(
    table: Table,
    prefix: string,
    { before = LAST, last = false, limit = Infinity }: { before?: string; last?: boolean; limit?: number } = {},
  ): Promise<{ key: string; value: Uint8Array }[]> {
    const end = before < prefix + LAST ? before : prefix + LAST;
    if (end <= prefix || limit <= 0) return [];
    const inside = IDBKeyRange.bound(prefix, end, false, true);
    const rows = last ? await this.#lastRows(table, inside, limit) : await this.#firstRows(table, inside, limit);
    return Promise.all(rows.map(async ({ key, sealed }) => ({ key, value: await this.open(table, key, sealed) })));
  }

  commit({ writes }: Batch): Promise<void> {
    const sealed = Promise.all(
      writes.map(async ({ table, key, value }) => ({ table, key, sealed: value && (await this.seal(table, key, value)) })),
    );
    const done = this.#tail.then(async () => {
      const rows = await sealed;
      if (rows.length === 0) return;
      await transact(this.database, [...new Set(rows.map(({ table }) => table))], (store) => {
        for (const { table, key, sealed } of rows) {
          if (sealed === null) store(table).delete(key);
          else store(table).put({ key, sealed });
        }
      });
    });
    this.#tail = done.catch(() => undefined);
    return done;
  }

  async wipe(): Promise<void> {
    await this.#tail;
    this.database.close();
    await deleteDatabase(this.name);
  }

  close(): void {
    this.database.close();
  }

  async seal(table: string, key: string, value: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
    const nonce = randomBytes(NONCE_LENGTH);
    return concat(nonce, new Uint8Array(await crypto.subtle.encrypt(parameters(table, key, nonce), this.sealingKey, concat(value))));
  }

  async open(table: string, key: string, sealed: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
    try {
      const named = parameters(table, key, sealed.subarray(0, NONCE_LENGTH));
      return new Uint8Array(await crypto.subtle.decrypt(named, this.sealingKey, sealed.subarray(NONCE_LENGTH)));
    } catch (error) {
      throw new VaultError('unreadable', { cause: error });
    }
  }

  #store(table: Table): IDBObjectStore {
    try {
      return this.database.transaction(table).objectStore(table);
    } catch (error) {
      // It was closed, or wiped elsewhere.
      throw new VaultError('failed', { cause: error });
    }
  }

  async #firstRows(table: Table, inside: IDBKeyRange, limit: number): Promise<Row[]> {
    return answer(Number.isFinite(limit) ? this.#store(table).getAll(inside, limit) : this.#store(table).getAll(inside));
  }

  #lastRows(table: Table, inside: IDBKeyRange, limit: number): Promise<Row[]> {
    return new Promise((resolve, reject) => {
      const rows: Row[] = [];
      const request = this.#store(table).openCursor(inside, 'prev');
      request.onerror = () => reject(new VaultError('failed', { cause: request.error }));
      request.onsuccess = () => {
        const cursor = request.result;
        if (cursor === null || rows.length >= limit) return resolve(rows.reverse());
        rows.push(cursor.value);
        cursor.continue();
      };
    });
  }
}

function parameters(table: string, key: string, nonce: Uint8Array<ArrayBuffer>): AesGcmParams {
  return { name: 'AES-GCM', iv: nonce, additionalData: concat(label(table), utf8(key)) };
}

/** The key of this database, made when it is opened for the first time. Of two that open it at once, both get the one that is kept. */
async function sealingKey(database: IDBDatabase): Promise<CryptoKey> {
  const kept = (): Promise<CryptoKey | undefined> => answer(database.transaction(KEYS).objectStore(KEYS).get(SEALING_KEY));
  const there = await kept();
  if (there !== undefined) return there;
  const fresh = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt']);
  // `add` fails where there is one by now.
  await transact(database, [KEYS], (store) => store(KEYS).add(fresh, SEALING_KEY)).catch(() => undefined);
  const made = await kept();
  if (made === undefined) throw new VaultError('failed');
  return made;
}
