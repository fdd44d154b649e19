/**
 * The way in: signing up, in, or back in, and the client of whoever is signed in, put together from its parts.
 */

import { changePassword, deleteAccount, recover, signIn, signUp } from './account/account.ts';
import { PLATFORM, type Environment } from './account/authority.ts';
import { contact } from './account/contact.ts';
import { renameDevice, revokeCredential, revokeDevice } from './account/devices.ts';
import { AccountError } from './account/error.ts';
import { Refusal, type Client, type Event, type Online } from './client.ts';
import { SYSTEM_CLOCK, type Clock } from './link/clock.ts';
import type { Dialler } from './link/dial.ts';
import { MemberClient, type Desk } from './member/client.ts';
import { Member } from './member/member.ts';
import type { SessionHandle } from './session/options.ts';
import { openSession } from './session/session.ts';
import type { Identity } from './vault/identity.ts';
import type { Profile } from './vault/profile.ts';
import type { VoiceEngine } from './voice.ts';

/** What a client is put together from. */
export interface Parts {
  profile: Profile;
  dialler: Dialler;
  voice: VoiceEngine;
  clock?: Clock;
  environment?: Environment;
  /** Program and release, for the census; at most 64 bytes. */
  agent?: string;
}

/** Opens the client of an identity that the profile keeps. `forgotten` is called when nothing of it is left. */
export async function openClient(parts: Parts, identity: Identity, forgotten: () => void = () => undefined): Promise<Client> {
  const { profile, dialler, voice, clock = SYSTEM_CLOCK, environment = PLATFORM, agent } = parts;
  let session: SessionHandle | null = null;
  const roundTripMs = (): number => session?.online()?.roundTripMs ?? 0;
  const member = await Member.open({ identity, vault: profile.vault, voice, clock, roundTripMs });
  const keep = (fresh: Identity): Promise<void> => profile.keep(fresh);
  const opened = openSession({ identity, upper: member, dialler, keep, vault: profile.vault, clock, environment, ...(agent !== undefined && { agent }) });
  session = opened;
  opened.onStopped(({ reason, text }) => member.stop(reason, text));
  member.subscribe((event) => {
    if (event.kind === 'stopped') opened.close();
  });
  return new MemberClient(member, new SessionDesk({ member, session: opened, profile, environment, forgotten }));
}

interface DeskParts {
  member: Member;
  session: SessionHandle;
  profile: Profile;
  environment: Environment;
  forgotten: () => void;
}

/** The account and the session of a client. */
class SessionDesk implements Desk {
  constructor(private readonly parts: DeskParts) {}

  get network(): string {
    return this.parts.session.identity.network.name;
  }

  get echo(): string | null {
    return this.parts.session.identity.network.echo;
  }

  get reportKey(): Uint8Array | null {
    const { reportKey } = this.parts.session.identity.network;
    return reportKey.length === 0 ? null : reportKey;
  }

  online(): Online | null {
    return this.parts.session.online();
  }

  subscribe(listener: (event: Event) => void): () => void {
    return this.parts.session.onOnline((online) => listener(online === null ? { kind: 'offline' } : { kind: 'online', online }));
  }

  renameDevice(device: string, name: string): Promise<void> {
    return asked(() => renameDevice(this.parts.session.identity, device, name, this.parts.environment));
  }

  revokeDevice(device: string): Promise<void> {
    return asked(() => revokeDevice(this.parts.session.identity, device, this.parts.environment));
  }

  changePassword(old: string, fresh: string): Promise<void> {
    return asked(() => changePassword(this.parts.session.identity, old, fresh, this.parts.environment));
  }

  async deleteAccount(password: string): Promise<void> {
    await asked(() => deleteAccount(this.parts.session.identity, password, this.parts.environment));
    await this.#forget();
  }

  async signOut(): Promise<void> {
    try {
      await revokeCredential(this.parts.session.identity, this.parts.environment);
    } catch (error) {
      // A device that the authority does not know any more is signed out already.
      const isOut = error instanceof AccountError && (error.code === 'credential-refused' || error.code === 'not-found' || error.code === 'suspended');
      if (!isOut) throw refusalOfAccount(error);
    }
    await this.#forget();
  }

  async close(): Promise<void> {
    const closed = this.parts.member.close();
    this.parts.session.close();
    await closed;
  }

  async #forget(): Promise<void> {
    await this.close();
    await this.parts.profile.forget();
    this.parts.forgotten();
  }
}

/** Where a browser stands. */
export type Seat =
  | { kind: 'unreachable'; text: string }
  | { kind: 'signed-out'; network: { name: string; signUp: 'open' | 'invite' | 'closed' } }
  | { kind: 'signed-in' };

