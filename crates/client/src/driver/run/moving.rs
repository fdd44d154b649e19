//! Going elsewhere while the session goes on, and telling everything anew on the same link.
//!
//! A move is made before the old session is broken: the new one signs in while the old one serves, and only then takes its place. In
//! a call, voice goes out over the old link until the leg is attached on the new one, and comes in over both.

use std::time::{Duration, Instant};

use ahoy_proto::document::RosterEntry;
use ahoy_proto::{SupernodeId, v1};

use super::{Backoff, ConnectError, Driver, Session, renewal};
use crate::driver::backoff::SPREAD;

/// How long the link before is kept in a call, for what is under way on it: attaching takes a round trip, and voice is delayed by less
/// than a second.
const PART_AFTER: Duration = Duration::from_secs(2);

/// How long a client that is sent to a supernode that it does not know waits for a newer roster.
const ROSTER_WITHIN: Duration = Duration::from_secs(10);

/// The supernode has asked this device to go elsewhere.
pub(super) struct Leaving {
    pub(super) at: Instant,
    to: Option<SupernodeId>,
    /// Attempts so far have been in vain.
    backoff: Backoff,
    /// A newer roster was asked for, to find the supernode there.
    sought: bool,
}

impl Driver {
    /// Where to: the supernode named if it is known, else any but this one. Nothing where there is no other: then the session
    /// is kept until it ends.
    pub(super) fn handle_go_away(&mut self, go_away: &v1::GoAway, now: Instant) {
        let spread = f64::from(go_away.spread_ms) * rand::random::<f64>();
        let wait = Duration::from_secs_f64((f64::from(go_away.reconnect_in_ms) + spread) / 1_000.0);
        let to = SupernodeId::try_from(&go_away.supernode[..]).ok();
        if self.session.as_ref().is_some_and(|session| Some(session.entry.supernode) == to) {
            return;
        }
        // Of several that ask, the most urgent counts.
        if self.leaving.as_ref().is_some_and(|leaving| leaving.at <= now + wait) {
            return;
        }
        self.leaving = Some(Leaving { at: now + wait, to, backoff: Backoff::default(), sought: false });
        self.moving = None;
    }

    /// It is time to go.
    pub(super) fn leave(&mut self, now: Instant) {
        let mut route = self.route();
        let (Some(leaving), Some(session)) = (&mut self.leaving, &self.session) else { return };
        let present = session.entry.supernode;
        let is_known = |to: SupernodeId| route.entries.iter().any(|entry| entry.supernode == to);
        if leaving.to.is_some_and(|to| !is_known(to)) && !std::mem::replace(&mut leaving.sought, true) {
            leaving.at = now + ROSTER_WITHIN;
            return self.refresh(renewal::with_newest_roster);
        }
        let to = leaving.to;
        route.survey.clear();
        route.entries.retain(|entry: &RosterEntry| entry.supernode != present);
        // Stable: the others stay in their order behind it.
        route.entries.sort_by_key(|entry| Some(entry.supernode) != to);
        if route.entries.is_empty() {
            self.leaving = None;
            return;
        }
        self.moving = Some(Box::pin(route.connect()));
    }

    pub(super) fn handle_moved(&mut self, result: Result<Session, ConnectError>, now: Instant) {
        self.moving = None;
        match result {
            Ok(session) => self.handle_session(session, now),
            Err(error) => {
                tracing::debug!(%error, "no session elsewhere: the one that there is goes on");
                self.look_at_doubt(now);
                if !self.lose_superseded(now)
                    && let Some(leaving) = &mut self.leaving
                {
                    let wait = leaving.backoff.handle_failure(now, SPREAD, rand::random());
                    leaving.at = now + wait.max(error.retry_after());
                }
            }
        }
    }

    /// Lets the link before go: at once, or in a call a little later.
    pub(super) fn part_from(&mut self, old: Session, now: Instant) {
        if self.is_speaking() {
            self.parting = Some((old.link, now + PART_AFTER));
        } else {
            old.link.close(v1::ErrorCode::Unspecified);
        }
    }

    pub(super) fn part(&mut self) {
        if let Some((link, _)) = self.parting.take() {
            link.close(v1::ErrorCode::Unspecified);
        }
    }

    /// Several are one: the soonest counts.
    pub(super) fn handle_resync(&mut self, resync: v1::Resync, now: Instant) {
        let wait = Duration::from_millis(resync.spread_ms.into()).mul_f64(rand::random());
        if wait.is_zero() {
            return self.resync(now);
        }
        let at = now + wait;
        self.resync_at = Some(self.resync_at.map_or(at, |waiting| waiting.min(at)));
    }

    /// Tells everything anew. The link and its voice go on.
    pub(super) fn resync(&mut self, now: Instant) {
        self.resync_at = None;
        self.member.resync(now);
    }
}
