/** Two engines and a path between them: one has the page's microphone, the other its speaker. */

import { WorkerVoiceEngine } from '../engine.ts';
import type { AudioPorts } from '../ports.ts';
import type { VoiceQuality } from '../../sdk/voice.ts';
import { Path, type Condition } from './path.ts';

export interface Setup {
  kind: 'setup';
  condition: Condition;
  seed: number;
  codec: 'auto' | 'wasm';
}

export interface Told {
  said: VoiceQuality | null;
  heard: VoiceQuality | null;
  /** The most by which a timer came late since the page's microphone was attached: the machine was busy with other things. */
  stalledMs: number;
}

const WATCH_MS = 10;

let stalledMs = 0;
let watchedAt = performance.now();
setInterval(() => {
  const now = performance.now();
  stalledMs = Math.max(stalledMs, now - watchedAt - WATCH_MS);
  watchedAt = now;
}, WATCH_MS);

const CALL = '00'.repeat(16);

let engines: { said: WorkerVoiceEngine; heard: WorkerVoiceEngine } | null = null;

self.onmessage = ({ data }: MessageEvent<Setup | AudioPorts>) => {
  if (data.kind === 'setup') engines = connect(data);
  else if (engines !== null) {
    const unused = new MessageChannel();
    engines.said.attach({ kind: 'audio-ports', capture: data.capture, playback: unused.port1 });
    engines.heard.attach({ kind: 'audio-ports', capture: unused.port2, playback: data.playback });
    stalledMs = 0;
  }
};

function connect({ condition, seed, codec }: Setup): { said: WorkerVoiceEngine; heard: WorkerVoiceEngine } {
  const [said, heard] = [new WorkerVoiceEngine({ codec }), new WorkerVoiceEngine({ codec })];
  const there = carry(new Path(condition, seed), heard);
  const back = carry(new Path(condition, seed + 1_000), said);
  const legs = [1, 2].map((number) => ({ leg: `${number}`, flow: BigInt(number), key: new Uint8Array(16).fill(number), device: `${number}` }));
  const [first, second] = legs;
  if (first === undefined || second === undefined) throw new TypeError('two legs');
  said.start(CALL, first, [second], there);
  heard.start(CALL, second, [first], back);
  setInterval(() => {
    const told: Told = { said: said.quality(CALL), heard: heard.quality(CALL), stalledMs };
    self.postMessage(told);
  }, 200);
  return { said, heard };
}

function carry(path: Path, to: WorkerVoiceEngine): (datagram: Uint8Array) => void {
  // Timers are cut to whole ms, so those of one moment may fire in another order: each takes the oldest.
  const underWay: Uint8Array[] = [];
  const arrive = (): void => {
    const oldest = underWay.shift();
    if (oldest !== undefined) to.handleDatagram(oldest);
  };
  return (datagram) => {
    const now = performance.now();
    const arrival = path.arrival(now);
    if (arrival === null) return;
    underWay.push(datagram);
    setTimeout(arrive, arrival - now);
  };
}
