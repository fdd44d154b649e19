import { describe, expect, it } from 'vitest';

import { Refusal, type Client, type Event } from './client.ts';
import { World } from './member/testing/world.ts';
import type { Aboard, Seat } from './open.ts';
import { connect, serve, type Port } from './remote.ts';

/** Ports that all hear each other, as those of a BroadcastChannel: what is posted is cloned. */
class Air {
  readonly #listeners = new Map<Port, Set<(event: { data: unknown }) => void>>();

  port(): Port {
    const own = new Set<(event: { data: unknown }) => void>();
    const port: Port = {
      postMessage: (message) => {
        const data: unknown = structuredClone(message);
        for (const [other, listeners] of this.#listeners) if (other !== port) for (const listener of listeners) queueMicrotask(() => listener({ data }));
      },
      addEventListener: (_, listener) => void own.add(listener),
      removeEventListener: (_, listener) => void own.delete(listener),
    };
    this.#listeners.set(port, own);
    return port;
  }
}

function holding(client: Client | null): Aboard {
  const seat: Seat = client === null ? { kind: 'unreachable', text: 'no network' } : { kind: 'signed-in' };
  return {
    client,
    onClient: () => () => undefined,
    look: () => Promise.resolve(seat),
    signUp: ({ name }) => Promise.resolve(`code of ${name}`),
    signIn: () => Promise.reject(new Refusal('wrong-password', 'no', 5)),
    recover: () => Promise.resolve('code'),
    startAnew: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
}

describe('a client elsewhere', () => {
  it('is used by several callers, each with its own answers, and tells all of them', async () => {
    const world = new World();
    const { alice, bob, conversation } = await world.pair();
    const air = new Air();
    serve(holding(alice.client), air.port());
    const [first, second] = [connect(air.port()), connect(air.port())];
    const events: Event[][] = [[], []];
    first.client.subscribe((event) => events[0]?.push(event));
    const end = second.client.subscribe((event) => events[1]?.push(event));
    const [own, list] = await Promise.all([first.client.own(), second.client.conversations()]);
    expect(own.name).toBe('alice');
    expect(list[0]?.conversation).toBe(conversation);
    await first.client.post(conversation, { text: 'from a page' });
    await world.shows(bob, conversation, 'from a page');
    expect(events.map((told) => told.some(({ kind }) => kind === 'line'))).toEqual([true, true]);
    end();
    const before = events[1]?.length;
    await second.client.post(conversation, { text: 'more' });
    await world.shows(bob, conversation, 'from a page', 'more');
    expect(events[1]?.length).toBe(before);
  });

  it('refuses as the client does, and whatever is not the client’s', async () => {
    const air = new Air();
    serve(holding(null), air.port());
    const { client, entrance } = connect(air.port());
    const refusal = await entrance.signIn({ name: 'a', password: 'b', device: 'c' }).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(Refusal);
    expect(refusal).toMatchObject({ reason: 'wrong-password', message: 'no', retryAfterMs: 5 });
    expect(await entrance.signUp({ name: 'alice', password: 'x', invite: null, device: 'd' })).toBe('code of alice');
    expect(await entrance.look()).toEqual({ kind: 'unreachable', text: 'no network' });
    await expect(client.own()).rejects.toMatchObject({ reason: 'offline' });
  });

  it('carries out nothing but what stands in its interface', async () => {
    const air = new Air();
    serve(holding(null), air.port());
    const port = air.port();
    const results: unknown[] = [];
    port.addEventListener('message', ({ data }) => results.push(data));
    for (const method of ['constructor', 'close', '__proto__', 'onClient']) {
      port.postMessage({ kind: 'ahoy-call', caller: 'x', number: 1, target: 'entrance', method, args: [] });
    }
    port.postMessage({ kind: 'ahoy-call' });
    port.postMessage('nonsense');
    await new Promise((resolve) => setImmediate(resolve));
    expect(results.map((result) => (result as { outcome?: { ok: boolean } }).outcome?.ok)).toEqual([false, false, false, false, false]);
  });

  it('whose server is gone refuses what it was asked, once another one serves', async () => {
    const air = new Air();
    const gone = serve({ ...holding(null), signUp: () => new Promise(() => undefined) }, air.port());
    const { entrance } = connect(air.port());
    await entrance.look();
    const lost = entrance.signUp({ name: 'alice', password: 'x', invite: null, device: 'd' }).catch((error: Refusal) => error.reason);
    gone();
    serve(holding(null), air.port());
    expect(await lost).toBe('offline');
    expect(await entrance.look()).toMatchObject({ kind: 'unreachable' });
  });

  it('is asked for so much at once and no more', async () => {
    const { client, disconnect } = connect(new Air().port());
    const asked = Array.from({ length: 257 }, () => client.own().catch((error: Refusal) => error.reason));
    expect(await asked[256]).toBe('limit');
    disconnect();
    expect(new Set(await Promise.all(asked.slice(0, 256)))).toEqual(new Set(['offline']));
  });
});
