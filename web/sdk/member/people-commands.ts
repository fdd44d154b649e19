/**
 * What the owner of this device wishes of people: to find, ask, answer, block and report them.
 *
 * A stranger's name is looked up first: only a name whose account key is the pinned one, or is pinned by this, is asked. Blocking needs
 * no key: whoever has taken a name over can be blocked too.
 */

import { create } from '@bufbuild/protobuf';

import { Refusal, type AccountId, type Person, type Settings } from '../client.ts';
import { characters, unhex } from '../proto/bytes.ts';
import { idBytes, idOf } from '../proto/ids.ts';
import { MOOD_CHARACTERS_MAX, NOTE_CHARACTERS_MAX, REPORT_REASON_CHARACTERS_MAX, SEARCH_PREFIX_MIN, SEARCH_RESULTS_MAX } from '../proto/limits.ts';
import {
  AnswerContactSchema,
  BlockAccountSchema,
  ChangeSettingsSchema,
  ErrorCode,
  FindAccountSchema,
  RemoveContactSchema,
  ReportContentSchema,
  ReportSchema,
  RequestContactSchema,
  SearchDirectorySchema,
  SetActivitySchema,
  type AccountFound,
  type RevealedMessage,
} from '../proto/messages.ts';
import { foldName, isName } from '../proto/name.ts';
import { sealNote } from '../proto/note.ts';
import { sealReport } from '../proto/report.ts';
import { verifyRequestKey } from '../proto/request-key.ts';
import { Refused, type RequestBody } from '../session/uplink.ts';
import { oneLine, toWireAvailability, toWireCallsFrom } from './contact-rows.ts';
import type { Contacts } from './contacts.ts';
import { isCode, keyChanged, noSuchContact, passOver, refusalOf, requested, tooLong } from './refusals.ts';
import type { Scope } from './scope.ts';
import type { MemberSession } from './session.ts';

const KEY_LENGTH = 32;

export class PeopleCommands {
  /** Whether somebody sits at this device; a supernode takes a new session for away. */
  #isHere = false;

  constructor(
    private readonly scope: Scope,
    private readonly contacts: Contacts,
  ) {}

  /** Who has this name; their key is the pinned one, or is so from now on. */
  async find(name: string): Promise<Person> {
    const { account } = await this.#find(name);
    return { account, name: foldName(name) };
  }

  /** Whom to call: where the store is away, whoever is known already can be called without it. */
  async callee(name: string): Promise<Person> {
    try {
      return await this.find(name);
    } catch (error) {
      const known = this.scope.people.find(foldName(name));
      const mayPass = error instanceof Refusal && (error.reason === 'network' || error.reason === 'limit');
      if (known === null || !mayPass) throw error;
      return { account: known, name: foldName(name) };
    }
  }

  /** Somebody of this name: whoever is known already need not be looked up. */
  async resolve(name: string): Promise<Person> {
    const folded = foldName(name);
    const known = this.scope.people.find(folded);
    if (known !== null) return { account: known, name: folded };
    return this.find(name);
  }

  /** Takes in who was found for a name: `null` where the key is not the pinned one. */
  async learn(name: string, found: AccountFound): Promise<AccountId | null> {
    const account = idOf(found.account);
    const isGood = account !== null && account !== this.scope.identity.account && found.name === name && found.accountKey.length === KEY_LENGTH;
    if (!isGood) throw new Refused(ErrorCode.MALFORMED, 'the supernode does not keep to the protocol', 0);
    const isPinned = await this.scope.change((changes) => this.scope.people.learn(name, account, found.accountKey, changes));
    return isPinned ? account : null;
  }

  async search(prefix: string): Promise<Person[]> {
    const folded = foldName(prefix);
    if (characters(folded) < SEARCH_PREFIX_MIN) throw tooLong();
    // No name can begin like this.
    if (!/^[a-z0-9._-]+$/.test(folded)) return [];
    const session = await this.scope.sessionSoon();
    const { accounts } = await session.command({ case: 'searchDirectory', value: create(SearchDirectorySchema, { prefix: folded }) }, 'accountsFound');
    // Nothing is pinned by it: a name is looked up when it is asked or called.
    return accounts.slice(0, SEARCH_RESULTS_MAX).flatMap(({ account, name }) => {
      const id = idOf(account);
      return id !== null && isName(name) ? [{ account: id, name }] : [];
    });
  }

  async requestContact(name: string, note: string): Promise<void> {
    if (characters(note) > NOTE_CHARACTERS_MAX) throw tooLong();
    if (this.contacts.byName(foldName(name))?.row.state === 'accepted') throw new Refusal('already-contact', 'They are a contact already.');
    const { account, found } = await this.#find(name);
    const sealed = note === '' ? new Uint8Array(0) : await this.#sealNote(note, account, found);
    await this.#change({ case: 'requestContact', value: create(RequestContactSchema, { account: idBytes(account), note: sealed }) });
  }

