/** A link over WebTransport (docs/protocol.md, section 4): the one stream that the supernode opens, and datagrams. */

import { concat } from '../proto/bytes.ts';
import { DATAGRAM_MAX } from '../proto/limits.ts';
import type { Clock } from './clock.ts';
import type { Link, LinkEnd } from './link.ts';
import { DialError } from './race.ts';

/** How long the reason of an end may come after the end of the stream. */
const REASON_WITHIN_MS = 1_000;

/** Datagrams that wait to be sent: voice that is later is worth nothing. */
const OUTGOING_MAX = 4;

/** Datagrams that wait to be read: a second of voice of four legs. */
const INCOMING_MAX = 256;

export type TransportConstructor = new (url: string, options: WebTransportOptions) => WebTransport;

/** Safari has a method in place of the property. */
type Datagrams = Omit<WebTransportDatagramDuplexStream, 'writable'> & {
  readonly writable?: WritableStream<Uint8Array>;
  createWritable?(): WritableStream<Uint8Array>;
};

export interface TransportOptions {
  make: TransportConstructor;
  /** SHA-256 of the certificates that are accepted; empty: those that the browser trusts. */
  certificateHashes: readonly Uint8Array[];
  clock: Clock;
}

/** Opens a link to `url`. Rejects with {@link DialError}. */
export async function dialWebTransport(url: string, { make, certificateHashes, clock }: TransportOptions, signal: AbortSignal): Promise<Link> {
  signal.throwIfAborted();
  const serverCertificateHashes = certificateHashes.map((hash) => ({ algorithm: 'sha-256', value: concat(hash) }));
  let transport: WebTransport | null = null;
  const aborted = (): void => transport?.close();
  try {
    transport = new make(url, {
      congestionControl: 'low-latency',
      requireUnreliable: true,
      ...(serverCertificateHashes.length > 0 && { serverCertificateHashes }),
    });
    signal.addEventListener('abort', aborted);
    // Whoever is told of the end by `ready` is not to be told of it as an unhandled rejection.
    transport.closed.catch(() => undefined);
    await transport.ready;
    const streams: ReadableStreamDefaultReader<WebTransportBidirectionalStream> = transport.incomingBidirectionalStreams.getReader();
    const { value: stream } = await streams.read();
    signal.throwIfAborted();
    if (stream === undefined) throw new DialError('the supernode opens no stream');
    return new WebTransportLink(transport, stream, clock);
  } catch (error) {
    aborted();
    throw error instanceof DialError ? error : new DialError('no link over WebTransport', { cause: error });
  } finally {
    signal.removeEventListener('abort', aborted);
  }
}

class WebTransportLink implements Link {
  readonly transport = 'webtransport';
  readonly datagramMax: number;
  readonly #session: WebTransport;
  readonly #readable: ReadableStream<Uint8Array>;
  readonly #clock: Clock;
  #onBytes: ((bytes: Uint8Array) => void) | null = null;
  #onDatagram: ((bytes: Uint8Array) => void) | null = null;
  #onEnd: ((end: LinkEnd) => void) | null = null;
  /** What nobody was told yet. */
  #ended: LinkEnd | null = null;
  readonly #stream: WritableStreamDefaultWriter<Uint8Array>;
  readonly #datagrams: WritableStreamDefaultWriter<Uint8Array>;
  #unsent = 0;
  #over = false;

  constructor(session: WebTransport, stream: WebTransportBidirectionalStream, clock: Clock) {
    this.#session = session;
    this.#readable = stream.readable;
    this.#clock = clock;
    const datagrams: Datagrams = session.datagrams;
    this.datagramMax = Math.min(datagrams.maxDatagramSize, DATAGRAM_MAX);
    datagrams.outgoingHighWaterMark = OUTGOING_MAX;
    datagrams.incomingHighWaterMark = INCOMING_MAX;
    const outgoing = datagrams.createWritable?.() ?? datagrams.writable;
    if (outgoing === undefined) throw new DialError('the browser sends no datagrams');
    this.#datagrams = outgoing.getWriter();
    this.#stream = stream.writable.getWriter();
    // Ends are heard of by `closed`.
    this.#datagrams.closed.catch(() => undefined);
    this.#stream.closed.catch(() => undefined);
    session.closed.then(
      ({ closeCode = 0, reason = '' }) => this.#end({ code: closeCode > 0 ? closeCode : null, text: reason }),
      () => this.#end({ code: null, text: 'the link was lost' }),
    );
  }

  // The challenge may have come before anybody listens: reading begins when somebody does.

  get onBytes(): (bytes: Uint8Array) => void {
    return this.#onBytes ?? (() => {});
  }

  set onBytes(handler: (bytes: Uint8Array) => void) {
    const isFirst = this.#onBytes === null;
    this.#onBytes = handler;
    if (!isFirst) return;
    void this.#read(this.#readable, (bytes) => this.onBytes(bytes)).then(() => {
      this.#clock.after(REASON_WITHIN_MS, () => this.#end({ code: null, text: 'the supernode has ended the stream' }));
    });
  }

  get onDatagram(): (bytes: Uint8Array) => void {
    return this.#onDatagram ?? (() => {});
  }

  set onDatagram(handler: (bytes: Uint8Array) => void) {
    const isFirst = this.#onDatagram === null;
    this.#onDatagram = handler;
    if (isFirst) void this.#read(this.#session.datagrams.readable, (bytes) => this.onDatagram(bytes));
  }

  get onEnd(): (end: LinkEnd) => void {
    return this.#onEnd ?? (() => {});
  }

  set onEnd(handler: (end: LinkEnd) => void) {
    this.#onEnd = handler;
    const ended = this.#ended;
    this.#ended = null;
    if (ended !== null) handler(ended);
  }

  get unsent(): number {
    return this.#unsent;
  }

  send(bytes: Uint8Array): void {
    if (this.#over) return;
    this.#unsent += bytes.length;
    const sent = (): void => {
      this.#unsent -= bytes.length;
    };
    this.#stream.write(bytes).then(sent, sent);
  }

  sendDatagram(bytes: Uint8Array): void {
    if (this.#over || (this.#datagrams.desiredSize ?? 0) <= 0) return;
    this.#datagrams.write(bytes).catch(() => undefined);
  }

  close(code: number, text: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#session.close({ closeCode: code, reason: text });
  }

  /** Until the stream ends, however it does. */
  async #read(readable: ReadableStream<Uint8Array>, take: (bytes: Uint8Array) => void): Promise<void> {
    const reader = readable.getReader();
    try {
      for (let next = await reader.read(); !next.done && !this.#over; next = await reader.read()) take(next.value);
    } catch {
      // What ended it is told by `closed`.
    }
  }

  #end(end: LinkEnd): void {
    if (this.#over) return;
    this.#over = true;
    try {
      this.#session.close();
    } catch {
      // It is closed already.
    }
    if (this.#onEnd === null) this.#ended = end;
    else this.#onEnd(end);
  }
}
