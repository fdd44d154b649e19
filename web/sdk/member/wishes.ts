/**
 * Changes of a group that this device makes: inviting, removing, and taking out leaves that stand for nobody.
 *
 * One commit at a time in each conversation. It takes effect when the supernode has accepted it; on a conflict the log is fetched, and
 * what is still wanted is tried again on top, a bounded number of times. What the owner of this device wants ends with the session,
 * with an answer: whoever asked is there to ask again.
 */

import { create } from '@bufbuild/protobuf';

import { Refusal, type AccountId } from '../client.ts';
import { equalBytes } from '../proto/bytes.ts';
import { idBytes, idOf } from '../proto/ids.ts';
import { DEVICES_MAX } from '../proto/limits.ts';
import { ClaimKeyPackagesSchema, CommitSchema, ErrorCode, WelcomingSchema, type Commit, type DeviceKeyPackage } from '../proto/messages.ts';
import { Refused, SessionLost } from '../session/uplink.ts';
import type { Conversation } from './conversation.ts';
import type { Log } from './log.ts';
import { MlsError } from './mls/message.ts';
import type { Offered } from './mls/mls.ts';
import { toNumber } from './numbers.ts';
import { conversationRefused, isCode, keyChanged, offline, passes, refusalOf } from './refusals.ts';
import type { Scope } from './scope.ts';
import type { MemberSession } from './session.ts';

/** Times that a change is tried on top of what others did. */
const TRIES_MAX = 7;

/** A change that the owner of this device wants. */
export interface Wish {
  aim: { kind: 'add'; accounts: AccountId[]; offered: Offered[] } | { kind: 'remove'; account: AccountId };
  tries: number;
  /** Called once: `null` when it is so. */
  done: (why: Refusal | null) => void;
}

/** Leaves out what is so already; `null` when nothing is left. */
function prune(wish: Wish, members: readonly AccountId[]): Wish | null {
  if (wish.aim.kind === 'remove') return members.includes(wish.aim.account) ? wish : null;
  const accounts = wish.aim.accounts.filter((account) => !members.includes(account));
  return accounts.length === 0 ? null : { ...wish, aim: { ...wish.aim, accounts } };
}

interface Prepared {
  request: Commit;
  added: AccountId[];
  removed: AccountId[];
}

export class Wishes {
  constructor(
    private readonly scope: Scope,
    private readonly log: Log,
    private readonly taken: (conversation: Conversation) => void,
  ) {}

  /** The next wish that is not fulfilled yet. */
  take(conversation: Conversation): Wish | null {
    for (;;) {
      const wish = conversation.wishes.shift();
      if (wish === undefined) return null;
      const pruned = prune(wish, conversation.roll.members);
      if (pruned !== null) return pruned;
      // Somebody else has done it.
      wish.done(null);
    }
  }

  failAll(conversation: Conversation, why: Refusal): void {
    for (const wish of conversation.wishes.splice(0)) wish.done(why);
  }

  /** Claims an account's key packages: those that are good. A device under another account key than the pinned one spoils them all. */
  async claim(account: AccountId, session: MemberSession): Promise<Offered[]> {
    const request = create(ClaimKeyPackagesSchema, { account: idBytes(account) });
    try {
      const { packages } = await session.command({ case: 'claimKeyPackages', value: request }, 'keyPackages');
      return await this.check(account, packages);
    } catch (error) {
      if (!isCode(error, ErrorCode.NOT_FOUND)) throw error;
      throw new Refusal('no-key', 'They have no device yet that can be brought into a group.');
    }
  }

  async check(account: AccountId, packages: readonly DeviceKeyPackage[]): Promise<Offered[]> {
    const { identity, mls, people } = this.scope;
    const good: Offered[] = [];
    for (const { device, keyPackage } of packages.slice(0, DEVICES_MAX)) {
      const offered = await mls.checkKeyPackage(keyPackage).catch(() => null);
      if (offered === null) continue;
      const { leaf } = offered;
      if (leaf.account !== account || leaf.device !== idOf(device) || good.some((other) => other.leaf.device === leaf.device)) continue;
      if (account === identity.account) {
        if (!equalBytes(leaf.accountKey, identity.accountKey)) throw conversationRefused();
      } else if (people.standing(account, leaf.accountKey) !== 'pinned') {
        await this.scope.change((changes) => people.offer(account, leaf.accountKey, changes));
        throw keyChanged();
      }
      good.push(offered);
    }
    return good;
  }

