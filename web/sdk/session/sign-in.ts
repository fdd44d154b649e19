/** Sign-in on a new link: challenge, proof, welcome (docs/protocol.md, section 5). */

import { create } from '@bufbuild/protobuf';

import type { Clock } from '../link/clock.ts';
import type { LinkEnd } from '../link/link.ts';
import { signingKeys } from '../account/network.ts';
import { DocumentError, verifySupernode, type RosterEntry } from '../proto/document.ts';
import { idOf } from '../proto/ids.ts';
import { CLOCK_SKEW_MAX_MS, PROTOCOL_VERSION } from '../proto/limits.ts';
import { ClientMessageSchema, ErrorCode, type Challenge, type SupernodeMessage, type Urgency, type Welcome } from '../proto/messages.ts';
import { NONCE_LENGTH, proofInput } from '../proto/proof.ts';
import type { Identity } from '../vault/identity.ts';
import type { Wire } from './wire.ts';

export type SignInFault =
  /** This program speaks no version that is served. */
  | 'version'
  /** The two clocks differ by more than documents allow. */
  | 'clock'
  /** It can't show that it is the supernode that was dialled. */
  | 'not-certified'
  /** It says no; see the code. */
  | 'refused'
  | 'ended'
  | 'no-welcome'
  | 'out-of-order';

/** This link becomes no session. */
export class SignInError extends Error {
  override readonly name = 'SignInError';
  constructor(
    readonly fault: SignInFault,
    text: string,
    readonly code: ErrorCode | null = null,
    readonly retryAfterMs = 0,
    /** Where a supernode that is full sends us. */
    readonly elsewhere: string | null = null,
  ) {
    super(text);
  }

  /** Whether trying again with the same credential, program and clock can't help. */
  get isFinal(): boolean {
    return this.fault === 'version' || this.fault === 'clock' || (this.code !== null && FINAL.has(this.code));
  }
}

const FINAL: ReadonlySet<ErrorCode> = new Set([
  ErrorCode.CREDENTIAL_FORGED,
  ErrorCode.CREDENTIAL_EXPIRED,
  ErrorCode.CREDENTIAL_REVOKED,
  ErrorCode.WRONG_NETWORK,
  ErrorCode.PROOF_INVALID,
  ErrorCode.VERSION_TOO_OLD,
]);

/** What all sign-ins of one attempt have in common. */
export interface Proving {
  identity: Identity;
  urgency: Urgency;
  /** Program and release, at most 64 bytes. */
  agent: string;
  clock: Clock;
}

/** A link that is a session. */
export interface Session {
  wire: Wire;
  entry: RosterEntry;
  welcome: Welcome;
  /** What it rests on. */
  credential: string;
  /** The supernode's clock minus ours. */
  skewMs: number;
}

/** The request number of `Prove`, the first of every link. */
export const PROVE = 1n;

/** Signs in on a wire, within the time given. Whatever comes of it but a session, the wire is closed. Rejects with {@link SignInError}. */
export function signIn(wire: Wire, entry: RosterEntry, proving: Proving, withinMs: number, signal: AbortSignal): Promise<Session> {
  return new Promise((resolve, reject) => {
    const steps = new Steps(wire, entry, proving);
    const end = (settle: () => void): void => {
      cancel();
      signal.removeEventListener('abort', aborted);
      settle();
    };
    const fail = (error: SignInError): void => {
      end(() => reject(error));
      wire.close();
    };
    const cancel = proving.clock.after(withinMs, () => fail(new SignInError('no-welcome', 'the supernode does not answer the proof')));
    const aborted = (): void => fail(new SignInError('ended', 'given up'));
    if (signal.aborted) return aborted();
    signal.addEventListener('abort', aborted);
    wire.listen({
      handleMessage: (message) => {
        try {
          const session = steps.handle(message, fail);
          if (session !== null) end(() => resolve(session));
        } catch (error) {
          if (!(error instanceof SignInError)) throw error;
          fail(error);
        }
      },
      handleDatagram: () => {},
      handleHeard: () => {},
      handleEnd: (ended) => fail(steps.ended(ended)),
    });
  });
}

