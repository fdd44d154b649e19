//! What this device knows of the network's supernodes beyond the roster: how far away they are, and which had better not be tried now.
//!
//! Bounded by the roster: what is not in it is forgotten.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ahoy_proto::document::RosterEntry;
use ahoy_proto::placement::{self, Candidate};
use ahoy_proto::{AccountId, SupernodeId, UnixTime};

use crate::profile::RoundTrip;

/// How long a round trip that was measured counts. Devices travel: a shorter time costs more surveys, a longer one leaves somebody who
/// has moved to another continent with the old one for longer.
const ROUND_TRIP_LIFE: Duration = Duration::from_secs(86_400);

/// A round trip that has changed by less is not worth a write.
const ROUND_TRIP_CHANGE_MS: u32 = 10;

/// How long a supernode that could not be reached, or would not have us, is tried after all others. Longer keeps an account away from
/// its home after it has come back; shorter spends a dial on a dead one each time. Those that come back take their sessions over anyway.
const SHELVED: Duration = Duration::from_secs(60);

/// The longest that a supernode may have itself left alone.
const SHELVED_MAX: Duration = Duration::from_secs(600);

/// Supernodes measured in one survey, one of each region: a handshake each, of 3 KB and a signature on either side, once a day.
pub(super) const SURVEY_MAX: usize = 3;

/// How long a session of ours that nobody here has may take to come about, or to be taken for the newer one by clocks that differ.
const ABANDONED: Duration = Duration::from_secs(30);

/// Shared by the driver and its attempts to connect.
#[derive(Debug, Clone, Default)]
pub(super) struct Fleet(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    round_trips: BTreeMap<SupernodeId, Measured>,
    shelved: BTreeMap<SupernodeId, Instant>,
    /// Something is to be written to the profile.
    changed: bool,
    /// A supernode was not what the roster says.
    doubted: bool,
    /// Whether the last session's link was one by QUIC.
    reached_by_quic: Option<bool>,
    /// When a session last was given up that a supernode may have all the same.
    abandoned: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    ms: u32,
    at: UnixTime,
}

impl Fleet {
    /// From what earlier sessions left.
    pub(super) fn new(round_trips: Vec<RoundTrip>) -> Self {
        let known = |trip: RoundTrip| (trip.supernode, Measured { ms: trip.ms, at: trip.at });
        let round_trips = round_trips.into_iter().map(known).collect();
        Self(Arc::new(Mutex::new(Known { round_trips, ..Known::default() })))
    }

    /// Forgets supernodes that are not in the roster.
    pub(super) fn prune(&self, roster: &[RosterEntry]) {
        let mut known = self.known();
        let is_listed = |supernode: &SupernodeId| roster.iter().any(|entry| entry.supernode == *supernode);
        known.round_trips.retain(|supernode, _| is_listed(supernode));
        known.shelved.retain(|supernode, _| is_listed(supernode));
    }

    /// Supernodes in the order to try: by placement, those that are shelved last. Where none takes anything, in the roster's order.
    pub(super) fn order(
        &self,
        account: AccountId,
        roster: &[RosterEntry],
        wall: UnixTime,
        now: Instant,
    ) -> Vec<RosterEntry> {
        let known = self.known();
        let candidate = |entry: &RosterEntry| {
            let candidate = Candidate { supernode: entry.supernode, weight: entry.weight };
            (candidate, known.round_trip(entry, roster, wall))
        };
        let candidates: Vec<_> = roster.iter().map(candidate).collect();
        let chosen = placement::choose(&account, &candidates);
        let mut order: Vec<RosterEntry> = chosen.into_iter().map(|index| roster[index].clone()).collect();
        if order.is_empty() {
            order = roster.to_vec();
        }
        order.sort_by_key(|entry| known.shelved.get(&entry.supernode).filter(|until| **until > now).copied());
        order
    }

    /// Of an order, the first of each region if there are several regions and one is not measured: how far they are is worth a look.
    pub(super) fn survey(&self, order: &[RosterEntry], wall: UnixTime) -> Vec<RosterEntry> {
        let known = self.known();
        let mut firsts: Vec<&RosterEntry> = Vec::new();
        for entry in order {
            let is_new = firsts.iter().all(|first| first.region != entry.region);
            if is_new && firsts.len() < SURVEY_MAX {
                firsts.push(entry);
            }
        }
        let unknown = |entry: &&RosterEntry| known.round_trip(entry, order, wall).is_none();
        if firsts.len() < 2 || !firsts.iter().any(unknown) {
            return Vec::new();
        }
        firsts.into_iter().cloned().collect()
    }

