/**
 * The page's microphone and loudspeaker, as two message ports for the voice engine in its worker.
 *
 * One audio context of 48 kHz carries both, so that one clock drives them. Made on a gesture (a call is placed or answered) and closed with
 * the last call; while it is open the browser shows that the microphone is in use.
 */

import { Refusal } from '../sdk/client.ts';
import type { AudioPorts, Plug } from '../voice/ports.ts';
import captureUrl from '../voice/capture.worklet.ts?worker&url';
import playbackUrl from '../voice/playback.worklet.ts?worker&url';
import type { SoundDevice } from './host.ts';

const SAMPLE_RATE = 48_000;

/** What the browser does to the microphone's sound. */
export interface Processing {
  echoCancellation: boolean;
  noiseSuppression: boolean;
  autoGainControl: boolean;
}

/** All of it, but noise suppression only for those who want it: it takes from the voice too. */
export function processing(noiseSuppression: boolean): Processing {
  return { echoCancellation: true, noiseSuppression, autoGainControl: true };
}

/** Which devices, by the ids of {@link soundDevices}; the empty id is the browser's own choice. */
export interface AudioChoice {
  microphone: string;
  speaker: string;
  processing: Processing;
}

/** The devices there are. They have names and ids only once the microphone was allowed. */
export async function soundDevices(): Promise<{ microphones: SoundDevice[]; speakers: SoundDevice[] }> {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  const of = (kind: MediaDeviceKind): SoundDevice[] =>
    devices.filter((device) => device.kind === kind && device.deviceId !== '').map(({ deviceId, label }) => ({ id: deviceId, label }));
  return { microphones: of('audioinput'), speakers: of('audiooutput') };
}

/** Asks for the microphone and lets it go again, so that devices have names; rejects with a {@link Refusal}. */
export async function allowMicrophone(): Promise<void> {
  stopTracks(await openMicrophone('', processing(true)));
}

/** Whether the speaker can be chosen in this browser. */
export function canChooseSpeaker(): boolean {
  return typeof AudioContext === 'function' && 'setSinkId' in AudioContext.prototype;
}

/** The standard has it; TypeScript's libraries do not yet. */
type SinkContext = AudioContext & { setSinkId?: (id: string) => Promise<void> };

export class PageAudio {
  /** Called when the microphone is gone, pulled out or taken away, and no other could take its place. */
  onMicrophoneLost: () => void = () => undefined;
  /** What the voice engine is to be given, once: `worker.postMessage(audio.ports, [ports.capture, ports.playback])`. */
  readonly ports: AudioPorts;
  /** What is heard comes out of here. */
  readonly heard: AudioNode;
  readonly #context: SinkContext;
  readonly #capture: AudioWorkletNode;
  #microphone: { stream: MediaStream; source: MediaStreamAudioSourceNode } | null = null;
  #choice: AudioChoice;
  #closed = false;

