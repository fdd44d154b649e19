/** What came of a request, as a command's refusal. */

import { Refusal, type RefusalReason } from '../client.ts';
import { ErrorCode } from '../proto/messages.ts';
import { Refused, SessionLost } from '../session/uplink.ts';

/** Whether the same request makes sense again later. */
export function passes(error: unknown): error is Refused {
  return error instanceof Refused && (error.code === ErrorCode.UNAVAILABLE || error.code === ErrorCode.RATE_LIMITED);
}

export function isCode(error: unknown, code: ErrorCode): error is Refused {
  return error instanceof Refused && error.code === code;
}

/** The refusal that an error comes to; `notFound` says what was not there. */
export function refusalOf(error: unknown, notFound: RefusalReason = 'network'): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof SessionLost) return offline();
  if (!(error instanceof Refused)) return new Refusal('network', 'Something went wrong on this device.');
  const { code, message, retryAfterMs } = error;
  if (code === ErrorCode.NOT_FOUND) return new Refusal(notFound, message, retryAfterMs);
  if (code === ErrorCode.RATE_LIMITED || code === ErrorCode.LIMIT_REACHED) return new Refusal('limit', message, retryAfterMs);
  return new Refusal('network', message, retryAfterMs);
}

export function offline(): Refusal {
  return new Refusal('offline', 'Not connected to the network at the moment.');
}

export function noSuchConversation(): Refusal {
  return new Refusal('no-such-conversation', 'There is no such conversation.');
}

export function noSuchContact(): Refusal {
  return new Refusal('no-such-contact', 'There is no such contact.');
}

export function keyChanged(): Refusal {
  return new Refusal('account-key-changed', 'The account key of this person has changed: compare it with them before you go on.');
}

export function tooLong(): Refusal {
  return new Refusal('length', 'Too long or empty.');
}

export function conversationRefused(): Refusal {
  return new Refusal('conversation-refused', 'This conversation can’t be used at the moment.');
}

export function requested(): Refusal {
  return new Refusal('requested', 'They take calls and messages of contacts only: they have been asked to become one.');
}

/** The vault has failed: nothing can be kept, so nothing more is done. */
export class StorageFailed extends Error {
  override readonly name = 'StorageFailed';
}

/** For work that nobody waits for: what ends with the session is asked for anew by the next one; anything else is a fault of ours. */
export function passOver(error: unknown): void {
  if (error instanceof SessionLost || error instanceof Refusal || error instanceof Refused || error instanceof StorageFailed) return;
  queueMicrotask(() => {
    throw error;
  });
}
