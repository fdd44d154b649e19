/**
 * Everything that a signed-in device decides, above its sessions: people, conversations (MLS groups) and calls.
 *
 * What it keeps is in the vault; whoever opens a member on the same vault goes on from there.
 */

import { create } from '@bufbuild/protobuf';

import type { Event } from '../client.ts';
import { CheckInSchema, ErrorCode } from '../proto/messages.ts';
import type { ReplyBody, Uplink, Upper } from '../session/uplink.ts';
import type { Vault } from '../vault/vault.ts';
import type { VoiceEngine } from '../voice.ts';
import { BesideRatchet } from './beside.ts';
import { Calls } from './calls.ts';
import { readJson } from './changes.ts';
import { SYSTEM_CHANCE, SYSTEM_CLOCK, type Chance, type Clock } from './clock.ts';
import { Contacts } from './contacts.ts';
import { Conversations } from './conversations.ts';
import { OwnDevices } from './devices.ts';
import { Entering } from './entering.ts';
import type { Identity } from './identity.ts';
import { KeyPackages } from './key-packages.ts';
import { Lists } from './lists.ts';
import { Making } from './making.ts';
import { Mls } from './mls/mls.ts';
import { Offers } from './offers.ts';
import { People } from './people.ts';
import { PeopleCommands } from './people-commands.ts';
import { isCode, passes, passOver } from './refusals.ts';
import { Scope } from './scope.ts';
import { MemberSession } from './session.ts';
import { Signalling } from './signalling.ts';

const SERIAL_KEY = 'state-serial';

/** Events that came before this device had checked in: those of a few seconds. */
const EARLY_MAX = 256;

export interface MemberOptions {
  identity: Identity;
  vault: Vault;
  voice: VoiceEngine;
  clock?: Clock | undefined;
  chance?: Chance | undefined;
  /** Of the present link, in milliseconds. */
  roundTripMs?: (() => number) | undefined;
}

type Stopped = Extract<Event, { kind: 'stopped' }>;

export class Member implements Upper {
  readonly #listeners = new Set<(event: Event) => void>();
  #current: MemberSession | null = null;
  #isCheckedIn = false;
  #isStopped = false;
  #early: ReplyBody[] = [];

  private constructor(
    readonly scope: Scope,
    readonly contacts: Contacts,
    readonly people: PeopleCommands,
    readonly devices: OwnDevices,
    readonly conversations: Conversations,
    readonly making: Making,
    readonly beside: BesideRatchet,
    readonly calls: Calls,
    private readonly lists: Lists,
    private readonly keyPackages: KeyPackages,
    private readonly signalling: Signalling,
    private readonly voice: VoiceEngine,
  ) {}

  /** A member as its vault left it; of an empty one, a new device. */
  static async open({ identity, vault, voice, clock = SYSTEM_CLOCK, chance = SYSTEM_CHANCE, roundTripMs = () => 0 }: MemberOptions): Promise<Member> {
    const parts = { identity, mls: await Mls.of(identity.deviceKey, identity.binding), vault, clock, chance, people: await People.load(vault) };
    const scope = new Scope({
      ...parts,
      emit: (event) => member.#emit(event),
      fail: (error) => member.stop('storage', `This device can’t keep its state: ${String(error)}`),
    });
    const contacts = await Contacts.load(vault, scope);
    const people = new PeopleCommands(scope, contacts);
    const devices = await OwnDevices.load(vault, identity.device);
    const keyPackages = await KeyPackages.load(vault);
    const lookIntoInbox = (): void => lists.lookIntoInbox();
    const conversations: Conversations = new Conversations(scope, devices, new Entering(scope, keyPackages), {
      settled: (conversation) => signalling.settled(conversation),
      current: (conversation, session) => beside.current(conversation, session),
      received: (conversation) => beside.received(conversation),
      spoke: (conversation, account) => beside.spoke(conversation, account),
      taken: (conversation) => lists.mark(conversation),
      joined: (session) => void keyPackages.restock(scope, session).catch(passOver),
      lookIntoInbox,
      progress: () => lists,
      listAlone: (conversation, session) => lists.listAlone(conversation, session),
    });
    const lists = new Lists(scope, conversations, () => member.#retire());
    const making = new Making(scope, conversations, keyPackages, lookIntoInbox, (account, error) => people.askInstead(account, error));
    const beside = await BesideRatchet.load(vault, scope, () => conversations);
    const offers = new Offers(scope, conversations);
    const calls: Calls = new Calls(scope, offers, people, making, voice, { crossed: (call) => signalling.crossed(call), roundTripMs });
    const signalling = new Signalling({ scope, calls, offers, contacts, people, conversations, voice, lookIntoInbox });
    const member: Member = new Member(scope, contacts, people, devices, conversations, making, beside, calls, lists, keyPackages, signalling, voice);
    await conversations.load(vault);
    await calls.load();
    await signalling.load();
    return member;
  }

  /** Tells what happens from now on, until the answer is called. */
  subscribe(listener: (event: Event) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  handleUp(uplink: Uplink, moved: boolean): void {
    if (this.#isStopped) return;
    const goesOn = moved && this.#current !== null;
    this.#end(goesOn);
    if (goesOn) this.contacts.doubtPresences();
    else this.contacts.forgetPresences();
    this.#begin(uplink, !goesOn);
  }

  handleDown(): void {
    if (this.#current !== null) this.#end(false);
  }

  handleResync(uplink: Uplink): void {
    if (this.#isStopped) return;
    this.#end(true);
    this.contacts.doubtPresences();
    this.#begin(uplink, false);
  }

  handleEvent(body: ReplyBody): void {
    const { session } = this.scope;
    if (session !== null) this.#take(body, session);
    else if (this.#current !== null && this.#early.length < EARLY_MAX) this.#early.push(body);
  }

  handleDatagram(bytes: Uint8Array): void {
    this.voice.handleDatagram(bytes);
  }

  isInCall(): boolean {
    return this.calls.isInCall;
  }

  /** Everything ends, and nothing is sent any more. */
  stop(reason: Stopped['reason'], text: string): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#end(false);
    this.scope.stop();
    this.calls.stop();
    this.#emit({ kind: 'stopped', reason, text });
  }

  /** Lets go of what runs; what is kept stays, a call that stands included. Nothing is written once this has resolved. */
  async close(): Promise<void> {
    this.#isStopped = true;
    this.#listeners.clear();
    const kept = this.calls.close();
    this.#end(false);
    this.scope.stop();
    await kept;
    await this.scope.close();
  }

  /** This state is a copy, or comes from one. */
  #retire(): void {
    this.stop('state-too-old', 'This device’s state is a copy, or comes from a backup: sign in anew.');
  }

  #emit(event: Event): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(event);
      } catch (error) {
        // Whoever listens is no part of what is told.
        passOver(error);
      }
    }
  }

  #end(goesOn: boolean): void {
    this.#current?.end();
    this.#current = null;
    this.scope.session = null;
    this.#early = [];
    this.conversations.end();
    this.lists.begin();
    this.beside.end();
    this.signalling.end();
    if (goesOn) this.calls.keep();
    else this.calls.suspend();
  }

