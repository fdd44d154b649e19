/**
 * The voice of one call: what this device says goes out sealed, what others say comes in, is opened, and is mixed.
 *
 * It outlives links and legs: time goes on evenly for both ends, whether or not what is said can be sent. Invariant: nothing waits
 * without bound; what comes too fast is lost, as voice is.
 */

import type { OwnLeg, PeerLeg, VoiceQuality } from '../sdk/voice.ts';
import { ENCODER_FRAME_SAMPLES, FRAME_SAMPLES, type Codec } from './codec.ts';
import { rootMeanSquare } from './level.ts';
import { Meter } from './meter.ts';
import type { Report } from './payload.ts';
import { Receiver } from './receiver.ts';
import { Opener, Sealer } from './seal.ts';
import { Sender } from './sender.ts';

/** Other legs of a call; the protocol allows 16 in all. */
const PEERS_MAX = 15;

/** Frames that wait for the encoder: 200 ms, half of the burst that a relay takes. The oldest is lost first. */
const UNSAID_MAX = 10;

/** Packets being opened: 1.3 s of one leg. */
const OPENING_MAX = 64;

/** Weight of one frame in the share of concealed ones: the past fades over 250, 5 s. */
const CONCEALED_SHARE = 1 / 250;

interface Peer {
  device: string;
  opener: Opener;
  receiver: Receiver;
  /** Resolves when all that came before is taken in. */
  turn: Promise<void>;
}

/** Sends a datagram by whatever link there is. */
export type Send = (datagram: Uint8Array) => void;

export class CallVoice {
  muted = false;
  readonly #codec: Codec;
  readonly #sender: Sender;
  readonly #closeEncoder: () => void;
  readonly #send: Send;
  #sealer: Sealer;
  readonly #peers: Peer[] = [];
  /** Frames at the encoder's rate that wait, oldest first, and how many before each are lost. */
  readonly #unsaid: { samples: Float32Array<ArrayBuffer>; lost: number }[] = [];
  #saying = false;
  #stopped = false;
  #opening = 0;
  #heardAt: number;
  #lossOut = 0;
  #concealed = 0;
  #aheadMs = 0;
  readonly #out = new Meter();
  readonly #in = new Meter();

  constructor(codec: Codec, own: OwnLeg, send: Send, now: number) {
    const encoder = codec.encoder();
    this.#codec = codec;
    this.#sender = new Sender(encoder);
    this.#closeEncoder = () => encoder.close();
    this.#send = send;
    this.#sealer = new Sealer(own.key, own.flow);
    this.#heardAt = now;
  }

  setOwnLeg(own: OwnLeg): void {
    this.#sealer = new Sealer(own.key, own.flow);
  }

  /** Takes up a leg. One that returns goes on where it was: its time has not stopped meanwhile. */
  setPeerLeg(leg: PeerLeg): void {
    const opener = new Opener(leg.key, leg.flow);
    const peer = this.#peers.find(({ device }) => device === leg.device);
    if (peer !== undefined) peer.opener = opener;
    else if (this.#peers.length < PEERS_MAX) {
      this.#peers.push({ device: leg.device, opener, receiver: new Receiver(this.#codec.decoder()), turn: Promise.resolve() });
    }
  }

  hasFlow(flow: bigint): boolean {
    return this.#peers.some(({ opener }) => opener.flow === flow);
  }

  /** Takes a datagram that arrived at `at`; resolves when it is taken in, or refused. */
  async handleDatagram(datagram: Uint8Array<ArrayBuffer>, flow: bigint, at: number): Promise<void> {
    const peer = this.#peers.find(({ opener }) => opener.flow === flow);
    if (peer === undefined || this.#opening >= OPENING_MAX) return;
    this.#opening += 1;
    peer.turn = this.#take(peer, peer.turn, peer.opener.open(datagram), at);
    await peer.turn;
    this.#opening -= 1;
  }

  /** WebCrypto answers packets that came together in any order; overtaken by three, one would count as lost. */
  async #take(peer: Peer, turn: Promise<void>, opening: Promise<Uint8Array | null>, at: number): Promise<void> {
    const [payload] = await Promise.all([opening, turn]);
    if (payload === null || this.#stopped) return;
    this.#heardAt = Math.max(this.#heardAt, at);
    const report = peer.receiver.handlePayload(payload, at);
    if (report !== null) this.#handleReport(report);
  }

  #handleReport(report: Report): void {
    this.#lossOut = report.lost / Math.max(report.expected, 1);
    this.#sender.handleReport(report);
  }

