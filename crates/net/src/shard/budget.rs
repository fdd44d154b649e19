//! How many handshakes a shard begins in a second, so that a sign-in storm leaves it time for those who are signed in.

use std::time::Instant;

use crate::limits::{HANDSHAKE_BURST, HANDSHAKE_INTERVAL};

/// A bucket that fills by itself (the generic cell rate algorithm: it keeps the time at which it is full).
#[derive(Debug)]
pub(super) struct HandshakeBudget {
    full_at: Instant,
}

impl HandshakeBudget {
    pub(super) fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Whether at least half of it is left.
    pub(super) fn is_ample(&self, now: Instant) -> bool {
        self.full_at.saturating_duration_since(now) <= HANDSHAKE_INTERVAL * (HANDSHAKE_BURST / 2)
    }

    /// Takes one handshake out; says whether there was one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let then = self.full_at.max(now) + HANDSHAKE_INTERVAL;
        let has = then.duration_since(now) <= HANDSHAKE_INTERVAL * HANDSHAKE_BURST;
        if has {
            self.full_at = then;
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_handshakes_after_the_burst() {
        let start = Instant::now();
        let mut budget = HandshakeBudget::full(start);
        let mut taken = |at| (0..10_000).take_while(|_| budget.take(at)).count() as u32;
        assert_eq!(taken(start), HANDSHAKE_BURST);
        assert_eq!(taken(start + HANDSHAKE_INTERVAL * 100), 100);
        assert_eq!(
            taken(start + HANDSHAKE_INTERVAL * 100_000),
            HANDSHAKE_BURST,
            "a pause saves up no more than a burst"
        );
    }

    #[test]
    fn it_is_ample_until_half_of_it_is_used() {
        let start = Instant::now();
        let mut budget = HandshakeBudget::full(start);
        for _ in 0..HANDSHAKE_BURST / 2 {
            assert!(budget.take(start) && budget.is_ample(start));
        }
        assert!(budget.take(start) && !budget.is_ample(start));
        assert!(budget.is_ample(start + HANDSHAKE_INTERVAL));
    }
}
