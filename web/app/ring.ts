/** Sounds of calls, made here: a ship's bell for those who are called, a knock for those in a call, and tones for those who wait. */

import { soundInTurn } from './tabs.ts';

/** Partials of a small bell: ratio, loudness, seconds of ringing. */
const BELL: readonly [number, number, number][] = [
  [1, 0.5, 1.4],
  [2.01, 0.3, 0.9],
  [2.74, 0.2, 0.6],
  [4.1, 0.12, 0.35],
];
const STRIKE_HZ = 740;
/** Two strokes, a pause, two strokes: as on the hour aboard. */
const STROKES_S = [0, 0.32];
const ROUND_MS = 2_600;
const KNOCK_MS = 4_000;
const LOUDNESS = 0.22;

/** From the end of a ring until the speaker is let go of: it fades out. */
const FADE_MS = 500;

let context: AudioContext | null = null;
let resting: ReturnType<typeof setTimeout> | undefined;

/** Rings until the answer is called: in one of those tabs that may make a sound, which a tab that nobody has touched mostly may not. */
export function ringFor(kind: 'ring' | 'knock'): () => void {
  context ??= typeof AudioContext === 'undefined' ? null : new AudioContext();
  const made = context;
  if (made === null) return () => undefined;
  clearTimeout(resting);
  let isOver = false;
  let end: () => void = () => undefined;
  // Where the browser allows no sound, this waits for as long as it does not.
  made.resume().then(
    () => {
      if (!isOver) end = soundInTurn(() => sound(made, kind));
    },
    () => undefined,
  );
  return () => {
    isOver = true;
    end();
    resting = setTimeout(() => void made.suspend().catch(() => undefined), FADE_MS);
  };
}

function sound(made: AudioContext, kind: 'ring' | 'knock'): () => void {
  const out = made.createGain();
  out.gain.value = kind === 'ring' ? LOUDNESS : LOUDNESS / 4;
  out.connect(made.destination);
  const play = () => {
    if (made.state !== 'running') return;
    for (const at of kind === 'ring' ? STROKES_S : [0]) strike(made, out, made.currentTime + at);
  };
  play();
  const timer = setInterval(play, kind === 'ring' ? ROUND_MS : KNOCK_MS);
  return () => {
    clearInterval(timer);
    out.gain.setTargetAtTime(0, made.currentTime, 0.05);
    setTimeout(() => out.disconnect(), FADE_MS - 100);
  };
}

function strike(made: AudioContext, out: AudioNode, at: number): void {
  for (const [ratio, loudness, lasting] of BELL) {
    const tone = made.createOscillator();
    const gain = made.createGain();
    tone.frequency.value = STRIKE_HZ * ratio;
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(loudness, at + 0.004);
    gain.gain.exponentialRampToValueAtTime(0.0001, at + lasting);
    tone.connect(gain).connect(out);
    tone.start(at);
    tone.stop(at + lasting);
  }
}
