//! Level of a frame, as RFC 6464 states it: decibels below overload.

/// Level of digital silence, and the lowest that is told apart from it.
pub const SILENCE_DBOV: u8 = 127;

/// Root-mean-square level of `samples` (-1 to 1) as -dBov: 0 is the loudest, 127 silence.
#[must_use]
pub fn level(samples: &[f32]) -> u8 {
    let energy: f32 = samples.iter().map(|sample| sample * sample).sum();
    let mean = energy / samples.len().max(1) as f32;
    if mean <= 0.0 || !mean.is_finite() {
        return SILENCE_DBOV;
    }
    (-10.0 * mean.log10()).round().clamp(0.0, f32::from(SILENCE_DBOV)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_scale_is_0_half_is_6_and_nothing_is_127() {
        assert_eq!(level(&[1.0; 960]), 0);
        assert_eq!(level(&[-0.5; 960]), 6);
        assert_eq!(level(&[0.0; 960]), SILENCE_DBOV);
        assert_eq!(level(&[]), SILENCE_DBOV);
        assert_eq!(level(&[f32::NAN; 960]), SILENCE_DBOV);
    }
}
