/**
 * Ports for daemons that tests start, all from here: not from the range that the system gives to anybody, and no two processes that begin
 * one after the other look in the same place.
 */

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below those of the Rust tests. */
const PORTS = { first: 15_000, last: 19_998 };

let nextPort = PORTS.first + (process.pid % 1_000) * 4;

/** `n` ports in a row that nobody has, UDP and TCP. */
export async function freePorts(n: number): Promise<number> {
  for (; nextPort + n <= PORTS.last; nextPort += n) {
    const ports = Array.from({ length: n }, (_, index) => nextPort + index);
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) {
      nextPort += n;
      return ports[0]!;
    }
  }
  throw new Error('no free port is left');
}

async function isFree(port: number): Promise<boolean> {
  const udp = createSocket('udp4');
  const tcp = createServer();
  try {
    udp.bind(port, '127.0.0.1');
    tcp.listen(port, '127.0.0.1');
    await Promise.all([once(udp, 'listening'), once(tcp, 'listening')]);
    return true;
  } catch {
    return false;
  } finally {
    await Promise.allSettled([new Promise<void>((done) => udp.close(() => done())), new Promise<void>((done) => tcp.close(() => done()))]);
  }
}
