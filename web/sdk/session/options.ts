/** What a session is opened with, and what its owner has of it. */

import type { Environment } from '../account/authority.ts';
import type { Online } from '../client.ts';
import type { Clock, Share } from '../link/clock.ts';
import type { Dialler } from '../link/dial.ts';
import type { Identity } from '../vault/identity.ts';
import type { Vault } from '../vault/vault.ts';
import type { Upper } from './uplink.ts';

/** Why a session has stopped and can't go on. */
export type StopReason = 'revoked' | 'replaced' | 'version' | 'clock' | 'storage';

export interface Stopped {
  reason: StopReason;
  /** One sentence for a person. */
  text: string;
}

export interface SessionOptions {
  identity: Identity;
  upper: Upper;
  dialler: Dialler;
  /** Makes an identity durable that has a newer credential, roster or signing keys. */
  keep(identity: Identity): Promise<void>;
  /** Where round trips are remembered; not at all if there is none. */
  vault?: Vault;
  clock?: Clock;
  share?: Share;
  environment?: Environment;
  /** Program and release, for the census; at most 64 bytes. */
  agent?: string;
}

/** A session that is kept up. */
export interface SessionHandle {
  /** As it is now. */
  readonly identity: Identity;
  /** Where it is, `null` while it is lost or its link silent. */
  online(): Online | null;
  /** Tells each change, until the answer is called. */
  onOnline(listener: (online: Online | null) => void): () => void;
  /** Tells once, should it stop by itself. */
  onStopped(listener: (stopped: Stopped) => void): () => void;
  close(): void;
}
