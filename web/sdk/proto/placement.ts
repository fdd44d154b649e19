/**
 * Placement: in what order a client tries supernodes, so that it mostly links to its account's home (docs/protocol.md, section 4.1).
 *
 * Weighted rendezvous hashing in integers of 64 bits: the same on every machine, to the bit.
 */

import { compareBytes } from './bytes.ts';
import { idBytes } from './ids.ts';

/** Round trips that differ from the best by no more count as equally good: 15 ms each way, less than a frame of voice. */
export const NEAR_MS = 30;

export interface Candidate {
  supernode: string;
  /** Its share, relative to the others; 0: it takes nothing. */
  weight: number;
}

interface Score {
  cost: bigint;
  draw: bigint;
  weight: bigint;
  id: Uint8Array;
}

const MASK = (1n << 64n) - 1n;

/** Bits of a cost after the point. */
const FRACTION = 24;

/** The candidates that take something, the best for the key (an account's or call's id) first. */
export function rank<C extends Candidate>(key: string, candidates: readonly C[]): C[] {
  const mixed = mixId(0n, idBytes(key));
  const scored = candidates.filter((candidate) => candidate.weight > 0).map((candidate) => ({ candidate, score: score(mixed, candidate) }));
  return scored.sort((a, b) => order(a.score, b.score)).map(({ candidate }) => candidate);
}

/**
 * The order in which a client of this account tries supernodes: those within {@link NEAR_MS} of the shortest round trip by rank, then
 * those not measured (`null`) by rank, then the others, shortest first.
 */
export function choose<C extends Candidate>(account: string, candidates: readonly C[], roundTripMs: (candidate: C) => number | null): C[] {
  const known = rank(account, candidates).map((candidate) => ({ candidate, roundTrip: roundTripMs(candidate) }));
  const shortest = Math.min(...known.map(({ roundTrip }) => roundTrip ?? Infinity));
  const place = (roundTrip: number | null): [number, number] => {
    if (roundTrip === null) return [1, 0];
    return roundTrip > shortest + NEAR_MS ? [2, roundTrip] : [0, 0];
  };
  const placed = known.map(({ candidate, roundTrip }) => ({ candidate, place: place(roundTrip) }));
  // Stable: what compares as equal stays by rank.
  placed.sort((a, b) => a.place[0] - b.place[0] || a.place[1] - b.place[1]);
  return placed.map(({ candidate }) => candidate);
}

function score(mixedKey: bigint, { supernode, weight }: Candidate): Score {
  const id = idBytes(supernode);
  const draw = mixId(mixedKey, id);
  return { cost: cost(draw), draw, weight: BigInt(weight), id };
}

function order(a: Score, b: Score): number {
  const [own, theirs] = [a.cost * b.weight, b.cost * a.weight];
  if (own !== theirs) return own < theirs ? -1 : 1;
  if (a.draw !== b.draw) return a.draw > b.draw ? -1 : 1;
  return compareBytes(a.id, b.id);
}

function mix(value: bigint): bigint {
  let x = (value + 0x9e3779b97f4a7c15n) & MASK;
  x = ((x ^ (x >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
  x = ((x ^ (x >> 27n)) * 0x94d049bb133111ebn) & MASK;
  return x ^ (x >> 31n);
}

/** Mixes the two halves of an id into a state. */
function mixId(state: bigint, id: Uint8Array): bigint {
  const view = new DataView(id.buffer, id.byteOffset, id.byteLength);
  return mix(mix(state ^ view.getBigUint64(0)) ^ view.getBigUint64(8));
}

/** -log₂(draw / 2⁶⁴) in units of 2⁻²⁴, rounded up. Squaring doubles a logarithm: whether the square reaches 2 is its next digit. */
export function cost(draw: bigint): bigint {
  const first = draw === 0n ? 1n : draw;
  const zeros = BigInt(64 - first.toString(2).length);
  let mantissa = first << zeros;
  let logarithm = 63n - zeros;
  for (let digit = 0; digit < FRACTION; digit += 1) {
    mantissa = (mantissa * mantissa) >> 63n;
    const carry = mantissa >> 64n;
    mantissa >>= carry;
    logarithm = 2n * logarithm + carry;
  }
  return (64n << BigInt(FRACTION)) - logarithm;
}
