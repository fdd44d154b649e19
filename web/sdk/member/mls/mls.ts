/**
 * This device as a member of MLS groups (RFC 9420): makes them, enters them, changes them, seals and opens.
 *
 * Bytes of others never throw anything but an {@link MlsError}.
 */

import { createGroupInfoWithRatchetTree } from 'ts-mls/createCommit.js';
import { decryptSenderData } from 'ts-mls/privateMessage.js';
import {
  createApplicationMessage,
  createCommit,
  createGroup,
  emptyPskIndex,
  joinGroup,
  joinGroupExternal,
  mlsExporter,
  processMessage,
  processPrivateMessage,
  type CiphersuiteImpl,
  type ClientConfig,
  type ClientState,
  type IncomingMessageCallback,
  type KeyPackage,
  type MLSMessage,
  type PrivateMessage,
  type Proposal,
} from 'ts-mls';

import { equalBytes, hex } from '../../proto/bytes.ts';
import type { DeviceKey } from '../../proto/device-key.ts';
import { SUITE_KEY_PACKAGES, type KeyPackageSecrets, type MadeKeyPackage } from './key-package.ts';
import { epochOfGroup, leafAt, leafNodes, leavesOf, present, readLeaf, restore, type Change, type Group, type KeptGroup } from './group.ts';
import { guarded, MlsError, parse, write } from './message.ts';
import { Bindings, configOf, externalPub, PADDING, SUITE, suiteOf, withExternalPub, type Leaf } from './suite.ts';

/** A commit of this device, which counts once the supernode has accepted it. */
export interface Committed {
  /** In the epoch that it leads to. */
  group: Group;
  commit: Uint8Array;
  groupInfo: Uint8Array;
  /** For every device added; `null` where there was nobody to add. */
  welcome: Uint8Array | null;
}

export interface Unsealed {
  group: Group;
  sender: Leaf;
  plain: Uint8Array;
}

/** A key package of somebody's that was checked. */
export interface Offered {
  keyPackage: KeyPackage;
  leaf: Leaf;
}

const VOICE_LABEL = 'ahoy/1 voice';
const VOICE_SECRET_LENGTH = 32;

/** Bytes of an Ed25519 signature in a PrivateMessage: a length of two bytes, and 64. */
const SIGNATURE_FIELD = 66;

const ALLOWED: ReadonlySet<Proposal['proposalType']> = new Set<Proposal['proposalType']>(['add', 'remove', 'external_init']);

export class Mls {
  readonly bindings = new Bindings();
  readonly #config: ClientConfig;

  private constructor(
    private readonly suite: CiphersuiteImpl,
    private readonly key: DeviceKey,
    private readonly binding: Uint8Array,
  ) {
    this.#config = configOf(this.bindings);
  }

  /** The device that holds the key and stands in leaves with the binding. */
  static async of(key: DeviceKey, binding: Uint8Array): Promise<Mls> {
    return new Mls(await suiteOf(key), key, binding);
  }

  makeKeyPackage(lastResort: boolean): Promise<MadeKeyPackage> {
    return SUITE_KEY_PACKAGES.make({ suite: this.suite, key: this.key, binding: this.binding }, lastResort);
  }

  /** Checks somebody's key package: suite, signatures, binding. */
  checkKeyPackage(bytes: Uint8Array): Promise<Offered> {
    return guarded(async () => {
      const message = parse(bytes);
      if (message.wireformat !== 'mls_key_package' || message.keyPackage.cipherSuite !== SUITE) throw new MlsError('malformed');
      const { keyPackage } = message;
      const leaf = readLeaf(keyPackage.leafNode, this.bindings);
      if (!(await SUITE_KEY_PACKAGES.verify(keyPackage, this.suite))) throw new MlsError('refused');
      return { keyPackage, leaf };
    });
  }

