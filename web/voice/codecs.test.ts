/** What is asked of a codec before it is trusted, and libopus in WebAssembly, which must pass. */

import { expect, test } from 'vitest';

import { ENCODER_FRAME_SAMPLES, FRAME_SAMPLES, type Codec, type FrameDecoder, type FrameEncoder } from './codec.ts';
import { deferred, openCodec, serves } from './codecs.ts';
import { rootMeanSquare } from './level.ts';
import { isSilkWideband } from './opus-packet.ts';
import { FakeDecoder, FakeEncoder, fakeCodec } from './testing/fake-codec.ts';

const tone = (frame: number): Float32Array<ArrayBuffer> =>
  Float32Array.from({ length: ENCODER_FRAME_SAMPLES }, (_, at) => 0.2 * Math.sin((frame * ENCODER_FRAME_SAMPLES + at) / 8));

test('libopus in WebAssembly serves, and is what there is without WebCodecs', async () => {
  const codec = await openCodec('auto');
  expect(codec.name).toBe('wasm');
  expect(await serves(codec)).toBe(true);
});

test('its packets have the length asked for, also where that changes', async () => {
  const encoder = (await openCodec('wasm')).encoder();
  for (const [frame, length] of [47, 47, 63, 38, 63].entries()) {
    const packet = await encoder.encode(tone(frame), length);
    expect(packet?.length).toBe(length);
    expect(packet !== null && isSilkWideband(packet)).toBe(true);
  }
  encoder.close();
});

test('its decoder survives what is no packet, and invents nothing before the first', async () => {
  const codec = await openCodec('wasm');
  const [encoder, decoder] = [codec.encoder(), codec.decoder()];
  expect(await decoder.conceal()).toBeNull();
  expect(await decoder.decode(Uint8Array.of(0xff, 0xff, 3))).toBeNull();
  let samples: Float32Array | null = null;
  for (let frame = 0; frame < 5; frame += 1) samples = await decoder.decode((await encoder.encode(tone(frame), 63)) ?? new Uint8Array());
  expect(samples?.length).toBe(FRAME_SAMPLES);
  expect(rootMeanSquare(samples ?? new Float32Array())).toBeGreaterThan(0.1);
});

const encoderThat = (encode: FrameEncoder['encode']): Codec => ({ ...fakeCodec, encoder: () => ({ encode, close: () => undefined }) });
const decoderThat = (decoder: Partial<FrameDecoder>): Codec => ({ ...fakeCodec, decoder: () => Object.assign(new FakeDecoder(), decoder) });

test.each<[string, Codec]>([
  ['fails', encoderThat(() => Promise.resolve(null))],
  ['throws', encoderThat(() => Promise.reject(new Error('closed')))],
  ['makes CELT', encoderThat((_, length) => Promise.resolve(new Uint8Array(length).fill(0x98, 0, 1)))],
  ['does not decode', decoderThat({ decode: () => Promise.resolve(null) })],
  ['conceals with silence', decoderThat({ conceal: () => Promise.resolve(new Float32Array(FRAME_SAMPLES)) })],
])('a codec that %s does not serve', async (_, codec) => {
  expect(await serves(codec)).toBe(false);
});

test('a codec that does what it must serves', async () => {
  expect(await serves(fakeCodec)).toBe(true);
});

test('a codec that is not there yet is waited for, and one that never comes fails frame by frame', async () => {
  let found: (codec: Codec) => void = () => undefined;
  const waiting = deferred(new Promise<Codec>((resolve) => (found = resolve))).encoder().encode(tone(0), 47);
  found({ encoder: () => new FakeEncoder(), decoder: () => new FakeDecoder() });
  expect((await waiting)?.length).toBe(47);
  const never = deferred(Promise.reject(new Error('not loaded')));
  expect(await never.encoder().encode(tone(0), 47)).toBeNull();
  expect(await never.decoder().decode(Uint8Array.of(0x48, 1))).toBeNull();
  expect(await never.decoder().conceal()).toBeNull();
});