  private constructor(context: AudioContext, choice: AudioChoice) {
    this.#context = context;
    this.#choice = choice;
    this.#capture = new AudioWorkletNode(context, 'ahoy-capture', { numberOfInputs: 1, numberOfOutputs: 0, channelCount: 1, channelCountMode: 'explicit' });
    const playback = new AudioWorkletNode(context, 'ahoy-playback', { numberOfInputs: 0, numberOfOutputs: 1, outputChannelCount: [1] });
    playback.connect(context.destination);
    this.heard = playback;
    this.ports = { kind: 'audio-ports', capture: plug(this.#capture), playback: plug(playback) };
  }

  /** Opens microphone and speaker; rejects with a {@link Refusal}, and nothing is then open. To be called on a gesture. */
  static async open(choice: AudioChoice): Promise<PageAudio> {
    const context = new AudioContext({ sampleRate: SAMPLE_RATE, latencyHint: 'interactive' });
    // Asked for within the gesture, though nothing is connected yet: later the browser may not allow it.
    void context.resume();
    let stream: MediaStream | null = null;
    try {
      stream = await openMicrophone(choice.microphone, choice.processing);
      await Promise.all([captureUrl, playbackUrl].map((url) => context.audioWorklet.addModule(url)));
      const audio = new PageAudio(context, choice);
      audio.#connect(stream);
      await audio.#applySpeaker();
      return audio;
    } catch (error) {
      if (stream !== null) stopTracks(stream);
      await context.close();
      throw error instanceof Refusal ? error : new Refusal('no-microphone', 'The sound of this browser could not be started.');
    }
  }

  /** Whether the browser waits for a gesture before it plays; {@link resume} is then to be called on one. */
  get isSuspended(): boolean {
    return this.#context.state === 'suspended';
  }

  async resume(): Promise<void> {
    await this.#context.resume();
  }

  /** Takes another microphone; rejects with a {@link Refusal}, and the one before goes on. */
  async chooseMicrophone(microphone: string): Promise<void> {
    await this.#reopen({ ...this.#choice, microphone });
  }

  async setProcessing(processing: Processing): Promise<void> {
    await this.#reopen({ ...this.#choice, processing });
  }

  async chooseSpeaker(speaker: string): Promise<void> {
    this.#choice = { ...this.#choice, speaker };
    await this.#applySpeaker();
  }

  /** Lets everything go. The ports are the engine's to close. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#disconnect();
    await this.#context.close();
  }

  async #reopen(choice: AudioChoice): Promise<void> {
    const stream = await openMicrophone(choice.microphone, choice.processing);
    if (this.#closed) return stopTracks(stream);
    this.#choice = choice;
    this.#disconnect();
    this.#connect(stream);
  }

  #connect(stream: MediaStream): void {
    const source = this.#context.createMediaStreamSource(stream);
    source.connect(this.#capture);
    this.#microphone = { stream, source };
    for (const track of stream.getAudioTracks()) track.addEventListener('ended', () => this.#handleEnded(stream));
  }

  #disconnect(): void {
    if (this.#microphone === null) return;
    const { stream, source } = this.#microphone;
    this.#microphone = null;
    source.disconnect();
    stopTracks(stream);
  }

  /** A microphone that was pulled out is replaced by the browser's own choice. */
  #handleEnded(stream: MediaStream): void {
    if (this.#closed || this.#microphone?.stream !== stream) return;
    this.#disconnect();
    this.chooseMicrophone('').catch(() => this.onMicrophoneLost());
  }

  async #applySpeaker(): Promise<void> {
    try {
      await this.#context.setSinkId?.(this.#choice.speaker);
    } catch {
      // It is gone: the sound then stays where it was.
    }
  }
}

async function openMicrophone(id: string, processing: Processing): Promise<MediaStream> {
  const device = id === '' ? {} : { deviceId: { exact: id } };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: { ...processing, ...device, channelCount: 1 } });
  } catch (error) {
    // One that was chosen earlier may not be there today.
    if (id !== '' && error instanceof DOMException && error.name !== 'NotAllowedError') return openMicrophone('', processing);
    throw new Refusal('no-microphone', reasonOf(error));
  }
}

function reasonOf(error: unknown): string {
  const name = error instanceof DOMException ? error.name : '';
  if (name === 'NotAllowedError') return 'The microphone is not allowed for this page. Allow it in the browser, beside the address.';
  if (name === 'NotFoundError') return 'No microphone was found.';
  if (name === 'NotReadableError') return 'The microphone is used by another program.';
  return 'The microphone could not be opened.';
}

function stopTracks(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}

/** Gives a worklet its end of a new channel; the answer is the other end. */
function plug(node: AudioWorkletNode): MessagePort {
  const { port1, port2 } = new MessageChannel();
  const message: Plug = { port: port1 };
  node.port.postMessage(message, [port1]);
  return port2;
}
