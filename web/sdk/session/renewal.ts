/** Keeping credential and roster fresh: what a session asks of the authority while it runs (docs/protocol.md, sections 2.1 and 5). */

import type { Environment } from '../account/authority.ts';
import { contact, sameNetwork } from '../account/contact.ts';
import { renewCredential } from '../account/devices.ts';
import { AccountError } from '../account/error.ts';
import { signingKeys, verifiedRoster } from '../account/network.ts';
import type { Clock } from '../link/clock.ts';
import { CREDENTIAL, DocumentError, halfLifeMs, verifyDocument, type Credential, type Roster } from '../proto/document.ts';
import type { Identity } from '../vault/identity.ts';

/** How often it is looked whether anything is due. */
export const LOOK_EVERY_MS = 600_000;

/** Least time between two questions for a newer roster while no supernode answers. */
const ROSTER_PAUSE_MS = 60_000;

/** Age from which the roster is asked for anew: six days are left to an authority that is away. */
const ROSTER_AGE_MS = 86_400_000;

/** The roster, `null` where there is none that is good now. */
function rosterOf({ network }: Identity, nowMs: number): Roster | null {
  try {
    return verifiedRoster(network, nowMs);
  } catch (error) {
    if (error instanceof DocumentError) return null;
    throw error;
  }
}

function credentialOf({ network, credential }: Identity, nowMs: number): Credential | null {
  try {
    return verifyDocument(credential, CREDENTIAL, { keys: signingKeys(network, nowMs), network: network.network, nowMs });
  } catch (error) {
    if (error instanceof DocumentError) return null;
    throw error;
  }
}

/** Whether there is no credential that opens a session now. */
function credentialIsVoid(identity: Identity, nowMs: number): boolean {
  return credentialOf(identity, nowMs) === null;
}

/** Whether the credential is past half of its life, or not good at all. */
function credentialIsDue(identity: Identity, nowMs: number): boolean {
  const credential = credentialOf(identity, nowMs);
  return credential === null || nowMs >= halfLifeMs(credential);
}

/** Whether the roster is older than a day, or not good at all. */
function rosterIsDue(identity: Identity, nowMs: number): boolean {
  const roster = rosterOf(identity, nowMs);
  return roster === null || nowMs - roster.issuedAt * 1_000 >= ROSTER_AGE_MS;
}

/** What becomes of an identity. */
export interface RenewalOwner {
  /** Makes it durable. */
  keep(identity: Identity): Promise<void>;
  /** There is a newer one, and it is durable. */
  handleFresh(): void;
  /** There is no going on. */
  handleStop(reason: 'revoked' | 'storage' | 'version', text: string): void;
}

/** The identity as it is now. While the authority is away, what is kept serves until it expires: nothing here ever rejects. */
export class Renewal {
  #asking: Promise<void> | null = null;
  #rosterAskedAt = -Infinity;
  #rosterDoubted = false;

  constructor(
    public identity: Identity,
    private readonly clock: Clock,
    private readonly environment: Environment,
    private readonly owner: RenewalOwner,
  ) {}

  get roster(): Roster | null {
    return rosterOf(this.identity, this.clock.now());
  }

  /** Asks for what is due. */
  look(): void {
    const now = this.clock.now();
    if (credentialIsDue(this.identity, now)) void this.renew();
    else if (rosterIsDue(this.identity, now)) void this.fetchRoster();
  }

  /** Credential and roster that are good now, asking the authority only where those that are kept are not. */
  async freshen(): Promise<void> {
    if (credentialIsVoid(this.identity, this.clock.now())) await this.renew();
    else if (this.roster === null) await this.fetchRoster();
  }

  /** The next credential, and the newest signing keys and roster: the signing key may have changed. */
  renew(): Promise<void> {
    return this.#ask(async (identity) => {
      const fresh = await this.#withNewestRoster(identity);
      return { ...fresh, credential: await renewCredential(fresh, this.environment) };
    });
  }

  fetchRoster(): Promise<void> {
    return this.#ask((identity) => this.#withNewestRoster(identity));
  }

  /** A supernode was not what the roster says. */
  doubtRoster(): void {
    this.#rosterDoubted = true;
  }

  settleDoubt(): void {
    if (this.#rosterDoubted) this.askForRoster();
  }

  /** No supernode can be reached, or one is not what the roster says: asks once a minute at most. */
  askForRoster(): void {
    if (this.clock.elapsed() - this.#rosterAskedAt < ROSTER_PAUSE_MS) return;
    this.#rosterAskedAt = this.clock.elapsed();
    this.#rosterDoubted = false;
    void this.fetchRoster();
  }

  async #withNewestRoster(identity: Identity): Promise<Identity> {
    return { ...identity, network: await contact(identity.network.url, identity.network, this.environment) };
  }

  /** One question at a time. */
  #ask(verb: (identity: Identity) => Promise<Identity>): Promise<void> {
    this.#asking ??= this.#asked(verb).finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  async #asked(verb: (identity: Identity) => Promise<Identity>): Promise<void> {
    let fresh: Identity;
    try {
      fresh = await verb(this.identity);
    } catch (error) {
      return this.#handleRefusal(error);
    }
    if (fresh.credential === this.identity.credential && sameNetwork(fresh.network, this.identity.network)) return;
    try {
      await this.owner.keep(fresh);
    } catch {
      return this.owner.handleStop('storage', 'this device can keep nothing more');
    }
    this.identity = fresh;
    this.owner.handleFresh();
  }

  #handleRefusal(error: unknown): void {
    const code = error instanceof AccountError ? error.code : null;
    if (code === 'credential-refused' || code === 'suspended') this.owner.handleStop('revoked', 'this device is signed out');
    if (code === 'version') this.owner.handleStop('version', 'this program is too old for the network: update it');
  }
}
