//! The timers of a shard: a set ordered by deadline, one entry per running timer.

use std::collections::BTreeSet;
use std::time::Instant;

use ahoy_proto::{AccountId, CallId};

use crate::LinkId;

/// Why the exchange wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// When a link has had its time to prove itself.
    Proof,
    /// When a session's credential may have expired.
    Expiry,
    /// When a call has rung for long enough.
    Ring,
    /// When a leg has been without a link for long enough.
    LegReturn,
    /// When the call tokens of a call have lived half of their life.
    CallToken,
    /// When an account has learnt no name for an hour.
    Names,
    /// When calls are forgotten that nobody says to go on.
    Engagements,
    /// When contacts whose home has died or moved have had their time to be heard of again.
    Doubt,
    /// When a message in fragments has had its time to be whole.
    Long,
    /// When flows whose call has lost its home have had their time to be attached again.
    Orphans,
}

/// A timer and what it is set for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    Proof(LinkId),
    Expiry(LinkId),
    Long(LinkId),
    Ring(CallId),
    LegReturn(CallId, u8),
    CallToken(CallId),
    Names(AccountId),
    Orphans,
}

impl Due {
    fn timer(self) -> Timer {
        match self {
            Self::Proof(_) => Timer::Proof,
            Self::Expiry(_) => Timer::Expiry,
            Self::Long(_) => Timer::Long,
            Self::Ring(_) => Timer::Ring,
            Self::LegReturn(..) => Timer::LegReturn,
            Self::CallToken(_) => Timer::CallToken,
            Self::Names(_) => Timer::Names,
            Self::Orphans => Timer::Orphans,
        }
    }
}

/// Whoever sets a timer keeps its deadline, to clear it with.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Instant, Due)>);

impl Timers {
    pub(crate) fn set(&mut self, at: Instant, due: Due) {
        self.0.insert((at, due));
    }

    pub(crate) fn clear(&mut self, at: Instant, due: Due) {
        self.0.remove(&(at, due));
    }

    /// Takes a timer whose time has come.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Due> {
        let first = *self.0.first().filter(|(at, _)| *at <= now)?;
        self.0.remove(&first);
        Some(first.1)
    }

    pub(crate) fn next(&self) -> Option<(Instant, Timer)> {
        self.0.first().map(|(at, due)| (*at, due.timer()))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
