//! How many may sign in, who first, and how often those who have are to ping.

use std::time::{Duration, Instant};

use ahoy_proto::{limits, v1};

use crate::rate::{Bucket, Rate};

/// Sign-ins that a shard takes in the long run: with what a client asks for next, each costs some 300 us and six questions to the store.
/// Those beyond are told a time of their own.
const SIGN_INS_PER_SECOND: u32 = 1_000;

/// The latest time that is told to those who are put off.
const PUT_OFF_MAX: Duration = Duration::from_secs(60);

/// How many sessions a shard may have for one more to come. Devices in a call find an eighth more: when one of three supernodes is lost with a
/// quarter of its users in calls, each of the others has to take an eighth of the room for those, and calls don't wait.
pub(crate) fn room(sessions_max: usize, urgency: v1::Urgency) -> usize {
    match urgency {
        v1::Urgency::InCall => sessions_max + sessions_max / 8,
        v1::Urgency::Unspecified | v1::Urgency::Resume => sessions_max,
    }
}

/// The sign-ins of a shard.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    bucket: Bucket,
    /// Until when all times have been told to those who were put off.
    told_until: Option<Instant>,
}

impl Admission {
    /// Lets one sign in, or says how long it is to wait: each another time, so that all of them together come at the pace that can be kept.
    pub(crate) fn take(&mut self, urgency: v1::Urgency, now: Instant) -> Result<(), Duration> {
        let pace = Duration::from_secs(1) / SIGN_INS_PER_SECOND;
        // What is more urgent may draw further ahead on what is to come.
        let burst = match urgency {
            v1::Urgency::Unspecified => SIGN_INS_PER_SECOND / 2,
            v1::Urgency::Resume => SIGN_INS_PER_SECOND,
            v1::Urgency::InCall => 2 * SIGN_INS_PER_SECOND,
        };
        let Err(wait) = self.bucket.take(Rate { burst, refill: pace }, now) else { return Ok(()) };
        let at = self.told_until.map_or(now, |until| until.min(now + PUT_OFF_MAX)).max(now + wait);
        self.told_until = Some(at + pace);
        Err(at.saturating_duration_since(now).max(Duration::from_millis(1)))
    }
}

/// How often a new session is to ping where there are so many: less often the more there are, so that all of them cost no more than a
/// part of a core.
pub(crate) fn keepalive(sessions: usize) -> Duration {
    let seconds = (sessions / limits::KEEPALIVES_PER_SECOND) as u64;
    Duration::from_secs(seconds).clamp(limits::KEEPALIVE_MIN, limits::KEEPALIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_sessions_there_are_the_less_often_they_ping() {
        let seconds = [0, 59_999, 60_000, 249_999, 1_000_000].map(|sessions| keepalive(sessions).as_secs());
        assert_eq!(seconds, [5, 5, 6, 24, 25]);
    }

    #[test]
    fn nobody_is_put_off_for_longer_than_the_longest_time() {
        let mut admission = Admission::default();
        let now = crate::tests::instant();
        let waits = (0..100_000).filter_map(|_| admission.take(v1::Urgency::InCall, now).err());
        assert_eq!(waits.max(), Some(PUT_OFF_MAX));
    }
}
