/** The voice engine, loaded with the first call. What is told before it is there waits for it, in order. */

import type { CallId } from '../sdk/client.ts';
import type { OwnLeg, PeerLeg, VoiceEngine, VoiceQuality } from '../sdk/voice.ts';
import type { AudioPorts } from '../voice/ports.ts';

type Engine = VoiceEngine & { attach(ports: AudioPorts | null): void };

/** Datagrams that wait: 5 s of one leg. */
const WAITING_MAX = 256;

export class LateVoice implements VoiceEngine {
  #engine: Engine | null = null;
  #loading: Promise<Engine> | null = null;
  #waiting: ((engine: Engine) => void)[] = [];

  start(call: CallId, own: OwnLeg, peers: PeerLeg[], send: (datagram: Uint8Array) => void): void {
    this.#tell((engine) => engine.start(call, own, peers, send));
  }

  handleOwnLeg(call: CallId, own: OwnLeg): void {
    this.#tell((engine) => engine.handleOwnLeg(call, own));
  }

  handlePeerLeg(call: CallId, leg: PeerLeg): void {
    this.#tell((engine) => engine.handlePeerLeg(call, leg));
  }

  handleDatagram(bytes: Uint8Array): void {
    if (this.#engine !== null) this.#engine.handleDatagram(bytes);
    else if (this.#loading !== null && this.#waiting.length < WAITING_MAX) {
      const kept = bytes.slice();
      this.#waiting.push((engine) => engine.handleDatagram(kept));
    }
  }

  setMuted(call: CallId, muted: boolean): void {
    this.#tell((engine) => engine.setMuted(call, muted));
  }

  quality(call: CallId): VoiceQuality | null {
    return this.#engine?.quality(call) ?? null;
  }

  silentMs(call: CallId): number {
    return this.#engine?.silentMs(call) ?? 0;
  }

  stop(call: CallId): void {
    this.#tell((engine) => engine.stop(call));
  }

  /** Microphone and speaker of the page; `null`: none. */
  attach(ports: AudioPorts | null): void {
    if (ports !== null || this.#engine !== null || this.#loading !== null) this.#tell((engine) => engine.attach(ports));
  }

  #tell(what: (engine: Engine) => void): void {
    if (this.#engine !== null) return what(this.#engine);
    this.#waiting.push(what);
    this.#loading ??= this.#load();
    // The next call tries again; this one stays silent.
    this.#loading.catch(() => {
      this.#loading = null;
      this.#waiting = [];
    });
  }

  async #load(): Promise<Engine> {
    const { WorkerVoiceEngine } = await import('../voice/engine.ts');
    const engine = new WorkerVoiceEngine();
    for (const what of this.#waiting) what(engine);
    this.#waiting = [];
    this.#engine = engine;
    return engine;
  }
}
