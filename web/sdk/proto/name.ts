/** Account names (docs/protocol.md, section 1). */

/** Letters of a name, at least and at most. */
export const NAME_MIN = 3;
export const NAME_MAX = 32;

export type NameFault = 'length' | 'alphabet' | 'separator';

/** A name as it is compared: case folded. */
export function foldName(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/** Which rule a text breaks, whatever its case; `null`: none. That a name is reserved or taken only the authority knows. */
export function nameFault(text: string): NameFault | null {
  if (!/^[A-Za-z0-9._-]*$/.test(text)) return 'alphabet';
  if (text.length < NAME_MIN || text.length > NAME_MAX) return 'length';
  return /^[^._-]+(?:[._-][^._-]+)*$/.test(text) ? null : 'separator';
}

/** Whether this is a name as documents hold it: folded, and breaking no rule. */
export function isName(value: unknown): value is string {
  return typeof value === 'string' && nameFault(value) === null && foldName(value) === value;
}
