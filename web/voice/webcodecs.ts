/**
 * Opus by the browser's own codecs (WebCodecs).
 *
 * An encoder's bit rate can't be changed in its course, so a change of length takes a new encoder, which is first given the last frames
 * once more: it then stands where the old one stood, and no sample is lost. Concealment has no call of its own; a packet of one byte, the
 * table of contents of the last one, makes libopus conceal. An empty packet would close the decoder, and so does a malformed one: a
 * new one then takes its place.
 */

import { BITS_PER_BYTE_SECOND, ENCODER_RATE, FRAME_SAMPLES, SAMPLE_RATE, type FrameDecoder, type FrameEncoder, type NamedCodec } from './codec.ts';
import { lostPacket } from './opus-packet.ts';
import { Owed } from './owed.ts';

const FRAME_US = 20_000;

/** Frames that a new encoder is given once more: 100 ms, all that its predictors look back on. */
const PRIMING = 5;

/** Calls between two attempts at a new codec: 200 ms, so that what kills codecs can't keep us busy. */
const RESTART_CALLS = 10;

/** What Chromium and Firefox understand; the standard's text lags behind on the last two. */
type OpusConfig = OpusEncoderConfig & { application: 'voip'; signal: 'voice' };

/** Whether this browser has both codecs at all. */
export function hasWebCodecs(): boolean {
  return typeof AudioEncoder === 'function' && typeof AudioDecoder === 'function' && typeof AudioData === 'function';
}

export const webCodecs: NamedCodec = {
  name: 'webcodecs',
  encoder: () => new Encoder(),
  decoder: () => new Decoder(),
};

/** An encoder of one length, until it fails. */
class Run {
  readonly length: number;
  alive = true;
  readonly #owed = new Owed<Uint8Array>(() => this.close());
  readonly #encoder: AudioEncoder;
  #frames = 0;

  constructor(length: number) {
    this.length = length;
    this.#encoder = new AudioEncoder({ output: (chunk) => this.#owed.settle(bytesOf(chunk)), error: () => this.close() });
    const opus: OpusConfig = {
      format: 'opus',
      frameDuration: FRAME_US,
      application: 'voip',
      signal: 'voice',
      complexity: 10,
      usedtx: false,
      useinbandfec: false,
    };
    this.#encoder.configure({
      codec: 'opus',
      sampleRate: ENCODER_RATE,
      numberOfChannels: 1,
      bitrate: length * BITS_PER_BYTE_SECOND,
      bitrateMode: 'constant',
      opus,
    });
  }

  encode(data: Float32Array<ArrayBuffer>): Promise<Uint8Array | null> {
    const timestamp = this.#frames * FRAME_US;
    this.#frames += 1;
    const frame = new AudioData({ format: 'f32-planar', sampleRate: ENCODER_RATE, numberOfFrames: data.length, numberOfChannels: 1, timestamp, data });
    try {
      this.#encoder.encode(frame);
    } finally {
      frame.close();
    }
    return this.#owed.next();
  }

  close(): void {
    this.alive = false;
    if (this.#encoder.state !== 'closed') this.#encoder.close();
    this.#owed.fail();
  }
}

class Encoder implements FrameEncoder {
  #run: Run | null = null;
  /** The last frames, oldest first, at most {@link PRIMING}. */
  readonly #recent: Float32Array<ArrayBuffer>[] = [];
  #restartIn = 0;

  async encode(samples: Float32Array<ArrayBuffer>, length: number): Promise<Uint8Array | null> {
    try {
      const packet = await this.#running(length)?.encode(samples);
      return packet?.length === length ? packet : null;
    } catch {
      return null;
    } finally {
      this.#recent.push(samples);
      if (this.#recent.length > PRIMING) this.#recent.shift();
    }
  }

  close(): void {
    this.#run?.close();
    this.#restartIn = Number.POSITIVE_INFINITY;
  }

  #running(length: number): Run | null {
    if (this.#run?.alive === true && this.#run.length === length) return this.#run;
    if (this.#restartIn > 0) {
      this.#restartIn -= 1;
      return null;
    }
    if (this.#run?.alive === false) this.#restartIn = RESTART_CALLS;
    this.#run?.close();
    this.#run = new Run(length);
    for (const frame of this.#recent) void this.#run.encode(frame);
    return this.#run;
  }
}

class Decoder implements FrameDecoder {
  #decoder: AudioDecoder | null = null;
  #owed = new Owed<Float32Array>(() => this.#end());
  #packets = 0;
  #toc: number | null = null;
  #restartIn = 0;

  async decode(packet: Uint8Array): Promise<Float32Array | null> {
    this.#toc = packet[0] ?? null;
    return this.#run(packet);
  }

  async conceal(): Promise<Float32Array | null> {
    return this.#toc === null ? null : this.#run(lostPacket(this.#toc));
  }

  close(): void {
    this.#end();
    this.#restartIn = Number.POSITIVE_INFINITY;
  }

  async #run(packet: Uint8Array): Promise<Float32Array | null> {
    const decoder = this.#running();
    if (decoder === null || packet.length === 0) return null;
    const timestamp = this.#packets * FRAME_US;
    this.#packets += 1;
    try {
      decoder.decode(new EncodedAudioChunk({ type: 'key', timestamp, data: packet }));
      return await this.#owed.next();
    } catch {
      return null;
    }
  }

  #running(): AudioDecoder | null {
    if (this.#decoder?.state === 'configured') return this.#decoder;
    if (this.#restartIn > 0) {
      this.#restartIn -= 1;
      return null;
    }
    const owed = new Owed<Float32Array>(() => this.#end());
    this.#owed = owed;
    this.#decoder = new AudioDecoder({ output: (data) => owed.settle(samplesOf(data)), error: () => this.#end() });
    this.#decoder.configure({ codec: 'opus', sampleRate: SAMPLE_RATE, numberOfChannels: 1 });
    return this.#decoder;
  }

  /** What it is given now is lost, and the next one begins from nothing. */
  #end(): void {
    if (this.#decoder !== null && this.#decoder.state !== 'closed') this.#decoder.close();
    this.#decoder = null;
    this.#restartIn = RESTART_CALLS;
    this.#owed.fail();
  }
}

function bytesOf(chunk: EncodedAudioChunk): Uint8Array {
  const bytes = new Uint8Array(chunk.byteLength);
  chunk.copyTo(bytes);
  return bytes;
}

/** `null` where it is no frame of 20 ms at our rate. */
function samplesOf(data: AudioData): Float32Array | null {
  const fits = data.numberOfFrames === FRAME_SAMPLES && data.sampleRate === SAMPLE_RATE;
  const samples = new Float32Array(FRAME_SAMPLES);
  if (fits) data.copyTo(samples, { planeIndex: 0, format: 'f32-planar' });
  data.close();
  return fits ? samples : null;
}