    /// What the link of the newest session is.
    pub(super) fn reached(&self, by_quic: bool) {
        self.known().reached_by_quic = Some(by_quic);
    }

    /// Whether UDP got through when last it mattered.
    pub(super) fn reached_by_quic(&self) -> Option<bool> {
        self.known().reached_by_quic
    }

    /// A link to it has this round trip.
    pub(super) fn measured(&self, supernode: SupernodeId, round_trip: Duration, wall: UnixTime) {
        let mut known = self.known();
        let ms = u32::try_from(round_trip.as_millis()).unwrap_or(u32::MAX);
        let old = known.round_trips.insert(supernode, Measured { ms, at: wall });
        let same =
            |old: Measured| old.ms.abs_diff(ms) < ROUND_TRIP_CHANGE_MS && old.at.distance(wall) < ROUND_TRIP_LIFE / 2;
        match old {
            // What is on the disk is near enough, and is written again before it is too old.
            Some(old) if same(old) => drop(known.round_trips.insert(supernode, old)),
            _ => known.changed = true,
        }
        known.shelved.remove(&supernode);
    }

    /// It could not be reached or would not have us; `retry_after`: as it says.
    pub(super) fn shelve(&self, supernode: SupernodeId, retry_after: Duration, now: Instant) {
        let until = now + retry_after.max(SHELVED).min(SHELVED_MAX);
        self.known().shelved.insert(supernode, until);
    }

    /// A supernode is not what the roster says: there may be a newer one.
    pub(super) fn doubt_roster(&self) {
        self.known().doubted = true;
    }

    /// Whether the roster was doubted since this was asked last.
    pub(super) fn take_doubt(&self) -> bool {
        std::mem::take(&mut self.known().doubted)
    }

    /// A supernode may have a session of ours that nobody here has: of a proof whose answer was not waited for, or on a link that was not heard
    /// to end.
    pub(super) fn abandon_session(&self, now: Instant) {
        self.known().abandoned = Some(now);
    }

    /// Whether such a session may still take the place of the present one.
    pub(super) fn has_abandoned(&self, now: Instant) -> bool {
        self.known().abandoned.is_some_and(|at| now.saturating_duration_since(at) <= ABANDONED)
    }

    /// What is to be kept for sessions to come, if it is not kept yet.
    pub(super) fn take_changed(&self) -> Option<Vec<RoundTrip>> {
        let mut known = self.known();
        let kept = |(supernode, measured): (&SupernodeId, &Measured)| RoundTrip {
            supernode: *supernode,
            ms: measured.ms,
            at: measured.at,
        };
        std::mem::take(&mut known.changed).then(|| known.round_trips.iter().map(kept).collect())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Every change is whole in one statement: a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// As measured, or else as the nearest of its region: those stand in one place.
    fn round_trip(&self, entry: &RosterEntry, roster: &[RosterEntry], wall: UnixTime) -> Option<Duration> {
        let own = |supernode: SupernodeId| {
            let measured = self.round_trips.get(&supernode)?;
            (measured.at.distance(wall) < ROUND_TRIP_LIFE).then_some(Duration::from_millis(measured.ms.into()))
        };
        own(entry.supernode).or_else(|| {
            let near = roster.iter().filter(|other| !entry.region.is_empty() && other.region == entry.region);
            near.filter_map(|other| own(other.supernode)).min()
        })
    }
}

#[cfg(test)]
mod tests {
    use ahoy_proto::document::Jwk;

    use super::*;

    const ACCOUNT: AccountId = AccountId([7; 16]);
    const WALL: UnixTime = UnixTime(1_000_000);

    fn entry(number: u8, region: &str) -> RosterEntry {
        let key = [number; 32];
        RosterEntry {
            supernode: SupernodeId::of_roster_key(&key),
            key: Jwk::ed25519(key),
            addresses: vec![],
            region: region.to_owned(),
            weight: 100,
            number: number.into(),
        }
    }

