/**
 * Time-stretching: takes out or repeats one pitch period where the ear won't notice, to shrink or grow the playout delay.
 *
 * Overlap-add at the lag where the signal is most like itself. Both directions leave the first sample where it was, so what was already
 * played continues without a step.
 */

/** Shortest and longest lag, in samples at 48 kHz: 2.5 ms (400 Hz) to 15 ms (67 Hz), the range of the human voice. */
const LAG_MIN = 120;
/** See {@link LAG_MIN}. */
export const LAG_MAX = 720;

/** Samples faded from one to the other, and compared to find the lag: 10 ms. */
export const OVERLAP = 480;

/** Coarse step of the search, in samples: 12 kHz is enough to find a period. */
const STEP = 4;

/** Below this mean square (-48 dBov) no one hears a cut. */
const QUIET = 1.6e-5;

/** The best place for a stretch. */
export interface Seam {
  lag: number;
  /** -1 to 1: how alike the two sides are; 1 where it is quiet. */
  likeness: number;
}

/** Finds the best lag of at most `lagMax` samples at the start of `samples`, which hold at least that many and {@link OVERLAP}. */
export function findSeam(samples: Float32Array, lagMax: number): Seam {
  const longest = Math.min(Math.max(lagMax, LAG_MIN), LAG_MAX);
  let energy = 0;
  for (let at = 0; at < longest + OVERLAP; at += 1) energy += (samples[at] ?? 0) ** 2;
  if (energy < QUIET * (longest + OVERLAP)) return { lag: longest, likeness: 1 };
  const coarse = bestOf(samples, LAG_MIN, longest, STEP);
  return bestOf(samples, Math.max(coarse.lag - STEP, LAG_MIN), Math.min(coarse.lag + STEP, longest), 1);
}

function bestOf(samples: Float32Array, from: number, to: number, stride: number): Seam {
  const best = { lag: LAG_MIN, likeness: -1 };
  for (let lag = from; lag <= to; lag += stride) {
    let cross = 0;
    let here = 1e-9;
    let there = 1e-9;
    for (let at = 0; at < OVERLAP; at += stride) {
      const a = samples[at] ?? 0;
      const b = samples[at + lag] ?? 0;
      cross += a * b;
      here += a * a;
      there += b * b;
    }
    const likeness = cross / Math.sqrt(here * there);
    if (likeness > best.likeness) {
      best.lag = lag;
      best.likeness = likeness;
    }
  }
  return best;
}

/** `samples` without the seam's lag. */
export function shorten(samples: Float32Array, { lag }: Seam): Float32Array<ArrayBuffer> {
  const shorter = new Float32Array(samples.length - lag);
  fade(shorter.subarray(0, OVERLAP), samples, samples.subarray(lag));
  shorter.set(samples.subarray(OVERLAP + lag), OVERLAP);
  return shorter;
}

/** `samples` with the seam's lag in it once more. */
export function lengthen(samples: Float32Array, { lag }: Seam): Float32Array<ArrayBuffer> {
  const longer = new Float32Array(samples.length + lag);
  longer.set(samples.subarray(0, lag));
  fade(longer.subarray(lag, lag + OVERLAP), samples.subarray(lag), samples);
  longer.set(samples.subarray(OVERLAP), lag + OVERLAP);
  return longer;
}

/** Fills `into` with what goes from `a` to `b`. */
function fade(into: Float32Array, a: Float32Array, b: Float32Array): void {
  for (let at = 0; at < OVERLAP; at += 1) {
    const share = (at + 0.5) / OVERLAP;
    into[at] = (a[at] ?? 0) * (1 - share) + (b[at] ?? 0) * share;
  }
}
