/**
 * Making conversations: one with another account, for a call or for messages, or a group.
 *
 * Key packages are claimed, the group is made with all devices in it, and the supernode is told. If the pair has a conversation
 * already, that one is entered instead. Whoever asked hears of it when the conversation can be used.
 */

import { create } from '@bufbuild/protobuf';

import type { AccountId, ConversationId } from '../client.ts';
import { hex } from '../proto/bytes.ts';
import { ID_LENGTH, idBytes, idOf } from '../proto/ids.ts';
import { ClaimKeyPackagesSchema, CreateConversationSchema, ErrorCode, WelcomingSchema, type DeviceKeyPackage } from '../proto/messages.ts';
import { Conversation } from './conversation.ts';
import type { Conversations } from './conversations.ts';
import type { KeyPackages } from './key-packages.ts';
import { epochOfGroup, groupId } from './mls/group.ts';
import type { Committed, Offered } from './mls/mls.ts';
import type { Kind } from './record.ts';
import { conversationRefused, isCode, noSuchContact } from './refusals.ts';
import type { Scope } from './scope.ts';
import type { MemberSession } from './session.ts';
import { vet } from './vet.ts';

/** The generation that a conversation begins with. */
const FIRST_GENERATION = 1;

export class Making {
  /** Conversations in the making, by the account that they are with. */
  readonly #pairs = new Map<AccountId, Promise<Conversation>>();

  constructor(
    private readonly scope: Scope,
    private readonly conversations: Conversations,
    private readonly keyPackages: KeyPackages,
    private readonly lookIntoInbox: () => void,
    /** Asks an account that takes calls and messages of contacts only to become one; throws what that comes to. */
    private readonly askInstead: (account: AccountId, error: unknown) => Promise<never>,
  ) {}

  /** Finds or makes the one-to-one conversation with an account whose key is pinned; resolves when it can be used. */
  async pair(peer: AccountId): Promise<Conversation> {
    const known = this.conversations.pairWith(peer);
    if (known === null && this.scope.people.key(peer) === null) throw noSuchContact();
    const conversation = known ?? (await this.#makePair(peer));
    await this.conversations.usable(conversation);
    return conversation;
  }

  /** Makes a group whose only member is this account; resolves when it can be used. */
  async group(title: string): Promise<Conversation> {
    const conversation = await this.#make(null);
    await this.conversations.sending.say(conversation, { kind: 'title', title });
    await this.conversations.usable(conversation);
    return conversation;
  }

  #makePair(peer: AccountId): Promise<Conversation> {
    const making = this.#pairs.get(peer) ?? this.#make(peer).finally(() => this.#pairs.delete(peer));
    this.#pairs.set(peer, making);
    return making;
  }

  async #make(peer: AccountId | null): Promise<Conversation> {
    const session = await this.scope.sessionSoon();
    const { identity } = this.scope;
    const theirs = peer === null ? [] : await this.#claim(peer, session);
    const own = await this.#claim(identity.account, session);
    const offered = [...theirs, ...own.filter(({ leaf }) => leaf.device !== identity.device)];
    const id = hex(this.scope.chance.bytes(ID_LENGTH));
    const created = await this.scope.mls.create(groupId(id, FIRST_GENERATION), offered.map(({ keyPackage }) => keyPackage));
    if (vet(this.scope.mls.leaves(created.group), identity, peer, this.scope.people) !== null) throw conversationRefused();
    return this.#tell(id, peer, created, offered, session);
  }

  /** Whoever has never been there has left no key packages, and enters from outside. */
  async #claim(account: AccountId, session: MemberSession): Promise<Offered[]> {
    const request = create(ClaimKeyPackagesSchema, { account: idBytes(account) });
    let packages: DeviceKeyPackage[];
    try {
      packages = (await session.command({ case: 'claimKeyPackages', value: request }, 'keyPackages')).packages;
    } catch (error) {
      if (!isCode(error, ErrorCode.NOT_FOUND)) throw error;
      return [];
    }
    const { identity } = this.scope;
    if (account === identity.account && packages.some(({ device }) => idOf(device) === identity.device)) {
      await this.scope.change((changes) => this.keyPackages.claimed(changes));
    }
    return this.conversations.wishes.check(account, packages);
  }

  async #tell(id: ConversationId, peer: AccountId | null, created: Omit<Committed, 'commit'>, offered: Offered[], session: MemberSession): Promise<Conversation> {
    const { mls } = this.scope;
    const welcoming = created.welcome && create(WelcomingSchema, { devices: offered.map(({ leaf }) => idBytes(leaf.device)), welcome: created.welcome });
    const epoch = epochOfGroup(created.group);
    const request = create(CreateConversationSchema, {
      conversation: idBytes(id),
      peer: peer === null ? new Uint8Array(0) : idBytes(peer),
      epoch: BigInt(epoch),
      groupInfo: created.groupInfo,
      welcomes: welcoming ? [welcoming] : [],
    });
    const listed = await this.#create(request, peer, session);
    const found = listed && idOf(listed.conversation);
    if (!listed || !found) throw conversationRefused();
    if (found !== id) {
      // The pair has one already: the way in is a Welcome, or else from outside.
      await this.conversations.takeListed(listed);
      const existing = this.conversations.require(found);
      if (!existing.isInside) this.lookIntoInbox();
      return existing;
    }
    const kind: Kind = peer === null ? 'group' : { pair: peer };
    const conversation = new Conversation(id, this.scope.vault);
    conversation.listed = true;
    conversation.change({ generation: FIRST_GENERATION, kind });
    await this.scope.exclusive(conversation, async (changes) => {
      await conversation.adopt({ group: created.group, epoch, leaves: mls.leaves(created.group), head: 0 }, mls, changes);
      conversation.changeRoll({ members: peer === null ? [this.scope.identity.account] : [], due: false });
    });
    this.conversations.add(conversation);
    this.conversations.wake(conversation);
    return conversation;
  }

  async #create(request: ReturnType<typeof create<typeof CreateConversationSchema>>, peer: AccountId | null, session: MemberSession) {
    try {
      const { conversations } = await session.command({ case: 'createConversation', value: request }, 'conversations');
      return conversations[0];
    } catch (error) {
      if (peer === null || !isCode(error, ErrorCode.FORBIDDEN)) throw error;
      return this.askInstead(peer, error);
    }
  }
}
