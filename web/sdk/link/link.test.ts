import { describe, expect, test } from 'vitest';

import type { Network } from '../account/network.ts';
import { SUPERNODE_ADDRESSES_MAX } from '../proto/limits.ts';
import { dialler } from './dial.ts';
import type { Link, LinkEnd } from './link.ts';
import { DialError, race, type Attempt } from './race.ts';
import { settle, VirtualClock } from './virtual-clock.ts';
import { dialWebSocket, type Socket } from './websocket.ts';
import { dialWebTransport } from './webtransport.ts';

/** A WebSocket whose other end is the test. */
class TestSocket implements Socket {
  static made: TestSocket[] = [];
  binaryType = '';
  bufferedAmount = 0;
  onopen: Socket['onopen'] = null;
  onerror: Socket['onerror'] = null;
  onmessage: Socket['onmessage'] = null;
  onclose: Socket['onclose'] = null;
  readonly sent: number[][] = [];
  closed: [number | undefined, string | undefined] | null = null;

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    TestSocket.made.push(this);
  }

  send(data: Uint8Array): void {
    this.sent.push([...data]);
  }

  close(code?: number, reason?: string): void {
    this.closed = [code, reason];
  }

  open(): void {
    this.onopen?.(undefined as never);
  }

  say(...bytes: number[]): void {
    this.onmessage?.({ data: Uint8Array.from(bytes).buffer });
  }

  end(code: number, reason = ''): void {
    this.onclose?.({ code, reason });
  }
}

function lastSocket(): TestSocket {
  const socket = TestSocket.made.at(-1);
  if (socket === undefined) throw new Error('no socket was made');
  return socket;
}

/** What a link says to whoever uses it. */
function heard(link: Link): { bytes: number[][]; datagrams: number[][]; ends: LinkEnd[] } {
  const said: ReturnType<typeof heard> = { bytes: [], datagrams: [], ends: [] };
  link.onBytes = (bytes) => said.bytes.push([...bytes]);
  link.onDatagram = (bytes) => said.datagrams.push([...bytes]);
  link.onEnd = (end) => said.ends.push(end);
  return said;
}

const never = (): AbortSignal => new AbortController().signal;

async function webSocketLink(): Promise<{ link: Link; socket: TestSocket; said: ReturnType<typeof heard> }> {
  const dialled = dialWebSocket('ws://localhost:1/session', TestSocket, never());
  const socket = lastSocket();
  socket.open();
  const link = await dialled;
  return { link, socket, said: heard(link) };
}

