/** Which Opus serves here: the browser's own where it passes a probe, else libopus in WebAssembly. */

import { ENCODER_FRAME_SAMPLES, ENCODER_RATE, type Codec, type FrameDecoder, type FrameEncoder, type NamedCodec } from './codec.ts';
import { rootMeanSquare } from './level.ts';
import { is20MsPacket, isSilkWideband } from './opus-packet.ts';
import { primaryLength } from './sender.ts';
import { loadWasmCodec } from './wasm-codec.ts';
import { hasWebCodecs, webCodecs } from './webcodecs.ts';

/** `auto` prefers the browser's own. */
export type CodecChoice = 'auto' | 'wasm';

/** Rejects where there is none at all. */
export async function openCodec(choice: CodecChoice): Promise<NamedCodec> {
  if (choice === 'auto' && hasWebCodecs() && (await serves(webCodecs))) return webCodecs;
  return loadWasmCodec();
}

/** A codec that is still to be found out: its first frames wait for it, and fail where there is none. */
export function deferred(codec: Promise<Codec>): Codec {
  return {
    encoder: () => new DeferredEncoder(codec.then((found) => found.encoder())),
    decoder: () => new DeferredDecoder(codec.then((found) => found.decoder())),
  };
}

/** Frames of each length in the probe, after which an encoder has found its bandwidth. */
const PROBE_FRAMES = 8;

/**
 * Whether a codec does all that is undocumented and yet needed: packets of the exact length, of SILK in wideband, one for each frame and
 * without delay; a change of length in the course; concealment that is heard.
 */
export async function serves(codec: Codec): Promise<boolean> {
  const [encoder, decoder] = [codec.encoder(), codec.decoder()];
  try {
    let loudness = 0;
    for (const [round, length] of [primaryLength(2), primaryLength(1)].entries()) {
      for (let frame = 0; frame < PROBE_FRAMES; frame += 1) {
        const packet = await encoder.encode(buzz(round * PROBE_FRAMES + frame), length);
        if (packet === null || !is20MsPacket(packet) || !isSilkWideband(packet)) return false;
        const samples = await decoder.decode(packet);
        if (samples === null) return false;
        loudness = rootMeanSquare(samples);
      }
    }
    const invented = await decoder.conceal();
    return loudness > 0.01 && invented !== null && rootMeanSquare(invented) > loudness / 10;
  } catch {
    return false;
  } finally {
    encoder.close();
    decoder.close();
  }
}

/** A voice's like, 100 Hz with all its harmonics. */
function buzz(frame: number): Float32Array<ArrayBuffer> {
  const period = ENCODER_RATE / 100;
  return Float32Array.from({ length: ENCODER_FRAME_SAMPLES }, (_, at) => ((((frame * ENCODER_FRAME_SAMPLES + at) % period) / period) - 0.5) * 0.3);
}

class DeferredEncoder implements FrameEncoder {
  readonly #encoder: Promise<FrameEncoder>;

  constructor(encoder: Promise<FrameEncoder>) {
    this.#encoder = encoder;
    this.#encoder.catch(() => undefined);
  }

  async encode(samples: Float32Array<ArrayBuffer>, length: number): Promise<Uint8Array | null> {
    try {
      return await (await this.#encoder).encode(samples, length);
    } catch {
      return null;
    }
  }

  close(): void {
    void this.#encoder.then((encoder) => encoder.close(), () => undefined);
  }
}

class DeferredDecoder implements FrameDecoder {
  readonly #decoder: Promise<FrameDecoder>;

  constructor(decoder: Promise<FrameDecoder>) {
    this.#decoder = decoder;
    this.#decoder.catch(() => undefined);
  }

  async decode(packet: Uint8Array): Promise<Float32Array | null> {
    try {
      return await (await this.#decoder).decode(packet);
    } catch {
      return null;
    }
  }

  async conceal(): Promise<Float32Array | null> {
    try {
      return await (await this.#decoder).conceal();
    } catch {
      return null;
    }
  }

  close(): void {
    void this.#decoder.then((decoder) => decoder.close(), () => undefined);
  }
}
