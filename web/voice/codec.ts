/**
 * The seam to Opus: frames of 20 ms in, packets of an exact length out, and back. Codecs of browsers are asynchronous, so all are; each
 * answers in the order in which it was asked.
 */

/** Samples a second, everywhere but before an encoder. */
export const SAMPLE_RATE = 48_000;

/** Samples of one frame at {@link SAMPLE_RATE}. */
export const FRAME_SAMPLES = 960;

/** Samples a second that an encoder takes: with nothing above 8 kHz to code, every libopus settles on SILK in wideband. */
export const ENCODER_RATE = 16_000;

/** Samples of one frame at {@link ENCODER_RATE}. */
export const ENCODER_FRAME_SAMPLES = 320;

/** Bits a second that one byte in every frame of 20 ms makes. */
export const BITS_PER_BYTE_SECOND = 8 * 50;

/** Encodes one stream of frames. */
export interface FrameEncoder {
  /** One frame at {@link ENCODER_RATE} into exactly `length` bytes; `null` where it failed. Takes `samples` for good. */
  encode(samples: Float32Array<ArrayBuffer>, length: number): Promise<Uint8Array | null>;
  close(): void;
}

/** Decodes one stream of packets to frames at {@link SAMPLE_RATE}. */
export interface FrameDecoder {
  /** A packet that `is20MsPacket`; `null` where it failed: the next one may do better. */
  decode(packet: Uint8Array): Promise<Float32Array | null>;
  /** Invents the frame that is due from what came before; `null` where nothing came yet. */
  conceal(): Promise<Float32Array | null>;
  close(): void;
}

/** Makes encoders and decoders. */
export interface Codec {
  encoder(): FrameEncoder;
  decoder(): FrameDecoder;
}

/** One implementation of Opus. */
export interface NamedCodec extends Codec {
  readonly name: 'webcodecs' | 'wasm';
}