describe('a link over a WebSocket', () => {
  test('asks for its subprotocol, and tells stream and datagrams apart by the first byte', async () => {
    const { link, socket, said } = await webSocketLink();
    expect([socket.url, socket.protocols, socket.binaryType]).toEqual(['ws://localhost:1/session', ['ahoy.1'], 'arraybuffer']);
    link.send(Uint8Array.of(7, 8));
    link.sendDatagram(Uint8Array.of(9));
    link.sendDatagram(new Uint8Array(0));
    expect(socket.sent).toEqual([[0, 7, 8], [1, 9], [1]]);
    socket.say(0, 1, 2);
    socket.say(1, 3);
    socket.say(1);
    expect(said).toEqual({ bytes: [[1, 2]], datagrams: [[3], []], ends: [] });
  });

  test('cuts long pieces of the stream, so that voice does not wait behind them', async () => {
    const { link, socket } = await webSocketLink();
    const bytes = new Uint8Array(40_000).map((_, index) => index & 0xff);
    link.send(bytes);
    expect(Math.max(...socket.sent.map((piece) => piece.length))).toBeLessThanOrEqual(16_385);
    expect(socket.sent.flatMap((piece) => piece.slice(1))).toEqual([...bytes]);
  });

  test('drops datagrams where the network is slower, and never bytes of the stream', async () => {
    const { link, socket } = await webSocketLink();
    socket.bufferedAmount = 5_000;
    expect(link.unsent).toBe(5_000);
    link.sendDatagram(Uint8Array.of(9));
    link.send(Uint8Array.of(7));
    expect(socket.sent).toEqual([[0, 7]]);
  });

  test.each([
    [4_113, 113],
    [4_000, null],
    [1_006, null],
    [1_000, null],
  ])('tells once why it ended (%i)', async (close, code) => {
    const { socket, said } = await webSocketLink();
    socket.end(close, 'full');
    socket.end(close, 'full');
    expect(said.ends).toEqual([{ code, text: 'full' }]);
  });

  test('is closed with a code, and says nothing more then', async () => {
    const { link, socket, said } = await webSocketLink();
    link.close(100, 'no message');
    link.send(Uint8Array.of(1));
    link.sendDatagram(Uint8Array.of(1));
    socket.say(0, 1);
    socket.end(4_100);
    expect(socket.closed).toEqual([4_100, 'no message']);
    expect(socket.sent).toEqual([]);
    expect(said).toEqual({ bytes: [], datagrams: [], ends: [] });
  });

  test.each([[[2, 1]], [[]]])('ends where the other side sends what is no message of it (%j)', async (bytes) => {
    const { socket, said } = await webSocketLink();
    socket.say(...bytes);
    expect(said.ends).toHaveLength(1);
    expect(socket.closed).not.toBeNull();
  });

  test('does not come about where the socket closes, the browser refuses, or it is given up', async () => {
    const closed = dialWebSocket('ws://a/', TestSocket, never());
    lastSocket().end(1_006);
    await expect(closed).rejects.toThrow(DialError);
    class Refusing extends TestSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols);
        throw new DOMException('insecure', 'SecurityError');
      }
    }
    await expect(dialWebSocket('ws://a/', Refusing, never())).rejects.toThrow(DialError);
    const abort = new AbortController();
    const givenUp = dialWebSocket('ws://a/', TestSocket, abort.signal);
    abort.abort();
    await expect(givenUp).rejects.toThrow(DialError);
    expect(lastSocket().closed).not.toBeNull();
  });
});

/** A WebTransport session whose other end is the test. */
class TestTransport {
  static made: TestTransport[] = [];
  readonly ready: Promise<void>;
  readonly closed: Promise<WebTransportCloseInfo>;
  readonly incomingBidirectionalStreams: ReadableStream;
  readonly datagrams: object;
  readonly stream = new TransformStream<Uint8Array, Uint8Array>();
  readonly incoming = new TransformStream<Uint8Array, Uint8Array>();
  readonly written: number[][] = [];
  readonly datagramsWritten: number[][] = [];
  blocked = false;
  closedWith: WebTransportCloseInfo | undefined;
  up!: () => void;
  end!: (info: WebTransportCloseInfo) => void;
  lose!: (error: unknown) => void;

  constructor(
    readonly url: string,
    readonly options: WebTransportOptions,
  ) {
    TestTransport.made.push(this);
    let refuse!: (error: unknown) => void;
    this.ready = new Promise((resolve, reject) => {
      this.up = resolve;
      refuse = reject;
    });
    this.closed = new Promise((resolve, reject) => {
      this.end = resolve;
      this.lose = (error) => {
        refuse(error);
        reject(error);
      };
    });
    const writable = new WritableStream<Uint8Array>({ write: (bytes) => void this.written.push([...bytes]) });
    this.incomingBidirectionalStreams = new ReadableStream({ start: (queue) => queue.enqueue({ readable: this.stream.readable, writable }) });
    const outgoing = new WritableStream<Uint8Array>({
      write: (bytes) => {
        this.datagramsWritten.push([...bytes]);
        return this.blocked ? new Promise(() => {}) : undefined;
      },
    }, { highWaterMark: 2 });
    // Safari's way.
    this.datagrams = { maxDatagramSize: 1_211, readable: this.incoming.readable, createWritable: () => outgoing };
  }

  close(info: WebTransportCloseInfo = {}): void {
    this.closedWith ??= info;
    this.end(info);
  }
}

const makeTransport = TestTransport as unknown as new (url: string, options: WebTransportOptions) => WebTransport;

