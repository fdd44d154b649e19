//! What homes were told of late, to be told again to those that turn out to be the homes.
//!
//! Supernodes see each other come and go at different moments. Until their views agree, what one tells the home of an account may go to
//! a supernode that is none, by the view of the one that holds the session, and only the teller finds out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ahoy_proto::AccountId;
use bytes::Bytes;

use crate::Fleet;
use crate::peer::Devices;

/// Views agree again within 3 s of a death, 2 s of a trunk's pause and the 1 s of a lease.
const LIFE: Duration = Duration::from_secs(10);

/// Events kept: those of 10 s at 400 a second on this shard. What is beyond is not told again.
const MAX: usize = 4_096;

/// Their bytes.
const BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Telling {
    at: Instant,
    pub(crate) accounts: Vec<AccountId>,
    pub(crate) devices: Devices,
    pub(crate) message: Bytes,
}

/// Events of the store's answers, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Told {
    events: VecDeque<Telling>,
    bytes: usize,
}

impl Told {
    pub(crate) fn keep(&mut self, accounts: Vec<AccountId>, devices: Devices, message: Bytes, now: Instant) {
        self.bytes += message.len();
        self.events.push_back(Telling { at: now, accounts, devices, message });
        while self.events.len() > MAX || self.bytes > BYTES_MAX || self.oldest_is_over(now) {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.message.len();
        }
    }

    /// What was told to homes that have moved since, for the accounts concerned. It is repeated once for each change of the view; whoever
    /// has heard it passes it over.
    pub(crate) fn moved(&self, before: &Fleet, after: &Fleet, now: Instant) -> Vec<Telling> {
        let recent = self.events.iter().filter(|event| event.at + LIFE > now);
        let moved = |account: &AccountId| before.home_of_account(*account) != after.home_of_account(*account);
        let again = recent.filter_map(|event| {
            let accounts: Vec<AccountId> = event.accounts.iter().copied().filter(moved).collect();
            let Telling { at, devices, ref message, .. } = *event;
            (!accounts.is_empty()).then(|| Telling { at, accounts, devices, message: message.clone() })
        });
        again.collect()
    }

    fn oldest_is_over(&self, now: Instant) -> bool {
        self.events.front().is_some_and(|oldest| oldest.at + LIFE <= now)
    }
}
