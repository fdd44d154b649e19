/**
 * Messages on the ordered stream: each preceded by its length as a protobuf varint, and long ones cut into fragments
 * (docs/protocol.md, sections 4 and 5).
 */

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';

import { concat } from './bytes.ts';
import { LARGE_MESSAGE_MAX, MESSAGE_MAX } from './limits.ts';
import { ClientMessageSchema, FragmentSchema, SupernodeMessageSchema, type ClientMessage, type SupernodeMessage } from './messages.ts';

/** The other side does not keep to the framing: a length over the limit, or bytes that are no message. The link can't be read on. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
}

/** Longest piece of a fragment: leaves room for four tags, two lengths and the mark of the last one. */
const PIECE_MAX = MESSAGE_MAX - 16;

/** Longest length prefix: 4 bytes of 7 bits hold 256 MiB, far above every limit. */
const PREFIX_MAX = 4;

/** Bytes that a frame or its first part is held in before it grows. */
const BUFFER_FIRST = 4_096;

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 0x80) {
      bytes.push(rest);
      return Uint8Array.from(bytes);
    }
    bytes.push((rest & 0x7f) | 0x80);
  }
}

/** A message's encoding as it stands on the stream. */
export function frame(message: Uint8Array): Uint8Array<ArrayBuffer> {
  return concat(varint(message.length), message);
}

/** Cuts an encoding into the fragments of it; `wrap` makes the message that carries one. */
function cut(whole: Uint8Array, wrap: (piece: Uint8Array, last: boolean) => Uint8Array): Uint8Array<ArrayBuffer> {
  const frames: Uint8Array[] = [];
  for (let start = 0; start < whole.length; start += PIECE_MAX) {
    const end = Math.min(whole.length, start + PIECE_MAX);
    frames.push(frame(wrap(whole.subarray(start, end), end === whole.length)));
  }
  return concat(...frames);
}

/** A client's message as it stands on the stream: in one frame, or in those of its fragments. Throws where it is longer than any may be. */
export function encodeClientMessage(message: ClientMessage): Uint8Array<ArrayBuffer> {
  const whole = toBinary(ClientMessageSchema, message);
  if (whole.length <= MESSAGE_MAX) return frame(whole);
  if (whole.length > LARGE_MESSAGE_MAX) throw new RangeError('a message is longer than the protocol allows');
  return cut(whole, (piece, last) => {
    const fragment = create(FragmentSchema, { piece, last });
    return toBinary(ClientMessageSchema, create(ClientMessageSchema, { body: { case: 'fragment', value: fragment } }));
  });
}

/** The same for a supernode's: for those who play one. */
export function encodeSupernodeMessage(message: SupernodeMessage): Uint8Array<ArrayBuffer> {
  const whole = toBinary(SupernodeMessageSchema, message);
  if (whole.length <= MESSAGE_MAX) return frame(whole);
  return cut(whole, (piece, last) => {
    const fragment = create(FragmentSchema, { piece, last });
    return toBinary(SupernodeMessageSchema, create(SupernodeMessageSchema, { body: { case: 'fragment', value: fragment } }));
  });
}

/** Cuts a stream into messages' encodings. Holds at most one unfinished message and what came with its last bytes. */
export class Deframer {
  #buffer = new Uint8Array(0);
  #start = 0;
  #end = 0;

  push(bytes: Uint8Array): void {
    if (this.#end + bytes.length > this.#buffer.length) this.#makeRoom(bytes.length);
    this.#buffer.set(bytes, this.#end);
    this.#end += bytes.length;
  }

  /** The next whole message, `null` when more bytes are needed. Throws {@link FrameError} when it is longer than `limit` bytes. */
  next(limit: number): Uint8Array | null {
    const prefix = this.#prefix();
    if (prefix === null) return null;
    if (prefix.value > limit) throw new FrameError('a message is longer than the limit in force');
    const from = this.#start + prefix.length;
    if (this.#end < from + prefix.value) return null;
    const message = this.#buffer.slice(from, from + prefix.value);
    this.#start = from + prefix.value;
    if (this.#start === this.#end) this.#forget();
    return message;
  }

  #prefix(): { value: number; length: number } | null {
    let value = 0;
    const end = Math.min(this.#end, this.#start + PREFIX_MAX);
    for (let at = this.#start; at < end; at += 1) {
      const byte = this.#buffer[at] ?? 0;
      value |= (byte & 0x7f) << (7 * (at - this.#start));
      if (byte < 0x80) return { value, length: at - this.#start + 1 };
    }
    if (end - this.#start === PREFIX_MAX) throw new FrameError('a length is no varint of a message');
    return null;
  }

  /** Doubles, so that a message that comes in small pieces is not copied for each of them. */
  #makeRoom(more: number): void {
    const held = this.#end - this.#start;
    const length = Math.max(BUFFER_FIRST, 2 * held, held + more);
    const buffer = new Uint8Array(length);
    buffer.set(this.#buffer.subarray(this.#start, this.#end));
    [this.#buffer, this.#start, this.#end] = [buffer, 0, held];
  }

  #forget(): void {
    [this.#buffer, this.#start, this.#end] = [new Uint8Array(0), 0, 0];
  }
}

/** Puts the fragments of one message at a time together. */
export class Assembler {
  #pieces: Uint8Array[] = [];
  #held = 0;

  /** Takes in the next piece; gives the message's encoding when it was the last one. Throws {@link FrameError}. */
  push(piece: Uint8Array, last: boolean): Uint8Array | null {
    if (piece.length === 0) throw new FrameError('a fragment is empty');
    this.#held += piece.length;
    if (this.#held > LARGE_MESSAGE_MAX) {
      this.#forget();
      throw new FrameError('a message is longer than the protocol allows');
    }
    this.#pieces.push(piece);
    if (!last) return null;
    const whole = concat(...this.#pieces);
    this.#forget();
    return whole;
  }

  /** Bytes of the message that is under way. */
  get held(): number {
    return this.#held;
  }

  #forget(): void {
    [this.#pieces, this.#held] = [[], 0];
  }
}

/** Reads what a supernode sends: frames, fragments and messages. Whatever it throws is a {@link FrameError}, after which the link is of no use. */
export class SupernodeReader {
  readonly #deframer = new Deframer();
  readonly #assembler = new Assembler();

  push(bytes: Uint8Array): void {
    this.#deframer.push(bytes);
  }

  /** The next message, `null` when more bytes are needed. `limit`: of what stands on the stream, in force now. */
  next(limit = MESSAGE_MAX): SupernodeMessage | null {
    for (;;) {
      const bytes = this.#deframer.next(limit);
      if (bytes === null) return null;
      const message = decode(bytes);
      if (message.body.case !== 'fragment') return message;
      const { piece, last } = message.body.value;
      const whole = this.#assembler.push(piece, last);
      if (whole === null) continue;
      const assembled = decode(whole);
      if (assembled.body.case === 'fragment') throw new FrameError('a fragment holds a fragment');
      return assembled;
    }
  }
}

function decode(bytes: Uint8Array): SupernodeMessage {
  try {
    return fromBinary(SupernodeMessageSchema, bytes);
  } catch {
    throw new FrameError('the supernode sends what is no message');
  }
}
