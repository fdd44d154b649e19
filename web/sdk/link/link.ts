/**
 * One transport connection to a supernode: an ordered stream of bytes and unreliable datagrams (docs/protocol.md, section 4).
 *
 * Links carry bytes and understand none of them.
 */

/** Why a link is over. */
export interface LinkEnd {
  /** The protocol's error code, where the other side closed with one. */
  code: number | null;
  text: string;
}

export interface Link {
  readonly transport: 'webtransport' | 'websocket';
  /** Largest datagram that can be sent, in bytes. */
  readonly datagramMax: number;
  /** Sends bytes of the ordered stream, in order, without waiting. */
  send(bytes: Uint8Array): void;
  /** Bytes handed to {@link send} that have not left: whoever sends much waits while this is large. */
  readonly unsent: number;
  /** Sends a datagram, or drops it where the network is slower. */
  sendDatagram(bytes: Uint8Array): void;
  /** Called for what comes; set all of them before the first await after the link was made. */
  onBytes: (bytes: Uint8Array) => void;
  onDatagram: (bytes: Uint8Array) => void;
  /** Called once, not for a link that {@link close} ended. */
  onEnd: (end: LinkEnd) => void;
  close(code: number, text: string): void;
}
