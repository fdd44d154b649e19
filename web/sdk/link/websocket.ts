/**
 * A link over a WebSocket, for where UDP is blocked (docs/protocol.md, section 4): each binary message begins with a byte that says
 * whether it holds bytes of the stream or a datagram.
 */

import { concat } from '../proto/bytes.ts';
import { DATAGRAM_MAX } from '../proto/limits.ts';
import type { Link, LinkEnd } from './link.ts';
import { DialError } from './race.ts';

const SUBPROTOCOL = 'ahoy.1';
const STREAM = Uint8Array.of(0);
const DATAGRAM = Uint8Array.of(1);

/** Error codes of the protocol begin here among the codes of a close. */
const CLOSE_CODES = 4_000;

/** Longest piece of the stream in one message: voice waits behind no more than that. */
const PIECE_MAX = 16 * 1024;

/** Datagrams are dropped while more than that has not left: a third of a second of voice. */
const BACKLOG_MAX = 4 * 1024;

/** Longest reason of a close, in bytes (RFC 6455). */
const REASON_MAX = 123;

/** As much of a WebSocket as a link needs: the browser's own, or one that Node is given. */
export interface Socket {
  binaryType: string;
  readonly bufferedAmount: number;
  onopen: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
}

export type SocketConstructor = new (url: string, protocols: string[]) => Socket;

/** Opens a link to `url`. Rejects with {@link DialError}. */
export function dialWebSocket(url: string, make: SocketConstructor, signal: AbortSignal): Promise<Link> {
  return new Promise((resolve, reject) => {
    let socket: Socket;
    try {
      socket = new make(url, [SUBPROTOCOL]);
    } catch (error) {
      // A page that came by https may open no ws.
      return reject(new DialError('the browser opens no such link', { cause: error }));
    }
    socket.binaryType = 'arraybuffer';
    const fail = (text: string): void => {
      signal.removeEventListener('abort', aborted);
      [socket.onopen, socket.onclose] = [null, null];
      reject(new DialError(text));
    };
    const aborted = (): void => {
      fail('given up');
      socket.close();
    };
    if (signal.aborted) return aborted();
    signal.addEventListener('abort', aborted);
    socket.onerror = () => {};
    socket.onclose = () => fail('no link over a WebSocket');
    socket.onopen = () => {
      signal.removeEventListener('abort', aborted);
      resolve(new WebSocketLink(socket));
    };
  });
}

class WebSocketLink implements Link {
  readonly transport = 'websocket';
  readonly datagramMax = DATAGRAM_MAX;
  onBytes: (bytes: Uint8Array) => void = () => {};
  onDatagram: (bytes: Uint8Array) => void = () => {};
  onEnd: (end: LinkEnd) => void = () => {};
  #over = false;

  constructor(readonly socket: Socket) {
    socket.onmessage = ({ data }) => this.#take(data);
    socket.onclose = ({ code, reason }) => this.#end({ code: code > CLOSE_CODES ? code - CLOSE_CODES : null, text: reason });
  }

  get unsent(): number {
    return this.socket.bufferedAmount;
  }

  send(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length && !this.#over; at += PIECE_MAX) {
      this.socket.send(concat(STREAM, bytes.subarray(at, at + PIECE_MAX)));
    }
  }

  sendDatagram(bytes: Uint8Array): void {
    if (!this.#over && this.socket.bufferedAmount <= BACKLOG_MAX) this.socket.send(concat(DATAGRAM, bytes));
  }

  close(code: number, text: string): void {
    if (this.#over) return;
    this.#over = true;
    this.socket.close(CLOSE_CODES + code, new TextEncoder().encode(text).length <= REASON_MAX ? text : '');
  }

  #take(data: unknown): void {
    if (this.#over) return;
    const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(0);
    if (bytes[0] === STREAM[0]) return this.onBytes(bytes.subarray(1));
    if (bytes[0] === DATAGRAM[0]) return this.onDatagram(bytes.subarray(1));
    this.close(0, '');
    this.onEnd({ code: null, text: 'the supernode sends what is no message of a link' });
  }

  #end(end: LinkEnd): void {
    if (this.#over) return;
    this.#over = true;
    this.onEnd(end);
  }
}