function lastTransport(): TestTransport {
  const transport = TestTransport.made.at(-1);
  if (transport === undefined) throw new Error('no session was made');
  return transport;
}

async function webTransportLink(clock = new VirtualClock()): Promise<{ link: Link; transport: TestTransport; said: ReturnType<typeof heard> }> {
  const dialled = dialWebTransport('https://localhost:1/session', { make: makeTransport, certificateHashes: [], clock }, never());
  const transport = lastTransport();
  transport.up();
  const link = await dialled;
  return { link, transport, said: heard(link) };
}

describe('a link over WebTransport', () => {
  test('accepts certificates by their hashes, where the network says so', async () => {
    const clock = new VirtualClock();
    void dialWebTransport('https://a/', { make: makeTransport, certificateHashes: [new Uint8Array(32)], clock }, never());
    expect(lastTransport().options.serverCertificateHashes).toEqual([{ algorithm: 'sha-256', value: new Uint8Array(32) }]);
    void dialWebTransport('https://a/', { make: makeTransport, certificateHashes: [], clock }, never());
    expect(lastTransport().options).not.toHaveProperty('serverCertificateHashes');
  });

  test('carries the stream that the supernode opened, and datagrams, empty ones too', async () => {
    const { link, transport, said } = await webTransportLink();
    link.send(Uint8Array.of(7, 8));
    link.sendDatagram(new Uint8Array(0));
    const stream = transport.stream.writable.getWriter();
    const datagrams = transport.incoming.writable.getWriter();
    void stream.write(Uint8Array.of(1));
    void datagrams.write(new Uint8Array(0));
    void datagrams.write(Uint8Array.of(3));
    await settle();
    expect([transport.written, transport.datagramsWritten]).toEqual([[[7, 8]], [[]]]);
    expect(said).toEqual({ bytes: [[1]], datagrams: [[], [3]], ends: [] });
    expect(link.unsent).toBe(0);
    expect(link.datagramMax).toBe(1_100);
  });

  test('loses nothing that came before somebody listens, not even its end', async () => {
    const dialled = dialWebTransport('https://a/', { make: makeTransport, certificateHashes: [], clock: new VirtualClock() }, never());
    const transport = lastTransport();
    void transport.stream.writable.getWriter().write(Uint8Array.of(1, 2));
    transport.up();
    const link = await dialled;
    await settle();
    const said = heard(link);
    await settle();
    expect(said.bytes).toEqual([[1, 2]]);
    const early = dialWebTransport('https://a/', { make: makeTransport, certificateHashes: [], clock: new VirtualClock() }, never());
    lastTransport().up();
    const unheard = await early;
    lastTransport().end({ closeCode: 113, reason: 'full' });
    await settle();
    expect(heard(unheard).ends).toEqual([{ code: 113, text: 'full' }]);
  });

  test('drops datagrams where the network is slower', async () => {
    const { link, transport } = await webTransportLink();
    transport.blocked = true;
    for (let number = 0; number < 10; number += 1) link.sendDatagram(Uint8Array.of(number));
    await settle();
    expect(transport.datagramsWritten).toEqual([[0]]);
    transport.blocked = false;
    expect(link.unsent).toBe(0);
  });

  test('tells once why it ended, also when the stream ended before', async () => {
    const clock = new VirtualClock();
    const { transport, said } = await webTransportLink(clock);
    void transport.stream.writable.close();
    await settle();
    transport.end({ closeCode: 114, reason: 'down' });
    await clock.pass(5_000);
    expect(said.ends).toEqual([{ code: 114, text: 'down' }]);
  });

  test('ends a second after its stream where nobody says why', async () => {
    const clock = new VirtualClock();
    const { transport, said } = await webTransportLink(clock);
    void transport.stream.writable.close();
    await clock.pass(999);
    expect(said.ends).toEqual([]);
    await clock.pass(1);
    expect(said.ends).toEqual([{ code: null, text: 'the supernode has ended the stream' }]);
    expect(transport.closedWith).toBeDefined();
  });

  test('ends where it is lost, and says nothing after it was closed', async () => {
    const lost = await webTransportLink();
    lost.transport.lose(new Error('timeout'));
    await settle();
    expect(lost.said.ends).toEqual([{ code: null, text: 'the link was lost' }]);
    const closed = await webTransportLink();
    closed.link.close(0, 'bye');
    await settle();
    expect(closed.transport.closedWith).toEqual({ closeCode: 0, reason: 'bye' });
    expect(closed.said.ends).toEqual([]);
  });

  test('does not come about where it is refused or given up', async () => {
    const clock = new VirtualClock();
    const refused = dialWebTransport('https://a/', { make: makeTransport, certificateHashes: [], clock }, never());
    lastTransport().lose(new Error('handshake'));
    await expect(refused).rejects.toThrow(DialError);
    const abort = new AbortController();
    const givenUp = dialWebTransport('https://a/', { make: makeTransport, certificateHashes: [], clock }, abort.signal);
    abort.abort();
    expect(lastTransport().closedWith).toBeDefined();
    lastTransport().lose(new Error('closed'));
    await expect(givenUp).rejects.toThrow(DialError);
  });
});

