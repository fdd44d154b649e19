/** What is persisted of a conversation beside its groups and lines. */

import type { AccountId, ConversationId, Line, Receipt } from '../client.ts';
import type { Standing } from './vet.ts';

export const RECORD_PREFIX = 'conversation/';
export const ROLL_PREFIX = 'roll/';

/** With whom a conversation is. */
export type Kind = { pair: AccountId } | 'group';

/** The voice secret of an epoch, hexadecimal. */
export interface EpochSecret {
  epoch: number;
  secret: string;
}

/** Written with every entry of the log. */
export interface ConversationRecord {
  generation: number;
  /** The epoch that this device's group stands in; `null`: it is not in the group. */
  epoch: number | null;
  /** Epochs before, of which what is sealed still opens; oldest first. */
  past: number[];
  /** Last log entry taken in. */
  head: number;
  /** `null` until the supernode has said. */
  kind: Kind | null;
  /** Number of this device's last message, sent or not. */
  last: number;
  /** How far this account has read. */
  read: number;
  unread: number;
  /** Serial of the last receipt taken in. */
  receiptsSerial: number;
  /** How far each other account has received and read, on the furthest of its devices. */
  receipts: Receipt[];
  /** There is something to tell of what was received and read. */
  receiptOwed: boolean;
  /** SHA-256, hexadecimal, of the commit of this device that may be in the log. */
  pending: string | null;
  /** Of the present epoch and a few before it, oldest first. */
  voice: EpochSecret[];
  lastLine: Line | null;
}

/** Who is in a conversation, and what it is called. */
export interface Roll {
  /** Devices in the group. */
  leaves: Standing[];
  /** Accounts in a group, by how long they have been: the first is its owner. Empty: not known. */
  members: AccountId[];
  /** Empty: not known. */
  title: string;
  /** The log entry that said so. */
  titleAt: number;
  /** The supernode has to be asked who is a member. */
  due: boolean;
}

export function newRecord(generation: number, kind: Kind | null): ConversationRecord {
  return {
    generation,
    epoch: null,
    past: [],
    head: 0,
    kind,
    last: 0,
    read: 0,
    unread: 0,
    receiptsSerial: 0,
    receipts: [],
    receiptOwed: false,
    pending: null,
    voice: [],
    lastLine: null,
  };
}

export function newRoll(): Roll {
  return { leaves: [], members: [], title: '', titleAt: 0, due: true };
}

/** The keys of a group's values in table `groups`. */
export function groupKey(conversation: ConversationId, epoch: number | 'pending', part: 'tree' | 'ratchets'): string {
  return `${conversation}/${epoch}/${part}`;
}
