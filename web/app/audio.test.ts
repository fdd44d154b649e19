/** What becomes of microphones that are refused, gone or pulled out, against stand-ins for the browser's. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { PageAudio, processing, soundDevices } from './audio.ts';

class Track extends EventTarget {
  stopped = false;
  stop(): void {
    this.stopped = true;
  }
}

class Stream {
  readonly track = new Track();
  constructor(readonly constraints: MediaTrackConstraints) {}
  getTracks = (): Track[] => [this.track];
  getAudioTracks = (): Track[] => [this.track];
}

class Context {
  static all: Context[] = [];
  state = 'running';
  destination = {};
  sinks: string[] = [];
  sources: { stream: Stream; connected: boolean }[] = [];
  audioWorklet = { addModule: () => Promise.resolve() };

  constructor(readonly options: AudioContextOptions) {
    Context.all.push(this);
  }
  resume = (): Promise<void> => Promise.resolve();
  setSinkId = (id: string): Promise<void> => (id === 'gone' ? Promise.reject(new DOMException('', 'NotFoundError')) : Promise.resolve(void this.sinks.push(id)));
  createMediaStreamSource(stream: Stream): object {
    const source = { stream, connected: false, connect: () => (source.connected = true), disconnect: () => (source.connected = false) };
    this.sources.push(source);
    return source;
  }
  close(): Promise<void> {
    this.state = 'closed';
    return Promise.resolve();
  }
}

class Node {
  port = { postMessage: vi.fn() };
  connect(): void {}
}

let streams: Stream[] = [];
let refuse: (id: unknown) => string | null = () => null;

const choice = { microphone: '', speaker: '', processing: processing(true) };
const idOf = (constraints: MediaTrackConstraints): unknown => (constraints.deviceId as { exact: string } | undefined)?.exact;

beforeEach(() => {
  streams = [];
  Context.all = [];
  refuse = () => null;
  vi.stubGlobal('AudioContext', Context);
  vi.stubGlobal('AudioWorkletNode', Node);
  vi.stubGlobal('navigator', {
    mediaDevices: {
      getUserMedia: ({ audio }: { audio: MediaTrackConstraints }) => {
        const name = refuse(idOf(audio));
        if (name !== null) return Promise.reject(new DOMException('', name));
        streams.push(new Stream(audio));
        return Promise.resolve(streams.at(-1));
      },
      enumerateDevices: () =>
        Promise.resolve([
          { kind: 'audioinput', deviceId: 'm1', label: 'Headset' },
          { kind: 'audioinput', deviceId: '', label: '' },
          { kind: 'audiooutput', deviceId: 's1', label: 'Speakers' },
          { kind: 'videoinput', deviceId: 'c1', label: 'Camera' },
        ]),
    },
  });
});

afterEach(() => vi.unstubAllGlobals());

test('microphone and speaker open at 48 kHz, with all processing, and go to the engine as two ports', async () => {
  const audio = await PageAudio.open(choice);
  expect(Context.all[0]?.options).toEqual({ sampleRate: 48_000, latencyHint: 'interactive' });
  expect(streams[0]?.constraints).toEqual({ ...processing(true), channelCount: 1 });
  expect(audio.ports.kind).toBe('audio-ports');
  expect([audio.ports.capture, audio.ports.playback].every((port) => port instanceof MessagePort)).toBe(true);
  for (const port of [audio.ports.capture, audio.ports.playback]) port.close();
});

test('noise is left in for those who want it, in the middle of a call too', async () => {
  const audio = await PageAudio.open({ ...choice, processing: processing(false) });
  expect(streams[0]?.constraints).toMatchObject({ echoCancellation: true, noiseSuppression: false, autoGainControl: true });
  await audio.setProcessing(processing(true));
  expect(streams[1]?.constraints).toMatchObject({ noiseSuppression: true });
  for (const port of [audio.ports.capture, audio.ports.playback]) port.close();
});

test.each([
  ['NotAllowedError', /not allowed/],
  ['NotFoundError', /No microphone/],
  ['NotReadableError', /another program/],
  ['AbortError', /could not be opened/],
])('%s is told to a person, and nothing stays open', async (name, text) => {
  refuse = () => name;
  await expect(PageAudio.open(choice)).rejects.toMatchObject({ name: 'Refusal', reason: 'no-microphone', message: expect.stringMatching(text) as string });
  expect(Context.all[0]?.state).toBe('closed');
});

test('what fails after the microphone was opened lets it go again', async () => {
  vi.stubGlobal('AudioWorkletNode', class {
    constructor() {
      throw new Error('not registered');
    }
  });
  await expect(PageAudio.open(choice)).rejects.toMatchObject({ reason: 'no-microphone' });
  expect(streams[0]?.track.stopped).toBe(true);
});

test('a microphone that was chosen and is gone gives way to the browser\'s own choice', async () => {
  refuse = (id) => (id === 'm9' ? 'OverconstrainedError' : null);
  await PageAudio.open({ ...choice, microphone: 'm9' });
  expect(streams.map(({ constraints }) => idOf(constraints))).toEqual([undefined]);
});

test('another microphone takes the place of the first; one that is refused does not', async () => {
  const audio = await PageAudio.open(choice);
  await audio.chooseMicrophone('m1');
  expect(streams.map(({ track }) => track.stopped)).toEqual([true, false]);
  refuse = () => 'NotAllowedError';
  await expect(audio.chooseMicrophone('m2')).rejects.toMatchObject({ reason: 'no-microphone' });
  expect(streams.map(({ track }) => track.stopped)).toEqual([true, false]);
  expect(Context.all[0]?.sources.map(({ connected }) => connected)).toEqual([false, true]);
});

test('a microphone that is pulled out is replaced, and where none is left that is told', async () => {
  const audio = await PageAudio.open({ ...choice, microphone: 'm1' });
  const lost = vi.fn();
  audio.onMicrophoneLost = lost;
  streams[0]?.track.dispatchEvent(new Event('ended'));
  await vi.waitFor(() => expect(streams.length).toBe(2));
  expect(lost).not.toHaveBeenCalled();
  refuse = () => 'NotFoundError';
  await vi.waitFor(() => {
    streams[1]?.track.dispatchEvent(new Event('ended'));
    expect(lost).toHaveBeenCalledOnce();
  });
});

test('a speaker that is gone leaves the sound where it was', async () => {
  const audio = await PageAudio.open({ ...choice, speaker: 's1' });
  await audio.chooseSpeaker('gone');
  expect(Context.all[0]?.sinks).toEqual(['s1']);
});

test('closing lets the microphone go', async () => {
  const audio = await PageAudio.open(choice);
  await audio.close();
  await audio.close();
  expect(streams[0]?.track.stopped).toBe(true);
  expect(Context.all[0]?.state).toBe('closed');
});

test('only devices of sound that can be named are listed', async () => {
  expect(await soundDevices()).toEqual({ microphones: [{ id: 'm1', label: 'Headset' }], speakers: [{ id: 's1', label: 'Speakers' }] });
});
