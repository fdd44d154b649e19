/** The ways into a conversation's group: a Welcome, which is the better one, or from outside (docs/protocol.md, section 7.2). */

import { create } from '@bufbuild/protobuf';

import { idBytes } from '../proto/ids.ts';
import { CommitSchema, FetchGroupInfoSchema } from '../proto/messages.ts';
import type { Changes } from './changes.ts';
import type { Conversation } from './conversation.ts';
import type { KeyPackages } from './key-packages.ts';
import { referenceOfEntry } from './lines.ts';
import { Distrusted } from './log.ts';
import { epochOfGroup, isOf } from './mls/group.ts';
import { MlsError } from './mls/message.ts';
import { toNumber } from './numbers.ts';
import type { Scope } from './scope.ts';
import type { MemberSession } from './session.ts';
import { vet } from './vet.ts';

export class Entering {
  constructor(
    private readonly scope: Scope,
    private readonly keyPackages: KeyPackages,
  ) {}

  /** Takes the Welcome that waits. One that does not open, or is not to be trusted, leaves no trace: there is the way from outside. */
  async join(conversation: Conversation): Promise<void> {
    try {
      await this.scope.exclusive(conversation, (changes) => this.#join(conversation, changes));
    } catch (error) {
      if (!(error instanceof MlsError) && !(error instanceof Distrusted)) throw error;
    } finally {
      conversation.welcome = null;
    }
  }

  async #join(conversation: Conversation, changes: Changes): Promise<void> {
    const { mls, identity, people } = this.scope;
    const entry = conversation.welcome;
    if (entry?.body.case !== 'welcome' || conversation.isInside) return;
    const { group, used } = await mls.join(entry.body.value, (reference) => this.keyPackages.find(changes, reference));
    if (!isOf(group, conversation.id, entry.generation)) throw new MlsError('malformed');
    const leaves = mls.leaves(group);
    const distrust = vet(leaves, identity, conversation.peer, people);
    if (distrust !== null) throw new Distrusted(distrust);
    this.keyPackages.use(used, changes);
    conversation.change({ generation: entry.generation });
    await conversation.adopt({ group, epoch: epochOfGroup(group), leaves, head: toNumber(entry.head) }, mls, changes);
    // Whoever was in the group then may commit in the part of the log that comes next.
    const members = [...new Set([...conversation.roll.members, ...leaves.map(({ account }) => account)])];
    conversation.changeRoll(conversation.isGroup ? { members, due: true } : { due: people.key(conversation.peer ?? '') === null });
  }

  /** Enters from outside. Answers whether the title has to be asked for. */
  async enter(conversation: Conversation, session: MemberSession): Promise<boolean> {
    const { mls, identity, people } = this.scope;
    const bytes = idBytes(conversation.id);
    const info = await session.ask({ case: 'fetchGroupInfo', value: create(FetchGroupInfoSchema, { conversation: bytes }) }, 'groupInfo');
    const entered = await mls.enter(info.groupInfo);
    const epoch = toNumber(info.epoch) + 1;
    if (!isOf(entered.group, conversation.id, info.generation) || epochOfGroup(entered.group) !== epoch) throw new MlsError('malformed');
    const leaves = mls.leaves(entered.group);
    const distrust = vet(leaves, identity, conversation.peer, people);
    if (distrust !== null) throw new Distrusted(distrust);
    const { generation } = info;
    const request = create(CommitSchema, { conversation: bytes, generation, epoch: info.epoch, commit: entered.commit, groupInfo: entered.groupInfo });
    const accepted = await session.ask({ case: 'commit', value: request }, 'commitAccepted');
    const sequence = toNumber(accepted.sequence);
    return this.scope.exclusive(conversation, async (changes) => {
      if (conversation.isGone) return false;
      conversation.change({ generation });
      await conversation.adopt({ group: entered.group, epoch, leaves, head: sequence }, mls, changes);
      if (conversation.isGroup) conversation.changeRoll({ due: true });
      // What was said before may be missing here.
      const body = { kind: 'gap' as const };
      const line = { reference: referenceOfEntry(sequence), account: identity.account, sequence, atMs: this.scope.now(), body };
      await conversation.lines(changes).put(line);
      return conversation.isGroup && conversation.roll.title === '';
    });
  }
}