  #begin(uplink: Uplink, isNew: boolean): void {
    const session = new MemberSession(uplink, this.scope.clock, this.scope.chance);
    this.#current = session;
    const begun = this.#isCheckedIn ? this.#use(session, isNew) : this.#checkIn(session).then(() => this.#use(session, isNew));
    begun.catch(passOver);
  }

  /** Shows the state serial, raised and durable: nothing that depends on what is kept is sent before it is accepted. */
  async #checkIn(session: MemberSession): Promise<void> {
    for (let failures = 0; ; failures += 1) {
      try {
        const stateSerial = await this.#raiseSerial();
        const { devices } = await session.ask({ case: 'checkIn', value: create(CheckInSchema, { stateSerial }) }, 'checkedIn');
        this.#isCheckedIn = true;
        return await this.scope.change((changes) => this.devices.take(devices, changes));
      } catch (error) {
        if (isCode(error, ErrorCode.STATE_TOO_OLD)) this.#retire();
        if (!passes(error)) throw error;
        // Also a check-in that got no answer may have been seen.
        await session.pause(failures, error.retryAfterMs);
      }
    }
  }

  async #raiseSerial(): Promise<bigint> {
    const isText = (value: unknown): value is string => typeof value === 'string' && /^\d+$/.test(value);
    const last = readJson(await this.scope.vault.read('state', SERIAL_KEY), isText);
    const serial = BigInt(last ?? '0') + 1n;
    await this.scope.change((changes) => changes.putJson('state', SERIAL_KEY, String(serial)));
    return serial;
  }

  /** What every session begins with. */
  async #use(session: MemberSession, isNew: boolean): Promise<void> {
    session.check();
    this.scope.session = session;
    this.conversations.begin();
    this.calls.begin(session);
    this.people.begin(session);
    for (const body of this.#early.splice(0)) this.#take(body, session);
    const inbox = this.lists.readInbox(session).then(() => this.keyPackages.restock(this.scope, session));
    await Promise.all([inbox, this.lists.listConversations(session), this.contacts.listAll(session)]);
    await this.conversations.rest();
    session.check();
    if (isNew) this.#emit({ kind: 'ready' });
  }

  #take(body: ReplyBody, session: MemberSession): void {
    switch (body.case) {
      case 'logEntry':
        return this.conversations.handleLogEntry(body.value);
      case 'inboxEntry':
        return this.lists.handleInboxEntry(body.value);
      case 'receipt':
        return this.beside.handleReceipt(body.value);
      case 'signal':
        return this.beside.handleSignal(body.value);
      case 'contactChanged':
        return void this.contacts.handleContactChanged(body.value).catch(passOver);
      case 'settingsChanged':
        return void this.contacts.handleSettingsChanged(body.value).catch(passOver);
      case 'presenceChanged':
        return this.contacts.handlePresenceChanged(body.value);
      default:
        return this.signalling.handle(body, session);
    }
  }
}
