/**
 * One call over a modelled path in virtual time, as in `crates/voice/examples/impair.rs`: how good codec, repair and playout are, whatever the
 * machine does meanwhile. Calls start cold: speech begins with the first packet.
 */

import { ENCODER_FRAME_SAMPLES, FRAME_SAMPLES, type Codec } from '../codec.ts';
import { Receiver } from '../receiver.ts';
import { Sender } from '../sender.ts';
import { Path, type Condition } from './path.ts';

const FRAME_MS = 20;

/** Time after the last frame for what is still under way, in frames: 600 ms. */
const TAIL = 30;

export interface Simulated {
  /** 48 kHz. */
  played: Float32Array;
  delayMs: number;
  /** Share of all frames. */
  concealed: number;
}

class End {
  readonly sender: Sender;
  readonly receiver: Receiver;
  readonly #path: Path;
  /** What is on its way to this end, in the order of arrival. */
  readonly #underWay: { arrival: number; payload: Uint8Array }[] = [];

  constructor(codec: Codec, path: Path) {
    this.sender = new Sender(codec.encoder());
    this.receiver = new Receiver(codec.decoder());
    this.#path = path;
  }

  async send(to: End, frame: Float32Array<ArrayBuffer>, at: number): Promise<void> {
    const payload = await this.sender.pushFrame(frame, this.receiver.pollReport(at));
    const arrival = this.#path.arrival(at);
    if (arrival !== null && payload !== null) to.#underWay.push({ arrival, payload });
  }

  receive(until: number): void {
    for (let first = this.#underWay[0]; first !== undefined && first.arrival <= until; first = this.#underWay[0]) {
      this.#underWay.shift();
      const report = this.receiver.handlePayload(first.payload, first.arrival);
      if (report !== null) this.sender.handleReport(report);
    }
  }
}

/** `speech` at the encoder's rate. */
export async function simulate(codec: Codec, condition: Condition, seed: number, speech: Float32Array): Promise<Simulated> {
  const [said, heard] = [new End(codec, new Path(condition, seed)), new End(codec, new Path(condition, seed + 1_000))];
  // The two ends' clocks tick at different phases.
  const phase = ((seed * 7_919) % 20_000) / 1_000;
  const frames = Math.floor(speech.length / ENCODER_FRAME_SAMPLES) + TAIL;
  const played = new Float32Array(frames * FRAME_SAMPLES);
  let concealed = 0;
  for (let number = 0; number < frames; number += 1) {
    const at = number * FRAME_MS;
    const frame = new Float32Array(ENCODER_FRAME_SAMPLES);
    frame.set(speech.subarray(number * ENCODER_FRAME_SAMPLES, (number + 1) * ENCODER_FRAME_SAMPLES));
    await Promise.all([said.send(heard, frame, at), heard.send(said, new Float32Array(ENCODER_FRAME_SAMPLES), at)]);
    heard.receive(at + phase);
    said.receive(at + phase);
    const [{ samples, origin }] = await Promise.all([heard.receiver.pullFrame(at + phase), said.receiver.pullFrame(at + phase)]);
    if (origin === 'concealed') concealed += 1;
    played.set(samples, number * FRAME_SAMPLES);
  }
  const { delayMeanMs } = heard.receiver.statistics();
  for (const end of [said, heard]) end.receiver.close();
  return { played, delayMs: delayMeanMs, concealed: concealed / frames };
}
