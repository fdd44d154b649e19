/** A call goes on whatever happens below it. Both speak without a pause, so the longest silence is the gap. */

import type { Person } from './people.ts';
import { type Stage, expect, test } from './stage.ts';
import { longestSilence } from './wav.ts';
import type { Network } from './network.ts';

/** After which the other side is told that the call is lost (docs/protocol.md, section 8.2). */
const LEG_SECONDS = 10;

async function humming(stage: Stage, network: Network): Promise<{ anna: Person; boris: Person }> {
  const { anna, boris } = await stage.pair(network, { says: 'hum' });
  await anna.call();
  await boris.answer();
  await Promise.all([anna.isInCall(), boris.isInCall()]);
  await anna.page.waitForTimeout(3_000);
  return { anna, boris };
}

/** Lets both speak on, and gives the gap that the listener heard; the listener's page has not been loaded anew. */
async function gapAt(listener: Person): Promise<number> {
  await listener.page.waitForTimeout(LEG_SECONDS * 1_000);
  const gap = longestSilence(await listener.heard());
  console.log(`longest silence: ${gap.toFixed(2)} s`);
  return gap;
}

test('a call goes on when one side loads its page anew', async ({ stage }) => {
  const { anna, boris } = await humming(stage, await stage.network());
  await boris.page.reload();
  await boris.isInCall();
  expect(await gapAt(anna)).toBeLessThan(LEG_SECONDS);
  // The one that came back hears the other.
  expect((await boris.heard()).samples.some((sample) => Math.abs(sample) > 1_000)).toBe(true);
  await Promise.all([anna.isInCall(), boris.isInCall()]);
});

test('a call goes on when the daemon dies and is started again', async ({ stage }) => {
  const network = await stage.network();
  const { anna, boris } = await humming(stage, network);
  await network.kill();
  await network.begin();
  expect(await gapAt(anna)).toBeLessThan(LEG_SECONDS);
  await Promise.all([anna.isInCall(), boris.isInCall()]);
});

test('a call goes on when everybody gets another address', async ({ stage }) => {
  const network = await stage.network({ wire: { delayMs: 10, jitterMs: 2, loss: 0 } });
  const { anna, boris } = await humming(stage, network);
  network.rebind();
  expect(await gapAt(anna)).toBeLessThan(LEG_SECONDS);
  await Promise.all([anna.isInCall(), boris.isInCall()]);
});