  /** Makes a commit of a wish and of leaves to be taken out, and has it accepted. `true` when something has become of it. */
  async fulfil(conversation: Conversation, wish: Wish | null, strangers: readonly string[], session: MemberSession): Promise<'made' | 'again'> {
    let prepared: Prepared | null;
    try {
      prepared = await this.#prepare(conversation, wish, strangers);
    } catch (error) {
      if (!(error instanceof MlsError) || wish === null || error.fault === 'no-group') {
        if (wish !== null) conversation.wishes.unshift(wish);
        throw error;
      }
      // A wish that can't be fulfilled says nothing of the group.
      wish.done(conversationRefused());
      return 'again';
    }
    if (prepared === null) {
      if (wish !== null) conversation.wishes.unshift(wish);
      return 'again';
    }
    try {
      const { sequence } = await session.ask({ case: 'commit', value: prepared.request }, 'commitAccepted');
      await this.#accepted(conversation, prepared, toNumber(sequence));
      wish?.done(null);
      return 'made';
    } catch (error) {
      await this.#refused(conversation, wish, error, session);
      return 'again';
    }
  }

  #prepare(conversation: Conversation, wish: Wish | null, strangers: readonly string[]): Promise<Prepared | null> {
    const { mls } = this.scope;
    return this.scope.exclusive(conversation, async (changes) => {
      const { epoch, generation } = conversation.record;
      if (!conversation.isCurrent || epoch === null) return null;
      const { leaves } = conversation.roll;
      const aim = wish?.aim;
      const added = aim?.kind === 'add' ? aim.accounts : [];
      const removed = aim?.kind === 'remove' ? [aim.account] : [];
      const offered = aim?.kind === 'add' ? aim.offered : [];
      const coming = offered.filter(({ leaf }) => added.includes(leaf.account) && !leaves.some(({ device }) => device === leaf.device));
      const leaving = leaves.filter(({ account, device }) => removed.includes(account) || strangers.includes(device));
      const made = await mls.commit(await conversation.group(mls), coming.map(({ keyPackage }) => keyPackage), leaving.map(({ device }) => device));
      conversation.stage(made.group, epoch, made.commit, changes);
      const welcoming = made.welcome && create(WelcomingSchema, { devices: coming.map(({ leaf }) => idBytes(leaf.device)), welcome: made.welcome });
      const request = create(CommitSchema, {
        conversation: idBytes(conversation.id),
        generation,
        epoch: BigInt(epoch),
        commit: made.commit,
        groupInfo: made.groupInfo,
        welcomes: welcoming ? [welcoming] : [],
        add: added.map(idBytes),
        remove: removed.map(idBytes),
      });
      return { request, added, removed };
    });
  }

  async #accepted(conversation: Conversation, { request, added, removed }: Prepared, sequence: number): Promise<void> {
    await this.scope.exclusive(conversation, async (changes) => {
      // Otherwise the log has brought it meanwhile.
      if (conversation.isGone || !conversation.isStaged(request.commit)) return;
      const isNext = sequence === conversation.record.head + 1;
      await this.log.merge(conversation, isNext ? sequence : conversation.record.head, changes);
      conversation.knownHead = Math.max(conversation.knownHead, sequence);
      const { account, device } = this.scope.identity;
      // Where it is not the next, the log brings it in its turn.
      if (isNext) await this.log.noteMembers(conversation, { sequence, atMs: this.scope.now(), account, device, added, removed }, changes);
      else this.log.changeMembers(conversation, added, removed);
    });
    this.taken(conversation);
  }

  async #refused(conversation: Conversation, wish: Wish | null, error: unknown, session: MemberSession): Promise<void> {
    if (!(error instanceof Refused) || error.code === ErrorCode.NOT_FOUND) {
      wish?.done(error instanceof SessionLost ? offline() : refusalOf(error, 'no-such-conversation'));
      throw error;
    }
    const isConflict = isCode(error, ErrorCode.CONFLICT);
    const isAgain = isConflict || passes(error);
    // It may have been carried out, and only the answer is missing: the log knows.
    conversation.doubt ||= isAgain;
    if (wish === null) {
      conversation.sweepNow = false;
      conversation.failures += 1;
    } else if (isAgain && wish.tries < TRIES_MAX) {
      conversation.wishes.unshift({ ...wish, tries: wish.tries + 1 });
    } else {
      return wish.done(refusalOf(error));
    }
    const tries = wish === null ? conversation.failures : wish.tries + 1;
    // The first conflict is most likely over by now.
    if (!(isConflict && tries === 1)) await session.pause(tries - 1, error.retryAfterMs);
  }
}
