/** Sounds of calls, made here: a ship's bell for those who are called, a knock for those in a call, and tones for those who wait. */

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

let context: AudioContext | null = null;

/** Rings until the answer is called. A page that nobody has touched may not make a sound; then it stays silent. */
export function ringFor(kind: 'ring' | 'knock'): () => void {
  context ??= typeof AudioContext === 'undefined' ? null : new AudioContext();
  const made = context;
  if (made === null) return () => undefined;
  void made.resume().catch(() => undefined);
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
    setTimeout(() => out.disconnect(), 400);
    void setTimeout(() => made.suspend().catch(() => undefined), 500);
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