  restore(kept: KeptGroup): Group | null {
    return restore(kept, this.#config);
  }

  leaves(group: Group): Leaf[] {
    return leavesOf(group, this.bindings);
  }

  /** Makes a group of this device and the owners of these key packages. */
  async create(id: Uint8Array, packages: KeyPackage[]): Promise<Omit<Committed, 'commit'>> {
    const own = await this.makeKeyPackage(false);
    const state = await createGroup(id, own.keyPackage, own.secrets.privatePackage, [], this.suite, this.#config);
    if (packages.length > 0) return this.commit({ state }, packages, []);
    return { group: { state }, groupInfo: await this.#groupInfo(state), welcome: null };
  }

  /** Enters a group by a Welcome; `find` gives the secrets of a key package of this device by its reference (hexadecimal). */
  join(bytes: Uint8Array, find: (reference: string) => Promise<KeyPackageSecrets | null>): Promise<{ group: Group; used: KeyPackageSecrets }> {
    return guarded(async () => {
      const message = parse(bytes);
      if (message.wireformat !== 'mls_welcome') throw new MlsError('malformed');
      for (const { newMember } of message.welcome.secrets) {
        const used = await find(hex(newMember));
        if (used === null) continue;
        const { keyPackage, privatePackage } = used;
        const state = await joinGroup(message.welcome, keyPackage, privatePackage, emptyPskIndex, this.suite, undefined, undefined, this.#config);
        return { group: present(state), used };
      }
      throw new MlsError('refused');
    });
  }

  /** Enters a group by an external commit, which removes this device's old leaf if there is one. */
  enter(groupInfo: Uint8Array): Promise<Omit<Committed, 'welcome'>> {
    return guarded(async () => {
      const message = parse(groupInfo);
      if (message.wireformat !== 'mls_group_info' || message.groupInfo.groupContext.cipherSuite !== SUITE) throw new MlsError('malformed');
      const own = await this.makeKeyPackage(false);
      const { keyPackage, secrets } = own;
      const resync = this.#standsIn(message);
      const { publicMessage, newState } = await joinGroupExternal(message.groupInfo, keyPackage, secrets.privatePackage, resync, withExternalPub(this.suite), undefined, this.#config);
      const commit = write({ version: 'mls10', wireformat: 'mls_public_message', publicMessage });
      return { group: present(newState), commit, groupInfo: await this.#groupInfo(newState) };
    });
  }

  /** Moves to the next epoch by somebody else's commit; the caller judges the change. */
  advance(group: Group, bytes: Uint8Array): Promise<Change> {
    return guarded(async () => {
      const message = handshake(parse(bytes), group);
      let committer: number | undefined;
      let external = false;
      const judge: IncomingMessageCallback = (incoming) => {
        if (incoming.kind !== 'commit' || !incoming.proposals.every(({ proposal }) => ALLOWED.has(proposal.proposalType))) return 'reject';
        committer = incoming.senderLeafIndex;
        external = incoming.proposals.some(({ proposal }) => proposal.proposalType === 'external_init');
        return 'accept';
      };
      const result = await processMessage(message, group.state, emptyPskIndex, judge, this.suite);
      if (result.kind !== 'newState' || result.actionTaken === 'reject' || result.newState.groupActiveState.kind !== 'active') throw new MlsError('refused');
      const next = present(result.newState);
      const by = external ? this.#externalCommitter(message) : leafAt(group, committer ?? -1, this.bindings);
      return { ...this.#difference(group, next), group: next, by, external };
    });
  }

  /** Makes a commit that adds the owners of these key packages and removes these devices. */
  async commit(group: Group, add: KeyPackage[], remove: readonly string[]): Promise<Committed> {
    const leaving = leafNodes(group).filter(({ node }) => remove.includes(readLeaf(node, this.bindings).device));
    const extraProposals: Proposal[] = [
      ...leaving.map(({ index }): Proposal => ({ proposalType: 'remove', remove: { removed: index } })),
      ...add.map((keyPackage): Proposal => ({ proposalType: 'add', add: { keyPackage } })),
    ];
    return guarded(async () => {
      const options = { wireAsPublicMessage: true, extraProposals, ratchetTreeExtension: true };
      const made = await createCommit({ state: group.state, cipherSuite: this.suite }, options);
      const next = present(made.newState);
      const welcome = made.welcome && write({ version: 'mls10', wireformat: 'mls_welcome', welcome: made.welcome });
      return { group: next, commit: write(made.commit), groupInfo: await this.#groupInfo(next.state), welcome: welcome ?? null };
    });
  }

  /** Seals an application message. */
  seal(group: Group, plain: Uint8Array): Promise<{ group: Group; sealed: Uint8Array }> {
    return guarded(async () => {
      const { newState, privateMessage } = await createApplicationMessage(this.#padding(group.state, plain.length), plain, this.suite);
      const sealed = write({ version: 'mls10', wireformat: 'mls_private_message', privateMessage });
      return { group: { state: { ...newState, clientConfig: this.#config } }, sealed };
    });
  }

  /** Opens an application message of the group's epoch. What opens is used up: it does so once. */
  unseal(group: Group, bytes: Uint8Array): Promise<Unsealed> {
    return guarded(async () => {
      const message = application(parse(bytes), group);
      const sender = await decryptSenderData(message, group.state.keySchedule.senderDataSecret, this.suite);
      if (sender === undefined) throw new MlsError('refused');
      const leaf = leafAt(group, sender.leafIndex, this.bindings);
      const result = await processPrivateMessage(group.state, message, emptyPskIndex, this.suite);
      if (result.kind !== 'applicationMessage') throw new MlsError('refused');
      return { group: { state: result.newState }, sender: leaf, plain: result.message };
    });
  }

  /** The secret that this epoch's voice keys are made from. */
  voiceSecret({ state }: Group): Promise<Uint8Array> {
    return mlsExporter(state.keySchedule.exporterSecret, VOICE_LABEL, new Uint8Array(0), VOICE_SECRET_LENGTH, this.suite);
  }

  /** GroupInfo with ratchet tree and external public key, for devices that come later. */
  async #groupInfo(state: ClientState): Promise<Uint8Array> {
    const extensions = [await externalPub(state.keySchedule.externalSecret, this.suite)];
    const groupInfo = await createGroupInfoWithRatchetTree(state.groupContext, state.confirmationTag, state, state.ratchetTree, extensions, this.suite);
    return write({ version: 'mls10', wireformat: 'mls_group_info', groupInfo });
  }

  /** ts-mls pads to one length: the one that this message comes to. */
  #padding(state: ClientState, plainLength: number): ClientState {
    const length = lengthField(plainLength) + plainLength + SIGNATURE_FIELD;
    const padUntilLength = Math.ceil(length / PADDING) * PADDING;
    return { ...state, clientConfig: { ...this.#config, paddingConfig: { kind: 'padUntilLength', padUntilLength } } };
  }

  #externalCommitter(message: MLSMessage): Leaf {
    if (message.wireformat !== 'mls_public_message' || message.publicMessage.content.contentType !== 'commit') throw new MlsError('refused');
    const { path } = message.publicMessage.content.commit;
    if (path === undefined) throw new MlsError('refused');
    return readLeaf(path.leafNode, this.bindings);
  }

  /** Whether this device has a leaf in the tree of a GroupInfo. */
  #standsIn(message: MLSMessage): boolean {
    if (message.wireformat !== 'mls_group_info') return false;
    const tree = message.groupInfo.extensions.find(({ extensionType }) => extensionType === 'ratchet_tree');
    return tree !== undefined && treeHolds(tree.extensionData, this.key.publicKey);
  }

  #difference(before: Group, after: Group): Pick<Change, 'added' | 'removed' | 'leaves'> {
    const [old, leaves] = [this.leaves(before), this.leaves(after)];
    const added = leaves.filter((leaf) => !old.some((other) => sameLeaf(leaf, other)));
    const removed = old.filter((leaf) => !leaves.some((other) => sameLeaf(leaf, other)));
    return { added, removed, leaves };
  }
}

function sameLeaf(a: Leaf, b: Leaf): boolean {
  return a.device === b.device && a.account === b.account && equalBytes(a.deviceKey, b.deviceKey) && equalBytes(a.accountKey, b.accountKey);
}

/** Bytes of the length in front of so many bytes (RFC 9420, section 2.1.2). */
function lengthField(length: number): number {
  if (length < 64) return 1;
  return length < 16_384 ? 2 : 4;
}

function treeHolds(encodedTree: Uint8Array, signatureKey: Uint8Array): boolean {
  // The key's 32 random bytes stand in the tree as they are, or nowhere.
  for (let at = encodedTree.indexOf(signatureKey[0] ?? 0); at >= 0; at = encodedTree.indexOf(signatureKey[0] ?? 0, at + 1)) {
    if (equalBytes(encodedTree.subarray(at, at + signatureKey.length), signatureKey)) return true;
  }
  return false;
}

function handshake(message: MLSMessage, group: Group): Extract<MLSMessage, { wireformat: 'mls_public_message' | 'mls_private_message' }> {
  const { groupId } = group.state.groupContext;
  if (message.wireformat === 'mls_public_message') {
    const { content } = message.publicMessage;
    if (!equalBytes(content.groupId, groupId) || content.contentType !== 'commit') throw new MlsError('malformed');
    checkEpoch(content.epoch, group);
    return message;
  }
  if (message.wireformat !== 'mls_private_message') throw new MlsError('malformed');
  const { privateMessage } = message;
  if (!equalBytes(privateMessage.groupId, groupId) || privateMessage.contentType !== 'commit') throw new MlsError('malformed');
  checkEpoch(privateMessage.epoch, group);
  return message;
}

function application(message: MLSMessage, group: Group): PrivateMessage {
  if (message.wireformat !== 'mls_private_message') throw new MlsError('malformed');
  const { privateMessage } = message;
  if (!equalBytes(privateMessage.groupId, group.state.groupContext.groupId) || privateMessage.contentType !== 'application') throw new MlsError('malformed');
  checkEpoch(privateMessage.epoch, group);
  return privateMessage;
}

function checkEpoch(epoch: bigint, group: Group): void {
  if (Number(epoch) > epochOfGroup(group)) throw new MlsError('future');
  if (Number(epoch) < epochOfGroup(group)) throw new MlsError('refused');
}
