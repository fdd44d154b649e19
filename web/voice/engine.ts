/**
 * The sound of calls, in a dedicated worker: frames come from a microphone's port and go out as datagrams, datagrams come in and go to a
 * speaker's port. Without a microphone silence is said, at the pace of voice.
 *
 * Invariant: a flow belongs to at most one leg, and what belongs to none is kept for a moment only, because voice may overtake the message
 * that names its flow.
 */

import { decodeFlow } from '../sdk/proto/flow.ts';
import { DATAGRAM_MAX } from '../sdk/proto/limits.ts';
import type { CallId } from '../sdk/client.ts';
import type { OwnLeg, PeerLeg, VoiceEngine, VoiceQuality } from '../sdk/voice.ts';
import { CallVoice, type Send } from './call.ts';
import { FRAME_SAMPLES, type Codec } from './codec.ts';
import { deferred, openCodec, type CodecChoice } from './codecs.ts';
import { Decimator } from './decimator.ts';
import type { AudioPorts, Captured, Wanted } from './ports.ts';

const FRAME_MS = 20;

/**
 * A microphone that gave nothing for so long, at so many looks in a row, is taken for none: three frames are beyond what its thread may
 * gather at once, and what waited while this worker stood still comes before the second look.
 */
const CAPTURE_LATE_MS = 60;
const CAPTURE_LATE_LOOKS = 2;

/** Frames made up for after a delay; behind by more (a machine that slept), time jumps. */
const BEHIND_MAX = 10;

/** Packets that nobody has claimed, all together: 1.3 s of one leg. */
const UNCLAIMED_MAX = 64;

/** Frames that a speaker may wait for at a time. */
const PULLS_MAX = 4;

/** How the engine is set up; all may be left out. */
export interface EngineOptions {
  /** Which Opus. */
  codec?: CodecChoice | Codec;
  /** Milliseconds since a moment that never changes. */
  now?: () => number;
}

interface Unclaimed {
  flow: bigint;
  datagram: Uint8Array<ArrayBuffer>;
  at: number;
}

export class WorkerVoiceEngine implements VoiceEngine {
  readonly #now: () => number;
  readonly #choice: CodecChoice | Codec;
  #codec: Codec | null = null;
  readonly #calls = new Map<CallId, CallVoice>();
  /** Oldest first. */
  #unclaimed: Unclaimed[] = [];
  #decimator = new Decimator();
  #ports: AudioPorts | null = null;
  /** The end of what was said, by the clock. */
  #saidUntil = 0;
  #capturedAt = Number.NEGATIVE_INFINITY;
  #lateLooks = 0;
  #ticks: ReturnType<typeof setInterval> | undefined;
  #pulls = 0;
  #pulled: Promise<void> = Promise.resolve();

  constructor({ codec = 'auto', now = () => performance.now() }: EngineOptions = {}) {
    this.#choice = codec;
    this.#now = now;
  }

  /** Finds out which Opus serves, ahead of {@link start}: it takes some 100 ms, well spent while a call rings. */
  prepare(): void {
    this.#opus();
  }

