/**
 * The little sound that waits in the audio thread, and how much that must be: the engine needs some ms to answer, and devices take their
 * sound in portions of up to 20 ms. It grows with each gap that is heard and shrinks slowly while there is more than is needed.
 */

import { FRAME_SAMPLES } from './codec.ts';

/** Samples waiting at which the next frame is asked for: at the start, at least and at most. 25, 5 and 80 ms. A gap costs more than 10 ms do. */
const MARK_AT_START = 1_200;
const MARK_MIN = 240;
const MARK_MAX = 3_840;

/** 10 ms more for each gap. */
const GROW = 480;

/** 2.5 ms less for each 5 s in which never less than 10 ms waited. */
const SHRINK = 120;
const SPAN = 240_000;
const SPARE = 480;

/** Frames asked for and not yet there: more would be answered late all the same. */
const ASKED_MAX = 3;

/** Samples after which a question without an answer is forgotten: a second. */
const ANSWER_MAX = 48_000;

/** The mark, a frame, and what was asked for when the mark was passed. */
const CAPACITY = MARK_MAX + (ASKED_MAX + 1) * FRAME_SAMPLES;

export class Ring {
  readonly #samples = new Float32Array(CAPACITY);
  #start = 0;
  #length = 0;
  #asked = 0;
  /** Samples played since the last answer. */
  #unanswered = 0;
  #mark = MARK_AT_START;
  /** Least that waited in this span, and samples played in it. */
  #least = Number.POSITIVE_INFINITY;
  #played = 0;
  #begun = false;

  /** Samples that wait. */
  get length(): number {
    return this.#length;
  }

  /** Whether another frame is to be asked for now; it then counts as asked for. */
  ask(): boolean {
    if (this.#length + this.#asked * FRAME_SAMPLES >= this.#mark || this.#asked >= ASKED_MAX) return false;
    this.#asked += 1;
    return true;
  }

  /** Takes a frame in; what has no room is not played. */
  push(frame: Float32Array): void {
    this.#asked = Math.max(this.#asked - 1, 0);
    this.#unanswered = 0;
    this.#begun = true;
    const count = Math.min(frame.length, CAPACITY - this.#length);
    for (let at = 0; at < count; at += 1) this.#samples[(this.#start + this.#length + at) % CAPACITY] = frame[at] ?? 0;
    this.#length += count;
  }

  /** Fills `output`, with silence where nothing is left. */
  pull(output: Float32Array): void {
    const count = Math.min(output.length, this.#length);
    for (let at = 0; at < count; at += 1) output[at] = this.#samples[(this.#start + at) % CAPACITY] ?? 0;
    output.fill(0, count);
    this.#start = (this.#start + count) % CAPACITY;
    this.#length -= count;
    this.#unanswered += output.length;
    if (this.#unanswered > ANSWER_MAX) {
      this.#asked = 0;
      this.#unanswered = 0;
    }
    if (this.#begun) this.#adapt(output.length, count < output.length);
  }

  #adapt(samples: number, gap: boolean): void {
    this.#played += samples;
    this.#least = Math.min(this.#least, this.#length);
    if (gap) {
      // One gap is one lack, however many blocks long.
      this.#begun = false;
      this.#mark = Math.min(this.#mark + GROW, MARK_MAX);
    } else if (this.#played >= SPAN && this.#least > SPARE) {
      this.#mark = Math.max(this.#mark - SHRINK, MARK_MIN);
    } else if (this.#played < SPAN) return;
    this.#played = 0;
    this.#least = Number.POSITIVE_INFINITY;
  }
}
