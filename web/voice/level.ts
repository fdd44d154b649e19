/** How loud samples are. */

/** Level of digital silence, -dBov (RFC 6464). */
export const SILENCE_DBOV = 127;

/** Root mean square of `samples` (-1 to 1), from 0 to 1. */
export function rootMeanSquare(samples: Float32Array): number {
  let energy = 0;
  for (const sample of samples) energy += sample * sample;
  const mean = energy / Math.max(samples.length, 1);
  return Number.isFinite(mean) ? Math.sqrt(mean) : 0;
}

/** Level of `samples` as -dBov: 0 is the loudest, {@link SILENCE_DBOV} silence. */
export function level(samples: Float32Array): number {
  const rms = rootMeanSquare(samples);
  if (rms === 0) return SILENCE_DBOV;
  return Math.min(Math.max(Math.round(-20 * Math.log10(rms)), 0), SILENCE_DBOV);
}
