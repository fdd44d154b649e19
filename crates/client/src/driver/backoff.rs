//! How long to wait before the next attempt to reconnect: full jitter over a doubling ceiling.

use std::time::{Duration, Instant};

/// Ceiling of the first wait.
const FIRST: Duration = Duration::from_millis(500);

/// Ceiling of all waits. 100,000 clients of a supernode that is gone then try 6,700 times a second, a third of what a core can refuse.
const LONGEST: Duration = Duration::from_secs(30);

/// A session that stayed up for this long ends the series of failures; a shorter one is a failure more.
const STEADY: Duration = Duration::from_secs(60);

/// Least ceiling where there are other supernodes to go to: of 100,000 sessions of one that is gone, all that notice in the same moment
/// (it was restarted, or closed its links) come to 4 others at 12,500 a second each, spread by rank, in place of 50,000.
pub(super) const SPREAD: Duration = Duration::from_secs(2);

/// Counts failures since a session last stayed up.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    up_since: Option<Instant>,
}

impl Backoff {
    pub(super) fn handle_up(&mut self, now: Instant) {
        self.up_since = Some(now);
    }

    /// A session was lost or an attempt failed: how long to wait, given a random number from 0 to 1. `least`: of the ceiling.
    pub(super) fn handle_failure(&mut self, now: Instant, least: Duration, random: f64) -> Duration {
        let up = self.up_since.take();
        if up.is_some_and(|since| now.saturating_duration_since(since) >= STEADY) {
            self.failures = 0;
        }
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(16)).max(least).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Duration = Duration::ZERO;

    #[test]
    fn waits_double_up_to_a_ceiling_and_spread_over_all_of_it() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        let ceilings: Vec<_> = (0..8).map(|_| backoff.handle_failure(now, NONE, 1.0).as_millis()).collect();
        assert_eq!(ceilings, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(backoff.handle_failure(now, NONE, 0.0), Duration::ZERO);
    }

    #[test]
    fn only_a_session_that_stayed_up_starts_the_ladder_anew() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        backoff.handle_failure(now, NONE, 1.0);
        backoff.handle_up(now);
        assert_eq!(backoff.handle_failure(now + STEADY / 2, NONE, 1.0), FIRST * 2);
        backoff.handle_up(now);
        assert_eq!(backoff.handle_failure(now + STEADY, NONE, 1.0), FIRST);
    }

    #[test]
    fn where_there_are_others_to_go_to_the_first_wait_is_spread_wider_and_later_ones_are_as_ever() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        let ceilings: Vec<_> = (0..5).map(|_| backoff.handle_failure(now, SPREAD, 1.0).as_millis()).collect();
        assert_eq!(ceilings, [2_000, 2_000, 2_000, 4_000, 8_000]);
    }
}