  start(call: CallId, own: OwnLeg, peers: PeerLeg[], send: Send): void {
    this.#calls.get(call)?.stop();
    const voice = new CallVoice(this.#opus(), own, send, this.#now());
    this.#calls.set(call, voice);
    for (const leg of peers) voice.setPeerLeg(leg);
    this.#claim();
    if (this.#ticks !== undefined) return;
    this.#saidUntil = this.#now();
    this.#ticks = setInterval(() => this.#tick(), FRAME_MS);
  }

  handleOwnLeg(call: CallId, own: OwnLeg): void {
    this.#calls.get(call)?.setOwnLeg(own);
  }

  handlePeerLeg(call: CallId, leg: PeerLeg): void {
    this.#calls.get(call)?.setPeerLeg(leg);
    this.#claim();
  }

  handleDatagram(bytes: Uint8Array): void {
    const flow = decodeFlow(bytes)?.flow;
    if (flow === undefined || bytes.length > DATAGRAM_MAX || this.#calls.size === 0) return;
    // A copy of its own: whoever hands it over may use its buffer again, and it is opened later.
    const packet = { flow, datagram: Uint8Array.from(bytes), at: this.#now() };
    if (this.#deliver(packet)) return;
    if (this.#unclaimed.length >= UNCLAIMED_MAX) this.#unclaimed.shift();
    this.#unclaimed.push(packet);
  }

  setMuted(call: CallId, muted: boolean): void {
    const voice = this.#calls.get(call);
    if (voice !== undefined) voice.muted = muted;
  }

  quality(call: CallId): VoiceQuality | null {
    return this.#calls.get(call)?.quality() ?? null;
  }

  /** 0 for a call that is not there. */
  silentMs(call: CallId): number {
    return this.#calls.get(call)?.silentMs(this.#now()) ?? 0;
  }

  stop(call: CallId): void {
    this.#calls.get(call)?.stop();
    this.#calls.delete(call);
    if (this.#calls.size > 0) return;
    clearInterval(this.#ticks);
    this.#ticks = undefined;
    this.#unclaimed = [];
  }

  /** From now on this is the microphone and the speaker of all calls; `null`: none. */
  attach(ports: AudioPorts | null): void {
    this.#ports?.capture.close();
    this.#ports?.playback.close();
    this.#ports = ports;
    this.#decimator = new Decimator();
    if (ports === null) return;
    ports.capture.onmessage = ({ data }: MessageEvent<Captured>) => this.#handleCaptured(data, ports.capture);
    ports.playback.onmessage = ({ data }: MessageEvent<Wanted>) => this.#handleWanted(data, ports.playback);
  }

  #opus(): Codec {
    if (this.#codec !== null) return this.#codec;
    if (typeof this.#choice !== 'string') return (this.#codec = this.#choice);
    const opening = openCodec(this.#choice);
    // What could not be loaded may be there at the next call.
    opening.catch(() => (this.#codec = null));
    return (this.#codec = deferred(opening));
  }

  #deliver({ flow, datagram, at }: Unclaimed): boolean {
    for (const voice of this.#calls.values()) {
      if (!voice.hasFlow(flow)) continue;
      void voice.handleDatagram(datagram, flow, at);
      return true;
    }
    return false;
  }

  #claim(): void {
    this.#unclaimed = this.#unclaimed.filter((packet) => !this.#deliver(packet));
  }

  #handleCaptured({ block, lost }: Captured, port: MessagePort): void {
    if (block.length !== FRAME_SAMPLES) return;
    const frame = this.#decimator.push(block);
    port.postMessage(block, [block.buffer]);
    const now = this.#now();
    this.#capturedAt = now;
    this.#lateLooks = 0;
    this.#saidUntil = now;
    for (const voice of this.#calls.values()) voice.say(frame, now, lost);
  }

  /** Says silence where no microphone speaks, so that time goes on, and reports with it. */
  #tick(): void {
    const now = this.#now();
    if (now - this.#capturedAt < CAPTURE_LATE_MS) return;
    this.#lateLooks += 1;
    if (this.#lateLooks < CAPTURE_LATE_LOOKS) return;
    const behind = Math.floor((now - this.#saidUntil) / FRAME_MS);
    // After a long sleep one frame stands for all: time has gone on, and nothing is made up for.
    const [frames, lost] = behind > BEHIND_MAX ? [1, behind - 1] : [behind, 0];
    for (const voice of this.#calls.values()) for (let frame = 0; frame < frames; frame += 1) voice.say(null, now, lost);
    this.#saidUntil += behind * FRAME_MS;
  }

  #handleWanted({ spare, aheadMs }: Wanted, port: MessagePort): void {
    if (this.#pulls >= PULLS_MAX) return;
    this.#pulls += 1;
    const at = this.#now();
    const mixed = spare?.length === FRAME_SAMPLES ? spare.fill(0) : new Float32Array(FRAME_SAMPLES);
    // One after the other: a receiver gives its frames in order.
    this.#pulled = this.#pulled.then(async () => {
      await Promise.all([...this.#calls.values()].map((voice) => voice.pull(mixed, at, aheadMs)));
      this.#pulls -= 1;
      port.postMessage(mixed, [mixed.buffer]);
    });
  }
}
