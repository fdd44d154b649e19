/**
 * The service worker: keeps the shell of the page (script, style, icons) so that it opens at once and without a network. Never
 * messages, never answers of the API.
 *
 * A page always asks the network for `index.html` first, so that an update arrives with the next opening. Files below `/assets/`
 * carry their hash in the name and never change; those that the newest page does not use are thrown away with the next version.
 */

/** What of a service worker's scope is used here; the library of pages, which the rest of `app` is checked with, does not know it. */
interface Waitable extends Event {
  waitUntil(work: Promise<unknown>): void;
}

interface Asked extends Event {
  readonly request: Request;
  respondWith(answer: Promise<Response>): void;
}

interface Scope {
  readonly location: Location;
  readonly clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
  addEventListener(kind: 'install', listener: () => void): void;
  addEventListener(kind: 'activate', listener: (event: Waitable) => void): void;
  addEventListener(kind: 'fetch', listener: (event: Asked) => void): void;
}

const scope = self as unknown as Scope;

/** Cut anew when this file changes what it keeps. */
const SHELL = 'ahoy shell 1';
/** A shell has about 15 files; whatever goes beyond are leftovers of earlier versions. */
const FILES_MAX = 60;
/** A network that does not answer by then gives way to the page that is kept. */
const PATIENCE_MS = 4_000;

scope.addEventListener('install', () => void scope.skipWaiting());

scope.addEventListener('activate', (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) if (name !== SHELL) await caches.delete(name);
      await scope.clients.claim();
    })(),
  );
});

scope.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== 'GET' || url.origin !== scope.location.origin) return;
  if (event.request.mode === 'navigate') event.respondWith(page(event.request));
  else if (isShell(url.pathname)) event.respondWith(file(event.request));
});

function isShell(path: string): boolean {
  return path.startsWith('/assets/') || /^\/(?:icon[-\w]*\.(?:svg|png)|manifest\.webmanifest)$/.test(path);
}

async function page(request: Request): Promise<Response> {
  const shell = await caches.open(SHELL);
  try {
    const answer = await fetch(request, { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (answer.ok) await shell.put('/', answer.clone());
    return answer;
  } catch {
    return (await shell.match('/')) ?? Response.error();
  }
}

async function file(request: Request): Promise<Response> {
  const shell = await caches.open(SHELL);
  const kept = await shell.match(request);
  if (kept !== undefined) return kept;
  const answer = await fetch(request);
  if (answer.ok) {
    await shell.put(request, answer.clone());
    await trim(shell);
  }
  return answer;
}

/** The oldest files go first. */
async function trim(shell: Cache): Promise<void> {
  const kept = await shell.keys();
  for (const old of kept.slice(0, Math.max(0, kept.length - FILES_MAX))) if (new URL(old.url).pathname !== '/') await shell.delete(old);
}
