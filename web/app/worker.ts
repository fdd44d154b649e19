/**
 * The worker of a page: runs the client and the voice engine while this tab leads, and else uses the client of the tab that does.
 * The page sees one client, wherever it is.
 */

import { Refusal, type Client } from '../sdk/client.ts';
import type { Aboard, Entrance, Seat } from '../sdk/open.ts';
import { connect, serve, type Remote } from '../sdk/remote.ts';
import type { PageSays, WorkerSays } from './control.ts';
import { Election } from './lead.ts';
import { LateVoice } from './late-voice.ts';

/** Where tabs of this origin hear each other, and the name of the profile. */
const NAME = 'ahoy';

const page = self as unknown as Worker;
const air = new BroadcastChannel(NAME);
const voice = new LateVoice();

/** The client wherever it is, as the page is served it. */
class Wherever implements Pick<Aboard, 'client' | 'onClient' | keyof Entrance> {
  client: Client | null = null;
  #local: Aboard | null = null;
  #remote: Remote | null = null;
  #endServing: () => void = () => undefined;
  readonly #listeners = new Set<(client: Client | null) => void>();

  onClient(listener: (client: Client | null) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** This tab runs the client. */
  async lead(): Promise<void> {
    this.#remote?.disconnect();
    this.#remote = null;
    // Tabs that only follow need none of it.
    const { aboard, dialler, openProfile } = await import('./parts.ts');
    this.#local = aboard(location.origin, { dialler: dialler(), voice, agent: 'ahoy-web' }, () => openProfile(NAME));
    this.#local.onClient((client) => this.#put(client));
    this.#endServing = serve(this.#local, air);
    // Whoever was signed in is so again at once, whether this page asks or not.
    await this.look();
    this.#tellMoved(true);
  }

  /** Another tab runs it. */
  async follow(): Promise<void> {
    this.#endServing();
    this.#put(null);
    await this.#local?.close();
    this.#local = null;
    this.#remote?.disconnect();
    this.#remote = connect(air);
    this.#tellMoved(false);
  }

  /** The tab that leads is another one, or somebody has signed in or out there. */
  handleServing(): void {
    if (this.#remote === null) return;
    this.#put(null);
    this.#tellMoved(false);
  }

  async look(): Promise<Seat> {
    const { entrance, client } = this.#where();
    const seat = await entrance.look();
    if (this.#where().entrance === entrance) this.#put(seat.kind === 'signed-in' ? client() : null);
    return seat;
  }

  signUp(form: Parameters<Entrance['signUp']>[0]): Promise<string> {
    return this.#where().entrance.signUp(form);
  }

  signIn(form: Parameters<Entrance['signIn']>[0]): Promise<void> {
    return this.#where().entrance.signIn(form);
  }

  recover(form: Parameters<Entrance['recover']>[0]): Promise<string> {
    return this.#where().entrance.recover(form);
  }

  startAnew(): Promise<void> {
    return this.#where().entrance.startAnew();
  }

  #where(): { entrance: Entrance; client: () => Client | null } {
    const [local, remote] = [this.#local, this.#remote];
    if (local !== null) return { entrance: local, client: () => local.client };
    if (remote !== null) return { entrance: remote.entrance, client: () => remote.client };
    throw new Refusal('offline', 'This page is not ready yet.');
  }

  #put(client: Client | null): void {
    if (this.client === client) return;
    this.client = client;
    for (const listener of [...this.#listeners]) listener(client);
  }

  #tellMoved(isLead: boolean): void {
    tell({ kind: 'moved', isLead });
  }
}

function tell(said: WorkerSays): void {
  page.postMessage(said);
}

const wherever = new Wherever();
const election = new Election(crypto.randomUUID(), navigator.locks, air, wherever);

page.addEventListener('message', ({ data }: MessageEvent<PageSays>) => {
  if (data.kind === 'take-lead') void election.take().then(() => tell({ kind: 'led', number: data.number }));
  else if (data.kind === 'audio-ports') void voice.attach(data);
  else if (data.kind === 'audio-end') void voice.attach(null);
});
air.addEventListener('message', ({ data }: MessageEvent<unknown>) => {
  if (typeof data === 'object' && data !== null && 'kind' in data && data.kind === 'ahoy-serving') wherever.handleServing();
});
serve(wherever, page);
void election.start();
