/** Arithmetic in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1, over whose bytes repairs are sums (docs/voice.md). */

const POLYNOMIAL = 0x11d;

/** Powers of the generator 2, twice over so that a sum of two logarithms needs no remainder; and logarithms. */
const POWERS = new Uint8Array(510);
const LOGARITHMS = new Uint8Array(256);
for (let exponent = 0, value = 1; exponent < 255; exponent += 1) {
  POWERS[exponent] = value;
  POWERS[exponent + 255] = value;
  LOGARITHMS[value] = exponent;
  value <<= 1;
  if (value > 255) value ^= POLYNOMIAL;
}

/** 2 to the power of `exponent`, which is not negative. */
export function power(exponent: number): number {
  return POWERS[exponent % 255] ?? 0;
}

/** Of a value other than 0. */
export function inverse(value: number): number {
  return POWERS[255 - (LOGARITHMS[value] ?? 0)] ?? 0;
}

/** Adds `term` times `factor` to `sum`, byte by byte; where `term` is shorter, zeros stand for the rest. */
export function addScaled(sum: Uint8Array, term: Uint8Array, factor: number): void {
  if (factor === 0) return;
  const logarithm = LOGARITHMS[factor] ?? 0;
  const length = Math.min(sum.length, term.length);
  for (let at = 0; at < length; at += 1) {
    const value = term[at] ?? 0;
    if (value !== 0) sum[at] = (sum[at] ?? 0) ^ (POWERS[logarithm + (LOGARITHMS[value] ?? 0)] ?? 0);
  }
}

/** Multiplies every byte by `factor`. */
export function scale(bytes: Uint8Array, factor: number): void {
  const product = new Uint8Array(bytes.length);
  addScaled(product, bytes, factor);
  bytes.set(product);
}
