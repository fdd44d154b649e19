/**
 * A client that lives elsewhere: in a worker, for the page and for other tabs of the same browser.
 *
 * Any port will do that clones what is posted: of a `MessageChannel`, or a `BroadcastChannel`, on which all hear everything. Calls bear
 * their caller's id and a number; events are told to all. Everything is bounded: what is beyond is refused.
 */

import { Refusal, type Client, type Event, type RefusalReason } from './client.ts';
import type { Aboard, Entrance } from './open.ts';
import { randomId } from './proto/ids.ts';

/** As much of a port as is needed. */
export interface Port {
  postMessage(message: unknown): void;
  addEventListener(kind: 'message', listener: (event: { data: unknown }) => void): void;
  removeEventListener(kind: 'message', listener: (event: { data: unknown }) => void): void;
  /** Message ports wait for it. */
  start?(): void;
}

/** Calls of one caller that are unanswered at once; a page asks for a few dozen when it opens. */
const UNANSWERED_MAX = 256;

/** Calls that are carried out at once, of all callers of a port. */
const CARRIED_OUT_MAX = 1_024;

type Methods<T> = { readonly [K in keyof T]: true };

/** What of a client can be called; events are told apart. */
const CLIENT_METHODS: Methods<Omit<Client, 'subscribe'>> = {
  own: true,
  online: true,
  find: true,
  search: true,
  contacts: true,
  requestContact: true,
  answerContact: true,
  removeContact: true,
  block: true,
  setAlias: true,
  settings: true,
  changeSettings: true,
  setActivity: true,
  receiptPolicy: true,
  setReceiptPolicy: true,
  report: true,
  comparisonCode: true,
  acceptKey: true,
  devices: true,
  renameDevice: true,
  revokeDevice: true,
  changePassword: true,
  deleteAccount: true,
  signOut: true,
  conversations: true,
  conversationWith: true,
  createGroup: true,
  invite: true,
  removeMember: true,
  leave: true,
  rename: true,
  members: true,
  post: true,
  edit: true,
  delete: true,
  react: true,
  typing: true,
  markRead: true,
  receipts: true,
  history: true,
  calls: true,
  call: true,
  answer: true,
  decline: true,
  hangUp: true,
  setMuted: true,
  close: true,
};

const ENTRANCE_METHODS: Methods<Entrance> = { look: true, signUp: true, signIn: true, recover: true, startAnew: true };

type Target = 'client' | 'entrance';

interface CallMessage {
  kind: 'ahoy-call';
  caller: string;
  number: number;
  target: Target;
  method: string;
  args: unknown[];
}

interface ResultMessage {
  kind: 'ahoy-result';
  server: string;
  caller: string;
  number: number;
  outcome: { ok: true; value: unknown } | { ok: false; reason: RefusalReason; text: string; retryAfterMs: number };
}

/** Somebody serves from now on, and knows nothing of what was asked before. */
interface ServingMessage {
  kind: 'ahoy-serving';
  server: string;
  signedIn: boolean;
}

interface EventMessage {
  kind: 'ahoy-event';
  server: string;
  event: Event;
}

type Message = CallMessage | ResultMessage | ServingMessage | EventMessage;

function isMessage(data: unknown): data is Message {
  return typeof data === 'object' && data !== null && 'kind' in data && typeof data.kind === 'string' && data.kind.startsWith('ahoy-');
}

/** Serves a client, and the way in to it, until the answer is called. */
export function serve(served: Pick<Aboard, 'client' | 'onClient' | keyof Entrance>, port: Port): () => void {
  const server = randomId();
  let carriedOut = 0;
  let unsubscribe: () => void = () => undefined;
  const post = (message: Message): void => port.postMessage(message);

  const follow = (client: Client | null): void => {
    unsubscribe();
    unsubscribe = client?.subscribe((event) => post({ kind: 'ahoy-event', server, event })) ?? unsubscribe;
    post({ kind: 'ahoy-serving', server, signedIn: client !== null });
  };

  const answer = async ({ target, method, args }: CallMessage): Promise<ResultMessage['outcome']> => {
    if (carriedOut >= CARRIED_OUT_MAX) return refused(new Refusal('limit', 'Too much is asked at once.'));
    carriedOut += 1;
    try {
      return { ok: true, value: await carryOut(served, target, method, args) };
    } catch (error) {
      return refused(error);
    } finally {
      carriedOut -= 1;
    }
  };

  const listener = ({ data }: { data: unknown }): void => {
    if (!isMessage(data) || data.kind !== 'ahoy-call') return;
    const { caller, number } = data;
    void answer(data).then((outcome) => post({ kind: 'ahoy-result', server, caller, number, outcome }));
  };

  port.addEventListener('message', listener);
  port.start?.();
  const end = served.onClient(follow);
  follow(served.client);
  return () => {
    end();
    unsubscribe();
    port.removeEventListener('message', listener);
  };
}

