/**
 * One MLS group in one epoch, as a value: every operation gives a new one, or fails and changes nothing.
 *
 * ts-mls keeps one epoch only; what past ones need is in their own values, so that a message rewrites the ratchets of one epoch, and
 * a tree is written once. Nothing here decides whom to trust; {@link leavesOf} and {@link Change} tell the caller who is, and who
 * would be, in a group, on the word of bindings that have been checked.
 */

import { decodeRatchetTree, encodeRatchetTree } from 'ts-mls/ratchetTree.js';
import { decodeGroupStateWithoutTree, encodeGroupStateWithoutTree } from 'ts-mls/clientState.js';
import type { ClientConfig, ClientState, LeafNode } from 'ts-mls';

import { concat, equalBytes } from '../../proto/bytes.ts';
import { idBytes } from '../../proto/ids.ts';
import type { Bindings, Leaf } from './suite.ts';
import { MlsError } from './message.ts';

/** A group's state as of one epoch. */
export interface Group {
  readonly state: ClientState;
}

/** What a vault keeps of it: the tree does not change within an epoch. */
export interface KeptGroup {
  tree: Uint8Array;
  ratchets: Uint8Array;
}

/** What a commit changed. */
export interface Change {
  group: Group;
  /** Who made it. */
  by: Leaf;
  /** Whether it came from outside the group. */
  external: boolean;
  added: Leaf[];
  removed: Leaf[];
  /** Who is in the group after it. */
  leaves: Leaf[];
}

/** Which group a conversation is in: its id and the generation, 4 bytes, big-endian. */
export function groupId(conversation: string, generation: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, generation);
  return concat(idBytes(conversation), bytes);
}

export function epochOfGroup({ state }: Group): number {
  return Number(state.groupContext.epoch);
}

export function isOf({ state }: Group, conversation: string, generation: number): boolean {
  return equalBytes(state.groupContext.groupId, groupId(conversation, generation));
}

/** Leaf nodes with their indexes. */
export function leafNodes({ state }: Group): { index: number; node: LeafNode }[] {
  const nodes: { index: number; node: LeafNode }[] = [];
  // Leaves stand at the even places of a tree's array (RFC 9420, appendix C).
  for (let at = 0; at < state.ratchetTree.length; at += 2) {
    const node = state.ratchetTree[at];
    if (node?.nodeType === 'leaf') nodes.push({ index: at / 2, node: node.leaf });
  }
  return nodes;
}

/** Who is in the group. */
export function leavesOf(group: Group, bindings: Bindings): Leaf[] {
  return leafNodes(group).map(({ node }) => readLeaf(node, bindings));
}

export function readLeaf(node: Pick<LeafNode, 'credential' | 'signaturePublicKey'>, bindings: Bindings): Leaf {
  const leaf = bindings.read(node.credential, node.signaturePublicKey);
  if (leaf === null) throw new MlsError('unbound');
  return leaf;
}

/** The leaf at an index of the tree. */
export function leafAt({ state }: Group, index: number, bindings: Bindings): Leaf {
  const node = state.ratchetTree[index * 2];
  if (node?.nodeType !== 'leaf') throw new MlsError('refused');
  return readLeaf(node.leaf, bindings);
}

/** The same group without what only its present epoch needs: no commit can be made or read with it, only messages of its epoch. */
export function retired({ state }: Group): Group {
  const wiped = new Uint8Array(32);
  return {
    state: {
      ...state,
      privatePath: { ...state.privatePath, privateKeys: {} },
      keySchedule: { ...state.keySchedule, initSecret: wiped, externalSecret: wiped, exporterSecret: wiped, resumptionPsk: wiped },
    },
  };
}

/** Drops the past that ts-mls keeps along. */
export function present(state: ClientState): Group {
  return { state: { ...state, historicalReceiverData: new Map() } };
}

export function keptTree({ state }: Group): Uint8Array {
  return encodeRatchetTree(state.ratchetTree);
}

export function keptRatchets({ state }: Group): Uint8Array {
  return encodeGroupStateWithoutTree(state);
}

/** A group from what was kept of it; `null` where that can't be read. */
export function restore({ tree, ratchets }: KeptGroup, clientConfig: ClientConfig): Group | null {
  try {
    const ratchetTree = decodeRatchetTree(tree, 0)?.[0];
    const state = ratchetTree && decodeGroupStateWithoutTree(ratchetTree)(ratchets, 0)?.[0];
    return state === undefined ? null : { state: { ...state, clientConfig } };
  } catch {
    return null;
  }
}
