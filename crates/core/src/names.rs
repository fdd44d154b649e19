//! How many names each account has learnt in the past hour, whatever device asked.
//!
//! Invariant: the costs in an account's window are of the past hour and add up to `NAMES_PER_HOUR` at most. A window outlives the
//! account's sessions, so that signing in again is no way around it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use ahoy_proto::{AccountId, limits};

use crate::Timer;
use crate::timers::{Due, Timers};

/// The window's length.
const HOUR: Duration = Duration::from_secs(3600);

/// Look-ups of the past hour that one shard remembers: at 32 bytes each, 32 MB. More than 277 a second are refused.
const LOOK_UPS_MAX: usize = 1_000_000;

#[derive(Debug, Default)]
pub(crate) struct Names {
    windows: BTreeMap<AccountId, Window>,
    look_ups: usize,
    timers: Timers,
}

/// Never empty, and at most `NAMES_PER_HOUR` long, because each look-up costs something.
#[derive(Debug, Default)]
struct Window {
    /// Oldest first.
    look_ups: VecDeque<(Instant, usize)>,
    cost: usize,
}

/// Why a look-up is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The account has learnt as many names as it may; it may again after this time.
    For(Duration),
    /// The shard remembers as many look-ups as it can.
    Full,
}

impl Names {
    /// Charges an account for a look-up that shows so many names at most.
    pub(crate) fn charge(&mut self, account: AccountId, cost: usize, now: Instant) -> Result<(), Refused> {
        self.forget(account, now);
        if let Some(wait) = self.windows.get(&account).and_then(|window| window.wait_for(cost, now)) {
            return Err(Refused::For(wait));
        }
        if self.look_ups >= LOOK_UPS_MAX {
            return Err(Refused::Full);
        }
        let window = self.windows.entry(account).or_default();
        if let Some((last, _)) = window.look_ups.back() {
            self.timers.clear(*last + HOUR, Due::Names(account));
        }
        window.look_ups.push_back((now, cost));
        window.cost += cost;
        self.look_ups += 1;
        self.timers.set(now + HOUR, Due::Names(account));
        Ok(())
    }

    /// Forgets the windows that are over.
    pub(crate) fn timeout(&mut self, now: Instant) {
        while let Some(due) = self.timers.take_due(now) {
            if let Due::Names(account) = due
                && let Some(window) = self.windows.remove(&account)
            {
                self.look_ups -= window.look_ups.len();
            }
        }
    }

    /// Forgets what is over of one window that goes on.
    fn forget(&mut self, account: AccountId, now: Instant) {
        let Some(window) = self.windows.get_mut(&account) else { return };
        while let Some((at, cost)) = window.look_ups.front().copied().filter(|(at, _)| *at + HOUR <= now) {
            // The last one goes with its timer, which knows when it was.
            if window.look_ups.len() == 1 {
                self.timers.clear(at + HOUR, Due::Names(account));
                self.windows.remove(&account);
                self.look_ups -= 1;
                return;
            }
            window.look_ups.pop_front();
            window.cost -= cost;
            self.look_ups -= 1;
        }
    }

    pub(crate) fn next_timer(&self) -> Option<(Instant, Timer)> {
        self.timers.next()
    }

    pub(crate) fn timers(&self) -> usize {
        self.timers.len()
    }
}

impl Window {
    /// How long to wait until there is room for a cost; `None`: there is now.
    fn wait_for(&self, cost: usize, now: Instant) -> Option<Duration> {
        let mut left = self.cost;
        if left + cost <= limits::NAMES_PER_HOUR {
            return None;
        }
        let over = self.look_ups.iter().find(|(_, cost_then)| {
            left -= cost_then;
            left + cost <= limits::NAMES_PER_HOUR
        });
        over.map(|(at, _)| (*at + HOUR).saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ACCOUNT: AccountId = AccountId([1; 16]);

    #[test]
    fn what_is_an_hour_old_makes_room_for_as_much() {
        let start = crate::tests::instant();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut names = Names::default();
        for search in 0..30 {
            assert_eq!(names.charge(ACCOUNT, 10, after(search)), Ok(()));
        }
        assert_eq!(names.charge(ACCOUNT, 1, after(100)), Err(Refused::For(Duration::from_secs(3500))));
        assert_eq!(names.charge(AccountId([2; 16]), 1, after(100)), Ok(()));
        assert_eq!(names.charge(ACCOUNT, 10, after(3600)), Ok(()));
        assert_eq!(names.charge(ACCOUNT, 1, after(3600)), Err(Refused::For(Duration::from_secs(1))));
        assert_eq!(names.charge(ACCOUNT, 11, after(3601)), Err(Refused::For(Duration::from_secs(1))));
    }

    proptest! {
        #[test]
        fn no_hour_holds_more_names_than_allowed_and_none_is_refused_that_fits(
            look_ups in proptest::collection::vec((0u64..900, prop_oneof![Just(1usize), Just(10)]), 0..400),
        ) {
            let start = crate::tests::instant();
            let (mut names, mut now) = (Names::default(), start);
            let mut learnt: Vec<(Instant, usize)> = Vec::new();
            for (pause, cost) in look_ups {
                now += Duration::from_millis(pause * 100);
                if pause % 7 == 0 {
                    names.timeout(now);
                }
                let sum = |learnt: &[(Instant, usize)]| {
                    learnt.iter().filter(|(at, _)| *at + HOUR > now).map(|(_, cost)| cost).sum::<usize>()
                };
                let fits = sum(&learnt) + cost <= limits::NAMES_PER_HOUR;
                let charged = names.charge(ACCOUNT, cost, now);
                prop_assert_eq!(charged.is_ok(), fits);
                if fits {
                    learnt.push((now, cost));
                }
                prop_assert_eq!(names.timers(), 1);
            }
            names.timeout(now + HOUR);
            prop_assert_eq!((names.timers(), names.look_ups, names.windows.len()), (0, 0, 0));
        }
    }
}