/** What is served by the other end of a port. */
export interface Remote {
  readonly entrance: Entrance;
  readonly client: Client;
  /** Lets go of the port: what is unanswered is refused. */
  disconnect(): void;
}

/** Uses what {@link serve} serves on the other end of a port. */
export function connect(port: Port): Remote {
  const caller = new Caller(port);
  const client = proxyOf<Omit<Client, 'subscribe'>>(caller, 'client', CLIENT_METHODS);
  return {
    entrance: proxyOf<Entrance>(caller, 'entrance', ENTRANCE_METHODS),
    client: { ...client, subscribe: (listener) => caller.subscribe(listener) },
    disconnect: () => caller.end(),
  };
}

class Caller {
  readonly #id = randomId();
  readonly #unanswered = new Map<number, { resolve: (value: unknown) => void; reject: (why: Refusal) => void }>();
  readonly #listeners = new Set<(event: Event) => void>();
  #number = 0;
  #server: string | null = null;

  constructor(private readonly port: Port) {
    port.addEventListener('message', this.#handle);
    port.start?.();
  }

  call(target: Target, method: string, args: unknown[]): Promise<unknown> {
    if (this.#unanswered.size >= UNANSWERED_MAX) return Promise.reject(new Refusal('limit', 'Too much is asked at once.'));
    const number = (this.#number += 1);
    return new Promise((resolve, reject) => {
      this.#unanswered.set(number, { resolve, reject });
      const message: CallMessage = { kind: 'ahoy-call', caller: this.#id, number, target, method, args };
      this.port.postMessage(message);
    });
  }

  subscribe(listener: (event: Event) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  end(): void {
    this.port.removeEventListener('message', this.#handle);
    this.#listeners.clear();
    this.#forsake();
  }

  readonly #handle = ({ data }: { data: unknown }): void => {
    if (!isMessage(data) || data.kind === 'ahoy-call') return;
    this.#server ??= data.server;
    if (data.kind === 'ahoy-event') {
      for (const listener of [...this.#listeners]) listener(data.event);
    } else if (data.kind === 'ahoy-serving') {
      // Another one serves now: what was asked of the one before is lost with it.
      if (this.#server !== data.server) this.#forsake();
      this.#server = data.server;
    } else if (data.kind === 'ahoy-result' && data.caller === this.#id) {
      this.#settle(data);
    }
  };

  #settle({ number, outcome }: ResultMessage): void {
    const unanswered = this.#unanswered.get(number);
    this.#unanswered.delete(number);
    if (outcome.ok) unanswered?.resolve(outcome.value);
    else unanswered?.reject(new Refusal(outcome.reason, outcome.text, outcome.retryAfterMs));
  }

  #forsake(): void {
    const lost = [...this.#unanswered.values()];
    this.#unanswered.clear();
    for (const { reject } of lost) reject(new Refusal('offline', 'Whoever was asked is gone: try again.'));
  }
}

function proxyOf<T>(caller: Caller, target: Target, methods: Methods<T>): T {
  const made = Object.keys(methods).map((method) => [method, (...args: unknown[]) => caller.call(target, method, args)]);
  // Each method of T is there, and answers with what the other end's method of that name resolves with.
  return Object.fromEntries(made) as T;
}

async function carryOut(served: Pick<Aboard, 'client' | keyof Entrance>, target: Target, method: string, args: unknown[]): Promise<unknown> {
  const methods: object = target === 'client' ? CLIENT_METHODS : ENTRANCE_METHODS;
  const owner: object | null = target === 'client' ? served.client : served;
  if (owner === null || !Object.hasOwn(methods, method) || !Array.isArray(args)) throw new Refusal('offline', 'Nobody is signed in.');
  // The tables above hold only methods of what they are of.
  const callable = (owner as Record<string, (...args: unknown[]) => unknown>)[method];
  return callable?.apply(owner, args);
}

function refused(error: unknown): Extract<ResultMessage['outcome'], { ok: false }> {
  if (error instanceof Refusal) return { ok: false, reason: error.reason, text: error.message, retryAfterMs: error.retryAfterMs };
  return { ok: false, reason: 'network', text: 'Something went wrong on this device.', retryAfterMs: 0 };
}
