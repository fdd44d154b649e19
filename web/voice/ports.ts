/**
 * What goes between the page's audio thread and the worker of the voice engine: blocks of {@link FRAME_SAMPLES} samples, 48 kHz mono, over one
 * message port for each direction. Blocks are handed over, not copied, and go back to where they came from to be used again.
 */

/** The engine's ends of the two ports. The page hands them over together with {@link AudioPorts.kind}. */
export interface AudioPorts {
  kind: 'audio-ports';
  capture: MessagePort;
  playback: MessagePort;
}

/** From the microphone: one frame. The engine sends the block back when it has read it. */
export interface Captured {
  block: Block;
  /** Frames before it that were lost because the engine had all blocks: time went on over them. */
  lost: number;
}

/** One frame of samples. */
export type Block = Float32Array<ArrayBuffer>;

/** From the speaker: the next 20 ms, please. The engine answers with a block. */
export interface Wanted {
  /** A block that was played and is free. */
  spare: Block | null;
  /** Milliseconds of sound that will be played before it. */
  aheadMs: number;
}

/** What the page tells a worklet once: its own end of the port. */
export interface Plug {
  port: MessagePort;
}
