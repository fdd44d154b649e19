/** The microphone's end of the voice engine: gathers the audio thread's short blocks to frames of 20 ms. */

import { FRAME_SAMPLES } from './codec.ts';
import type { Block, Captured, Plug } from './ports.ts';

/** Blocks that go to and fro: 200 ms, as much as the engine makes up for. Where it is slower, the newest frames are lost. */
const BLOCKS = 10;

class Capture extends AudioWorkletProcessor {
  #port: MessagePort | null = null;
  readonly #free: Block[] = Array.from({ length: BLOCKS }, () => new Float32Array(FRAME_SAMPLES));
  #block: Block | undefined = this.#free.pop();
  #filled = 0;
  #lost = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data }: MessageEvent<Plug>) => {
      this.#port = data.port;
      this.#port.onmessage = ({ data: block }: MessageEvent<Block>) => {
        if (block.length === FRAME_SAMPLES && this.#free.length < BLOCKS) this.#free.push(block);
      };
    };
  }

  override process(inputs: Float32Array[][]): boolean {
    const samples = inputs[0]?.[0];
    if (samples === undefined) return true;
    let taken = 0;
    while (taken < samples.length) {
      const count = Math.min(samples.length - taken, FRAME_SAMPLES - this.#filled);
      this.#block?.set(samples.subarray(taken, taken + count), this.#filled);
      taken += count;
      this.#filled += count;
      if (this.#filled === FRAME_SAMPLES) this.#send();
    }
    return true;
  }

  #send(): void {
    this.#filled = 0;
    if (this.#port === null) return;
    if (this.#block === undefined) this.#lost += 1;
    else {
      const captured: Captured = { block: this.#block, lost: this.#lost };
      this.#port.postMessage(captured, [this.#block.buffer]);
      this.#lost = 0;
    }
    this.#block = this.#free.pop();
  }
}

registerProcessor('ahoy-capture', Capture);
