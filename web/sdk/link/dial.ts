/**
 * From a supernode of the roster to a link: its addresses in their order, by WebTransport where that works and by WebSocket where not.
 */

import { isLoopback } from '../account/authority.ts';
import type { Network } from '../account/network.ts';
import type { RosterEntry } from '../proto/document.ts';
import { SYSTEM_CLOCK, type Clock } from './clock.ts';
import type { Link } from './link.ts';
import { DialError, race, type Attempt } from './race.ts';
import { dialWebSocket, type SocketConstructor } from './websocket.ts';
import { dialWebTransport, type TransportConstructor } from './webtransport.ts';

/** Makes links; the session's seam to the network. */
export interface Dialler {
  /** Rejects where no link comes about, and soon after the signal. */
  dial(entry: RosterEntry, network: Network, signal: AbortSignal): Promise<Link>;
}

/** Head start of one address over the next (RFC 8305). */
const ADDRESS_HEAD_START_MS = 250;

/**
 * Head start of WebTransport over WebSocket: two round trips of 300 ms, which a handshake takes. A shorter one leaves people on TCP, where
 * voice waits for lost packets; a longer one keeps those waiting whose network drops UDP.
 */
const TRANSPORT_HEAD_START_MS = 600;

/** For so long after a WebSocket came first they start together. Networks change as people move; five minutes is a coffee. */
const TRANSPORT_MEMORY_MS = 300_000;

export interface DiallerOptions {
  /** Of the platform, if nothing else is said; `null`: never by this. */
  WebTransport?: TransportConstructor | null;
  WebSocket?: SocketConstructor | null;
  clock?: Clock;
}

/** A dialler for the browser, and with constructors of its own for Node. */
export function dialler(options: DiallerOptions = {}): Dialler {
  const clock = options.clock ?? SYSTEM_CLOCK;
  const transports = { ...platform(), ...options };
  /** When a WebSocket came up although WebTransport had begun first. */
  let preferredUntil = -Infinity;

  const toAddress = (address: string, network: Network, signal: AbortSignal): Promise<Link> => {
    const attempts: Attempt<Link>[] = [];
    const { WebTransport, WebSocket } = transports;
    const { certificateHashes } = network;
    if (WebTransport) {
      const make = WebTransport;
      attempts.push((signal) => dialWebTransport(`https://${address}/session`, { make, certificateHashes, clock }, signal));
    }
    if (WebSocket) {
      const make = WebSocket;
      attempts.push((signal) => dialWebSocket(`${isPlain(network, address) ? 'ws' : 'wss'}://${address}/session`, make, signal));
    }
    const headStartMs = clock.elapsed() < preferredUntil ? 0 : TRANSPORT_HEAD_START_MS;
    return race(attempts, { headStartMs, clock, signal, discard });
  };

  return {
    async dial(entry, network, signal) {
      const attempts = entry.addresses.map((address) => (signal: AbortSignal) => toAddress(address, network, signal));
      if (attempts.length === 0) throw new DialError('the roster has no address of it');
      const link = await race(attempts, { headStartMs: ADDRESS_HEAD_START_MS, clock, signal, discard });
      preferredUntil = link.transport === 'websocket' ? clock.elapsed() + TRANSPORT_MEMORY_MS : -Infinity;
      return link;
    },
  };
}

function discard(link: Link): void {
  link.close(0, '');
}

/** Whether a WebSocket goes without TLS: where the network does, which it does on this machine only, and to this very machine. */
function isPlain({ url }: Network, address: string): boolean {
  const to = `http://${address}`;
  return new URL(url).protocol === 'http:' && URL.canParse(to) && isLoopback(new URL(to).hostname);
}

/** What this platform has. Its types ask more of handlers than links do. */
function platform(): { WebTransport: TransportConstructor | null; WebSocket: SocketConstructor | null } {
  return {
    WebTransport: typeof WebTransport === 'undefined' ? null : WebTransport,
    WebSocket: typeof WebSocket === 'undefined' ? null : (WebSocket as SocketConstructor),
  };
}
