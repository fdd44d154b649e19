/** The page's microphone and speaker, for as long as there are calls, and which of them were chosen. */

import { signal } from '@preact/signals';
import type { Call, CallId } from '../sdk/client.ts';
import type { AudioPorts } from '../voice/ports.ts';
import type { Sound, SoundDevice } from './host.ts';

/** A call that was prepared for and did not begin lets the microphone go. */
const PREPARED_MS = 15_000;
const KEYS = { microphone: 'ahoy microphone', speaker: 'ahoy speaker', noise: 'ahoy noise' };

/** What stands for noise that is left in. */
const LEFT_IN = 'left in';

type Audio = typeof import('./audio.ts');
type PageAudio = Awaited<ReturnType<Audio['PageAudio']['open']>>;

export class PageSound implements Sound {
  readonly microphones = signal<readonly SoundDevice[]>([]);
  readonly speakers = signal<readonly SoundDevice[]>([]);
  readonly microphone = signal(kept('microphone'));
  readonly speaker = signal(kept('speaker'));
  readonly suppressesNoise = signal(kept('noise') !== LEFT_IN);
  readonly isAllowed = signal(false);

  #audio: Promise<PageAudio> | null = null;
  readonly #calls = new Set<CallId>();

  constructor(
    private readonly handOver: (ports: AudioPorts) => void,
    private readonly takeBack: () => void,
  ) {
    void this.#refresh();
    navigator.mediaDevices?.addEventListener('devicechange', () => void this.#refresh());
  }

  async allow(): Promise<void> {
    const { allowMicrophone } = await import('./audio.ts');
    await allowMicrophone();
    await this.#refresh();
  }

  async chooseMicrophone(id: string): Promise<void> {
    await (await this.#audio)?.chooseMicrophone(id);
    this.microphone.value = keep('microphone', id);
  }

  async chooseSpeaker(id: string): Promise<void> {
    await (await this.#audio)?.chooseSpeaker(id);
    this.speaker.value = keep('speaker', id);
  }

  async suppressNoise(on: boolean): Promise<void> {
    const { processing } = await import('./audio.ts');
    await (await this.#audio)?.setProcessing(processing(on));
    keep('noise', on ? '' : LEFT_IN);
    this.suppressesNoise.value = on;
  }

  /** Opens microphone and speaker; rejects with a refusal. To be called on a gesture. */
  async begin(): Promise<void> {
    this.#audio ??= this.#open();
    try {
      await this.#audio;
    } catch (error) {
      this.#audio = null;
      throw error;
    }
    setTimeout(() => {
      if (this.#calls.size === 0) this.end();
    }, PREPARED_MS);
  }

  /** Lets microphone and speaker go with the last call. */
  follow(call: Call): void {
    if (call.state !== 'ended') this.#calls.add(call.call);
    else if (this.#calls.delete(call.call) && this.#calls.size === 0) this.end();
  }

  end(): void {
    const audio = this.#audio;
    this.#audio = null;
    this.#calls.clear();
    if (audio === null) return;
    this.takeBack();
    void audio.then((opened) => opened.close()).catch(() => undefined);
  }

  async #open(): Promise<PageAudio> {
    const { PageAudio, processing } = await import('./audio.ts');
    const audio = await PageAudio.open({
      microphone: this.microphone.peek(),
      speaker: this.speaker.peek(),
      processing: processing(this.suppressesNoise.peek()),
    });
    this.handOver(audio.ports);
    if (audio.isSuspended) resumeOnTouch(audio);
    void this.#refresh();
    return audio;
  }

  async #refresh(): Promise<void> {
    const { soundDevices } = await import('./audio.ts');
    const { microphones, speakers } = await soundDevices();
    this.microphones.value = microphones;
    this.speakers.value = speakers;
    this.isAllowed.value = microphones.some((device) => device.label !== '');
  }
}

/** A call that came here by itself, after a reload or from a tab that was closed, sounds with the next touch of the page. */
function resumeOnTouch(audio: PageAudio): void {
  const resume = () => {
    removeEventListener('pointerdown', resume);
    removeEventListener('keydown', resume);
    // One that was closed meanwhile can't be resumed, and need not be.
    audio.resume().catch(() => undefined);
  };
  addEventListener('pointerdown', resume);
  addEventListener('keydown', resume);
}

function kept(which: keyof typeof KEYS): string {
  try {
    return localStorage.getItem(KEYS[which]) ?? '';
  } catch {
    return '';
  }
}

function keep(which: keyof typeof KEYS, id: string): string {
  try {
    localStorage.setItem(KEYS[which], id);
  } catch {
    // It lasts as long as the page, then.
  }
  return id;
}
