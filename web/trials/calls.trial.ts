/** Two pages, a network between them, and what is heard. Scores are PESQ wide-band of what the page played against what was said. */

import { expect, test } from '@playwright/test';
import { longTasks } from './ear.ts';
import { Network, type Wire } from './network.ts';
import { LEAD_SECONDS, Person, type PersonOptions } from './people.ts';

/** The speech of `testdata` is 13 s long; what comes after is silence. */
const SPEECH_SECONDS = 13;

interface Pair {
  network: Network;
  anna: Person;
  boris: Person;
}

async function pair(options: { wire?: Wire } & Partial<PersonOptions> = {}): Promise<Pair> {
  const { wire, ...each } = options;
  const network = await Network.start(wire === undefined ? {} : { wire });
  const [anna, boris] = await Promise.all([
    Person.open(network, { ...each, name: 'anna', says: 'ru-female' }),
    Person.open(network, { ...each, name: 'boris', says: 'it-male' }),
  ]);
  await Promise.all([anna.signUp(), boris.signUp()]);
  await anna.requestContact('boris', 'Anna, from the harbour');
  await boris.acceptContact('anna', 'Anna, from the harbour');
  await Promise.all([anna.openChat('boris'), boris.openChat('anna')]);
  return { network, anna, boris };
}

async function end({ network, anna, boris }: Pair): Promise<void> {
  await Promise.allSettled([anna.close(), boris.close()]);
  await network.stop();
}

/** A call, from the first ring until both have said all. */
async function talk({ anna, boris }: Pair): Promise<{ anna: number; boris: number }> {
  await anna.call();
  await boris.answer();
  await Promise.all([anna.isInCall(), boris.isInCall()]);
  await anna.page.waitForTimeout((LEAD_SECONDS + SPEECH_SECONDS + 1) * 1_000);
  const scores = { anna: await anna.scoreOf(boris), boris: await boris.scoreOf(anna) };
  console.log(`PESQ-WB: anna heard ${scores.anna.toFixed(2)}, boris ${scores.boris.toFixed(2)}`);
  return scores;
}

test('two pages become contacts, write and call, and each hears the other', async () => {
  const pairing = await pair();
  try {
    const { anna, boris } = pairing;
    await anna.write('Do we sail on Saturday?');
    await boris.reads('Do we sail on Saturday?');
    await boris.write('If the wind is kind.');
    await anna.reads('If the wind is kind.');
    const scores = await talk(pairing);
    const tasks = [...(await longTasks(anna.page)), ...(await longTasks(boris.page))];
    console.log(`longest task of a main thread: ${Math.max(0, ...tasks)} ms`);
    expect(Math.min(scores.anna, scores.boris)).toBeGreaterThanOrEqual(3.9);
    await anna.hangUp();
    expect(await anna.transport()).toBe('webtransport');
  } finally {
    await end(pairing);
  }
});

test('a call stays good with the echo canceller, noise suppression and gain of the browser', async () => {
  const pairing = await pair({ processing: true });
  try {
    const scores = await talk(pairing);
    expect(Math.min(scores.anna, scores.boris)).toBeGreaterThanOrEqual(3.4);
  } finally {
    await end(pairing);
  }
});

test('a call goes by WebSocket where UDP does not get through', async () => {
  const pairing = await pair({ udp: 'blocked' });
  try {
    const scores = await talk(pairing);
    expect(Math.min(scores.anna, scores.boris)).toBeGreaterThanOrEqual(3.9);
    await pairing.anna.hangUp();
    expect(await pairing.anna.transport()).toBe('websocket');
  } finally {
    await end(pairing);
  }
});

test('speech stays good where a tenth of all packets is lost', async () => {
  const pairing = await pair({ wire: { delayMs: 40, jitterMs: 10, loss: 0.1 } });
  try {
    const scores = await talk(pairing);
    expect(Math.min(scores.anna, scores.boris)).toBeGreaterThanOrEqual(3.6);
  } finally {
    await end(pairing);
  }
});
