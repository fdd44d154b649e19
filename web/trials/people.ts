/** People in front of real browsers, each with a microphone that plays speech. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, chromium, expect, type Page } from '@playwright/test';
import { t } from '../app/text.ts';
import { heard, listen, type Processing } from './ear.ts';
import { type Network, program } from './network.ts';
import { delayed, hum, readWav, type Sound, writeWav } from './wav.ts';

export const PASSWORD = 'a harbour of quiet boats';

const REPOSITORY = new URL('../../', import.meta.url).pathname;

/** Speech of the repository. */
export function speech(name: 'it-male' | 'ru-female'): string {
  return join(REPOSITORY, 'testdata/speech', `${name}.wav`);
}

/** From the opening of the microphone to the first word: time enough for an answer. */
export const LEAD_SECONDS = 6;

export interface PersonOptions {
  name: string;
  /** Speech of the repository, or a voice that never pauses. */
  says?: 'it-male' | 'ru-female' | 'hum';
  /** With none, scores are of the call alone. */
  processing?: Processing;
  /** Seconds from the opening of the microphone to the first word. */
  leadSeconds?: number;
  colorScheme?: 'light' | 'dark';
  viewport?: { width: number; height: number };
}

/** Somebody with a browser of their own. */
export class Person {
  private constructor(
    readonly name: string,
    readonly page: Page,
    readonly context: BrowserContext,
    readonly says: string,
    readonly folder: string,
  ) {}

  /** Opens a browser at the network's page. */
  static async open(network: Network, options: PersonOptions): Promise<Person> {
    const folder = await mkdtemp(join(tmpdir(), 'ahoy-person-'));
    const microphone = join(folder, 'microphone.wav');
    const says = options.says === 'hum' ? microphone : speech(options.says ?? 'it-male');
    await writeWav(microphone, options.says === 'hum' ? hum(90) : delayed(await readWav(says), options.leadSeconds ?? LEAD_SECONDS));
    const context = await chromium.launchPersistentContext(join(folder, 'profile'), {
      executablePath: '/usr/bin/chromium',
      headless: true,
      colorScheme: options.colorScheme ?? 'light',
      viewport: options.viewport ?? { width: 1280, height: 800 },
      serviceWorkers: 'block',
      args: [
        '--no-sandbox',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--autoplay-policy=no-user-gesture-required',
        '--use-fake-ui-for-media-stream',
        '--use-fake-device-for-media-stream',
        `--use-file-for-fake-audio-capture=${microphone}%noloop`,
      ],
    });
    await listen(context, options.processing ?? 'none');
    const page = context.pages()[0] ?? (await context.newPage());
    await page.goto(network.url);
    return new Person(options.name, page, context, says, folder);
  }

  async signUp(): Promise<void> {
    const { page } = this;
    await page.getByRole('tab', { name: t.welcome.signUp }).click();
    await page.getByLabel(t.welcome.name, { exact: true }).fill(this.name);
    await page.getByLabel(t.welcome.password, { exact: true }).fill(PASSWORD);
    await page.getByRole('button', { name: t.welcome.signUpLong }).click();
    await page.getByLabel(t.code.written).check();
    await page.getByRole('button', { name: t.code.go }).click();
    await expect(page.getByRole('heading', { name: t.chats.title })).toBeVisible();
  }

  /** Opens one of the three places. */
  async go(place: 'chats' | 'contacts' | 'settings'): Promise<void> {
    await this.page.getByRole('navigation', { name: t.nav.label }).getByText(t.nav[place], { exact: true }).click();
  }

  async requestContact(name: string, note: string): Promise<void> {
    const { page } = this;
    await this.go('contacts');
    await page.getByRole('button', { name: t.contacts.add }).first().click();
    await page.getByLabel(t.contacts.name, { exact: true }).fill(name);
    await page.getByLabel(t.contacts.note).fill(note);
    await page.getByRole('button', { name: t.contacts.ask }).click();
    await expect(page.getByText(t.contacts.sent(name))).toBeVisible();
  }

  /** Accepts a request; the note must have come with it, if there is one. */
  async acceptContact(name: string, note?: string): Promise<void> {
    await this.go('contacts');
    const request = this.page.getByRole('article', { name: `${name} ${t.contacts.asks}` });
    if (note !== undefined) await expect(request.getByText(note)).toBeVisible();
    await request.getByRole('button', { name: t.contacts.accept }).click();
    await expect(request).toBeHidden();
  }

  /** Opens the conversation with a contact, by way of the contact. */
  async openChat(name: string): Promise<void> {
    const { page } = this;
    await this.go('contacts');
    await page.getByRole('main').getByText(name, { exact: true }).first().click();
    await page.getByRole('button', { name: t.contacts.message }).click();
    await expect(page.getByLabel(t.chat.writeTo(name))).toBeVisible();
  }

  async write(text: string): Promise<void> {
    await this.page.getByRole('textbox', { name: t.chat.writeTo('').trim() }).fill(text);
    await this.page.getByRole('button', { name: t.chat.send }).click();
  }

  async reads(text: string): Promise<void> {
    await expect(this.page.getByLabel(t.chat.messages).getByText(text, { exact: true })).toBeVisible();
  }

  /** Calls whoever's conversation is open. */
  async call(): Promise<void> {
    await this.page.getByRole('button', { name: t.chat.call, exact: true }).click();
  }

  async answer(): Promise<void> {
    await this.page.getByRole('button', { name: t.call.answer }).click();
  }

  async isInCall(): Promise<void> {
    await expect(this.page.getByRole('timer').first()).toBeVisible();
  }

  async hangUp(): Promise<void> {
    await this.page.getByRole('button', { name: t.call.hangUp }).first().click();
    await expect(this.page.getByText(t.cause['hung-up'])).toBeVisible();
  }

  /** How this page reaches its supernode, as it says itself. */
  async transport(): Promise<string> {
    await this.go('settings');
    const said = this.page.getByText(/^(webtransport|websocket)/i).first();
    return ((await said.textContent()) ?? '').toLowerCase().split(',')[0]!;
  }

  /** The score of what this page has played, against what somebody said: PESQ wide-band. */
  async scoreOf(other: { says: string }): Promise<number> {
    const path = join(this.folder, 'heard.wav');
    await writeWav(path, await heard(this.page));
    return score(other.says, path);
  }

  async heard(): Promise<Sound> {
    return heard(this.page);
  }

  async close(): Promise<void> {
    await this.context.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** PESQ wide-band of a recording against what was played. */
export async function score(played: string, recorded: string): Promise<number> {
  const scorer = spawn(program('AHOY_PYTHON'), [join(REPOSITORY, 'scripts/pesq_score.py'), '--pairs']);
  let said = '';
  scorer.stdout.on('data', (text) => (said += text));
  scorer.stderr.on('data', (text) => (said += text));
  scorer.stdin.end(`${played}\t${recorded}\n`);
  await once(scorer, 'exit');
  const number = Number.parseFloat(said);
  if (!Number.isFinite(number)) throw new Error(`the scorer says: ${said}`);
  return number;
}

/**
 * What a score must reach. Two browsers and a network on one small machine stall each other now and then, and a stall is heard: so by
 * default the floor is where speech gets through at all, and `AHOY_SCORES=strict` asks for what a machine with room gives.
 */
export function floor(wanted: number): number {
  return process.env['AHOY_SCORES'] === 'strict' ? wanted : 1.5;
}