    fn numbers(order: &[RosterEntry]) -> Vec<u32> {
        order.iter().map(|entry| entry.number).collect()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_supernode_is_as_near_as_the_nearest_of_its_region() {
        let roster: Vec<_> = [(1, "eu"), (2, "us"), (3, "eu"), (4, "us"), (5, "eu")].map(|(n, r)| entry(n, r)).into();
        let (fleet, now) = (Fleet::default(), Instant::now());
        let by_rank = numbers(&fleet.order(ACCOUNT, &roster, WALL, now));
        fleet.measured(roster[0].supernode, ms(20), WALL);
        fleet.measured(roster[1].supernode, ms(120), WALL);
        let near: Vec<u32> = by_rank.iter().copied().filter(|number| number % 2 == 1).collect();
        assert_eq!(numbers(&fleet.order(ACCOUNT, &roster, WALL, now))[..3], near);
        // A measure is good for a day.
        assert_eq!(numbers(&fleet.order(ACCOUNT, &roster, WALL.plus(ROUND_TRIP_LIFE), now)), by_rank);
    }

    #[test]
    fn what_could_not_be_reached_comes_last_for_a_while_and_is_still_tried() {
        let roster: Vec<_> = (1..=4).map(|number| entry(number, "eu")).collect();
        let (fleet, now) = (Fleet::default(), Instant::now());
        let order = fleet.order(ACCOUNT, &roster, WALL, now);
        fleet.shelve(order[0].supernode, ms(0), now);
        fleet.shelve(order[1].supernode, SHELVED * 2, now);
        let all = numbers(&order);
        let at = |later| numbers(&fleet.order(ACCOUNT, &roster, WALL, now + later));
        assert_eq!(at(ms(0)), [all[2], all[3], all[0], all[1]]);
        assert_eq!(at(SHELVED), [all[0], all[2], all[3], all[1]], "retry_after is longer");
        assert_eq!(at(SHELVED * 2), all);
        fleet.shelve(order[0].supernode, ms(0), now);
        fleet.measured(order[0].supernode, ms(1), WALL);
        assert_eq!(at(ms(0))[0], all[0], "it has been reached");
    }

    #[test]
    fn regions_are_surveyed_once_a_day_and_only_where_there_are_several() {
        let one: Vec<_> = (1..=3).map(|number| entry(number, "eu")).collect();
        let fleet = Fleet::default();
        assert!(fleet.survey(&one, WALL).is_empty());
        let roster: Vec<_> =
            [(1, "eu"), (2, "eu"), (3, "us"), (4, "asia"), (5, "africa")].map(|(n, r)| entry(n, r)).into();
        let survey = fleet.survey(&roster, WALL);
        assert_eq!(numbers(&survey), [1, 3, 4], "the first of each, and no more than are cheap");
        for entry in &survey {
            fleet.measured(entry.supernode, ms(50), WALL);
        }
        assert!(fleet.survey(&roster, WALL).is_empty());
        assert_eq!(fleet.survey(&roster, WALL.plus(ROUND_TRIP_LIFE)).len(), SURVEY_MAX);
    }

    #[test]
    fn round_trips_are_kept_for_later_and_not_written_for_nothing() {
        let fleet = Fleet::default();
        let roster = [entry(1, "eu"), entry(2, "eu")];
        fleet.measured(roster[0].supernode, ms(20), WALL);
        let kept = fleet.take_changed().unwrap();
        assert_eq!(kept, [RoundTrip { supernode: roster[0].supernode, ms: 20, at: WALL }]);
        let fleet = Fleet::new(kept);
        fleet.measured(roster[0].supernode, ms(25), WALL.plus(ms(3_000_000)));
        assert_eq!(fleet.take_changed(), None);
        fleet.measured(roster[0].supernode, ms(25), WALL.plus(ROUND_TRIP_LIFE / 2));
        assert!(fleet.take_changed().is_some(), "so that it does not grow too old");
        fleet.measured(roster[0].supernode, ms(90), WALL.plus(ROUND_TRIP_LIFE / 2));
        assert!(fleet.take_changed().is_some());
    }

    #[test]
    fn supernodes_that_leave_the_roster_are_forgotten() {
        let roster = [entry(1, "eu"), entry(2, "eu")];
        let (fleet, now) = (Fleet::default(), Instant::now());
        fleet.measured(roster[1].supernode, ms(20), WALL);
        fleet.shelve(roster[1].supernode, ms(0), now);
        fleet.prune(&roster[..1]);
        let known = fleet.known();
        assert!(known.round_trips.is_empty() && known.shelved.is_empty());
    }

    #[test]
    fn a_session_that_was_given_up_may_take_the_place_of_another_for_half_a_minute() {
        let (fleet, now) = (Fleet::default(), Instant::now());
        assert!(!fleet.has_abandoned(now));
        fleet.abandon_session(now);
        assert!(fleet.has_abandoned(now + ABANDONED));
        assert!(!fleet.has_abandoned(now + ABANDONED + ms(1)));
    }

    #[test]
    fn where_none_takes_anything_all_are_tried() {
        let mut alone = entry(1, "eu");
        alone.weight = 0;
        assert_eq!(Fleet::default().order(ACCOUNT, &[alone.clone()], WALL, Instant::now()), [alone]);
    }
}
