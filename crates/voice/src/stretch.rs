//! Time-stretching: takes out or repeats one pitch period where the ear won't notice, to shrink or grow the playout delay.
//!
//! Overlap-add at the lag where the signal is most like itself. Both directions leave the first sample where it was, so what
//! was already played continues without a step.

/// Shortest and longest lag, in samples: 2.5 ms (400 Hz) to 15 ms (67 Hz), the range of the human voice.
const LAG_MIN: usize = 120;
/// See [`LAG_MIN`].
pub(crate) const LAG_MAX: usize = 720;

/// Samples faded from one to the other, and compared to find the lag: 10 ms.
pub(crate) const OVERLAP: usize = 480;

/// Coarse step of the search, in samples: 12 kHz is enough to find a period.
const STEP: usize = 4;

/// Below this mean square (-48 dBov) no one hears a cut.
const QUIET: f32 = 1.6e-5;

/// The best place for a stretch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seam {
    lag: usize,
    /// 0 to 1: how alike the two sides are; 1 where it is quiet.
    pub(crate) likeness: f32,
}

/// Finds the best lag of at most `lag_max` samples at the start of `samples`, which hold at least that many and [`OVERLAP`].
pub(crate) fn find_seam(samples: &[f32], lag_max: usize) -> Seam {
    let lag_max = lag_max.clamp(LAG_MIN, LAG_MAX);
    let energy: f32 = samples[..lag_max + OVERLAP].iter().map(|sample| sample * sample).sum();
    if energy < QUIET * (lag_max + OVERLAP) as f32 {
        return Seam { lag: lag_max, likeness: 1.0 };
    }
    let coarse = best_of(samples, (LAG_MIN..=lag_max).step_by(STEP), STEP);
    let from = coarse.lag.saturating_sub(STEP).max(LAG_MIN);
    let to = (coarse.lag + STEP).min(lag_max);
    best_of(samples, from..=to, 1)
}

fn best_of(samples: &[f32], lags: impl Iterator<Item = usize>, stride: usize) -> Seam {
    let mut best = Seam { lag: LAG_MIN, likeness: -1.0 };
    for lag in lags {
        let (mut cross, mut here, mut there) = (0.0, 1e-9, 1e-9);
        for at in (0..OVERLAP).step_by(stride) {
            let (a, b) = (samples[at], samples[at + lag]);
            cross += a * b;
            here += a * a;
            there += b * b;
        }
        let likeness = cross / f32::sqrt(here * there);
        if likeness > best.likeness {
            best = Seam { lag, likeness };
        }
    }
    best
}

/// Takes `seam`'s lag out of `samples`.
pub(crate) fn shorten(samples: &mut Vec<f32>, seam: Seam) {
    for at in 0..OVERLAP {
        let share = (at as f32 + 0.5) / OVERLAP as f32;
        samples[at] = samples[at] * (1.0 - share) + samples[at + seam.lag] * share;
    }
    samples.drain(OVERLAP..OVERLAP + seam.lag);
}

/// Puts `seam`'s lag into `samples` once more.
pub(crate) fn lengthen(samples: &mut Vec<f32>, seam: Seam) {
    let mut repeated = samples[..seam.lag + OVERLAP].to_vec();
    for at in 0..OVERLAP {
        let share = (at as f32 + 0.5) / OVERLAP as f32;
        repeated[seam.lag + at] = samples[seam.lag + at] * (1.0 - share) + samples[at] * share;
    }
    samples.splice(..OVERLAP, repeated);
}
