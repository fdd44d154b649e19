/** The authority over HTTP: requests, bounded answers, refusals. Understands none of what it carries. */

import { concat, unutf8 } from '../proto/bytes.ts';
import { BODY_MAX, ROSTER_BYTES_MAX } from '../proto/limits.ts';
import { AccountError, refusalOf } from './error.ts';

/** What dealings with an authority need of the machine. */
export interface Environment {
  fetch: typeof fetch;
  /** Milliseconds since the Unix epoch. */
  nowMs(): number;
}

/** The browser's own. */
export const PLATFORM: Environment = { fetch: (...request) => fetch(...request), nowMs: () => Date.now() };

export type Json = { [field: string]: unknown };

/** How long an authority may take: a sign-in costs it some milliseconds, a phone's radio some seconds. */
const TIMEOUT_MS = 15_000;

/** The address of a network as people type it: `https://` is meant where nothing is said; `http://` works on this machine only. */
export function networkUrl(text: string): string | null {
  const trimmed = text.trim();
  let url: URL;
  try {
    url = new URL(/^[a-z]+:\/\//i.test(trimmed) ? trimmed : `https://${trimmed}`);
  } catch {
    return null;
  }
  const bare = url.pathname === '/' && url.search === '' && url.hash === '' && url.username === '' && url.password === '';
  if (!bare || url.host === '') return null;
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname)) ? url.origin : null;
}

/** Whether a URL's host is this very machine. */
export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '[::1]' || /^127(?:\.\d+){3}$/.test(hostname);
}

export class Authority {
  constructor(
    readonly url: string,
    readonly environment: Environment,
  ) {}

  get(path: string): Promise<Json> {
    return this.#asked(path, { method: 'GET' });
  }

  post(path: string, body: Json): Promise<Json> {
    return this.#asked(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  }

  async roster(): Promise<string> {
    const response = await this.#fetched('/v1/roster', { method: 'GET' });
    const text = await bounded(response, ROSTER_BYTES_MAX);
    if (!response.ok) throw refused(text, this.url);
    return text.trim();
  }

  async #asked(path: string, request: RequestInit): Promise<Json> {
    const response = await this.#fetched(path, request);
    const text = await bounded(response, BODY_MAX);
    if (!response.ok) throw refused(text, this.url);
    const body = parsed(text);
    if (typeof body !== 'object' || body === null || Array.isArray(body)) throw notAhoy(this.url);
    // Every object is one of fields that are not known yet.
    return body as Json;
  }

  async #fetched(path: string, request: RequestInit): Promise<Response> {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const careful: RequestInit = { credentials: 'omit', cache: 'no-store', redirect: 'error', referrerPolicy: 'no-referrer', signal };
    try {
      return await this.environment.fetch(this.url + path, { ...careful, ...request });
    } catch (error) {
      throw new AccountError('unreachable', `${this.url} can't be reached`, 0, { cause: error });
    }
  }
}

/** The text of a response that is not longer than it may be. */
async function bounded(response: Response, limit: number): Promise<string> {
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    const reader = response.body?.getReader();
    for (let part = await reader?.read(); part !== undefined && !part.done; part = await reader?.read()) {
      parts.push(part.value);
      length += part.value.length;
      if (length > limit) {
        await reader?.cancel();
        throw notAhoy(response.url);
      }
    }
  } catch (error) {
    if (error instanceof AccountError) throw error;
    throw new AccountError('unreachable', 'the connection to the network was lost', 0, { cause: error });
  }
  return unutf8(concat(...parts)) ?? '';
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function refused(text: string, url: string): AccountError {
  return refusalOf(parsed(text)) ?? notAhoy(url);
}

export function notAhoy(url: string): AccountError {
  return new AccountError('not-ahoy', `${url} answers, but not as an Ahoy network does`);
}
