/**
 * The account's own devices: those that are listed, those that are gone, and those that were seen to stand in conversations.
 *
 * A leaf of a device that is gone is taken out of all groups. That it is not on a list proves that only when the list was asked for
 * after the leaf was seen: a device may be newer than a list.
 */

import { create } from '@bufbuild/protobuf';

import type { Device, DeviceId, LastSeen } from '../client.ts';
import { idOf } from '../proto/ids.ts';
import { DEVICES_MAX } from '../proto/limits.ts';
import { LastSeen as WireLastSeen, ListDevicesSchema, type DeviceRecord } from '../proto/messages.ts';
import type { Vault } from '../vault/vault.ts';
import { readJson, type Changes } from './changes.ts';
import { toNumber } from './numbers.ts';
import type { Scope } from './scope.ts';
import type { MemberSession } from './session.ts';

const SEEN_KEY = 'devices';

/** Devices remembered as seen: with 8 at once, all of some years. */
const SEEN_MAX = 256;

export function lastSeenOf(seen: WireLastSeen): LastSeen {
  if (seen === WireLastSeen.TODAY) return 'today';
  if (seen === WireLastSeen.THIS_WEEK) return 'this-week';
  return seen === WireLastSeen.EARLIER ? 'earlier' : 'unknown';
}

export class OwnDevices {
  /** Stood in a group and were not on a list asked for after that, or were revoked here. No device id is used twice. */
  readonly gone = new Set<DeviceId>();
  #listed = new Set<DeviceId>();
  /** `null`: no list has come yet. */
  #seen: Set<DeviceId> | null;
  /** Asked about in this session. */
  #doubted = new Set<DeviceId>();

  private constructor(
    private readonly own: DeviceId,
    seen: string[] | null,
  ) {
    this.#seen = seen && new Set(seen);
  }

  static async load(vault: Vault, own: DeviceId): Promise<OwnDevices> {
    const isList = (value: unknown): value is string[] => Array.isArray(value);
    return new OwnDevices(own, readJson(await vault.read('state', SEEN_KEY), isList));
  }

  begin(): void {
    this.#doubted = new Set();
  }

  /** Takes in a list. One without this device is not its account's. */
  take(records: readonly DeviceRecord[], changes: Changes): void {
    const listed = new Set(records.slice(0, DEVICES_MAX).flatMap(({ device }) => idOf(device) ?? []));
    if (!listed.has(this.own)) return;
    this.#listed = listed;
    // The first list is what this device begins with: nothing on it is news.
    if (this.#seen === null) this.#keepSeen([...listed], changes);
  }

  /** This device has revoked another one. */
  revoke(device: DeviceId): void {
    this.#listed.delete(device);
    this.gone.add(device);
  }

  /**
   * Asks about devices of this account that stand in a group and are new here, or not on the last list: once in a session for each.
   * The new ones are told of, unless they are gone: leaves of devices that were revoked before this one came stand in groups too.
   * `true`: some are gone.
   */
  async doubt(devices: readonly DeviceId[], scope: Scope, session: MemberSession): Promise<boolean> {
    const doubted = devices.filter((device) => device !== this.own && !this.#isKnown(device) && !this.#doubted.has(device));
    if (doubted.length === 0) return false;
    for (const device of doubted) this.#doubted.add(device);
    const records = await this.list(scope, session);
    const listed = new Set(records.map(({ device }) => idOf(device)));
    if (!listed.has(this.own)) return false;
    const gone = doubted.filter((device) => !listed.has(device));
    for (const device of gone) this.gone.add(device);
    await scope.change((changes) => this.#tellFresh(doubted.filter((device) => listed.has(device)), changes));
    return gone.length > 0;
  }

  async list(scope: Scope, session: MemberSession): Promise<DeviceRecord[]> {
    const { devices } = await session.command({ case: 'listDevices', value: create(ListDevicesSchema) }, 'checkedIn');
    await scope.change((changes) => this.take(devices, changes));
    return devices;
  }

  /** As it is told. */
  device({ device, name, madeAt, lastSeen }: DeviceRecord): Device[] {
    const id = idOf(device);
    return id === null ? [] : [{ device: id, name, own: id === this.own, madeAt: toNumber(madeAt), lastSeen: lastSeenOf(lastSeen) }];
  }

  #isKnown(device: DeviceId): boolean {
    return this.gone.has(device) || (this.#listed.has(device) && this.#seen?.has(device) === true);
  }

  #tellFresh(devices: DeviceId[], changes: Changes): void {
    const fresh = devices.filter((device) => this.#seen?.has(device) === false);
    if (fresh.length === 0) return;
    this.#keepSeen([...(this.#seen ?? []), ...fresh], changes);
    for (const device of fresh) changes.tell({ kind: 'new-own-device', device });
  }

  #keepSeen(devices: DeviceId[], changes: Changes): void {
    this.#seen = new Set(devices.slice(-SEEN_MAX));
    changes.putJson('state', SEEN_KEY, [...this.#seen]);
  }
}