describe('a race', () => {
  const attempt = (delay: number, result: string | Error, clock: VirtualClock, begun: string[]): Attempt<string> => (signal) => {
    begun.push(`${String(result)} at ${clock.elapsed()}`);
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => begun.push(`${String(result)} aborted`));
      clock.after(delay, () => (result instanceof Error ? reject(result) : resolve(result)));
    });
  };

  test('gives each a head start over the next, and takes the first that succeeds', async () => {
    const clock = new VirtualClock();
    const begun: string[] = [];
    const late: string[] = [];
    const attempts = [attempt(5_000, 'a', clock, begun), attempt(500, 'b', clock, begun), attempt(10, 'c', clock, begun)];
    const raced = race(attempts, { headStartMs: 300, clock, signal: never(), discard: (value) => late.push(value) });
    await clock.pass(599);
    expect(begun).toEqual(['a at 0', 'b at 300']);
    await clock.pass(11);
    await expect(raced).resolves.toBe('c');
    await clock.pass(10_000);
    expect(begun).toEqual(['a at 0', 'b at 300', 'c at 600', 'a aborted', 'b aborted', 'c aborted']);
    expect(late.sort()).toEqual(['a', 'b']);
    expect(clock.running).toBe(0);
  });

  test('begins the next as soon as all before have failed, and fails with the last', async () => {
    const clock = new VirtualClock();
    const begun: string[] = [];
    const attempts = [attempt(10, new Error('one'), clock, begun), attempt(10, new Error('two'), clock, begun)];
    const raced = race(attempts, { headStartMs: 300, clock, signal: never(), discard: () => {} });
    const outcome = expect(raced).rejects.toThrow('two');
    await clock.pass(20);
    await outcome;
    expect(begun.slice(0, 2)).toEqual(['Error: one at 0', 'Error: two at 10']);
    expect(clock.running).toBe(0);
  });

  test('is given up with its signal', async () => {
    const clock = new VirtualClock();
    const abort = new AbortController();
    const begun: string[] = [];
    const raced = race([attempt(10, 'a', clock, begun)], { headStartMs: 300, clock, signal: abort.signal, discard: () => {} });
    abort.abort(new Error('given up'));
    await expect(raced).rejects.toThrow('given up');
    await expect(race([], { headStartMs: 1, clock, signal: never(), discard: () => {} })).rejects.toThrow(DialError);
  });
});

