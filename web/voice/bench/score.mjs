/** What both benches score with: the clips, WAV files, and the scoring script. */

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const HERE = fileURLToPath(new URL('.', import.meta.url));
export const ROOT = join(HERE, '../../..');

export const CONDITIONS = JSON.parse(readFileSync(join(HERE, 'conditions.json'), 'utf8'));

/** The clips of `testdata/speech`, where none are named. */
export function sourcesOf(wavs) {
  return wavs.length > 0 ? wavs : ['it-male', 'ru-female'].map((name) => join(ROOT, 'testdata/speech', `${name}.wav`));
}

/** Of scores in ascending order. */
export function median(scores) {
  return (scores[(scores.length - 1) >> 1] + scores[scores.length >> 1]) / 2;
}

/** The scoring script, reading pairs of files until it is stopped: starting Python takes longer than scoring. */
export function startScorer(interpreter) {
  const script = spawn(interpreter, [join(ROOT, 'scripts/pesq_score.py'), '--pairs'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: script.stdout })[Symbol.asyncIterator]();
  return {
    async score(played, recorded) {
      script.stdin.write(`${played}\t${recorded}\n`);
      return Number((await lines.next()).value);
    },
    stop: () => script.stdin.end(),
  };
}

/** Samples of a mono WAV of 16 bit with a plain header. */
export function pcmOf(file) {
  const data = file.indexOf('data') + 8;
  return new Int16Array(file.buffer.slice(file.byteOffset + data, file.byteOffset + data + ((file.length - data) & ~1)));
}

/** A mono WAV of 16-bit samples. */
export function wavOf(pcm, rate) {
  const head = Buffer.alloc(44);
  head.write('RIFF', 0);
  head.writeUInt32LE(36 + pcm.length, 4);
  head.write('WAVEfmt ', 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(rate, 24);
  head.writeUInt32LE(rate * 2, 28);
  head.writeUInt16LE(2, 32);
  head.writeUInt16LE(16, 34);
  head.write('data', 36);
  head.writeUInt32LE(pcm.length, 40);
  return Buffer.concat([head, pcm]);
}
