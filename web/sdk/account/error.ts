/** Why a verb at the authority came to nothing. */

/** What the authority says (docs/protocol.md, section 3), and what this device found out by itself. */
export type AccountErrorCode =
  | 'invalid'
  | 'name-invalid'
  /** Wrong password, unknown name or wrong recovery code: nobody learns which. */
  | 'sign-in-refused'
  | 'state-refused'
  | 'credential-refused'
  | 'sign-up-refused'
  | 'suspended'
  | 'supernode-refused'
  | 'not-found'
  | 'name-taken'
  | 'too-many-devices'
  | 'too-large'
  | 'rate-limited'
  | 'unavailable'
  /** Nothing answers at the address. */
  | 'unreachable'
  /** Something answers, but no authority; or it breaks the rules of its own protocol. */
  | 'not-ahoy'
  /** The root key is not the one pinned at first contact. */
  | 'network-changed'
  /** This program is too old for the network. */
  | 'version'
  /** What the network signed does not verify: it is forged, or one of the clocks is wrong. */
  | 'document'
  /** Shorter or longer than a password may be. */
  | 'password-length'
  /** No recovery code. */
  | 'recovery-code'
  /** The authority gave back an account key that is not this account's. */
  | 'account-key';

/** Nothing has changed, as far as is known. */
export class AccountError extends Error {
  override readonly name = 'AccountError';
  constructor(
    readonly code: AccountErrorCode,
    /** One sentence for a person, of the authority where it said one. */
    text: string,
    /** Milliseconds after which the same may work; 0 where waiting does not help. */
    readonly retryAfterMs = 0,
    options?: ErrorOptions,
  ) {
    super(text, options);
  }
}

const REFUSALS: ReadonlySet<string> = new Set<AccountErrorCode>([
  'invalid',
  'name-invalid',
  'sign-in-refused',
  'state-refused',
  'credential-refused',
  'sign-up-refused',
  'suspended',
  'supernode-refused',
  'not-found',
  'name-taken',
  'too-many-devices',
  'too-large',
  'rate-limited',
  'unavailable',
]);

/** Longest sentence taken over from an authority, in UTF-16 units. */
const TEXT_MAX = 300;

/** The longest pause that an authority can ask for: a day. */
const RETRY_AFTER_MAX_MS = 86_400_000;

/** What a body of a status of 400 or above says, `null` where it is none of an authority. */
export function refusalOf(body: unknown): AccountError | null {
  if (typeof body !== 'object' || body === null || !('code' in body) || !('text' in body)) return null;
  const { code, text } = body;
  if (typeof code !== 'string' || !isRefusal(code) || typeof text !== 'string') return null;
  const wait = 'retry_after_ms' in body ? Number(body.retry_after_ms) : 0;
  return new AccountError(code, text.slice(0, TEXT_MAX), wait > 0 ? Math.min(wait, RETRY_AFTER_MAX_MS) : 0);
}

function isRefusal(code: string): code is AccountErrorCode {
  return REFUSALS.has(code);
}
