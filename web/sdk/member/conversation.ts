/**
 * One conversation on this device: its record, its MLS group in the present epoch and a few before, and what waits.
 *
 * All that changes it runs in its {@link Conversation.serial}, within one set of changes that {@link Conversation.flush} completes.
 */

import { sha256 } from '@noble/hashes/sha2.js';

import type { AccountId, ConversationId, Line, Refusal } from '../client.ts';
import { hex, unhex } from '../proto/bytes.ts';
import { GROUP_MEMBERS_MAX } from '../proto/limits.ts';
import type { InboxEntry } from '../proto/messages.ts';
import type { Vault } from '../vault/vault.ts';
import type { Changes } from './changes.ts';
import { Lines } from './lines.ts';
import { keptRatchets, keptTree, retired, type Group } from './mls/group.ts';
import { epochOf, MlsError } from './mls/message.ts';
import type { Mls } from './mls/mls.ts';
import type { Leaf } from './mls/suite.ts';
import { Queue } from './queue.ts';
import { groupKey, newRecord, newRoll, RECORD_PREFIX, ROLL_PREFIX, type ConversationRecord, type Roll } from './record.ts';
import { Serial } from './serial.ts';
import type { Standing } from './vet.ts';
import type { Wish } from './wishes.ts';

/** Epochs whose messages still open after the group has moved on: call signalling is at most seconds behind. */
const PAST_EPOCHS = 5;

/** A group that takes effect with a log entry. */
export interface Next {
  group: Group;
  epoch: number;
  leaves: readonly Leaf[];
  /** The last log entry taken in then. */
  head: number;
}

type Dirt = 'record' | 'roll' | 'tree' | 'ratchets';

export class Conversation {
  readonly serial = new Serial();
  readonly queue: Queue;
  record: ConversationRecord;
  roll: Roll;

  /** A Welcome that waits until it is known who should be in its group. */
  welcome: InboxEntry | null = null;
  /** The supernode has spoken of it in this session's list. */
  listed = false;
  /** The last log entry that the supernode spoke of. */
  knownHead = 0;
  /**
   * Number of this device's last message that was seen in the log since the session came up: a list of conversations may be older than
   * an answer that came before it.
   */
  inLog = 0;
  /** The log is to be asked for, whatever is known of it. */
  doubt = false;
  /** Refusals since something last went well. */
  failures = 0;
  /** Times in this session that the group was entered anew because its state was of no use. */
  losses = 0;
  /** The inbox reads that there were when this device found itself outside. */
  outsideSince: number | null = null;
  /** This device gave up on the group until the next session, or until a key is accepted. */
  refused: Refusal | null = null;
  /** Changes that the owner of this device wants, oldest first; they end with the session. */
  wishes: Wish[] = [];
  /** Leaves that stand for nobody are removed without waiting for others to do it. */
  sweepNow = false;
  /** Those who wait until it can be used. */
  awaiting: ((why: Refusal | null) => void)[] = [];
  /** Newest serial of receipts that the supernode spoke of. */
  receiptsKnown = 0;
  /** As it was told last. */
  told = '';
  /** This account is in it no more. */
  isGone = false;

  #group: Group | null = null;
  #pending: { group: Group; epoch: number } | null = null;
  readonly #past = new Map<number, Group>();
  readonly #dirty = new Set<Dirt>();
  readonly #dirtyPast = new Set<number>();

  constructor(
    readonly id: ConversationId,
    private readonly vault: Vault,
    kept?: { record: ConversationRecord; roll: Roll | null; queue: Queue },
  ) {
    this.record = kept?.record ?? newRecord(0, null);
    this.roll = kept?.roll ?? newRoll();
    this.queue = kept?.queue ?? new Queue(id);
    this.knownHead = this.record.head;
  }

  get isInside(): boolean {
    return this.record.epoch !== null;
  }

  get isGroup(): boolean {
    return this.record.kind === 'group';
  }

  /** The other account of a one-to-one conversation. */
  get peer(): AccountId | null {
    return this.record.kind === null || this.record.kind === 'group' ? null : this.record.kind.pair;
  }

  /** Whether the supernode spoke of entries that this device has not taken in. */
  get isBehind(): boolean {
    return this.knownHead > this.record.head;
  }

  /** Whether this device is in the group and has taken in all that it knows of. */
  get isCurrent(): boolean {
    return this.isInside && this.record.kind !== null && !this.roll.due && !this.isBehind && !this.doubt && this.refused === null;
  }

  /** All accounts in it, the owner of a group first. */
  members(own: AccountId): AccountId[] {
    return this.peer === null ? this.roll.members : [own, this.peer];
  }

