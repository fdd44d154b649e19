/** The speaker's end of the voice engine: plays what it is given, and asks for more in time. */

import { FRAME_SAMPLES } from './codec.ts';
import type { Block, Plug, Wanted } from './ports.ts';
import { Ring } from './ring.ts';

const SAMPLES_PER_MS = 48;

/** Blocks kept to be given back: one goes with each question. */
const SPARES_MAX = 4;

class Playback extends AudioWorkletProcessor {
  #port: MessagePort | null = null;
  readonly #ring = new Ring();
  readonly #spares: Block[] = [];

  constructor() {
    super();
    this.port.onmessage = ({ data }: MessageEvent<Plug>) => {
      this.#port = data.port;
      this.#port.onmessage = ({ data: block }: MessageEvent<Block>) => {
        if (block.length !== FRAME_SAMPLES) return;
        this.#ring.push(block);
        if (this.#spares.length < SPARES_MAX) this.#spares.push(block);
      };
    };
  }

  override process(_: Float32Array[][], outputs: Float32Array[][]): boolean {
    const [first, ...others] = outputs[0] ?? [];
    if (first === undefined) return true;
    this.#ring.pull(first);
    for (const channel of others) channel.set(first);
    while (this.#port !== null && this.#ring.ask()) {
      const spare = this.#spares.pop() ?? null;
      const wanted: Wanted = { spare, aheadMs: this.#ring.length / SAMPLES_PER_MS };
      this.#port.postMessage(wanted, spare === null ? [] : [spare.buffer]);
    }
    return true;
  }
}

registerProcessor('ahoy-playback', Playback);
