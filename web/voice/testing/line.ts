/** A talker, a listener and the packets between them, in virtual time; for tests. */

import { ENCODER_FRAME_SAMPLES } from '../codec.ts';
import { PAYLOAD_BYTES } from '../payload.ts';
import { Receiver, type Frame, type Origin } from '../receiver.ts';
import { Sender } from '../sender.ts';
import { FakeDecoder, FakeEncoder } from './fake-codec.ts';

export const FRAME_MS = 20;

export class Line {
  readonly encoder = new FakeEncoder();
  readonly decoder = new FakeDecoder();
  readonly sender = new Sender(this.encoder);
  receiver = new Receiver(this.decoder);
  sent = 0;
  pulled = 0;
  /** The sender's frame in ms, stretched by clock drift. */
  senderFrameMs = FRAME_MS;
  #inFlight: { arrival: number; payload: Uint8Array }[] = [];

  /** Runs `frames` frames; `path` says how many ms packet n is under way, or `null` for lost. */
  async run(frames: number, path: (packet: number) => number | null): Promise<Frame[]> {
    const played: Frame[] = [];
    for (let frame = 0; frame < frames; frame += 1) {
      const at = FRAME_MS * this.pulled;
      while (this.senderFrameMs * this.sent <= at) await this.#send(path);
      this.#inFlight.sort((a, b) => a.arrival - b.arrival);
      while ((this.#inFlight[0]?.arrival ?? Number.POSITIVE_INFINITY) <= at) {
        const first = this.#inFlight.shift();
        if (first !== undefined) this.receiver.handlePayload(first.payload, first.arrival);
      }
      played.push(await this.receiver.pullFrame(at));
      this.pulled += 1;
    }
    return played;
  }

  /** What the receiver reports now reaches the sender at once. */
  report(): void {
    const report = this.receiver.pollReport(FRAME_MS * this.pulled);
    if (report !== null) this.sender.handleReport(report);
  }

  async #send(path: (packet: number) => number | null): Promise<void> {
    const payload = await this.sender.pushFrame(voice(this.sent), null);
    const ms = path(this.sent);
    if (payload?.length !== PAYLOAD_BYTES) throw new Error('a payload of another length');
    if (ms !== null) this.#inFlight.push({ arrival: this.senderFrameMs * this.sent + ms, payload });
    this.sent += 1;
  }

  get delayMs(): number {
    return this.receiver.statistics().delayMs;
  }
}

/** Half a second of sound, 300 ms of silence, and so on. */
export function voice(frame: number): Float32Array<ArrayBuffer> {
  return new Float32Array(ENCODER_FRAME_SAMPLES).fill(frame % 40 < 25 ? 0.1 : 0);
}

export function count(frames: readonly Frame[], ...origins: Origin[]): number {
  return frames.filter(({ origin }) => origins.includes(origin)).length;
}

/** Frames that were played as they were sent, by whatever way they came. */
export function whole(frames: readonly Frame[]): number {
  return count(frames, 'decoded', 'repaired');
}