  /**
   * Devices in the group that stand for nobody: of accounts that are no members any more, or that this account has no more (`gone`).
   */
  strangers(own: AccountId, gone: ReadonlySet<string>): Standing[] {
    if (this.isGroup && this.roll.members.length === 0) return [];
    const members = this.members(own);
    return this.roll.leaves.filter(({ account, device }) => !members.includes(account) || (account === own && gone.has(device)));
  }

  voiceSecret(epoch: number): Uint8Array | null {
    const kept = this.record.voice.find((secret) => secret.epoch === epoch);
    return kept === undefined ? null : unhex(kept.secret);
  }

  change(record: Partial<ConversationRecord>): void {
    this.record = { ...this.record, ...record };
    this.#dirty.add('record');
  }

  changeRoll(roll: Partial<Roll>): void {
    this.roll = { ...this.roll, ...roll };
    this.#dirty.add('roll');
  }

  /** Marks log entries as taken in. */
  pass(head: number): void {
    this.change({ head });
    this.knownHead = Math.max(this.knownHead, head);
  }

  /** This conversation's history, within a set of changes. */
  lines(changes: Changes): Lines {
    return new Lines(this.id, changes, (line) => {
      this.#noteLast(line);
      changes.tell({ kind: 'line', conversation: this.id, line });
    });
  }

  /** The group in its present epoch. Throws where there is none. */
  async group(mls: Mls): Promise<Group> {
    const { epoch } = this.record;
    if (epoch === null) throw new MlsError('no-group');
    this.#group ??= await this.#load(mls, epoch);
    return this.#group;
  }

  /** Seals an application message in the present epoch. */
  async seal(mls: Mls, plain: Uint8Array): Promise<Uint8Array> {
    const { group, sealed } = await mls.seal(await this.group(mls), plain);
    this.#keep(group);
    return sealed;
  }

  /** Opens an application message of the present epoch or of one not too long ago. */
  async unseal(mls: Mls, bytes: Uint8Array): Promise<{ sender: Leaf; epoch: number; plain: Uint8Array }> {
    const epoch = epochOf(bytes);
    if (!this.record.past.includes(epoch)) {
      const { group, sender, plain } = await mls.unseal(await this.group(mls), bytes);
      this.#keep(group);
      return { sender, epoch, plain };
    }
    const before = this.#past.get(epoch) ?? (await this.#load(mls, epoch));
    const { group, sender, plain } = await mls.unseal(before, bytes);
    this.#past.set(epoch, group);
    this.#dirtyPast.add(epoch);
    return { sender, epoch, plain };
  }

  /** Remembers a commit of this device that is about to leave: it may be in the log whatever is heard of it. */
  stage(group: Group, epoch: number, commit: Uint8Array, changes: Changes): void {
    this.#pending = { group, epoch };
    this.change({ pending: hex(sha256(commit)) });
    changes.put('groups', groupKey(this.id, 'pending', 'tree'), keptTree(group));
    changes.put('groups', groupKey(this.id, 'pending', 'ratchets'), keptRatchets(group));
  }

  isStaged(commit: Uint8Array): boolean {
    return this.record.pending !== null && this.record.pending === hex(sha256(commit));
  }

