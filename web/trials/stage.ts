/** What a trial needs, made as it goes on; all of it ends with the trial, however that ends. */

import { test as base } from '@playwright/test';
import { Network, type Wire } from './network.ts';
import { Person, type PersonOptions } from './people.ts';

export class Stage {
  readonly #closing: (() => Promise<void>)[] = [];

  async network(options: { wire?: Wire; firewall?: boolean } = {}): Promise<Network> {
    const network = await Network.start(options);
    this.#closing.push(() => network.stop());
    return network;
  }

  async person(network: Network, options: PersonOptions): Promise<Person> {
    const person = await Person.open(network, options);
    this.#closing.push(() => person.close());
    return person;
  }

  /** Two people in front of their browsers, contacts, each with the conversation with the other open. */
  async pair(network: Network, options: Partial<PersonOptions> = {}, ofBoris: Partial<PersonOptions> = {}): Promise<{ anna: Person; boris: Person }> {
    const [anna, boris] = await Promise.all([
      this.person(network, { says: 'ru-female', ...options, name: 'anna' }),
      this.person(network, { says: 'it-male', ...options, ...ofBoris, name: 'boris' }),
    ]);
    await Promise.all([anna.signUp(), boris.signUp()]);
    await anna.requestContact('boris', 'Anna, from the harbour');
    await boris.acceptContact('anna', 'Anna, from the harbour');
    await Promise.all([anna.openChat('boris'), boris.openChat('anna')]);
    return { anna, boris };
  }

  /** Ends what was made last first. */
  async close(): Promise<void> {
    for (const close of this.#closing.reverse()) await close().catch((error: unknown) => console.error(error));
  }
}

export const test = base.extend<{ stage: Stage }>({
  stage: async ({}, use) => {
    const stage = new Stage();
    await use(stage);
    await stage.close();
  },
});

export { expect } from '@playwright/test';
