/**
 * The payload: what stands in the clear inside one sealed voice packet. docs/voice.md states the layout.
 *
 * Invariant: every payload that we make is {@link PAYLOAD_BYTES} long, so that its length tells nothing; and no byte of a peer makes
 * the parser throw or hold more than the payload itself.
 */

import { halfLength } from './repair.ts';

/** Length of every payload that we make, in bytes: docs/voice.md has the sum. */
export const PAYLOAD_BYTES = 104;

/** Longest payload that we accept, in bytes: what fits a voice datagram. */
export const PAYLOAD_BYTES_MAX = 1_100;

/** Repairs that one payload can carry. */
export const REPAIRS_MAX = 4;

const REPORT_BYTES = 4;

/**
 * Bytes left for the primary and the repairs: without flags, timestamp, window, length of the primary and a report, whose place is kept
 * free in every payload so that all frames of a kind have one length.
 */
export const FRAMES_BYTES = PAYLOAD_BYTES - 5 - REPORT_BYTES;

const VERSION = 0;
const VERSION_SHIFT = 5;
const REPORT_FLAG = 0b0001_0000;
const REPAIRS_MASK = 0b0000_0111;

/** What a receiver tells the sender of what it receives: counts over its last 5 s. */
export interface Report {
  /** Packets that should have come, at most 250; fewer only at the start. */
  expected: number;
  /** How many of them did not. */
  lost: number;
  /** In how many runs of neighbours they were lost. */
  runs: number;
  /** How late the latest 5 % are against the fastest, in ms; 255 is "or more". */
  jitterMs: number;
}

/** The frames that repairs are made of, counted back from the payload's own: 1 ≤ near ≤ far ≤ 15. */
export interface RepairWindow {
  near: number;
  far: number;
}

/** A payload, taken apart. */
export interface Payload {
  /** Number of the primary frame, in frames of 20 ms, modulo 2^16. */
  timestamp: number;
  /** The Opus packet of this moment. */
  primary: Uint8Array;
  /** What the repairs are made of; `null` exactly where there are none. */
  window: RepairWindow | null;
  /** Sums of halves of earlier frames; at most {@link REPAIRS_MAX}. */
  repairs: Uint8Array[];
  /** The sender's report of what it receives from us. */
  report: Report | null;
}

/** Takes a payload apart; `null` where the bytes are none. Of the frames only the lengths are checked. */
export function parsePayload(bytes: Uint8Array): Payload | null {
  const flags = bytes[0];
  if (flags === undefined || bytes.length > PAYLOAD_BYTES_MAX || flags >> VERSION_SHIFT !== VERSION) return null;
  const count = flags & REPAIRS_MASK;
  if (count > REPAIRS_MAX) return null;
  const hasReport = (flags & REPORT_FLAG) !== 0;
  const head = 3 + (hasReport ? REPORT_BYTES : 0) + (count > 0 ? 1 : 0);
  const length = bytes[head];
  if (length === undefined) return null;
  const start = head + 1;
  const half = halfLength(length);
  if (bytes.length < start + length + count * half) return null;
  const window = count > 0 ? windowOf(octet(bytes, head - 1)) : null;
  if (count > 0 && window === null) return null;
  const repairs = Array.from({ length: count }, (_, place) => {
    const from = start + length + place * half;
    return bytes.subarray(from, from + half);
  });
  return {
    timestamp: (octet(bytes, 1) << 8) | octet(bytes, 2),
    primary: bytes.subarray(start, start + length),
    window,
    repairs,
    report: hasReport ? reportAt(bytes, 3) : null,
  };
}

/** The bytes, padded with zeros to {@link PAYLOAD_BYTES}. */
export function encodePayload(payload: Payload): Uint8Array<ArrayBuffer> {
  const { timestamp, primary, window, repairs, report } = payload;
  const head = [(VERSION << VERSION_SHIFT) | (report === null ? 0 : REPORT_FLAG) | repairs.length, (timestamp >> 8) & 0xff, timestamp & 0xff];
  if (report !== null) head.push(report.expected, report.lost, report.runs, report.jitterMs);
  if (window !== null) head.push((window.near << 4) | window.far);
  head.push(primary.length);
  const bytes = new Uint8Array(PAYLOAD_BYTES);
  bytes.set(head);
  let at = head.length;
  for (const part of [primary, ...repairs]) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function windowOf(value: number): RepairWindow | null {
  const window = { near: value >> 4, far: value & 0x0f };
  return window.near === 0 || window.far < window.near ? null : window;
}

function reportAt(bytes: Uint8Array, at: number): Report {
  return { expected: octet(bytes, at), lost: octet(bytes, at + 1), runs: octet(bytes, at + 2), jitterMs: octet(bytes, at + 3) };
}

/** A byte that is known to be there. */
function octet(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0;
}