  /**
   * Says the next frame, at the encoder's rate, after so many that were lost; `null` is silence. Muted, silence is sent: a stranger can't
   * tell.
   */
  say(frame: Float32Array<ArrayBuffer> | null, now: number, lost = 0): void {
    if (this.#stopped) return;
    const said = this.muted || frame === null ? new Float32Array(ENCODER_FRAME_SAMPLES) : frame.slice();
    this.#out.push(rootMeanSquare(said));
    this.#unsaid.push({ samples: said, lost });
    const [oldest, next] = this.#unsaid;
    if (this.#unsaid.length > UNSAID_MAX && oldest !== undefined && next !== undefined) {
      next.lost += oldest.lost + 1;
      this.#unsaid.shift();
    }
    void this.#sayAll(now);
  }

  async #sayAll(now: number): Promise<void> {
    if (this.#saying) return;
    this.#saying = true;
    for (let frame = this.#unsaid.shift(); frame !== undefined && !this.#stopped; frame = this.#unsaid.shift()) {
      if (frame.lost > 0) this.#sender.skip(frame.lost);
      const payload = await this.#sender.pushFrame(frame.samples, this.#pollReport(now));
      const datagram = payload && (await this.#sealer.seal(payload));
      if (datagram && !this.#stopped) this.#send(datagram);
    }
    this.#saying = false;
  }

  /** The report that is due, of whichever peer. */
  #pollReport(now: number): Report | null {
    for (const { receiver } of this.#peers) {
      const report = receiver.pollReport(now);
      if (report !== null) return report;
    }
    return null;
  }

  /** Adds what all others say at this moment to `mixed`; `aheadMs` of sound will be played before it. */
  async pull(mixed: Float32Array, at: number, aheadMs: number): Promise<void> {
    const frames = await Promise.all(this.#peers.map(({ receiver }) => receiver.pullFrame(at)));
    const sum = new Float32Array(FRAME_SAMPLES);
    for (const { samples, origin } of frames) {
      for (let place = 0; place < FRAME_SAMPLES; place += 1) sum[place] = (sum[place] ?? 0) + (samples[place] ?? 0);
      this.#concealed += ((origin === 'concealed' ? 1 : 0) - this.#concealed) * CONCEALED_SHARE;
    }
    for (let place = 0; place < FRAME_SAMPLES; place += 1) mixed[place] = (mixed[place] ?? 0) + (sum[place] ?? 0);
    this.#in.push(rootMeanSquare(sum));
    this.#aheadMs = aheadMs;
  }

  /** How it sounds; the playout delay is the first peer's, with what waits in the audio thread. */
  quality(): VoiceQuality {
    const statistics = this.#peers[0]?.receiver.statistics();
    return {
      lossOut: this.#lossOut,
      lossIn: statistics?.loss ?? 0,
      concealed: this.#concealed,
      playoutDelayMs: (statistics?.delayMs ?? 0) + this.#aheadMs,
      jitterMs: statistics?.jitterMs ?? 0,
      levelOut: this.#out.level,
      levelIn: this.#in.level,
      muted: this.muted,
    };
  }

  silentMs(now: number): number {
    return now - this.#heardAt;
  }

  stop(): void {
    this.#stopped = true;
    this.#unsaid.length = 0;
    this.#closeEncoder();
    for (const { receiver } of this.#peers) receiver.close();
  }
}
