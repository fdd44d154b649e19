/** Opus by libopus in WebAssembly, where the browser has no codec that serves. Loaded only then: it is 184 KB. */

import type { OpusDecoderHandle, OpusEncoderHandle } from 'libopus-wasm';

import { BITS_PER_BYTE_SECOND, ENCODER_FRAME_SAMPLES, ENCODER_RATE, FRAME_SAMPLES, SAMPLE_RATE, type FrameDecoder, type FrameEncoder, type NamedCodec } from './codec.ts';

/** Loads libopus; rejects where that fails. */
export async function loadWasmCodec(): Promise<NamedCodec> {
  const opus = await import('libopus-wasm');
  await opus.loadLibopus();
  const encoder = (): Promise<OpusEncoderHandle> =>
    opus.createEncoder({
      sampleRate: ENCODER_RATE,
      channels: 1,
      frameSize: ENCODER_FRAME_SAMPLES,
      application: opus.Application.Voip,
      signal: opus.Signal.Voice,
      maxBandwidth: opus.Bandwidth.Wideband,
      complexity: 10,
      vbr: false,
    });
  const decoder = (): Promise<OpusDecoderHandle> => opus.createDecoder({ sampleRate: SAMPLE_RATE, channels: 1 });
  return { name: 'wasm', encoder: () => new Encoder(encoder()), decoder: () => new Decoder(decoder()) };
}

class Encoder implements FrameEncoder {
  readonly #handle: Promise<OpusEncoderHandle>;

  constructor(handle: Promise<OpusEncoderHandle>) {
    this.#handle = handle;
  }

  async encode(samples: Float32Array<ArrayBuffer>, length: number): Promise<Uint8Array | null> {
    try {
      const handle = await this.#handle;
      handle.setBitrate(length * BITS_PER_BYTE_SECOND);
      const packet = handle.encodeFloat(samples, { maxPacketBytes: length });
      return packet.length === length ? packet : null;
    } catch {
      return null;
    }
  }

  close(): void {
    void this.#handle.then((handle) => handle.free(), () => undefined);
  }
}

class Decoder implements FrameDecoder {
  readonly #handle: Promise<OpusDecoderHandle>;
  #begun = false;

  constructor(handle: Promise<OpusDecoderHandle>) {
    this.#handle = handle;
  }

  decode(packet: Uint8Array): Promise<Float32Array | null> {
    this.#begun = true;
    return this.#run((handle) => handle.decodeFloat(packet));
  }

  async conceal(): Promise<Float32Array | null> {
    return this.#begun ? this.#run((handle) => handle.decodePacketLossFloat(FRAME_SAMPLES)) : null;
  }

  close(): void {
    void this.#handle.then((handle) => handle.free(), () => undefined);
  }

  async #run(decode: (handle: OpusDecoderHandle) => Float32Array): Promise<Float32Array | null> {
    try {
      const samples = decode(await this.#handle);
      return samples.length === FRAME_SAMPLES ? samples : null;
    } catch {
      return null;
    }
  }
}
