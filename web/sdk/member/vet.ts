/** Who may stand in a group, and what a commit may change (docs/protocol.md, section 7.1). */

import type { AccountId, DeviceId } from '../client.ts';
import { equalBytes } from '../proto/bytes.ts';
import type { Change } from './mls/group.ts';
import type { Leaf } from './mls/suite.ts';
import type { Identity } from './identity.ts';
import type { People } from './people.ts';

/** Why a group, or a change of it, is not accepted. */
export type Distrust =
  /** A device of a pinned account shows another account key. */
  | { kind: 'key-changed'; account: AccountId; key: Uint8Array }
  /** An account that is no member, a device twice, a removal that is not the committer's business. */
  | { kind: 'rules' };

const RULES: Distrust = { kind: 'rules' };

/** Who stands where in a group. */
export interface Standing {
  account: AccountId;
  device: DeviceId;
}

/**
 * Checks everybody in a group: this device is in it; no device stands there twice; each account's devices are bound by one account
 * key, the pinned one if there is any; and a one-to-one conversation (`peer`) is of its two accounts.
 */
export function vet(leaves: readonly Leaf[], own: Identity, peer: AccountId | null, people: People): Distrust | null {
  const devices = new Set(leaves.map(({ device }) => device));
  if (devices.size !== leaves.length || !devices.has(own.device)) return RULES;
  const keys = new Map<AccountId, Uint8Array>();
  for (const { account, accountKey } of leaves) {
    if (account === own.account) {
      if (!equalBytes(accountKey, own.accountKey)) return RULES;
      continue;
    }
    if (peer !== null && peer !== account) return RULES;
    const standing = people.standing(account, accountKey);
    if (standing === 'changed') return { kind: 'key-changed', account, key: accountKey };
    const first = keys.get(account) ?? accountKey;
    keys.set(account, first);
    if (standing === 'unknown' && !equalBytes(first, accountKey)) return RULES;
  }
  return null;
}

/** What is known of a conversation where a commit stands in the log. */
export interface Circumstances {
  /** Members before the commit. */
  members: readonly AccountId[];
  /** Devices in the group before the commit. */
  leaves: readonly Standing[];
  /** As the log entry says. */
  added: readonly AccountId[];
  removed: readonly AccountId[];
}

/**
 * Checks what a commit did. An external commit adds a device of a member and removes at most that device's old leaf. A member's
 * commit adds devices of members and of accounts that stand in `added`, and removes devices of its maker's account, of accounts in
 * `removed`, and of those that are no members.
 */
export function vetChange(change: Omit<Change, 'group'>, at: Circumstances): Distrust | null {
  const { by } = change;
  const isMember = (account: AccountId): boolean => at.members.includes(account);
  const isOwnLeaf = (leaf: Leaf): boolean => leaf.account === by.account && leaf.device === by.device;
  if (change.external) {
    return isMember(by.account) && change.added.every(isOwnLeaf) && change.removed.every(isOwnLeaf) ? null : RULES;
  }
  const mayCome = ({ account }: Leaf): boolean => isMember(account) || at.added.includes(account);
  const mayGo = ({ account }: Leaf): boolean => account === by.account || at.removed.includes(account) || !isMember(account);
  const stands = at.leaves.some(({ account, device }) => account === by.account && device === by.device);
  return stands && change.added.every(mayCome) && change.removed.every(mayGo) ? null : RULES;
}
