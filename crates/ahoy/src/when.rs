//! Moments for people: 14:05 today, Tue this week, 12 Nov this year.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// A clock on the wall, somewhere.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    /// Milliseconds since the Unix epoch.
    pub(crate) now_ms: u64,
    /// Where.
    pub(crate) zone: TimeZone,
}

impl Clock {
    /// This machine's, now.
    pub(crate) fn here() -> Self {
        let now_ms = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
        Self { now_ms, zone: TimeZone::system() }
    }

    /// As short as can be: `14:05`, `Tue`, `12 Nov`, `12 Nov 2024`.
    pub(crate) fn short(&self, at_ms: u64) -> String {
        let form = match self.days_ago(at_ms) {
            0 => "%H:%M",
            1..=6 => "%a",
            _ if self.date(at_ms).year() == self.date(self.now_ms).year() => "%-d %b",
            _ => "%-d %b %Y",
        };
        self.written(at_ms, form)
    }

    /// With the time of day: `14:05`, `Tue 14:05`, `12 Nov 14:05`.
    pub(crate) fn exact(&self, at_ms: u64) -> String {
        let time = self.time(at_ms);
        if self.days_ago(at_ms) == 0 { time } else { format!("{} {time}", self.short(at_ms)) }
    }

    /// The time of day.
    pub(crate) fn time(&self, at_ms: u64) -> String {
        self.written(at_ms, "%H:%M")
    }

    /// Now, with the date: `12 November 2025, 14:05`.
    pub(crate) fn stamp(&self) -> String {
        self.written(self.now_ms, "%-d %B %Y, %H:%M")
    }

    /// The day: `Today`, `Yesterday`, `Tuesday 12 November`.
    pub(crate) fn day(&self, at_ms: u64) -> String {
        match self.days_ago(at_ms) {
            0 => "Today".to_owned(),
            1 => "Yesterday".to_owned(),
            _ if self.date(at_ms).year() == self.date(self.now_ms).year() => self.written(at_ms, "%A %-d %B"),
            _ => self.written(at_ms, "%-d %B %Y"),
        }
    }

    /// The calendar day, to tell one from the next.
    pub(crate) fn date(&self, at_ms: u64) -> Date {
        self.zone.to_datetime(timestamp(at_ms)).date()
    }

    /// Days between the dates; negative for times to come, as clocks differ.
    fn days_ago(&self, at_ms: u64) -> i64 {
        self.date(self.now_ms).duration_since(self.date(at_ms)).as_hours() / 24
    }

    fn written(&self, at_ms: u64, form: &str) -> String {
        self.zone.to_datetime(timestamp(at_ms)).strftime(form).to_string()
    }
}

/// A time that no calendar has is shown as the first of all.
fn timestamp(at_ms: u64) -> Timestamp {
    i64::try_from(at_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Minutes and seconds, as a call lasts: `02:31`.
pub(crate) fn lasted(seconds: u64) -> String {
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tuesday 25 November 2025, 14:05 UTC.
    const NOW_MS: u64 = 1_764_079_500_000;
    const DAY_MS: u64 = 86_400_000;

    #[test]
    fn the_farther_back_the_coarser() {
        let clock = Clock { now_ms: NOW_MS, zone: TimeZone::UTC };
        assert_eq!(clock.short(NOW_MS), "14:05");
        assert_eq!(clock.short(NOW_MS - DAY_MS), "Mon");
        assert_eq!(clock.short(NOW_MS - 13 * DAY_MS), "12 Nov");
        assert_eq!(clock.short(NOW_MS - 400 * DAY_MS), "21 Oct 2024");
        assert_eq!(clock.exact(NOW_MS - DAY_MS), "Mon 14:05");
        assert_eq!(clock.day(NOW_MS), "Today");
        assert_eq!(clock.day(NOW_MS - DAY_MS), "Yesterday");
        assert_eq!(clock.day(NOW_MS - 13 * DAY_MS), "Wednesday 12 November");
    }

    #[test]
    fn the_day_is_that_of_the_place() {
        let berlin = Clock { now_ms: NOW_MS, zone: TimeZone::fixed(jiff::tz::offset(10)) };
        assert_eq!(berlin.short(NOW_MS), "00:05");
        assert_eq!(berlin.short(NOW_MS - 3_600_000), "Tue");
    }

    #[test]
    fn no_time_that_a_peer_may_name_is_too_much() {
        let clock = Clock { now_ms: NOW_MS, zone: TimeZone::UTC };
        for at_ms in [0, u64::MAX, i64::MAX as u64, NOW_MS * 1_000, NOW_MS + 40 * DAY_MS] {
            assert!(!clock.short(at_ms).is_empty() && !clock.day(at_ms).is_empty());
        }
    }
}
