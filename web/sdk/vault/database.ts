/** IndexedDB as promises: a database, and one transaction at a time in it. */

/** Why a database does not do what it was asked. */
export class VaultError extends Error {
  override readonly name = 'VaultError';
  constructor(
    /** `full`: no room on the disk. `unreadable`: what is kept does not open. `failed`: anything else; trying again may help. */
    readonly reason: 'full' | 'unreadable' | 'failed',
    options?: ErrorOptions,
  ) {
    super(`the database of this device: ${reason}`, options);
  }
}

function failure(error: unknown): VaultError {
  const full = error instanceof DOMException && error.name === 'QuotaExceededError';
  return new VaultError(full ? 'full' : 'failed', { cause: error });
}

/** Opens a database, and lays out the stores of a new one. */
export function openDatabase(name: string, version: number, lay: (database: IDBDatabase) => void): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, version);
    request.onupgradeneeded = () => lay(request.result);
    request.onerror = () => reject(failure(request.error));
    request.onsuccess = () => {
      // Whoever wipes it elsewhere does not wait for us.
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
  });
}

export function deleteDatabase(name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.deleteDatabase(name);
    request.onerror = () => reject(failure(request.error));
    request.onsuccess = () => resolve();
  });
}

/** What a request answers. */
export function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(failure(request.error));
  });
}

/** Issues writes in one transaction; resolves once they are durable, all of them or none. */
export function transact(database: IDBDatabase, stores: readonly string[], write: (store: (name: string) => IDBObjectStore) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let transaction: IDBTransaction | null = null;
    try {
      const begun = database.transaction(stores, 'readwrite', { durability: 'strict' });
      transaction = begun;
      begun.oncomplete = () => resolve();
      begun.onabort = () => reject(failure(begun.error));
      write((name) => begun.objectStore(name));
    } catch (error) {
      reject(failure(error));
      // What was issued before must not be committed by itself.
      transaction?.abort();
    }
  });
}