  async answerContact(account: AccountId, accept: boolean): Promise<void> {
    const row = this.contacts.row(account);
    const key = row && unhex(row.key);
    if (row?.state !== 'asks' || !key) throw noSuchContact();
    const isPinned = !accept || (await this.scope.change((changes) => this.scope.people.learn(row.name, account, key, changes)));
    if (!isPinned) throw keyChanged();
    await this.#change({ case: 'answerContact', value: create(AnswerContactSchema, { account: idBytes(account), accept }) });
  }

  async removeContact(account: AccountId): Promise<void> {
    const state = this.contacts.row(account)?.state;
    if (state !== 'asked' && state !== 'accepted') throw noSuchContact();
    await this.#change({ case: 'removeContact', value: create(RemoveContactSchema, { account: idBytes(account) }) });
  }

  async block(account: AccountId, block: boolean): Promise<void> {
    if (account === this.scope.identity.account || (!block && this.contacts.row(account)?.state !== 'blocked')) throw noSuchContact();
    await this.#change({ case: 'blockAccount', value: create(BlockAccountSchema, { account: idBytes(account), block }) });
  }

  async changeSettings(change: Partial<Settings>): Promise<void> {
    const mood = change.mood === undefined ? undefined : oneLine(change.mood);
    if (mood !== undefined && characters(mood) > MOOD_CHARACTERS_MAX) throw tooLong();
    const callsFrom = change.callsFrom && toWireCallsFrom(change.callsFrom);
    const availability = change.availability && toWireAvailability(change.availability);
    const request = create(ChangeSettingsSchema, {
      ...(callsFrom !== undefined && { callsFrom }),
      ...(availability !== undefined && { availability }),
      ...(mood !== undefined && { mood }),
      ...(change.listed !== undefined && { listed: change.listed }),
    });
    const session = await this.scope.sessionSoon();
    await this.contacts.handleSettingsChanged(await session.command({ case: 'changeSettings', value: request }, 'settingsChanged'));
  }

  /** Says whether somebody is here; it is remembered for sessions to come. */
  setActivity(away: boolean): void {
    if (this.#isHere === !away) return;
    this.#isHere = !away;
    if (this.scope.session !== null) this.#say(away, this.scope.session);
  }

  /** Tells a supernode that does not know it yet. */
  begin(session: MemberSession): void {
    if (this.#isHere) this.#say(false, session);
  }

  #say(away: boolean, session: MemberSession): void {
    session.insist({ case: 'setActivity', value: create(SetActivitySchema, { away }) }, 'done').catch(passOver);
  }

  async report(account: AccountId, reason: string, messages: RevealedMessage[], reportKey: Uint8Array): Promise<void> {
    if (characters(reason) > REPORT_REASON_CHARACTERS_MAX) throw tooLong();
    const content = create(ReportContentSchema, { reason, messages });
    const sealed = await sealReport(content, { reporter: this.scope.identity.account, about: account }, reportKey).catch(() => {
      throw tooLong();
    });
    if (sealed === null) throw new Refusal('no-key', 'The network takes no reports.');
    const session = await this.scope.sessionSoon();
    await session.command({ case: 'report', value: create(ReportSchema, { account: idBytes(account), sealed }) }, 'done');
  }

  /**
   * Asks, without a word, an account that takes calls and messages of contacts only; `error` says so. One that was asked before keeps
   * the note that came with it. Throws what that comes to for whoever wanted to call or write.
   */
  async askInstead(account: AccountId, error: unknown): Promise<never> {
    const state = this.contacts.row(account)?.state;
    if (state === 'blocked') throw error;
    if (state !== 'asked') await this.#change({ case: 'requestContact', value: create(RequestContactSchema, { account: idBytes(account) }) });
    throw requested();
  }

  async #find(name: string): Promise<{ account: AccountId; found: AccountFound }> {
    const folded = foldName(name);
    if (!isName(folded) || folded === this.scope.identity.name) throw noSuchName();
    const session = await this.scope.sessionSoon();
    let found: AccountFound;
    try {
      found = await session.command({ case: 'findAccount', value: create(FindAccountSchema, { name: folded }) }, 'accountFound');
    } catch (error) {
      throw refusalOf(error, 'no-such-name');
    }
    const account = await this.learn(folded, found);
    if (account === null) throw keyChanged();
    return { account, found };
  }

  /** Seals a note to the request key that came with a look-up. One that the pinned account key has not signed counts as none. */
  async #sealNote(text: string, account: AccountId, { requestKey }: AccountFound): Promise<Uint8Array> {
    const pinned = this.scope.people.key(account);
    const key = pinned && verifyRequestKey(requestKey, account, pinned);
    const sealed = key && (await sealNote(text, { asking: this.scope.identity.account, asked: account }, key));
    if (!sealed) throw new Refusal('no-key', 'They take no notes.');
    return sealed;
  }

  async #change(body: RequestBody): Promise<void> {
    const session = await this.scope.sessionSoon();
    try {
      await this.contacts.handleContactChanged(await session.command(body, 'contactChanged'));
    } catch (error) {
      throw isCode(error, ErrorCode.NOT_FOUND) ? noSuchContact() : refusalOf(error);
    }
  }
}

function noSuchName(): Refusal {
  return new Refusal('no-such-name', 'There is nobody of that name.');
}