  /** The group that this device's own commit led to. */
  async staged(mls: Mls): Promise<Group> {
    if (this.#pending !== null) return this.#pending.group;
    if (this.record.pending === null) throw new MlsError('refused');
    return this.#load(mls, 'pending');
  }

  /** Takes a new state of the group, and keeps the one before for a while. */
  async adopt(next: Next, mls: Mls, changes: Changes): Promise<void> {
    const voice = [...this.record.voice, { epoch: next.epoch, secret: hex(await mls.voiceSecret(next.group)) }];
    if (this.record.epoch !== null) await this.#retire(this.record.epoch, mls, changes);
    this.#clearPending(changes);
    this.#group = next.group;
    this.#dirty.add('tree').add('ratchets');
    this.outsideSince = null;
    this.refused = null;
    this.failures = 0;
    this.change({ epoch: next.epoch, voice: voice.slice(-(PAST_EPOCHS + 1)) });
    this.pass(next.head);
    this.changeRoll({ leaves: next.leaves.map(({ account, device }) => ({ account, device })) });
  }

  /** Forgets the group, to enter it (or its successor) anew. What was said and queued stays. */
  fallOut(generation: number, changes: Changes): void {
    this.#dropGroups(changes);
    this.knownHead = 0;
    this.doubt = false;
    this.change({ generation, epoch: null, past: [], head: 0, voice: [] });
    this.changeRoll({ leaves: [], due: true });
    this.queue.unseal(changes);
  }

  /** Forgets everything but what was said: this account is not in it any more. */
  erase(changes: Changes): void {
    this.isGone = true;
    this.#dropGroups(changes);
    this.queue.erase(changes);
    changes.remove('state', RECORD_PREFIX + this.id);
    changes.remove('state', ROLL_PREFIX + this.id);
    this.#dirty.clear();
  }

  /** Writes what has changed. */
  flush(changes: Changes): void {
    if (this.isGone) return;
    const { epoch } = this.record;
    if (this.#dirty.has('record')) changes.putJson('state', RECORD_PREFIX + this.id, this.record);
    if (this.#dirty.has('roll')) changes.putJson('state', ROLL_PREFIX + this.id, this.roll);
    if (this.#group !== null && epoch !== null) {
      if (this.#dirty.has('tree')) changes.put('groups', groupKey(this.id, epoch, 'tree'), keptTree(this.#group));
      if (this.#dirty.has('ratchets')) changes.put('groups', groupKey(this.id, epoch, 'ratchets'), keptRatchets(this.#group));
    }
    for (const past of this.#dirtyPast) {
      const group = this.#past.get(past);
      if (group !== undefined) changes.put('groups', groupKey(this.id, past, 'ratchets'), keptRatchets(group));
    }
    this.#dirty.clear();
    this.#dirtyPast.clear();
  }

  /** Lets go of what the vault has: it is read again when it is used. */
  cool(): void {
    if (this.#dirty.size > 0 || this.#dirtyPast.size > 0) return;
    this.#group = null;
    this.#pending = null;
    this.#past.clear();
  }

  /** Keeps how far a device of an account has come; gives how far the furthest has. */
  receive(account: AccountId, delivered: number, read: number): { account: AccountId; delivered: number; read: number } {
    const before = this.record.receipts.find((receipt) => receipt.account === account);
    const receipt = { account, delivered: Math.max(before?.delivered ?? 0, delivered), read: Math.max(before?.read ?? 0, read) };
    const others = this.record.receipts.filter((other) => other !== before);
    if (others.length < GROUP_MEMBERS_MAX) this.change({ receipts: [...others, receipt] });
    return receipt;
  }

  #keep(group: Group): void {
    this.#group = group;
    this.#dirty.add('ratchets');
  }

  async #load(mls: Mls, epoch: number | 'pending'): Promise<Group> {
    const tree = await this.vault.read('groups', groupKey(this.id, epoch, 'tree'));
    const ratchets = await this.vault.read('groups', groupKey(this.id, epoch, 'ratchets'));
    const group = tree === null || ratchets === null ? null : mls.restore({ tree, ratchets });
    if (group === null) throw new MlsError('no-group');
    return group;
  }

  async #retire(epoch: number, mls: Mls, changes: Changes): Promise<void> {
    const group = retired(await this.group(mls));
    this.#past.set(epoch, group);
    this.#dirtyPast.add(epoch);
    // An epoch that was adopted within these changes has not been written yet.
    changes.put('groups', groupKey(this.id, epoch, 'tree'), keptTree(group));
    const past = [...this.record.past, epoch];
    for (const old of past.splice(0, Math.max(0, past.length - PAST_EPOCHS))) this.#dropEpoch(old, changes);
    this.change({ past });
  }

  #dropEpoch(epoch: number, changes: Changes): void {
    this.#past.delete(epoch);
    this.#dirtyPast.delete(epoch);
    changes.remove('groups', groupKey(this.id, epoch, 'tree'));
    changes.remove('groups', groupKey(this.id, epoch, 'ratchets'));
  }

  #dropGroups(changes: Changes): void {
    for (const epoch of this.record.past) this.#dropEpoch(epoch, changes);
    if (this.record.epoch !== null) this.#dropEpoch(this.record.epoch, changes);
    this.#group = null;
    this.#clearPending(changes);
  }

  #clearPending(changes: Changes): void {
    if (this.record.pending === null) return;
    this.#pending = null;
    changes.remove('groups', groupKey(this.id, 'pending', 'tree'));
    changes.remove('groups', groupKey(this.id, 'pending', 'ratchets'));
    this.change({ pending: null });
  }

  #noteLast(line: Line): void {
    const { lastLine } = this.record;
    if (line.body.kind === 'gap') return;
    const isSame = lastLine?.reference.device === line.reference.device && lastLine.reference.number === line.reference.number;
    if (lastLine === null || isSame || line.position >= lastLine.position) this.change({ lastLine: line });
  }
}
