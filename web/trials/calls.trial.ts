/** Two pages, a network between them, and what is heard. Scores are PESQ wide-band of what the page played against what was said. */

import { longTasks, momentOf } from './ear.ts';
import { floor, LEAD_SECONDS, type Person } from './people.ts';
import { expect, test } from './stage.ts';

/** The speech of `testdata` is 13 s long; what comes after is silence. */
const SPEECH_SECONDS = 13;

/** A call, from the first ring until both have said all, so many seconds after the microphones opened. Gives the lower score. */
async function talk(anna: Person, boris: Person, seconds?: number): Promise<number> {
  return Math.min(...(await scoresOf(anna, boris, seconds)));
}

/** The same; gives how each was heard by the other. */
async function scoresOf(anna: Person, boris: Person, seconds = LEAD_SECONDS + SPEECH_SECONDS): Promise<[anna: number, boris: number]> {
  await anna.call();
  await boris.answer();
  await Promise.all([anna.isInCall(), boris.isInCall()]);
  await anna.page.waitForTimeout((seconds + 1) * 1_000);
  const scores: [number, number] = [await boris.scoreOf(anna), await anna.scoreOf(boris)];
  console.log(`PESQ-WB: ${scores.map((score) => score.toFixed(2)).join(' and ')}`);
  return scores;
}

test('two pages become contacts, write and call, and each hears the other', async ({ stage }) => {
  const { anna, boris } = await stage.pair(await stage.network());
  await anna.write('Do we sail on Saturday?');
  await boris.reads('Do we sail on Saturday?');
  await boris.write('If the wind is kind.');
  await anna.reads('If the wind is kind.');
  const moments = [await momentOf(anna.page), await momentOf(boris.page)] as const;
  const score = await talk(anna, boris);
  const tasks = await Promise.all([longTasks(anna.page, moments[0]), longTasks(boris.page, moments[1])]);
  console.log(`tasks of main threads over 50 ms, from the call's first ring on: ${tasks.map((of) => of.join(', ') || 'none').join('; ')} ms`);
  expect(score).toBeGreaterThanOrEqual(floor(3.9));
  await anna.hangUp();
  expect(await anna.transport()).toBe('webtransport');
});

test('a call stays good with the echo canceller, noise suppression and gain of the browser', async ({ stage }) => {
  // One after the other, as people do: where both speak, an echo canceller has to choose.
  const leadSeconds = LEAD_SECONDS + SPEECH_SECONDS + 2;
  const { anna, boris } = await stage.pair(await stage.network(), { processing: 'all' }, { processing: 'but noise', leadSeconds });
  const [suppressed, natural] = await scoresOf(anna, boris, leadSeconds + SPEECH_SECONDS);
  // The browser's noise suppression alone leaves 3.0 of this voice (docs/browser.md).
  expect(suppressed).toBeGreaterThanOrEqual(floor(2.4));
  expect(natural).toBeGreaterThanOrEqual(floor(3.4));
});

test('a call goes by WebSocket where UDP does not get through', async ({ stage }) => {
  const { anna, boris } = await stage.pair(await stage.network({ firewall: true }));
  expect(await talk(anna, boris)).toBeGreaterThanOrEqual(floor(3.9));
  await anna.hangUp();
  expect(await anna.transport()).toBe('websocket');
});

test('speech stays good where a tenth of all packets is lost', async ({ stage }) => {
  // Both are behind the wire, so every packet passes it twice: 10 % are lost of 40 ms + exponential jitter of mean 10 ms, as in docs/voice.md.
  const { anna, boris } = await stage.pair(await stage.network({ wire: { delayMs: 20, jitterMs: 5, loss: 0.0513 } }));
  expect(await talk(anna, boris)).toBeGreaterThanOrEqual(floor(3.6));
});
