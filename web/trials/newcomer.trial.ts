/** A newcomer's first call: from an open page to the own voice coming back, in clicks and seconds. */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { t } from '../app/text.ts';
import { usableAfter } from './ear.ts';
import { LEAD_SECONDS, PASSWORD } from './people.ts';
import { expect, test } from './stage.ts';

/** Set to keep the pictures, below `docs/pictures`. */
const pictures = process.env['AHOY_PICTURES'];

test('a newcomer hears the echo after a name, a password and four clicks', async ({ stage }) => {
  const network = await stage.network();
  const person = await stage.person(network, { name: 'nina', says: 'it-male' });
  const { page } = person;
  console.log(`the first screen was usable after ${Math.round(await usableAfter(page))} ms`);
  const start = performance.now();
  let clicks = 0;
  let steps = 0;
  const step = async (name: string) => {
    console.log(`${((performance.now() - start) / 1_000).toFixed(1)} s, ${clicks} clicks: ${name}`);
    steps += 1;
    if (pictures === undefined) return;
    await mkdir(pictures, { recursive: true });
    await page.screenshot({ path: join(pictures, `first-call-${steps}.png`) });
  };
  const click = async (role: 'button' | 'checkbox' | 'link', name: string | RegExp) => {
    await page.getByRole(role, { name }).first().click();
    clicks += 1;
  };
  await page.getByLabel(t.welcome.name, { exact: true }).fill('nina');
  await page.getByLabel(t.welcome.password, { exact: true }).fill(PASSWORD);
  await step('name and password are typed');
  await click('button', t.welcome.signUpLong);
  await expect(page.getByLabel(t.code.written)).toBeVisible();
  await step('the recovery code');
  await click('checkbox', t.code.written);
  await click('button', t.code.go);
  await expect(page.getByRole('heading', { name: t.chats.title })).toBeVisible();
  await step('aboard');
  await click('button', new RegExp(t.chats.echo));
  await person.isInCall();
  await step('in the call');
  // The microphone begins to speak some seconds after it was opened.
  await page.waitForTimeout((LEAD_SECONDS + 4) * 1_000);
  expect((await person.heard()).samples.some((sample) => Math.abs(sample) > 1_000)).toBe(true);
  await step('heard');
  expect(clicks).toBeLessThanOrEqual(4);
});
