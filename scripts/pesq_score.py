#!/usr/bin/env python3
"""Score a recording against what was played: PESQ wide-band (ITU-T P.862.2), whole file.

    pesq_score.py played.wav recorded.wav [--json]
    pesq_score.py --pairs    (one line on stdin for each pair, a tab between the two; one score on stdout)

Both files may have any sample rate and channel count; the recording may start with unknown silence or delay. The recording is
shifted by one constant lag (cross-correlation of the whole signals), never cut to its best part or stretched: what is missing at either end
of the played signal is scored as silence, so a lost piece costs what it should.
"""

import argparse
import json
import sys
from math import gcd

import numpy as np
from pesq import pesq
from scipy.io import wavfile
from scipy.signal import correlate, resample_poly

RATE = 16_000  # Hz, what PESQ wide-band takes


def load(path: str) -> np.ndarray:
    """The file as mono floats in -1..1 at `RATE`."""
    rate, samples = wavfile.read(path)
    if np.issubdtype(samples.dtype, np.integer):
        scale = float(np.iinfo(samples.dtype).max) + 1.0
        centre = 128.0 if samples.dtype == np.uint8 else 0.0
        samples = (samples.astype(np.float64) - centre) / (128.0 if samples.dtype == np.uint8 else scale)
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim == 2:
        samples = samples.mean(axis=1)
    if rate != RATE:
        divisor = gcd(rate, RATE)
        samples = resample_poly(samples, RATE // divisor, rate // divisor)
    return samples


def lag_of(played: np.ndarray, recorded: np.ndarray) -> int:
    """Samples by which the recording is late (negative: early)."""
    correlation = correlate(recorded, played, mode="full", method="fft")
    return int(np.argmax(correlation)) - (len(played) - 1)


def align(played: np.ndarray, recorded: np.ndarray, lag: int) -> np.ndarray:
    """The recording shifted by `lag` and made as long as what was played, silence where it has nothing."""
    aligned = np.zeros_like(played)
    start, stop = max(lag, 0), min(lag + len(played), len(recorded))
    if stop > start:
        aligned[start - lag : stop - lag] = recorded[start:stop]
    return aligned


def score(played_path: str, recorded_path: str) -> dict:
    """PESQ-WB and the lag found; a silent recording scores 1.0, the scale's floor in practice."""
    played, recorded = load(played_path), load(recorded_path)
    if not np.any(played):
        raise ValueError(f"{played_path} is silent: nothing to score against")
    if not np.any(recorded):
        return {"pesq_wb": 1.0, "lag_ms": 0.0, "played_s": len(played) / RATE, "recorded_s": len(recorded) / RATE}
    lag = lag_of(played, recorded)
    value = pesq(RATE, played, align(played, recorded, lag), "wb")
    return {
        "pesq_wb": round(float(value), 3),
        "lag_ms": round(1_000 * lag / RATE, 2),
        "played_s": round(len(played) / RATE, 3),
        "recorded_s": round(len(recorded) / RATE, 3),
    }


def main() -> int:
    """Reads the arguments, prints one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("played", nargs="?", help="WAV that was played")
    parser.add_argument("recorded", nargs="?", help="WAV that was recorded")
    parser.add_argument("--pairs", action="store_true", help="read pairs of files from stdin")
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of the bare score")
    arguments = parser.parse_args()
    if not arguments.pairs and arguments.recorded is None:
        parser.error("two files, or --pairs")
    try:
        if arguments.pairs:
            for line in sys.stdin:
                print(score(*line.rstrip("\n").split("\t"))["pesq_wb"], flush=True)
            return 0
        result = score(arguments.played, arguments.recorded)
    except (OSError, TypeError, ValueError) as error:
        print(f"pesq_score: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result) if arguments.json else result["pesq_wb"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
