/** Names and passwords as they are typed. */

import { t } from '../text.ts';

/** Three to 32 of these; separators stand one at a time between letters or digits (docs/protocol.md, section 1). */
const NAME = /^(?=.{3,32}$)[a-z0-9]+(?:[._-][a-z0-9]+)*$/;

/** As it is sent: names are compared after folding their case. */
export function cleanName(name: string): string {
  return name.trim().toLowerCase();
}

/** What is wrong with a name, or `null`. */
export function nameProblem(name: string): string | null {
  return NAME.test(cleanName(name)) ? null : t.welcome.nameWrong;
}

export type Strength = 'short' | 'weak' | 'fair' | 'strong';

/** Below this a password is refused here. */
const LENGTH_MIN = 8;
/** Beginnings of what is tried first. */
const COMMON = ['password', 'passwort', 'qwert', 'azert', '12345', 'abcde', 'letmein', 'iloveyou', 'welcome', 'admin', 'ahoy', 'monkey', 'dragon'];

/**
 * How long guessing would take, roughly: bits by length and kinds of signs, less for what repeats, counts up or is tried first. With
 * Argon2id at 64 MiB a guess costs about 50 ms of a core: 2^28 guesses are five months of one, 2^50 four hundred of a million.
 */
export function strengthOf(password: string, name: string): Strength {
  if ([...password].length < LENGTH_MIN) return 'short';
  const bits = bitsOf(password, cleanName(name));
  if (bits < 34) return 'weak';
  return bits < 52 ? 'fair' : 'strong';
}

function bitsOf(password: string, name: string): number {
  const folded = password.toLowerCase();
  const kinds = [/[a-z]/, /[A-Z]/, /[0-9]/, /[^A-Za-z0-9]/].filter((kind) => kind.test(password)).length;
  let signs = 0;
  let before = '';
  for (const sign of folded) {
    const step = (sign.codePointAt(0) ?? 0) - (before.codePointAt(0) ?? 0);
    signs += before !== '' && Math.abs(step) <= 1 ? 0.25 : 1;
    before = sign;
  }
  const isCommon = COMMON.some((word) => folded.includes(word)) || (name.length >= 3 && folded.includes(name));
  const distinct = new Set(folded).size;
  return Math.min(signs, distinct * 2) * (2.2 + 0.45 * kinds) - (isCommon ? 26 : 0);
}

/** What this browser calls itself, for the list of devices. */
export function deviceName(agent: string): string {
  const browser = ([['Firefox', 'Firefox'], ['Edg/', 'Edge'], ['OPR/', 'Opera'], ['Chrome', 'Chrome'], ['Safari', 'Safari']] as const).find(([mark]) => agent.includes(mark))?.[1] ?? 'Browser';
  const system = ([['Android', 'Android'], ['iPhone', 'iPhone'], ['iPad', 'iPad'], ['Windows', 'Windows'], ['Mac', 'Mac'], ['Linux', 'Linux']] as const).find(([mark]) => agent.includes(mark))?.[1];
  return system === undefined ? browser : `${browser} on ${system}`;
}
