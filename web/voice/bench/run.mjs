/**
 * Scores the voice engine in a real Chromium: speech from a fake microphone, through capture, codec, SFrame, a modelled path, playout and
 * speaker, against the file that was spoken.
 *
 *     node voice/bench/run.mjs PYTHON [SEEDS] [CONDITION] [auto|wasm] [WAV]...
 *
 * PYTHON is an interpreter that has scripts/requirements.txt; CONDITION a part of a condition's name, empty for all. CHROMIUM names the
 * browser, /usr/bin/chromium otherwise; BENCH_KEEP a folder for what was played.
 */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { launch, servePage } from './browser.mjs';
import { CONDITIONS, median, pcmOf, sourcesOf, startScorer, wavOf } from './score.mjs';

/** Silence before the speech, in which the page starts, and after it, in s. */
const LEAD = 1.5;
const TAIL = 1;

/** A worker's timer that is late by so much says that the machine is busy with other things; and how often a call is made again for it. */
const STALLED_MS = 40;
const ATTEMPTS = 4;

const [python, seeds = '2', only = '', codec = 'auto', ...wavs] = process.argv.slice(2);
if (python === undefined) throw new Error('usage: run.mjs PYTHON [SEEDS] [CONDITION] [auto|wasm] [WAV]...');
const sources = sourcesOf(wavs);

const folder = await mkdtemp(join(tmpdir(), 'ahoy-bench-'));
try {
  const server = await servePage(join(folder, 'dist'));
  const scorer = startScorer(python);
  console.log('| path | PESQ-WB median | lowest | playout delay ms, mean | concealed, last 5 s, % | CPU % of a core | longest task of the page ms: opening, in the call | stalled ms |');
  console.log('|---|---|---|---|---|---|---|---|');
  for (const condition of CONDITIONS.filter(({ name }) => name.includes(only))) {
    const results = [];
    for (const source of sources) {
      for (let seed = 1; seed <= Number(seeds); seed += 1) results.push(await calmCall(server, source, condition, seed, scorer));
    }
    printRow(condition, results);
  }
  scorer.stop();
  server.close();
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** A call in which the machine stood still is no measure of the engine: it is made again, a few times. */
async function calmCall(server, source, condition, seed, scorer) {
  let best;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const result = await call(server, source, condition, seed, scorer);
    if (best === undefined || result.told.stalledMs < best.told.stalledMs) best = result;
    if (best.told.stalledMs < STALLED_MS) break;
  }
  return best;
}

async function call(server, source, condition, seed, scorer) {
  const samples = pcmOf(await readFile(source));
  const spoken = join(folder, 'microphone.wav');
  await writeFile(spoken, wavOf(upsampled(samples, LEAD, TAIL), 48_000));
  const browser = await launch(['--use-fake-device-for-media-stream', `--use-file-for-fake-audio-capture=${spoken}%noloop`]);
  try {
    const page = await browser.newPage();
    page.on('pageerror', (error) => console.error(error));
    page.on('console', (message) => console.error(message.text()));
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    await page.waitForFunction(() => window.bench !== undefined);
    const seconds = LEAD + samples.length / 16_000 + TAIL;
    const before = await cpuOf(browser);
    const result = await page.evaluate(([condition, seed, codec, seconds]) => window.bench(condition, seed, codec, seconds), [condition, seed, codec, seconds]);
    const cpu = ((await cpuOf(browser)) - before) / seconds;
    const played = join(process.env.BENCH_KEEP ?? folder, `played-${condition.name.replace(/\W+/g, '-')}-${seed}-${source.split('/').at(-1)}`);
    await writeFile(played, wavOf(Buffer.from(result.pcm, 'base64'), 48_000));
    const pesq = await scorer.score(source, played);
    console.error(condition.name, seed, pesq, JSON.stringify({ ...result, pcm: undefined }));
    return { ...result, pesq, cpu };
  } finally {
    await browser.close();
  }
}

function printRow(condition, results) {
  const scores = results.map(({ pesq }) => pesq).sort((a, b) => a - b);
  const mean = (of) => results.reduce((sum, result) => sum + of(result), 0) / results.length;
  const cells = [
    condition.name,
    median(scores).toFixed(2),
    scores[0].toFixed(2),
    mean(({ delayMs }) => delayMs).toFixed(0),
    mean(({ told }) => (told?.heard?.concealed ?? 0) * 100).toFixed(1),
    mean(({ cpu }) => cpu * 100).toFixed(0),
    [(result) => result.openingTasks, (result) => result.longTasks].map((of) => Math.max(0, ...results.flatMap(of)).toFixed(0)).join(', '),
    Math.max(...results.map(({ told }) => told.stalledMs)).toFixed(0),
  ];
  console.log(`| ${cells.join(' | ')} |`);
}

/** CPU seconds of the renderers, where all of the engine is. */
async function cpuOf(browser) {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  await session.detach();
  return processInfo.filter(({ type }) => type === 'renderer').reduce((sum, { cpuTime }) => sum + cpuTime, 0);
}

/** Three times the rate, by a windowed sinc, as 16-bit samples in a buffer, with silence around them. */
function upsampled(samples, lead, tail) {
  const REACH = 16;
  const start = Math.round(lead * 48_000);
  const output = Buffer.alloc((start + samples.length * 3 + Math.round(tail * 48_000)) * 2);
  for (let out = 0; out < samples.length * 3; out += 1) {
    const [whole, third] = [Math.floor(out / 3), (out % 3) / 3];
    let sum = 0;
    for (let tap = 1 - REACH; tap <= REACH; tap += 1) {
      const turn = Math.PI * (tap - third);
      const sinc = Math.abs(turn) < 1e-9 ? 1 : Math.sin(turn) / turn;
      sum += (samples[whole + tap] ?? 0) * sinc * Math.cos(turn / (2 * REACH)) ** 2;
    }
    output.writeInt16LE(Math.max(-32_768, Math.min(32_767, Math.round(sum))), (start + out) * 2);
  }
  return output;
}
