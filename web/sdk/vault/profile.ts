/** A profile: one signed-in device, its identity and its state. Forgetting it leaves nothing behind. */

import { deviceKeyOf, type KeptDeviceKey } from '../proto/device-key.ts';
import { answer, transact } from './database.ts';
import { decodeRecord, encodeRecord, type Identity } from './identity.ts';
import { IndexedDbVault, KEYS } from './indexed-db.ts';
import { MemoryVault } from './memory.ts';
import type { Vault } from './vault.ts';

export interface Profile {
  readonly vault: Vault;
  /** Who is signed in, `null`: nobody. */
  identity(): Promise<Identity | null>;
  /** Resolves once it is durable. */
  keep(identity: Identity): Promise<void>;
  /** Forgets identity, state and keys; the profile is closed then. */
  forget(): Promise<void>;
  close(): void;
}

const IDENTITY = 'identity';

interface KeptIdentity {
  deviceKey: KeptDeviceKey;
  sealed: Uint8Array<ArrayBuffer>;
}

/** Opens the profile of this name in the browser. */
export async function openProfile(name: string): Promise<Profile> {
  const vault = await IndexedDbVault.open(name);
  return {
    vault,
    async identity() {
      const kept: KeptIdentity | undefined = await answer(vault.database.transaction(KEYS).objectStore(KEYS).get(IDENTITY));
      if (kept === undefined) return null;
      const record = decodeRecord(await vault.open(KEYS, IDENTITY, kept.sealed));
      return { ...record, deviceKey: deviceKeyOf(kept.deviceKey) };
    },
    async keep({ deviceKey, ...record }) {
      const kept: KeptIdentity = { deviceKey: deviceKey.kept, sealed: await vault.seal(KEYS, IDENTITY, encodeRecord(record)) };
      await transact(vault.database, [KEYS], (store) => store(KEYS).put(kept, IDENTITY));
    },
    forget: () => vault.wipe(),
    close: () => vault.close(),
  };
}

/** A profile that its process takes with it. */
export function memoryProfile(): Profile {
  const vault = new MemoryVault();
  let kept: Identity | null = null;
  return {
    vault,
    identity: () => Promise.resolve(kept && { ...kept }),
    keep: (identity) => {
      kept = { ...identity };
      return Promise.resolve();
    },
    forget: () => {
      kept = null;
      return vault.wipe();
    },
    close: () => vault.close(),
  };
}
