/** Firefox, driven by WebDriver BiDi: it signs up, becomes a contact and chats with somebody in Chromium. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import puppeteer, { type Page } from 'puppeteer-core';
import { t } from '../app/text.ts';
import { PASSWORD } from './people.ts';
import { expect, test } from './stage.ts';

const PATIENCE_MS = 20_000;

async function press(page: Page, name: string, role: string): Promise<void> {
  await page.locator(`::-p-aria([name="${name}"][role="${role}"])`).setTimeout(PATIENCE_MS).click();
}

async function fill(page: Page, name: string, text: string): Promise<void> {
  await page.locator(`::-p-aria([name="${name}"][role="textbox"])`).setTimeout(PATIENCE_MS).fill(text);
}

async function sees(page: Page, text: string): Promise<void> {
  await page.locator(`::-p-text(${text})`).setTimeout(PATIENCE_MS).wait();
}

test('Firefox signs up, becomes a contact and chats', async ({ stage }) => {
  const network = await stage.network();
  const boris = await stage.person(network, { name: 'boris' });
  await boris.signUp();
  const profile = await mkdtemp(join(tmpdir(), 'ahoy-firefox-'));
  const browser = await puppeteer.launch({ browser: 'firefox', executablePath: '/usr/bin/firefox-esr', headless: true, userDataDir: profile });
  try {
    const page = await browser.newPage();
    await page.goto(network.url);
    await press(page, t.welcome.signUp, 'tab');
    await fill(page, t.welcome.name, 'anna');
    await page.locator('input[type=password]').fill(PASSWORD);
    await press(page, t.welcome.signUpLong, 'button');
    await page.locator('input[type=checkbox]').setTimeout(PATIENCE_MS).click();
    await press(page, t.code.go, 'button');
    await press(page, t.nav.contacts, 'link');
    await press(page, t.contacts.add, 'button');
    await fill(page, t.contacts.name, 'boris');
    await press(page, t.contacts.ask, 'button');
    await boris.acceptContact('anna');
    await boris.openChat('anna');
    await boris.write('Ahoy, fox');
    await page.locator('nav a[href="#/"]').click();
    await sees(page, 'Ahoy, fox');
    await page.locator(`::-p-text(boris)`).click();
    await fill(page, t.chat.writeTo('boris'), 'Ahoy, boris');
    await press(page, t.chat.send, 'button');
    await boris.reads('Ahoy, boris');
  } finally {
    await browser.close();
    await rm(profile, { recursive: true, force: true });
  }
  expect(await boris.transport()).toMatch(/webtransport|websocket/);
});
