/**
 * From the microphone's 48 kHz to the encoder's 16 kHz, frame by frame: a linear-phase low-pass and every third sample.
 *
 * Its delay is {@link REACH} samples, 1.5 ms.
 */

import { ENCODER_FRAME_SAMPLES, FRAME_SAMPLES } from './codec.ts';

const FACTOR = 3;

/** Taps on either side of the middle. With a Blackman window they fall from 7.2 kHz to nothing at 8.8 kHz, where only the folded band is above 7.2. */
const REACH = 72;

/** Where the filter is down by half, in cycles a sample: 8 kHz, the most that SILK in wideband can code. */
const CUTOFF = 8_000 / 48_000;

const TAPS = lowPass();

/** Carries the end of each frame over to the next. */
export class Decimator {
  readonly #samples = new Float32Array(2 * REACH + FRAME_SAMPLES);

  /** The next {@link FRAME_SAMPLES} samples, as {@link ENCODER_FRAME_SAMPLES}. */
  push(frame: Float32Array): Float32Array<ArrayBuffer> {
    const samples = this.#samples;
    samples.copyWithin(0, FRAME_SAMPLES);
    samples.set(frame.subarray(0, FRAME_SAMPLES), 2 * REACH);
    const output = new Float32Array(ENCODER_FRAME_SAMPLES);
    for (let out = 0; out < ENCODER_FRAME_SAMPLES; out += 1) {
      const from = out * FACTOR;
      let sum = 0;
      for (let tap = 0; tap < TAPS.length; tap += 1) sum += (samples[from + tap] ?? 0) * (TAPS[tap] ?? 0);
      output[out] = sum;
    }
    return output;
  }
}

function lowPass(): Float32Array {
  const taps = new Float32Array(2 * REACH + 1);
  let total = 0;
  for (let tap = 0; tap < taps.length; tap += 1) {
    const turn = 2 * Math.PI * CUTOFF * (tap - REACH);
    const sinc = turn === 0 ? 1 : Math.sin(turn) / turn;
    const phase = (2 * Math.PI * (tap + 1)) / (taps.length + 1);
    const value = sinc * (0.42 - 0.5 * Math.cos(phase) + 0.08 * Math.cos(2 * phase));
    taps[tap] = value;
    total += value;
  }
  return taps.map((value) => value / total);
}
