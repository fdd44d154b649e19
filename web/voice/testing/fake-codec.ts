/** A codec for tests: a packet says how loud its frame was, and decodes to a buzz as loud. Synchronous but for its promises. */

import { FRAME_SAMPLES, type Codec, type FrameDecoder, type FrameEncoder } from '../codec.ts';
import { rootMeanSquare } from '../level.ts';

/** SILK, wideband, 20 ms, mono, one frame. */
const TOC = 0x48;

/** Samples of one period of 150 Hz at 48 kHz. */
const PERIOD = 320;

export class FakeEncoder implements FrameEncoder {
  /** All packets made. */
  readonly packets: Uint8Array[] = [];
  closed = false;

  encode(samples: Float32Array<ArrayBuffer>, length: number): Promise<Uint8Array> {
    const number = this.packets.length;
    const packet = Uint8Array.from({ length }, (_, at) => number * 31 + at * at * 7 + at);
    packet.set([TOC, Math.min(Math.round(rootMeanSquare(samples) * 255), 255)]);
    this.packets.push(packet);
    return Promise.resolve(packet);
  }

  close(): void {
    this.closed = true;
  }
}

export class FakeDecoder implements FrameDecoder {
  /** All packets decoded; empty where a frame was concealed. */
  readonly packets: Uint8Array[] = [];
  closed = false;

  decode(packet: Uint8Array): Promise<Float32Array> {
    this.packets.push(packet.slice());
    return Promise.resolve(this.#buzz((packet[1] ?? 0) / 255));
  }

  conceal(): Promise<Float32Array> {
    this.packets.push(new Uint8Array());
    return Promise.resolve(this.#buzz(0.1));
  }

  close(): void {
    this.closed = true;
  }

  #buzz(loudness: number): Float32Array {
    const start = this.packets.length * FRAME_SAMPLES;
    return Float32Array.from({ length: FRAME_SAMPLES }, (_, at) => (((start + at) % PERIOD) / PERIOD - 0.5) * loudness * Math.sqrt(12));
  }
}

export const fakeCodec: Codec = { encoder: () => new FakeEncoder(), decoder: () => new FakeDecoder() };
