/** The note of a contact request: a few plain words that only the devices of the one asked can read (docs/protocol.md, section 6.2). */

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';

import { characters, concat, utf8 } from './bytes.ts';
import { openWith, sealTo, type Purpose } from './hpke.ts';
import { idBytes } from './ids.ts';
import { NOTE_CHARACTERS_MAX, NOTE_LENGTH } from './limits.ts';
import { ContactNoteSchema } from './messages.ts';

/** Tag and two bytes of length in front of the padding. */
const PADDING_HEAD = 3;

/** Field 2, length-delimited. */
const PADDING_TAG = (2 << 3) | 2;

/** Who asks whom. */
export interface Asking {
  asking: string;
  asked: string;
}

/** Seals a note to a request key; `null` where the key is of no use. Throws {@link RangeError} where the text is too long. */
export async function sealNote(text: string, between: Asking, requestKey: Uint8Array, seed?: Uint8Array): Promise<Uint8Array | null> {
  if (characters(text) > NOTE_CHARACTERS_MAX) throw new RangeError(`a note has at most ${NOTE_CHARACTERS_MAX} characters`);
  return sealTo(requestKey, padded(text), purpose(between), seed);
}

/** The note's text, `null` where it does not open or is none. */
export async function openNote(sealed: Uint8Array, between: Asking, requestSecret: Uint8Array): Promise<string | null> {
  const plain = await openWith(requestSecret, sealed, purpose(between));
  if (plain === null) return null;
  try {
    const { text } = fromBinary(ContactNoteSchema, plain);
    return characters(text) > NOTE_CHARACTERS_MAX ? null : text;
  } catch {
    return null;
  }
}

function purpose({ asking, asked }: Asking): Purpose {
  return { info: utf8('ahoy/1 contact note'), aad: concat(idBytes(asking), idBytes(asked)) };
}

/** The padding's length is always written in two bytes: otherwise there is a text that can't be filled up. */
function padded(text: string): Uint8Array {
  const note = toBinary(ContactNoteSchema, create(ContactNoteSchema, { text }));
  const padding = NOTE_LENGTH - note.length - PADDING_HEAD;
  return concat(note, Uint8Array.of(PADDING_TAG, (padding & 0x7f) | 0x80, padding >> 7), new Uint8Array(padding));
}