describe('dialling a supernode', () => {
  const network = { url: 'https://ahoy.example', certificateHashes: [] } as unknown as Network;
  const entry = { supernode: 'a'.repeat(32), key: new Uint8Array(32), addresses: ['one:1', 'two:2'], region: '', weight: 1, number: 1 };
  const since = () => ({ sockets: TestSocket.made.length, sessions: TestTransport.made.length });

  function made({ sockets, sessions }: ReturnType<typeof since>): string[] {
    return [...TestTransport.made.slice(sessions), ...TestSocket.made.slice(sockets)].map(({ url }) => url);
  }

  function world() {
    const clock = new VirtualClock();
    return { clock, dial: dialler({ WebTransport: makeTransport, WebSocket: TestSocket, clock }) };
  }

  test('prefers WebTransport, the first address first', async () => {
    const { clock, dial } = world();
    const start = since();
    const dialled = dial.dial(entry, network, never());
    await clock.pass(249);
    expect(made(start)).toEqual(['https://one:1/session']);
    lastTransport().up();
    expect((await dialled).transport).toBe('webtransport');
  });

  test('takes the next address after its head start, and a WebSocket after that of WebTransport', async () => {
    const { clock, dial } = world();
    const start = since();
    const dialled = dial.dial(entry, network, never());
    await clock.pass(250);
    expect(made(start)).toEqual(['https://one:1/session', 'https://two:2/session']);
    await clock.pass(350);
    expect(made(start)).toEqual(['https://one:1/session', 'https://two:2/session', 'wss://one:1/session']);
    lastSocket().open();
    expect((await dialled).transport).toBe('websocket');
    expect(TestTransport.made.slice(start.sessions).every(({ closedWith }) => closedWith !== undefined)).toBe(true);
  });

  test('starts both together for some minutes after a WebSocket came first, and then prefers WebTransport again', async () => {
    const { clock, dial } = world();
    const one = { ...entry, addresses: ['one:1'] };
    const byWebSocket = async (): Promise<void> => {
      const dialled = dial.dial(one, network, never());
      await clock.pass(600);
      lastSocket().open();
      await dialled;
    };
    await byWebSocket();
    let start = since();
    void dial.dial(one, network, never());
    await settle();
    await clock.pass(0);
    expect(made(start)).toEqual(['https://one:1/session', 'wss://one:1/session']);
    await clock.pass(300_000);
    start = since();
    const again = dial.dial(one, network, never());
    await clock.pass(599);
    expect(made(start)).toEqual(['https://one:1/session']);
    lastTransport().up();
    await again;
  });

  test('goes without TLS to this very machine where the network does, and nowhere else', async () => {
    const clock = new VirtualClock();
    const dial = dialler({ WebTransport: null, WebSocket: TestSocket, clock });
    const urlOf = async (address: string, url: string): Promise<string> => {
      void dial.dial({ ...entry, addresses: [address] }, { ...network, url }, never()).catch(() => undefined);
      await settle();
      return lastSocket().url;
    };
    for (const address of ['localhost:1', 'ahoy.localhost:1', '127.0.0.1:1', '127.1.2.3:1', '[::1]:1']) {
      expect(await urlOf(address, 'http://localhost:8080')).toBe(`ws://${address}/session`);
      expect(await urlOf(address, 'https://ahoy.example')).toBe(`wss://${address}/session`);
    }
    for (const address of ['one:1', '192.168.1.2:1', '127.0.0.1.example.org:1', 'localhost.example.org:1']) {
      expect(await urlOf(address, 'http://localhost:8080')).toBe(`wss://${address}/session`);
    }
  });

  test('tries as many addresses as an entry may have', async () => {
    const { clock, dial } = world();
    const start = since();
    const addresses = Array.from({ length: SUPERNODE_ADDRESSES_MAX }, (_, at) => `host-${at}:1`);
    const dialled = dial.dial({ ...entry, addresses }, network, never());
    // Within what a dial has in a call.
    await clock.pass(1_999);
    for (const address of addresses) expect(made(start)).toContain(`https://${address}/session`);
    lastTransport().up();
    await dialled;
  });

  test('fails where there is no address, or no way to any', async () => {
    const { clock, dial } = world();
    await expect(dial.dial({ ...entry, addresses: [] }, network, never())).rejects.toThrow(DialError);
    const nothing = dialler({ WebTransport: null, WebSocket: null, clock });
    await expect(nothing.dial(entry, network, never())).rejects.toThrow(DialError);
  });
});
