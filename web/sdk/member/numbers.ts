/** Numbers of the wire as numbers of the language. */

/** Times and sequence numbers; a hostile one becomes the greatest that is exact. */
export function toNumber(value: bigint): number {
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
}
