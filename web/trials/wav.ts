/** Speech for microphones and recordings of loudspeakers: mono WAV of 16 bits. */

import { readFile, writeFile } from 'node:fs/promises';

export interface Sound {
  rate: number;
  samples: Int16Array;
}

export async function readWav(path: string): Promise<Sound> {
  const bytes = await readFile(path);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.toString('latin1', 0, 4) !== 'RIFF' || bytes.toString('latin1', 8, 12) !== 'WAVE') throw new Error(`${path} is no WAV file`);
  let rate = 0;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const [name, length] = [bytes.toString('latin1', at, at + 4), view.getUint32(at + 4, true)];
    if (name === 'fmt ') {
      if (view.getUint16(at + 10, true) !== 1 || view.getUint16(at + 22, true) !== 16) throw new Error(`${path} is not mono of 16 bits`);
      rate = view.getUint32(at + 12, true);
    }
    if (name === 'data') {
      const samples = new Int16Array(length / 2);
      for (let index = 0; index < samples.length; index++) samples[index] = view.getInt16(at + 8 + 2 * index, true);
      return { rate, samples };
    }
    at += 8 + length + (length % 2);
  }
  throw new Error(`${path} holds no samples`);
}

export async function writeWav(path: string, { rate, samples }: Sound): Promise<void> {
  const bytes = Buffer.alloc(44 + samples.length * 2);
  bytes.write('RIFF', 0, 'latin1');
  bytes.writeUInt32LE(36 + samples.length * 2, 4);
  bytes.write('WAVEfmt ', 8, 'latin1');
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(rate, 24);
  bytes.writeUInt32LE(rate * 2, 28);
  bytes.writeUInt16LE(2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write('data', 36, 'latin1');
  bytes.writeUInt32LE(samples.length * 2, 40);
  samples.forEach((sample, index) => bytes.writeInt16LE(sample, 44 + 2 * index));
  await writeFile(path, bytes);
}

/** A voice that never pauses, so that every silence is the network's: a vowel at 140 Hz that sways. */
export function hum(seconds: number): Sound {
  const rate = 48_000;
  const partials = [1, 0.7, 0.9, 0.5, 0.3, 0.2, 0.1];
  const samples = Int16Array.from({ length: seconds * rate }, (_, index) => {
    const at = index / rate;
    const phase = 2 * Math.PI * (140 * at + 2 * Math.sin(2 * Math.PI * 0.7 * at));
    return 2_500 * partials.reduce((sum, part, order) => sum + part * Math.sin((order + 1) * phase), 0);
  });
  return { rate, samples };
}

/** Seconds of the longest silence after the first sound. One that lasts to the end counts: then nothing came back. */
export function longestSilence({ rate, samples }: Sound): number {
  const frame = rate / 100;
  const levels = Array.from({ length: Math.floor(samples.length / frame) }, (_, index) => {
    const piece = samples.subarray(index * frame, (index + 1) * frame);
    return Math.sqrt(piece.reduce((sum, sample) => sum + sample ** 2, 0) / frame);
  });
  const heard = levels.map((level) => level > 200);
  const first = heard.indexOf(true);
  let [longest, run] = [0, 0];
  for (let index = first; index >= 0 && index < heard.length; index++) {
    run = heard[index] ? 0 : run + 1;
    longest = Math.max(longest, run);
  }
  return longest / 100;
}

/** The same, `seconds` later. */
export function delayed({ rate, samples }: Sound, seconds: number): Sound {
  const later = new Int16Array(samples.length + Math.round(seconds * rate));
  later.set(samples, later.length - samples.length);
  return { rate, samples: later };
}
