//! Token buckets: how often a session may ask for each kind of thing, and how fast a leg may send.

use std::time::{Duration, Instant};

use smallvec::SmallVec;

/// How many at once, and how long one token takes to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) burst: u32,
    pub(crate) refill: Duration,
}

/// A token bucket, kept as the moment when it will be full again. Full when new.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes a token, or says how long to wait for one.
    #[inline]
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        let missing = full_at.saturating_duration_since(now);
        let room = rate.refill * (rate.burst - 1);
        if missing > room {
            return Err(missing - room);
        }
        self.full_at = Some(full_at + rate.refill);
        Ok(())
    }
}

/// Buckets of many kinds, of which only those that are not full take up room.
#[derive(Debug, Default)]
pub(crate) struct Buckets(SmallVec<[(u8, Bucket); 4]>);

impl Buckets {
    /// Takes a token of a kind, or says how long to wait for one.
    pub(crate) fn take(&mut self, kind: u8, rate: Rate, now: Instant) -> Result<(), Duration> {
        if let Some((_, bucket)) = self.0.iter_mut().find(|(other, _)| *other == kind) {
            return bucket.take(rate, now);
        }
        self.0.retain(|(_, bucket)| bucket.full_at.is_some_and(|at| at > now));
        let mut bucket = Bucket::default();
        let taken = bucket.take(rate, now);
        self.0.push((kind, bucket));
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, refill: Duration::from_secs(2) };

    #[test]
    fn a_bucket_gives_its_burst_and_then_one_token_per_refill() {
        let start = crate::tests::instant();
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            assert_eq!(bucket.take(RATE, start), Ok(()));
        }
        assert_eq!(bucket.take(RATE, start), Err(Duration::from_secs(2)));
        assert_eq!(bucket.take(RATE, start + Duration::from_secs(2)), Ok(()));
        assert!(bucket.take(RATE, start + Duration::from_secs(3)).is_err());
    }

    #[test]
    fn a_bucket_never_holds_more_than_its_burst() {
        let late = crate::tests::instant() + Duration::from_secs(1000);
        let mut bucket = Bucket::default();
        let taken = (0..10).filter(|_| bucket.take(RATE, late).is_ok()).count();
        assert_eq!(taken, 3);
    }

    #[test]
    fn kinds_have_a_bucket_each_and_full_ones_take_up_no_room() {
        let start = crate::tests::instant();
        let mut buckets = Buckets::default();
        for kind in 0..30 {
            assert_eq!(buckets.take(kind, Rate { burst: 1, ..RATE }, start), Ok(()));
        }
        assert_eq!(buckets.take(7, Rate { burst: 1, ..RATE }, start), Err(Duration::from_secs(2)));
        assert_eq!(buckets.take(99, RATE, start + Duration::from_secs(2)), Ok(()));
        assert_eq!(buckets.0.len(), 1);
    }
}
