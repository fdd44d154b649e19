/** A network of its own for each trial: a real `ahoyd`, perhaps behind a bad wire, with nothing but what ships. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { freePorts } from '../testing/ports.ts';

/** A program of the workspace, as `cargo xtask test` names it. */
export function program(name: 'AHOYD_BIN' | 'AHOY_BIN' | 'AHOY_PYTHON'): string {
  const path = process.env[name];
  if (path === undefined) throw new Error(`${name} is not set: run the trials by \`cargo xtask test\``);
  return path;
}

export interface Wire {
  delayMs: number;
  jitterMs: number;
  /** Share of packets lost, 0 to 0.99. */
  loss: number;
}

/** `ahoyd dev` in a folder that goes with it. */
export class Network {
  readonly #folder: string;
  readonly #port: number;
  readonly #settings: string[];
  readonly #wire: ChildProcess | null;
  readonly #firewall: Server | null;
  #daemon: ChildProcess | null = null;
  #said = '';

  private constructor(folder: string, port: number, settings: string[], wire: ChildProcess | null, firewall: Server | null) {
    this.#folder = folder;
    this.#port = port;
    this.#settings = settings;
    this.#wire = wire;
    this.#firewall = firewall;
  }

  /**
   * Starts a network. With a wire, supernode links by UDP pass through it; with a firewall, only those by TCP get to the supernode. The page
   * itself comes past both.
   */
  static async start(options: { wire?: Wire; firewall?: boolean } = {}): Promise<Network> {
    const folder = await mkdtemp(join(tmpdir(), 'ahoy-trial-'));
    const port = await freePorts(3);
    const settings: string[] = [];
    let wire: ChildProcess | null = null;
    if (options.wire !== undefined) {
      const { delayMs, jitterMs, loss } = options.wire;
      const args = ['--listen', `127.0.0.1:${port + 2}`, '--to', `127.0.0.1:${port}`, '--delay-ms', `${delayMs}`, '--jitter-ms', `${jitterMs}`, '--loss', `${loss}`];
      wire = spawn(join(dirname(program('AHOYD_BIN')), 'impair'), args, { stdio: ['ignore', 'ignore', 'pipe'] });
      await once(wire.stderr!, 'data');
      settings.push(`public=["127.0.0.1:${port + 2}"]`);
    }
    let firewall: Server | null = null;
    if (options.firewall) {
      firewall = createServer((client) => {
        const supernode = connect(port, '127.0.0.1');
        for (const [from, to] of [[client, supernode], [supernode, client]] as const) from.pipe(to).on('error', () => from.destroy());
      });
      firewall.listen(port + 2, '127.0.0.1');
      await once(firewall, 'listening');
      settings.push(`public=["127.0.0.1:${port + 2}"]`);
    }
    const network = new Network(folder, port, settings, wire, firewall);
    await network.begin();
    return network;
  }

  /** Where the page is. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** What the daemon has printed, for a trial that failed. */
  get said(): string {
    return this.#said;
  }

  /** Starts the daemon, on the data that is there, and waits until it answers. */
  async begin(): Promise<void> {
    const settings = this.#settings.flatMap((setting) => ['--set', setting]);
    const daemon = spawn(program('AHOYD_BIN'), ['dev', '--data', join(this.#folder, 'data'), '--port', `${this.#port}`, ...settings]);
    this.#daemon = daemon;
    for (const stream of [daemon.stdout, daemon.stderr]) stream.on('data', (text) => (this.#said = (this.#said + text).slice(-20_000)));
    for (let attempt = 0; attempt < 200; attempt++) {
      if (daemon.exitCode !== null) throw new Error(`ahoyd ended: ${this.#said}`);
      const answer = await fetch(`http://127.0.0.1:${this.#port + 1}/ready`).catch(() => null);
      if (answer?.ok) return;
      await new Promise((done) => setTimeout(done, 50));
    }
    throw new Error(`ahoyd does not get ready: ${this.#said}`);
  }

  /** Ends the daemon's process at once, as a power cut does. */
  async kill(signal: 'SIGKILL' | 'SIGINT' = 'SIGKILL'): Promise<void> {
    const daemon = this.#daemon;
    this.#daemon = null;
    if (daemon === null || daemon.exitCode !== null) return;
    daemon.kill(signal);
    await once(daemon, 'exit');
  }

  /** Gives every client another address towards the supernode. */
  rebind(): void {
    this.#wire?.kill('SIGUSR1');
  }

  async stop(): Promise<void> {
    await this.kill('SIGINT');
    this.#wire?.kill('SIGINT');
    this.#firewall?.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
