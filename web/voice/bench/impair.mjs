/**
 * Scores sender and receiver in virtual time, over the path of `crates/voice/examples/impair.rs`, with the codecs of a real Chromium.
 *
 *     node voice/bench/impair.mjs PYTHON [SEEDS] [CONDITION] [auto|wasm] [WAV]...
 *
 * Arguments as those of `run.mjs`. Virtual time makes the scores independent of how busy the machine is.
 */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { launch, servePage } from './browser.mjs';
import { CONDITIONS, median, pcmOf, sourcesOf, startScorer, wavOf } from './score.mjs';

const [python, seeds = '3', only = '', codec = 'auto', ...wavs] = process.argv.slice(2);
if (python === undefined) throw new Error('usage: impair.mjs PYTHON [SEEDS] [CONDITION] [auto|wasm] [WAV]...');

const folder = await mkdtemp(join(tmpdir(), 'ahoy-impair-'));
const server = await servePage(join(folder, 'dist'));
const browser = await launch();
const scorer = startScorer(python);
try {
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.waitForFunction(() => window.simulate !== undefined);
  console.log('| path | PESQ-WB median | lower quartile | lowest | playout delay ms, mean | concealed % |');
  console.log('|---|---|---|---|---|---|');
  for (const condition of CONDITIONS.filter(({ name }) => name.includes(only))) {
    const results = [];
    for (const source of sourcesOf(wavs)) {
      const speech = Buffer.from(pcmOf(await readFile(source)).buffer).toString('base64');
      for (let seed = 1; seed <= Number(seeds); seed += 1) {
        const done = await page.evaluate((job) => window.simulate(job), { condition, seed, codec, speech });
        const played = join(folder, 'played.wav');
        await writeFile(played, wavOf(Buffer.from(done.pcm, 'base64'), 48_000));
        results.push({ ...done, pesq: await scorer.score(source, played) });
      }
    }
    printRow(condition, results);
  }
} finally {
  scorer.stop();
  await browser.close();
  server.close();
  await rm(folder, { recursive: true, force: true });
}

function printRow(condition, results) {
  const scores = results.map(({ pesq }) => pesq).sort((a, b) => a - b);
  const mean = (of) => results.reduce((sum, result) => sum + of(result), 0) / results.length;
  const quality = [median(scores), scores[(scores.length - 1) >> 2], scores[0]].map((score) => score.toFixed(2));
  const cells = [condition.name, ...quality, mean(({ delayMs }) => delayMs).toFixed(0), mean(({ concealed }) => concealed * 100).toFixed(1)];
  console.log(`| ${cells.join(' | ')} |`);
}
