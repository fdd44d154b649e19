/** How a browser's codecs are handled, against stand-ins that behave as Chromium's do. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { ENCODER_FRAME_SAMPLES, FRAME_SAMPLES } from './codec.ts';
import { webCodecs } from './webcodecs.ts';

const TOC = 0x48;

/** Stands for both codecs: each input is answered on the next turn, unless it is held back. */
abstract class Fake<Output> {
  static made: Fake<unknown>[] = [];
  static silent = false;
  state: 'unconfigured' | 'configured' | 'closed' = 'unconfigured';
  config: { bitrate?: number; sampleRate?: number } = {};
  readonly inputs: unknown[] = [];
  readonly init: { output: (output: Output) => void; error: (error: unknown) => void };

  constructor(init: { output: (output: Output) => void; error: (error: unknown) => void }) {
    this.init = init;
    Fake.made.push(this as Fake<unknown>);
  }

  configure(config: { bitrate?: number; sampleRate?: number }): void {
    this.config = config;
    this.state = 'configured';
  }

  close(): void {
    this.state = 'closed';
  }

  answer(input: unknown, output: Output): void {
    this.inputs.push(input);
    if (!Fake.silent) queueMicrotask(() => this.state === 'configured' && this.init.output(output));
  }

  die(): void {
    this.state = 'closed';
    this.init.error(new Error('EncodingError'));
  }
}

class FakeAudioEncoder extends Fake<unknown> {
  encode({ init }: { init: { data: Float32Array } }): void {
    const bytes = new Uint8Array((this.config.bitrate ?? 0) / 400).fill(TOC, 0, 1);
    this.answer(init.data[0], { byteLength: bytes.length, copyTo: (into: Uint8Array) => into.set(bytes) });
  }
}

class FakeAudioDecoder extends Fake<unknown> {
  decode({ init }: { init: { data: Uint8Array } }): void {
    if (init.data[0] === 0xff) return queueMicrotask(() => this.die());
    const loudness = init.data.length === 1 ? 0.1 : 0.2;
    const copyTo = (into: Float32Array): void => void into.fill(loudness);
    this.answer([...init.data], { numberOfFrames: FRAME_SAMPLES, sampleRate: 48_000, copyTo, close: () => undefined });
  }
}

class Holder {
  constructor(readonly init: unknown) {}
  close(): void {}
}

beforeEach(() => {
  Fake.made = [];
  Fake.silent = false;
  vi.useFakeTimers();
  vi.stubGlobal('AudioEncoder', FakeAudioEncoder);
  vi.stubGlobal('AudioDecoder', FakeAudioDecoder);
  vi.stubGlobal('AudioData', Holder);
  vi.stubGlobal('EncodedAudioChunk', Holder);
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const frame = (number: number): Float32Array<ArrayBuffer> => new Float32Array(ENCODER_FRAME_SAMPLES).fill(number);

describe('the encoder', () => {
  test('is asked for the bit rate that gives the length, at 16 kHz', async () => {
    const packet = await webCodecs.encoder().encode(frame(1), 63);
    expect(packet?.length).toBe(63);
    expect(Fake.made[0]?.config).toMatchObject({ bitrate: 25_200, sampleRate: 16_000, bitrateMode: 'constant', codec: 'opus' });
  });

  test('of another length is given the last frames once more, and what it makes of them is not sent', async () => {
    const encoder = webCodecs.encoder();
    const lengths: (number | undefined)[] = [];
    for (let number = 1; number <= 8; number += 1) lengths.push((await encoder.encode(frame(number), number < 8 ? 47 : 63))?.length);
    expect(lengths).toEqual([47, 47, 47, 47, 47, 47, 47, 63]);
    expect(Fake.made.map(({ inputs }) => inputs)).toEqual([
      [1, 2, 3, 4, 5, 6, 7],
      [3, 4, 5, 6, 7, 8],
    ]);
    expect(Fake.made[0]?.state).toBe('closed');
  });

  test('that dies is replaced, at once and then not more often than every 200 ms', async () => {
    const encoder = webCodecs.encoder();
    await encoder.encode(frame(0), 47);
    Fake.made[0]?.die();
    expect((await encoder.encode(frame(1), 47))?.length).toBe(47);
    Fake.made[1]?.die();
    const packets: boolean[] = [];
    for (let number = 0; number < 11; number += 1) packets.push((await encoder.encode(frame(2), 47)) !== null);
    expect(packets).toEqual([...Array<boolean>(10).fill(false), true]);
  });

  test('that gives nothing for a second is taken for dead', async () => {
    Fake.silent = true;
    const encoder = webCodecs.encoder();
    const packet = encoder.encode(frame(0), 47);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await packet).toBeNull();
    expect(Fake.made[0]?.state).toBe('closed');
  });

  test('that is closed makes nothing more', async () => {
    const encoder = webCodecs.encoder();
    encoder.close();
    expect(await encoder.encode(frame(0), 47)).toBeNull();
  });
});

describe('the decoder', () => {
  test('conceals by a packet of one byte, the last mode, and never sees an empty one', async () => {
    const decoder = webCodecs.decoder();
    expect(await decoder.conceal()).toBeNull();
    expect(await decoder.decode(new Uint8Array())).toBeNull();
    expect((await decoder.decode(Uint8Array.of(TOC | 3, 1, 2)))?.[0]).toBeCloseTo(0.2);
    expect((await decoder.conceal())?.[0]).toBeCloseTo(0.1);
    expect(Fake.made[0]?.inputs).toEqual([[TOC | 3, 1, 2], [TOC]]);
  });

  test('that dies of a packet answers all that it owes, and another takes its place after 200 ms', async () => {
    const decoder = webCodecs.decoder();
    await decoder.decode(Uint8Array.of(TOC, 1));
    expect(await decoder.decode(Uint8Array.of(0xff))).toBeNull();
    const frames: boolean[] = [];
    for (let number = 0; number < 11; number += 1) frames.push((await decoder.decode(Uint8Array.of(TOC, 1))) !== null);
    expect(frames).toEqual([...Array<boolean>(10).fill(false), true]);
    expect(Fake.made).toHaveLength(2);
  });
});
