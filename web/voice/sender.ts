/**
 * The sender: one frame in, one payload out; how much of it is repair follows the receiver's reports.
 *
 * What is repeated are the frames themselves, through an erasure code, so a repaired frame is the one that was lost, to the bit. All
 * frames of one protection have one length.
 */

import type { FrameEncoder } from './codec.ts';
import { FRAMES_BYTES, encodePayload, type RepairWindow, type Report } from './payload.ts';
import { halfLength, makeRepairs } from './repair.ts';

/**
 * How frames are guarded. `light`: clean, half a frame of repair in each payload. `cautious`: nothing is known yet, as `close`. `close`:
 * single losses, a whole frame of repair over the last four. `dense`: many of them, one and a half. `spaced`: bursts, the frame of
 * 120 ms ago once more, so that it outlives the burst.
 */
export type Protection = 'light' | 'cautious' | 'close' | 'dense' | 'spaced';

/** How many repairs a payload carries, and over which frames. */
const CODES: Record<Protection, { count: number; window: RepairWindow }> = {
  light: { count: 1, window: { near: 1, far: 4 } },
  cautious: { count: 2, window: { near: 1, far: 4 } },
  close: { count: 2, window: { near: 1, far: 4 } },
  dense: { count: 3, window: { near: 1, far: 4 } },
  spaced: { count: 2, window: { near: 6, far: 6 } },
};

/** Frames kept: as far back as the widest window reaches. */
const HISTORY_MAX = 6;

/** Reported packets before the first choice: 2 s. Sooner, chance decides, and a wrong choice is two changes of length. */
const MATURE = 100;

/** Loss up to which a path counts as clean. */
const LIGHT_UP_TO = 0.01;

/** Loss from which (to stay, to enter) one repair for each frame is too little: losses then come faster than they are solved. */
const DENSE_FROM = { stay: 0.12, enter: 0.16 };

/** Mean length of a run, in packets, from which (to stay, to enter) losses are bursts. At 20 % of single losses it is 1.25. */
const BURSTS_FROM = { stay: 1.5, enter: 1.8 };

/** Turns a microphone's frames into payloads. */
export class Sender {
  readonly #encoder: FrameEncoder;
  #timestamp = 0;
  /** Frames already sent, newest first, at most {@link HISTORY_MAX}. */
  #history: Uint8Array[] = [];
  #protection: Protection = 'cautious';

  constructor(encoder: FrameEncoder) {
    this.#encoder = encoder;
  }

  /** How frames are guarded at present. */
  get protection(): Protection {
    return this.#protection;
  }

  /**
   * Encodes the next frame of 20 ms, at the encoder's rate, into a payload with `report` on board; `null` where the encoder failed. Not to
   * be called again before it has answered.
   */
  async pushFrame(samples: Float32Array<ArrayBuffer>, report: Report | null): Promise<Uint8Array<ArrayBuffer> | null> {
    const { count, window } = CODES[this.#protection];
    const length = primaryLength(count);
    const primary = await this.#encoder.encode(samples, length);
    const timestamp = this.#timestamp;
    this.#timestamp = (timestamp + 1) & 0xffff;
    // A repair sums frames of one length only, and of all numbers of its window.
    if (primary === null || this.#history.some((frame) => frame.length !== length)) this.#history = [];
    if (primary === null || primary.length !== length) return null;
    const far = Math.min(window.far, this.#history.length);
    const frames = this.#history
      .slice(window.near - 1, far)
      .map((frame, at) => ({ number: (timestamp - window.near - at) & 0xffff, frame }));
    const guarded = frames.length > 0;
    const payload = encodePayload({
      timestamp,
      primary,
      window: guarded ? { near: window.near, far } : null,
      repairs: guarded ? makeRepairs(timestamp, frames, count) : [],
      report,
    });
    this.#history.unshift(primary);
    this.#history.length = Math.min(this.#history.length, HISTORY_MAX);
    return payload;
  }

  /** Steps on over frames that are not sent: time goes on. What came before them does not guard them. */
  skip(frames: number): void {
    this.#timestamp = (this.#timestamp + frames) & 0xffff;
    this.#history = [];
  }

  /** Takes a report of the receiver of what we send: protects at once, relaxes as slowly as the report's 5 s forget. */
  handleReport(report: Report): void {
    this.#protection = protectionFor(report, this.#protection);
  }
}

/** The longest primary that leaves room for `count` repairs of half its length each: 63, 47 or 38 bytes for 1, 2 or 3. */
export function primaryLength(count: number): number {
  const length = Math.floor((FRAMES_BYTES * 2) / (2 + count));
  return length + count * halfLength(length) > FRAMES_BYTES ? length - 1 : length;
}

function protectionFor({ expected, lost, runs }: Report, current: Protection): Protection {
  if (expected < MATURE && current === 'cautious') return current;
  if (lost <= LIGHT_UP_TO * expected) return 'light';
  // Two single losses are assumed, so that one unlucky run says little and a few true bursts enough. What is in force stays on weaker
  // evidence: each change of length leaves the frames before it without repair.
  const burst = (lost + 2) / (runs + 2);
  if (burst >= (current === 'spaced' ? BURSTS_FROM.stay : BURSTS_FROM.enter)) return 'spaced';
  return lost >= (current === 'dense' ? DENSE_FROM.stay : DENSE_FROM.enter) * expected ? 'dense' : 'close';
}