class Steps {
  #skewMs = 0;
  #challenged = false;
  #provenAt: number | null = null;
  #elsewhere: string | null = null;

  constructor(
    readonly wire: Wire,
    readonly entry: RosterEntry,
    readonly proving: Proving,
  ) {}

  handle({ inReplyTo, body }: SupernodeMessage, fail: (error: SignInError) => void): Session | null {
    switch (body.case) {
      case 'challenge':
        if (this.#challenged) break;
        this.#challenged = true;
        this.#check(body.value);
        // Signing takes a turn or more, and can't fail but for a key that is of no use.
        this.#prove(body.value.nonce).catch(() => fail(new SignInError('out-of-order', 'this device could not sign')));
        return null;
      case 'welcome':
        if (this.#provenAt === null || inReplyTo !== PROVE) break;
        return this.#welcomed(body.value, this.#provenAt);
      case 'goAway':
        // It is full, and says who is not; the refusal follows.
        this.#elsewhere = idOf(body.value.supernode);
        return null;
      case 'error': {
        const { code, text, retryAfterMs } = body.value;
        throw new SignInError('refused', text, code, retryAfterMs, this.#elsewhere);
      }
      default:
    }
    throw new SignInError('out-of-order', 'the supernode does not keep to the protocol');
  }

  ended({ code, text }: LinkEnd): SignInError {
    return code === null ? new SignInError('ended', text || 'the link ended') : new SignInError('refused', text, code, 0, this.#elsewhere);
  }

  #check({ minimumVersion, supernode, timeMs, nonce, certificate }: Challenge): void {
    const { identity, clock } = this.proving;
    const nowMs = clock.now();
    if (minimumVersion > PROTOCOL_VERSION) throw new SignInError('version', 'this program is too old for the network: update it');
    if (idOf(supernode) !== this.entry.supernode) throw new SignInError('not-certified', 'another supernode answered than the one dialled');
    this.#skewMs = Number(timeMs) - nowMs;
    if (Math.abs(this.#skewMs) > CLOCK_SKEW_MAX_MS) {
      const side = this.#skewMs > 0 ? 'behind' : 'ahead of';
      throw new SignInError('clock', `this device's clock is ${Math.round(Math.abs(this.#skewMs) / 1_000)} s ${side} the network's: set it right`);
    }
    // After the clocks: with a wrong one every certificate looks expired.
    try {
      const { network } = identity;
      verifySupernode(certificate, this.entry, { keys: signingKeys(network, nowMs), network: network.network, nowMs });
    } catch (error) {
      if (!(error instanceof DocumentError)) throw error;
      throw new SignInError('not-certified', `the supernode can't show that it is one: ${error.fault}`);
    }
    if (nonce.length !== NONCE_LENGTH) throw new SignInError('out-of-order', 'the challenge has no nonce');
  }

  async #prove(nonce: Uint8Array): Promise<void> {
    const { identity, urgency, agent, clock } = this.proving;
    const { credential, deviceKey, network } = identity;
    const signature = await deviceKey.sign(proofInput(network.network, this.entry.supernode, nonce));
    const value = { credential, signature, version: PROTOCOL_VERSION, agent, urgency };
    this.#provenAt = clock.elapsed();
    this.wire.send(create(ClientMessageSchema, { request: PROVE, body: { case: 'prove', value } }));
  }

  #welcomed(welcome: Welcome, provenAt: number): Session {
    const { wire, entry, proving } = this;
    wire.becomeSession();
    // With a signature to check on the other side, but at once there.
    wire.measured(proving.clock.elapsed() - provenAt);
    return { wire, entry, welcome, credential: proving.identity.credential, skewMs: this.#skewMs };
  }
}
