/** The bench's page: opens microphone and speaker, lets two engines talk, keeps what is played. Driven by `run.mjs` and `impair.mjs`. */

import { PageAudio } from '../../app/audio.ts';
import type { Condition } from './path.ts';
import { encodePcm } from './pcm.ts';
import recorderUrl from './recorder.worklet.ts?worker&url';
import type { Done, Job } from './simulator.ts';
import type { Setup, Told } from './worker.ts';

interface Result {
  /** 16 bit, 48 kHz, in base64. */
  pcm: string;
  delayMs: number;
  jitterMs: number;
  told: Told | undefined;
  /** Durations of the page's long tasks in ms, while the audio was opened and after it. */
  openingTasks: number[];
  longTasks: number[];
}

declare global {
  interface Window {
    simulate: (job: Job) => Promise<Done>;
    bench: (condition: Condition, seed: number, codec: Setup['codec'], seconds: number) => Promise<Result>;
  }
}

window.bench = async (condition, seed, codec, seconds) => {
  const longTasks: number[] = [];
  const observer = new PerformanceObserver((list) => longTasks.push(...durations(list.getEntries())));
  observer.observe({ type: 'longtask' });
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
  const told: Told[] = [];
  worker.onmessage = ({ data }: MessageEvent<Told>) => told.push(data);
  const setup: Setup = { kind: 'setup', condition, seed, codec };
  worker.postMessage(setup);
  const processing = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const audio = await PageAudio.open({ microphone: '', speaker: '', processing });
  // The first audio context of a browser starts its audio process, and the page waits for it: counted apart.
  const openingTasks = [...longTasks, ...durations(observer.takeRecords())];
  longTasks.length = 0;
  const { context } = audio.heard;
  await context.audioWorklet.addModule(recorderUrl);
  const recorder = new AudioWorkletNode(context, 'bench-recorder', { numberOfOutputs: 0 });
  const blocks: Float32Array[] = [];
  recorder.port.onmessage = ({ data }: MessageEvent<Float32Array>) => blocks.push(data);
  audio.heard.connect(recorder);
  worker.postMessage(audio.ports, [audio.ports.capture, audio.ports.playback]);
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  // What follows is the bench's own work.
  observer.disconnect();
  await audio.close();
  worker.terminate();
  const later = told.slice(Math.floor(told.length / 4));
  const mean = (of: (one: Told) => number): number => later.reduce((sum, one) => sum + of(one), 0) / Math.max(later.length, 1);
  return {
    pcm: encodePcm(joined(blocks)),
    delayMs: mean(({ heard }) => heard?.playoutDelayMs ?? 0),
    jitterMs: mean(({ heard }) => heard?.jitterMs ?? 0),
    told: told.at(-1),
    openingTasks,
    longTasks,
  };
};

window.simulate = (job) =>
  new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./simulator.ts', import.meta.url), { type: 'module' });
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.onmessage = ({ data }: MessageEvent<Done>) => {
      worker.terminate();
      resolve(data);
    };
    worker.postMessage(job);
  });

function durations(entries: readonly PerformanceEntry[]): number[] {
  return entries.map(({ duration }) => duration);
}

function joined(blocks: readonly Float32Array[]): Float32Array {
  const samples = new Float32Array(blocks.reduce((sum, block) => sum + block.length, 0));
  let at = 0;
  for (const block of blocks) {
    samples.set(block, at);
    at += block.length;
  }
  return samples;
}
