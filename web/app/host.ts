/** The seam between the interface and what holds the client: the real one (`./aboard.ts`), or the made-up town of `./demo`. */

import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { ReadonlySignal } from '@preact/signals';
import type { Client } from '../sdk/client.ts';
import type { Store } from './store/store.ts';

export interface NetworkAbout {
  name: string;
  signUp: 'open' | 'invite' | 'closed';
}

/** Where this browser stands. */
export type Seat =
  | { kind: 'starting' }
  | { kind: 'unreachable'; text: string }
  | { kind: 'signed-out'; network: NetworkAbout }
  | { kind: 'signed-in'; client: Client };

export interface SignUpForm {
  name: string;
  password: string;
  invite: string | null;
  device: string;
}

export interface SoundDevice {
  id: string;
  label: string;
}

/** Microphones and speakers, which of them calls use (the empty id is the browser's own choice), and how. */
export interface Sound {
  readonly microphones: ReadonlySignal<readonly SoundDevice[]>;
  readonly speakers: ReadonlySignal<readonly SoundDevice[]>;
  readonly microphone: ReadonlySignal<string>;
  readonly speaker: ReadonlySignal<string>;
  /** Whether the browser takes noise out of the microphone's sound. */
  readonly suppressesNoise: ReadonlySignal<boolean>;
  /** The microphone may be used, so devices have names. */
  readonly isAllowed: ReadonlySignal<boolean>;
  /** Asks for the microphone; rejects where the browser gives none. */
  allow(): Promise<void>;
  chooseMicrophone(id: string): Promise<void>;
  chooseSpeaker(id: string): Promise<void>;
  suppressNoise(on: boolean): Promise<void>;
}

export interface Host {
  readonly seat: ReadonlySignal<Seat>;
  /** Counts how often the client has moved to another tab or back: what was read of it is then to be read again. */
  readonly moved: ReadonlySignal<number>;
  /** This tab runs the client: it notifies, and no other. */
  readonly isLead: ReadonlySignal<boolean>;
  readonly sound: Sound;
  /** Looks for the network again. */
  retry(): void;
  /** Resolves with the recovery code; the account is entered by {@link enter}. */
  signUp(form: SignUpForm): Promise<string>;
  signIn(form: { name: string; password: string; device: string }): Promise<void>;
  /** Sets a new password by the recovery code; resolves with the code that takes its place, if there is a new one. */
  recover(form: { name: string; code: string; password: string; device: string }): Promise<string | null>;
  /** Goes on after the recovery code was written down. */
  enter(): void;
  /**
   * Before a call is placed or answered: opens microphone and speaker, and this page's worker takes the session, because this page
   * has them. Rejects with a refusal. To be called on a gesture.
   */
  prepareCall(): Promise<void>;
  /** Forgets a device that can't be used any more. */
  startAnew(): Promise<void>;
}

export const HostContext = createContext<Host | null>(null);
export const StoreContext = createContext<Store | null>(null);

export function useHost(): Host {
  const host = useContext(HostContext);
  if (host === null) throw new Error('no host above');
  return host;
}

export function useStore(): Store {
  const store = useContext(StoreContext);
  if (store === null) throw new Error('nobody is signed in');
  return store;
}