/** The way in; can be called from another thread (`remote.ts`). Everything rejects with a {@link Refusal}. */
export interface Entrance {
  /** Opens the client of whoever is signed in; else asks the network who it is. */
  look(): Promise<Seat>;
  /** Makes an account, with this device as its first. Resolves with the recovery code, to be shown once; {@link look} then finds it. */
  signUp(form: { name: string; password: string; invite: string | null; device: string }): Promise<string>;
  signIn(form: { name: string; password: string; device: string }): Promise<void>;
  /** Sets a new password by the recovery code. Resolves with the code that takes its place. */
  recover(form: { name: string; code: string; password: string; device: string }): Promise<string>;
  /** Forgets a device that can't be used any more. */
  startAnew(): Promise<void>;
}

/** Where clients come from and go to. */
export interface Aboard extends Entrance {
  readonly client: Client | null;
  /** Tells when there is another client, or none, until the answer is called. */
  onClient(listener: (client: Client | null) => void): () => void;
  close(): Promise<void>;
}

/** The entrance of a network at an address, over a profile. `open` opens the profile anew after it was forgotten. */
export function aboard(address: string, parts: Omit<Parts, 'profile'>, open: () => Promise<Profile>): Aboard {
  return new Boarding(address, parts, open);
}

class Boarding implements Aboard {
  client: Client | null = null;
  #profile: Promise<Profile> | null = null;
  #opening: Promise<Client> | null = null;
  #isClosed = false;
  readonly #listeners = new Set<(client: Client | null) => void>();

  constructor(
    private readonly address: string,
    private readonly parts: Omit<Parts, 'profile'>,
    private readonly open: () => Promise<Profile>,
  ) {}

  onClient(listener: (client: Client | null) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async look(): Promise<Seat> {
    if (this.#isClosed) throw new Refusal('offline', 'This way in is closed.');
    if (this.client !== null) return { kind: 'signed-in' };
    const profile = await this.#opened();
    const identity = await profile.identity();
    if (identity !== null) {
      this.#opening ??= openClient({ ...this.parts, profile }, identity, () => this.#forgotten()).catch((error: unknown) => {
        this.#opening = null;
        throw error;
      });
      const client = await this.#opening;
      if (!this.#isClosed) this.#put(client);
      return { kind: 'signed-in' };
    }
    try {
      const { name, signUp } = await contact(this.address, null, this.#environment);
      return { kind: 'signed-out', network: { name, signUp } };
    } catch (error) {
      return { kind: 'unreachable', text: refusalOfAccount(error).message };
    }
  }

  async signUp({ name, password, invite, device }: Parameters<Entrance['signUp']>[0]): Promise<string> {
    return asked(async () => {
      const network = await contact(this.address, null, this.#environment);
      const form = { name, password, deviceName: device, ...(invite !== null && { invite }) };
      const { identity, recoveryCode } = await signUp(network, form, this.#environment);
      await this.#keep(identity);
      return recoveryCode;
    });
  }

  async signIn({ name, password, device }: Parameters<Entrance['signIn']>[0]): Promise<void> {
    await asked(async () => {
      const network = await contact(this.address, null, this.#environment);
      await this.#keep(await signIn(network, { name, password, deviceName: device }, this.#environment));
    });
  }

  async recover({ name, code, password, device }: Parameters<Entrance['recover']>[0]): Promise<string> {
    return asked(async () => {
      const network = await contact(this.address, null, this.#environment);
      const form = { name, recoveryCode: code, password, deviceName: device };
      const { identity, recoveryCode } = await recover(network, form, this.#environment);
      await this.#keep(identity);
      return recoveryCode;
    });
  }

  async startAnew(): Promise<void> {
    const profile = await this.#opened();
    await this.client?.close();
    await profile.forget();
    this.#forgotten();
  }

  /** Nothing is written any more once this has resolved. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const client = (await this.#opening?.catch(() => null)) ?? null;
    await client?.close();
    this.#put(null);
    (await this.#profile?.catch(() => null))?.close();
    this.#profile = null;
    this.#opening = null;
  }

  get #environment(): Environment {
    return this.parts.environment ?? PLATFORM;
  }

  #opened(): Promise<Profile> {
    this.#profile ??= this.open();
    return this.#profile;
  }

  async #keep(identity: Identity): Promise<void> {
    await (await this.#opened()).keep(identity);
  }

  /** Nothing is left: whoever comes next begins with a new profile. */
  #forgotten(): void {
    this.#profile = null;
    this.#opening = null;
    this.#put(null);
  }

  #put(client: Client | null): void {
    if (this.client === client) return;
    this.client = client;
    for (const listener of [...this.#listeners]) listener(client);
  }
}

/** What the authority's refusals come to. */
function refusalOfAccount(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (!(error instanceof AccountError)) return new Refusal('network', 'Something went wrong on this device.');
  if (error.code === 'sign-in-refused') return new Refusal('wrong-password', error.message);
  if (error.code === 'rate-limited') return new Refusal('limit', error.message, error.retryAfterMs);
  return new Refusal('network', error.message, error.retryAfterMs);
}

async function asked<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    throw refusalOfAccount(error);
  }
}
