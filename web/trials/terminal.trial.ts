/** A page and the client of the terminal: two implementations of one protocol, calling each other. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Network, program } from './network.ts';
import { floor, LEAD_SECONDS, PASSWORD, type Person, score, speech } from './people.ts';
import { expect, test } from './stage.ts';
import { delayed, readWav, writeWav } from './wav.ts';

const SPEECH_SECONDS = 13;
const NAME = 'terry';

/** `ahoy` with a profile of its own. */
class Terminal {
  private constructor(
    private readonly network: Network,
    readonly folder: string,
  ) {}

  static async signedUp(network: Network, folder: string): Promise<Terminal> {
    const terminal = new Terminal(network, folder);
    await writeFile(join(folder, 'password'), `${PASSWORD}\n`, { mode: 0o600 });
    await terminal.run('sign-up', NAME, '--password-file', join(folder, 'password'));
    return terminal;
  }

  start(...args: string[]): ChildProcess {
    const given = ['--profile', join(this.folder, 'ahoy'), '--network', this.network.url, ...args];
    return spawn(program('AHOY_BIN'), given, { stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Runs to its end, which must be a good one. */
  async run(...args: string[]): Promise<void> {
    const child = this.start(...args);
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (text) => (said += text));
    const [code] = (await once(child, 'exit')) as [number | null];
    expect(code, `ahoy ${args[0]}: ${said}`).toBe(0);
  }
}

async function heardByPage(person: Person): Promise<number> {
  return person.scoreOf({ says: speech('it-male') });
}

test('a page and the terminal call each other, both ways', async ({ stage }) => {
  const network = await stage.network();
  const anna = await stage.person(network, { name: 'anna', says: 'ru-female' });
  const terminal = await Terminal.signedUp(network, anna.folder);
  await anna.signUp();
  await anna.requestContact(NAME, 'Anna, from a browser');
  await terminal.run('contacts', 'accept', 'anna');
  const says = join(anna.folder, 'says.wav');
  await writeWav(says, delayed(await readWav(speech('it-male')), 2));
  const seconds = `${LEAD_SECONDS + SPEECH_SECONDS + 4}s`;

  // The page calls.
  const first = join(anna.folder, 'first.wav');
  const listening = terminal.start('listen', '--auto-answer', '--once', '--play', says, '--record', first);
  const answered = once(listening, 'exit');
  await anna.openChat(NAME);
  await anna.write('I call you now.');
  await anna.call();
  await anna.isInCall();
  await anna.page.waitForTimeout((LEAD_SECONDS + SPEECH_SECONDS + 2) * 1_000);
  await anna.hangUp();
  await answered;
  const outward = [await score(anna.says, first), await heardByPage(anna)];
  console.log(`the page calls: PESQ-WB ${outward.map((value) => value.toFixed(2)).join(' there, back ')}`);

  // The terminal calls.
  const second = join(anna.folder, 'second.wav');
  const calling = terminal.run('call', 'anna', '--play', says, '--record', second, '--for', seconds);
  await anna.answer();
  await calling;
  const inward = [await score(anna.says, second), await heardByPage(anna)];
  console.log(`the terminal calls: PESQ-WB ${inward.map((value) => value.toFixed(2)).join(' there, back ')}`);
  expect(Math.min(...outward, ...inward)).toBeGreaterThanOrEqual(floor(3.9));
});
