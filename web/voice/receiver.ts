/**
 * The receiver: payloads in, in any order and at any time; one frame out whenever asked.
 *
 * Every frame number has a slot; a payload fills the slot of its own frame and of those that it helps to repair. Playout walks the slots
 * at a delay behind the fastest packets that jitter, and the reach of the repairs while packets are lost, demand; the delay grows and
 * shrinks by time-stretching. Invariant: at most {@link SLOTS_MAX} slots and {@link PENDING_MAX} samples are held, and a pull always
 * gives a whole frame. `at` is the time in ms since a moment that never changes.
 */

import { Arrivals, FRAME_MS } from './arrivals.ts';
import { FRAME_SAMPLES, type FrameDecoder } from './codec.ts';
import { level, SILENCE_DBOV } from './level.ts';
import { Losses } from './losses.ts';
import { is20MsPacket } from './opus-packet.ts';
import { parsePayload, type Payload, type RepairWindow, type Report } from './payload.ts';
import { Repairer } from './repair.ts';
import { findSeam, LAG_MAX, lengthen, OVERLAP, shorten } from './stretch.ts';

/** Where a frame came from: its own packet, later packets, what came before, or nowhere. */
export type Origin = 'decoded' | 'repaired' | 'concealed' | 'silence';

/** 20 ms to play: {@link FRAME_SAMPLES} samples, and where the latest of them came from. */
export interface Frame {
  samples: Float32Array<ArrayBuffer>;
  origin: Origin;
}

/** How the receiver fares. Frames are counted since the beginning. */
export interface ReceiverStatistics {
  /** Share of packets lost over the last 5 s, repaired or no. */
  loss: number;
  /** Between the arrival of the fastest packets and being played: at present, and mean over all frames played. */
  delayMs: number;
  delayMeanMs: number;
  /** How late the latest 5 % of packets are. */
  jitterMs: number;
  decoded: number;
  repaired: number;
  concealed: number;
  /** Payloads that came after their frame was due and held nothing else of use. */
  late: number;
}

/** Where playout stands. */
interface Playout {
  /** The frame to decode next. */
  next: number;
  /** Whether the first frame was played. */
  begun: boolean;
  /** Frames invented in a row. */
  invented: number;
  origin: Origin;
}

interface Slot {
  packet: Uint8Array;
  origin: Origin;
}

/** Turns payloads into frames for a speaker. */
export class Receiver {
  readonly #decoder: FrameDecoder;
  readonly #arrivals = new Arrivals();
  readonly #losses = new Losses();
  readonly #repairer = new Repairer();
  readonly #slots = new Map<number, Slot>();
  /** Highest frame number seen. */
  #newest = 0;
  /** Window of the repairs that come, and how many payloads in a row had a shorter one. */
  #window: RepairWindow = WINDOW_AT_START;
  #shorter = 0;
  #playout: Playout | null = null;
  /** Decoded and not yet played. */
  #pending = new Float32Array();
  #lateInARow = 0;
  /** Frames in a row that are quiet against what was loud before; and the level of what is loud, falling slowly, -dBov. */
  #pauseFrames = 0;
  #loud = SILENCE_DBOV;
  #reportAt = Number.NEGATIVE_INFINITY;
  /** What came while a frame was being pulled, which must not see its slots change. */
  #waiting: { payload: Payload; at: number }[] | null = null;
  readonly #counts = { decoded: 0, repaired: 0, concealed: 0, silence: 0, late: 0 };
  #delayMs = 0;
  #delaySumMs = 0;
  #delayFrames = 0;

  constructor(decoder: FrameDecoder) {
    this.#decoder = decoder;
  }

  /** Takes a payload that arrived; gives the report for our own sender that it carried. What is no payload changes nothing. */
  handlePayload(bytes: Uint8Array, at: number): Report | null {
    const payload = parsePayload(bytes);
    if (payload === null) return null;
    if (this.#waiting === null) this.#take(payload, at);
    else if (this.#waiting.length < SLOTS_MAX) this.#waiting.push({ payload, at });
    return payload.report;
  }

  /** The next 20 ms to play. Ask every 20 ms by the speaker's clock, and not before the last answer. */
  async pullFrame(at: number): Promise<Frame> {
    const waiting: { payload: Payload; at: number }[] = [];
    this.#waiting = waiting;
    const frame = await this.#fill(at).finally(() => {
      this.#waiting = null;
      for (const late of waiting) this.#take(late.payload, late.at);
    });
    this.#counts[frame.origin] += 1;
    return frame;
  }

