/** What messages say (docs/protocol.md, section 7.4): read within its bounds, and written. */

import { create, fromBinary, toBinary, type MessageInitShape } from '@bufbuild/protobuf';

import type { MessageRef } from '../client.ts';
import { characters, utf8 } from '../proto/bytes.ts';
import { idBytes, idOf } from '../proto/ids.ts';
import { REACTION_MAX, TEXT_MAX, TITLE_CHARACTERS_MAX } from '../proto/limits.ts';
import { ContentSchema, MessageRefSchema, type Content, type MessageRef as WireRef } from '../proto/messages.ts';

/** What a message comes to. */
export type Said =
  | { kind: 'text'; text: string; replyTo: MessageRef | null }
  | { kind: 'edit'; target: MessageRef; text: string }
  | { kind: 'deletion'; target: MessageRef }
  | { kind: 'reaction'; target: MessageRef; emoji: string; set: boolean }
  /** The group has this title, perhaps as before. */
  | { kind: 'title'; title: string }
  /** Somebody does not know the title. */
  | { kind: 'title-wanted' };

/** A message as its sender has sealed it. */
export interface Spoken {
  /** What names it, together with its device. */
  number: bigint;
  /** `null` where it breaks a bound, or is of a kind that a newer client knows. */
  said: Said | null;
}

/** Reads a message; `null` where it is none. */
export function readContent(plain: Uint8Array): Spoken | null {
  try {
    const { number, body } = fromBinary(ContentSchema, plain);
    return { number, said: readBody(body) };
  } catch {
    return null;
  }
}

function readBody(body: Content['body']): Said | null {
  switch (body.case) {
    case 'text':
      return fitsText(body.value.text) ? { kind: 'text', text: body.value.text, replyTo: fromWire(body.value.replyTo) } : null;
    case 'edit': {
      const target = fromWire(body.value.target);
      return target !== null && fitsText(body.value.text) ? { kind: 'edit', target, text: body.value.text } : null;
    }
    case 'deletion': {
      const target = fromWire(body.value.target);
      return target === null ? null : { kind: 'deletion', target };
    }
    case 'reaction': {
      const [target, { emoji, removed }] = [fromWire(body.value.target), body.value];
      return target !== null && fitsReaction(emoji) ? { kind: 'reaction', target, emoji, set: !removed } : null;
    }
    case 'details':
      return fitsTitle(body.value.title) ? { kind: 'title', title: body.value.title } : null;
    case 'detailsWanted':
      return { kind: 'title-wanted' };
    default:
      return null;
  }
}

/** The encoded Content. */
export function writeContent({ number, said, sentAtMs }: { number: number; said: Said; sentAtMs: number }): Uint8Array<ArrayBuffer> {
  const content = create(ContentSchema, { sentAtMs: BigInt(sentAtMs), number: BigInt(number), body: bodyOf(said) });
  return Uint8Array.from(toBinary(ContentSchema, content));
}

function bodyOf(what: Said): NonNullable<MessageInitShape<typeof ContentSchema>['body']> {
  switch (what.kind) {
    case 'text':
      return { case: 'text', value: { text: what.text, ...(what.replyTo && { replyTo: toWire(what.replyTo) }) } };
    case 'edit':
      return { case: 'edit', value: { target: toWire(what.target), text: what.text } };
    case 'deletion':
      return { case: 'deletion', value: { target: toWire(what.target) } };
    case 'reaction':
      return { case: 'reaction', value: { target: toWire(what.target), emoji: what.emoji, removed: !what.set } };
    case 'title':
      return { case: 'details', value: { title: what.title } };
    case 'title-wanted':
      return { case: 'detailsWanted', value: {} };
  }
}

function toWire({ device, number }: MessageRef): WireRef {
  return create(MessageRefSchema, { device: idBytes(device), number: BigInt(number) });
}

function fromWire(reference: WireRef | undefined): MessageRef | null {
  const device = reference === undefined ? null : idOf(reference.device);
  return reference === undefined || device === null ? null : { device, number: Number(reference.number) };
}

export function fitsText(text: string): boolean {
  return text !== '' && utf8(text).length <= TEXT_MAX;
}

export function fitsReaction(emoji: string): boolean {
  return emoji !== '' && utf8(emoji).length <= REACTION_MAX;
}

export function fitsTitle(title: string): boolean {
  return title !== '' && characters(title) <= TITLE_CHARACTERS_MAX;
}
