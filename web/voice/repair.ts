/**
 * Repair: a sliding-window erasure code over frames, so that any packet that arrives helps with any frame that did not.
 *
 * A frame is two halves; each payload carries a few sums over GF(2^8) of the halves of the frames in a window before it. Whoever holds
 * as many sums as halves are missing solves for them, to the bit. Invariant: at most {@link SPAN} frames and as many payloads'
 * repairs are held; what can't be true is dropped, not solved.
 */

import { addScaled, inverse, power, scale } from './field.ts';
import { REPAIRS_MAX, type RepairWindow } from './payload.ts';

/** Frames and payloads remembered: twice the widest window, so that what helps is still there when it counts. */
const SPAN = 32;

/** A frame and its number, which may be taken modulo 2^16. */
export interface NumberedFrame {
  number: number;
  frame: Uint8Array;
}

/** Length of each half of a frame of `length` bytes; the second is padded with a zero where that is odd. */
export function halfLength(length: number): number {
  return Math.ceil(length / 2);
}

/** Makes `count` repairs of the payload numbered `timestamp` over `frames`, all of one length. */
export function makeRepairs(timestamp: number, frames: readonly NumberedFrame[], count: number): Uint8Array[] {
  const length = halfLength(frames[0]?.frame.length ?? 0);
  return Array.from({ length: count }, (_, place) => {
    const sum = new Uint8Array(length);
    for (const { number, frame } of frames) {
      for (const half of [0, 1]) addScaled(sum, halfOf(frame, half), coefficient(timestamp, place, number, half));
    }
    return sum;
  });
}

/** The repairs of one payload. */
interface Equations {
  window: RepairWindow;
  frameLength: number;
  repairs: Uint8Array[];
}

/** A linear equation over halves. */
interface Row {
  coefficients: Uint8Array;
  sum: Uint8Array;
}

/** Frames that came, repairs that came, and what follows from them. */
export class Repairer {
  readonly #frames = new Map<number, Uint8Array>();
  readonly #equations = new Map<number, Equations>();
  #newest = Number.NEGATIVE_INFINITY;

  /** Takes one payload; gives the frames that it makes known besides its own. */
  handle(index: number, primary: Uint8Array, window: RepairWindow, repairs: readonly Uint8Array[]): NumberedFrame[] {
    this.#frames.set(index, primary);
    if (repairs.length > 0) {
      this.#equations.set(index, { window, frameLength: primary.length, repairs: repairs.slice(0, REPAIRS_MAX) });
    }
    this.#newest = Math.max(this.#newest, index);
    for (const held of [this.#frames, this.#equations]) {
      for (const number of held.keys()) if (number <= this.#newest - SPAN) held.delete(number);
    }
    const solved = this.#solve(primary.length);
    for (const { number, frame } of solved) this.#frames.set(number, frame);
    return solved;
  }

  /** Forgets everything: another time begins. */
  clear(): void {
    this.#frames.clear();
    this.#equations.clear();
    this.#newest = Number.NEGATIVE_INFINITY;
  }

  /** Gauss-Jordan over the missing halves of all windows held. */
  #solve(frameLength: number): NumberedFrame[] {
    const ofLength = [...this.#equations].filter(([, equations]) => equations.frameLength === frameLength);
    const wanted = new Set<number>();
    for (const [index, { window }] of ofLength) {
      for (const number of framesOf(window, index)) if (!this.#frames.has(number)) wanted.add(number);
    }
    if (wanted.size === 0 || wanted.size > SPAN) return [];
    const missing = [...wanted].sort((a, b) => a - b);
    const places = new Map(missing.map((number, place) => [number, place]));
    const rows = ofLength.flatMap(([index, equations]) => this.#rows(index, equations, places));
    const halves = solvedHalves(rows, missing.length * 2);
    return missing.flatMap((number, place) => {
      const [first, second] = [halves[place * 2], halves[place * 2 + 1]];
      if (first === undefined || second === undefined) return [];
      const frame = new Uint8Array(first.length + second.length);
      frame.set(first);
      frame.set(second, first.length);
      return [{ number, frame: frame.subarray(0, frameLength) }];
    });
  }

  /** The equations of one payload with what is known moved to the right-hand side. */
  #rows(index: number, equations: Equations, places: ReadonlyMap<number, number>): Row[] {
    const rows: Row[] = equations.repairs.map((repair) => ({ coefficients: new Uint8Array(places.size * 2), sum: repair.slice() }));
    for (const number of framesOf(equations.window, index)) {
      const frame = this.#frames.get(number);
      const place = places.get(number);
      // A frame of another length was never part of these sums: whoever says so is not to be solved.
      if (frame === undefined ? place === undefined : frame.length !== equations.frameLength) return [];
      for (const [at, row] of rows.entries()) {
        for (const half of [0, 1]) {
          const factor = coefficient(index, at, number, half);
          if (frame !== undefined) addScaled(row.sum, halfOf(frame, half), factor);
          else if (place !== undefined) row.coefficients[place * 2 + half] = factor;
        }
      }
    }
    return rows;
  }
}

/** Brings `rows` to reduced echelon form; gives the halves that then stand alone, each at its column. */
function solvedHalves(rows: Row[], columns: number): (Uint8Array | undefined)[] {
  const halves: (Uint8Array | undefined)[] = [];
  const leads: [column: number, row: Row][] = [];
  for (let column = 0; column < columns; column += 1) {
    const done = leads.length;
    const found = rows.findIndex((row, at) => at >= done && row.coefficients[column] !== 0);
    const lead = rows[found];
    if (lead === undefined) continue;
    rows.splice(found, 1);
    rows.splice(done, 0, lead);
    const factor = inverse(lead.coefficients[column] ?? 0);
    scale(lead.coefficients, factor);
    scale(lead.sum, factor);
    for (const row of rows) {
      const multiple = row.coefficients[column] ?? 0;
      if (row === lead || multiple === 0) continue;
      addScaled(row.coefficients, lead.coefficients, multiple);
      addScaled(row.sum, lead.sum, multiple);
    }
    leads.push([column, lead]);
  }
  for (const [column, row] of leads) {
    if (row.coefficients.every((value, other) => other === column || value === 0)) halves[column] = row.sum;
  }
  return halves;
}

/** Numbers of a window's frames, for the payload numbered `index`. */
function* framesOf(window: RepairWindow, index: number): Generator<number> {
  for (let distance = window.near; distance <= window.far; distance += 1) yield index - distance;
}

function halfOf(frame: Uint8Array, half: number): Uint8Array {
  const middle = halfLength(frame.length);
  return half === 0 ? frame.subarray(0, middle) : frame.subarray(middle);
}

/** The factor of half `half` of frame `number` in repair `place` of payload `timestamp`; both numbers count modulo 2^16. */
function coefficient(timestamp: number, place: number, number: number, half: number): number {
  const row = ((timestamp & 0xffff) * REPAIRS_MAX + place) % 255;
  return power((row * (((number & 0xffff) * 2 + half) % 255)) % 255);
}
