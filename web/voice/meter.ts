/** How loud the last 100 ms were. */

/** Frames of 20 ms that count. */
const FRAMES = 5;

export class Meter {
  readonly #squares: number[] = [];

  /** Takes the next frame's root mean square. */
  push(rms: number): void {
    this.#squares.push(rms * rms);
    if (this.#squares.length > FRAMES) this.#squares.shift();
  }

  /** Root mean square of the last 100 ms, from 0 to 1. */
  get level(): number {
    const sum = this.#squares.reduce((total, square) => total + square, 0);
    return Math.min(Math.sqrt(sum / FRAMES), 1);
  }
}
