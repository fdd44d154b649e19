/** The bench's page: opens microphone and speaker, lets two engines talk, keeps what is played. Driven by `run.mjs`. */

import { PageAudio } from '../../app/audio.ts';
import type { Condition } from './path.ts';
import recorderUrl from './recorder.worklet.ts?worker&url';
import type { Setup, Told } from './worker.ts';

interface Result {
  /** 16 bit, 48 kHz, in base64. */
  pcm: string;
  delayMs: number;
  jitterMs: number;
  told: Told | undefined;
  longTasks: number[];
}

declare global {
  interface Window {
    bench: (condition: Condition, seed: number, codec: Setup['codec'], seconds: number) => Promise<Result>;
  }
}

window.bench = async (condition, seed, codec, seconds) => {
  const longTasks: number[] = [];
  const observer = new PerformanceObserver((list) => longTasks.push(...list.getEntries().map(({ duration }) => duration)));
  observer.observe({ type: 'longtask' });
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
  const told: Told[] = [];
  worker.onmessage = ({ data }: MessageEvent<Told>) => told.push(data);
  const setup: Setup = { kind: 'setup', condition, seed, codec };
  worker.postMessage(setup);
  const processing = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const audio = await PageAudio.open({ microphone: '', speaker: '', processing });
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
    pcm: encode(blocks),
    delayMs: mean(({ heard }) => heard?.playoutDelayMs ?? 0),
    jitterMs: mean(({ heard }) => heard?.jitterMs ?? 0),
    told: told.at(-1),
    longTasks,
  };
};

function encode(blocks: readonly Float32Array[]): string {
  const bytes = new DataView(new ArrayBuffer(blocks.reduce((sum, block) => sum + block.length, 0) * 2));
  let at = 0;
  for (const block of blocks) {
    for (const sample of block) {
      bytes.setInt16(at, Math.max(-32_768, Math.min(32_767, sample * 32_767)), true);
      at += 2;
    }
  }
  let text = '';
  const octets = new Uint8Array(bytes.buffer);
  for (let from = 0; from < octets.length; from += 8_192) text += String.fromCharCode(...octets.subarray(from, from + 8_192));
  return btoa(text);
}
