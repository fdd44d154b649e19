/** Runs {@link simulate} with the browser's codecs, in a worker as in life. */

import { openCodec } from '../codecs.ts';
import type { Condition } from './path.ts';
import { decodePcm, encodePcm } from './pcm.ts';
import { simulate } from './simulate.ts';

export interface Job {
  condition: Condition;
  seed: number;
  codec: 'auto' | 'wasm';
  /** 16 bit, 16 kHz, in base64. */
  speech: string;
}

export interface Done {
  /** 16 bit, 48 kHz, in base64. */
  pcm: string;
  delayMs: number;
  concealed: number;
  codec: string;
}

self.onmessage = async ({ data }: MessageEvent<Job>) => {
  const codec = await openCodec(data.codec);
  const { played, delayMs, concealed } = await simulate(codec, data.condition, data.seed, decodePcm(data.speech));
  const done: Done = { pcm: encodePcm(played), delayMs, concealed, codec: codec.name };
  self.postMessage(done);
};