  /** The report to send, when one is due. */
  pollReport(at: number): Report | null {
    if (at < this.#reportAt) return null;
    const report = this.#losses.report();
    if (report.expected === 0) return null;
    this.#reportAt = at + REPORT_INTERVAL_MS;
    return { ...report, jitterMs: Math.min(this.#arrivals.quantile(0.95), 255) };
  }

  statistics(): ReceiverStatistics {
    const { decoded, repaired, concealed, late } = this.#counts;
    return {
      loss: this.#losses.share,
      delayMs: Math.max(this.#delayMs, 0),
      delayMeanMs: Math.max(this.#delaySumMs / Math.max(this.#delayFrames, 1), 0),
      jitterMs: this.#arrivals.quantile(0.95),
      decoded,
      repaired,
      concealed,
      late,
    };
  }

  /** Slots and samples held; for tests of their bounds. */
  get held(): { slots: number; pending: number } {
    return { slots: this.#slots.size, pending: this.#pending.length };
  }

  close(): void {
    this.#decoder.close();
  }

  #take(payload: Payload, at: number): void {
    const index = this.#indexOf(payload.timestamp);
    const window = payload.window ?? { near: 1, far: 1 };
    if (this.#jumped(index)) this.#restart(index);
    this.#newest = Math.max(this.#newest, index);
    this.#follow(window);
    this.#arrivals.record(index, at);
    this.#losses.record(index);
    this.#playout ??= { next: index, begun: false, invented: 0, origin: 'silence' };
    let useful = this.#store(this.#playout, index, payload.primary, 'decoded');
    for (const { number, frame } of this.#repairer.handle(index, payload.primary, window, payload.repairs)) {
      if (this.#store(this.#playout, number, frame, 'repaired')) useful = true;
    }
    if (!useful) this.#counts.late += 1;
  }

  /** The frame number nearest to the newest that `timestamp` can mean. */
  #indexOf(timestamp: number): number {
    const distance = ((timestamp - this.#newest) << 16) >> 16;
    return this.#newest + distance;
  }

  /** Whether the sender's time has left the one that we play by. */
  #jumped(index: number): boolean {
    const playout = this.#playout;
    if (playout === null) return false;
    const ahead = index - playout.next;
    const starving = playout.begun && playout.invented > STARVING_FRAMES;
    if (Math.abs(ahead) > AHEAD_MAX) return true;
    if (ahead < 0) return starving || this.#lateInARow > LATE_IN_A_ROW_MAX;
    return starving && ahead > STARVED_AHEAD_MAX;
  }

  #restart(index: number): void {
    this.#arrivals.restart();
    this.#repairer.clear();
    this.#slots.clear();
    this.#playout = null;
    this.#newest = index;
    this.#lateInARow = 0;
  }

  /** Keeps a frame for its time; says whether it is of use. */
  #store(playout: Playout, index: number, packet: Uint8Array, origin: 'decoded' | 'repaired'): boolean {
    if (!playout.begun && index < playout.next) playout.next = index;
    const late = index < playout.next;
    if (origin === 'decoded') this.#lateInARow = late ? this.#lateInARow + 1 : 0;
    if (late || !is20MsPacket(packet) || this.#slots.has(index)) return false;
    this.#slots.set(index, { packet, origin });
    if (this.#slots.size > SLOTS_MAX) this.#slots.delete(Math.min(...this.#slots.keys()));
    return true;
  }

  /** Grows at once; shrinks only when it is for good, not while a sender begins its window anew. */
  #follow(window: RepairWindow): void {
    this.#shorter = window.far < this.#window.far ? this.#shorter + 1 : 0;
    if (window.far < this.#window.far && this.#shorter <= SHORTER_MAX) return;
    this.#window = window;
    this.#shorter = 0;
  }

  /** The delay that the path demands. */
  #targetMs(): number {
    if (this.#losses.mature && !this.#losses.lossy) {
      return Math.min(this.#arrivals.quantile(PATIENT_SHARE) + PATIENT_MARGIN_MS, TARGET_MAX_MS);
    }
    const share = this.#window.near === this.#window.far ? ONCE_SHARE : BRISK_SHARE;
    return Math.min(this.#window.far * FRAME_MS + this.#arrivals.quantile(share), TARGET_MAX_MS);
  }

  async #fill(at: number): Promise<Frame> {
    const playout = this.#playout;
    const base = this.#arrivals.base;
    if (playout === null || base === null) return silence();
    const target = this.#targetMs();
    // Delay of a frame decoded now; with what is pending before it, of a frame played now.
    const behind = (): number => at - base - playout.next * FRAME_MS;
    const delay = (): number => behind() + this.#pending.length / SAMPLES_PER_MS;
    if (!playout.begun) {
      if (behind() < target - FRAME_MS) return silence();
      playout.begun = true;
    }
    let early = behind() < target;
    let stretched = false;
    while (this.#pending.length < FRAME_SAMPLES) {
      await this.#decodeNext(playout, early);
      stretched ||= await this.#stretch(playout, delay(), target);
      early = delay() < target;
    }
    const samples = this.#pending.slice(0, FRAME_SAMPLES);
    this.#pending = this.#pending.slice(FRAME_SAMPLES);
    this.#delayMs = behind() + (this.#pending.length + FRAME_SAMPLES) / SAMPLES_PER_MS;
    this.#delaySumMs += this.#delayMs;
    this.#delayFrames += 1;
    return { samples, origin: playout.origin };
  }

  /** Decodes or invents one frame onto what is pending. `early`: the delay is below its target, so it may grow. */
  async #decodeNext(playout: Playout, early: boolean): Promise<void> {
    const slot = this.#slots.get(playout.next);
    this.#slots.delete(playout.next);
    const decoded = slot === undefined ? null : await this.#decoder.decode(slot.packet);
    const frame: Frame =
      slot !== undefined && decoded?.length === FRAME_SAMPLES
        ? { samples: Float32Array.from(decoded), origin: slot.origin }
        : await this.#invent(playout, early);
    if (frame.origin === 'decoded' || frame.origin === 'repaired') {
      playout.invented = 0;
      playout.next += 1;
    }
    playout.origin = frame.origin;
    const loudness = level(frame.samples);
    this.#loud = Math.min(this.#loud + LOUD_FALL, loudness);
    const quiet = loudness > this.#loud + PAUSE_BELOW_LOUD || loudness > PAUSE_LEVEL;
    this.#pauseFrames = quiet ? this.#pauseFrames + 1 : 0;
    const pending = new Float32Array(this.#pending.length + FRAME_SAMPLES);
    pending.set(this.#pending);
    pending.set(frame.samples, this.#pending.length);
    this.#pending = pending;
  }

  /** Conceals, fading out; steps on unless nothing newer came and there is delay to gain. */
  async #invent(playout: Playout, early: boolean): Promise<Frame> {
    const hold = this.#slots.size === 0 && playout.invented < HOLD_FRAMES_MAX && (early || !this.#losses.lossy);
    if (!hold) playout.next += 1;
    playout.invented += 1;
    if (playout.invented > FADE_FRAMES.end) return silence();
    const concealed = await this.#decoder.conceal();
    if (concealed?.length !== FRAME_SAMPLES) return silence();
    const samples = Float32Array.from(concealed);
    if (playout.invented > FADE_FRAMES.start) {
      const span = (FADE_FRAMES.end - FADE_FRAMES.start) * FRAME_SAMPLES;
      const into = (playout.invented - FADE_FRAMES.start - 1) * FRAME_SAMPLES;
      for (const [place, sample] of samples.entries()) samples[place] = sample * (1 - (into + place) / span);
    }
    return { samples, origin: 'concealed' };
  }

  /** Brings the delay nearer to its target, where the sound allows; says whether it did. */
  async #stretch(playout: Playout, delay: number, target: number): Promise<boolean> {
    const excess = delay - target - (this.#pending.length % FRAME_SAMPLES) / SAMPLES_PER_MS;
    if (playout.invented > 0 || Math.abs(excess) < this.#tolerance(excess > 0)) return false;
    if (excess > 0) {
      // One more frame in hand, so that a whole one is left after the cut.
      while (this.#pending.length < FRAME_SAMPLES + LAG_MAX) {
        if (!this.#slots.has(playout.next)) return false;
        await this.#decodeNext(playout, false);
      }
    }
    const lagMax = Math.min(Math.floor(Math.abs(excess) * SAMPLES_PER_MS), this.#pending.length - OVERLAP);
    const seam = findSeam(this.#pending, lagMax);
    if (this.#pauseFrames < PAUSE_FRAMES && seam.likeness < LIKENESS_IN_SPEECH) return false;
    this.#pending = excess > 0 ? shorten(this.#pending, seam) : lengthen(this.#pending, seam);
    return true;
  }

  /** How far, in ms, the delay may be from its target before it is changed here. */
  #tolerance(excess: boolean): number {
    if (this.#pauseFrames < PAUSE_FRAMES) return FAR_MS;
    if (excess) return this.#pauseFrames < LONG_PAUSE_FRAMES ? SLACK_SHORT_PAUSE_MS : SLACK_MS;
    return this.#losses.lossy ? LACK_MS : PATIENT_MARGIN_MS;
  }
}

function silence(): Frame {
  return { samples: new Float32Array(FRAME_SAMPLES), origin: 'silence' };
}

/** Frames kept for later: 2 s, and the reach of the repairs before them. */
export const SLOTS_MAX = 120;

/** Samples decoded ahead: a frame, a lag, and the frame that completes them. */
export const PENDING_MAX = 2 * FRAME_SAMPLES + 2 * LAG_MAX;

const SAMPLES_PER_MS = 48;

/** A report's place is kept free in every payload, so reporting often costs nothing, and a lost report little. */
const REPORT_INTERVAL_MS = 40;

/** A frame 2 s from the one due belongs to another time. */
const AHEAD_MAX = 100;

/** Nothing came for 500 ms: what comes next may set the time anew, also by being more than 500 ms ahead. */
const STARVING_FRAMES = 25;
const STARVED_AHEAD_MAX = 25;

/** 500 ms of nothing but late packets: the path has become longer. */
const LATE_IN_A_ROW_MAX = 25;

/** Frames invented without stepping on, at most: 200 ms of a stalled path. */
const HOLD_FRAMES_MAX = 10;

/** Concealment fades between these counts of invented frames: 200 ms and 500 ms. */
const FADE_FRAMES = { start: 10, end: 25 };

/**
 * Share of packets to wait for on a clean path, and a margin in ms: a late packet is a hole that is heard, and a path that keeps order
 * delays those behind it too.
 */
const PATIENT_SHARE = 0.99;
const PATIENT_MARGIN_MS = 25;

/** Share of packets to wait for when they carry the last repair of a lost frame: both chances failing is rare. */
const BRISK_SHARE = 0.9;

/** The same where a frame is repaired by one packet alone. */
const ONCE_SHARE = 0.97;

/** The largest delay aimed at. */
const TARGET_MAX_MS = 400;

/** A sender's window that begins anew is whole again after four payloads; 1 s of less is for good. */
const SHORTER_MAX = 50;

/** What a sender begins with: so the first delay is one that need not change once the path is known to lose. */
const WINDOW_AT_START: RepairWindow = { near: 1, far: 4 };

/**
 * What may be missing from the target on a lossy path before the delay grows: each cut costs more than so little delay. On a clean path
 * the margin may be used up.
 */
const LACK_MS = 15;

/** What the delay may have above its target before it shrinks: in a long pause, between phrases, and in a short one. */
const SLACK_MS = 25;
const SLACK_SHORT_PAUSE_MS = 60;

/** Deviations that don't wait for a pause, and how alike both sides of a cut must then be. */
const FAR_MS = 70;
const LIKENESS_IN_SPEECH = 0.9;

/** Quiet frames that make a pause, the best place to stretch: within speech even a whole pitch period is heard. */
const PAUSE_FRAMES = 3;

/** 240 ms: a pause between phrases, where no one can tell that it became shorter. */
const LONG_PAUSE_FRAMES = 12;

/** A frame is quiet so many dB below what was loud of late, or below this level in -dBov. */
const PAUSE_BELOW_LOUD = 25;
const PAUSE_LEVEL = 50;

/** How fast the memory of what was loud falls, in dB a frame: 1 dB/s. */
const LOUD_FALL = 0.02;
