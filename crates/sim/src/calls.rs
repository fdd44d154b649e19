//! The story of every call, as the devices in it were told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ahoy_client::member::Ending;
use ahoy_proto::{CallId, limits, v1};

use crate::checkers::{Checker, Finding};

/// Two people who act within this time act at once: neither has heard of the other. Streams over the worst links are
/// seldom later.
const AT_ONCE: Duration = Duration::from_secs(6);

/// A leg that was away for less than this must not be lost: `LEG_RETURN`, less the granularity of the world's clock.
const MUST_RETURN: Duration = limits::LEG_RETURN.saturating_sub(Duration::from_millis(10));

/// What a person did about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Answered,
    Declined,
    HungUp,
}

/// All calls of a world.
#[derive(Debug, Default)]
pub(crate) struct Stories(BTreeMap<CallId, Story>);

/// One call.
#[derive(Debug, Default)]
struct Story {
    /// Devices for which it was connected.
    connected: BTreeSet<usize>,
    endings: BTreeMap<usize, (Instant, Ending)>,
    /// When people answered, declined or hung up.
    acts: Vec<(Instant, usize, Act)>,
    /// Somebody's link or process, or the supernode, failed meanwhile.
    disturbed: bool,
    /// The longest time for which a leg was without a link.
    away: Duration,
}

impl Stories {
    /// A call rings; perhaps again, after a device that gave it up could not say so.
    pub(crate) fn rang(&mut self, call: CallId, device: usize) {
        self.0.entry(call).or_default().endings.remove(&device);
    }

    pub(crate) fn connected(&mut self, call: CallId, device: usize) {
        self.0.entry(call).or_default().connected.insert(device);
    }

    pub(crate) fn acted(&mut self, call: CallId, device: usize, act: Act, at: Instant) {
        self.0.entry(call).or_default().acts.push((at, device, act));
    }

    /// A device can't be heard from now on; what it has just done may not have been. A hang-up is said again when the
    /// device is back; an answer is, too; a decline is not, because the call rings again.
    pub(crate) fn unheard(&mut self, device: usize, dead: bool, at: Instant) {
        for story in self.0.values_mut() {
            let lost = |act: &(Instant, usize, Act)| {
                act.1 == device && at.duration_since(act.0) < AT_ONCE && (dead || act.2 == Act::Declined)
            };
            story.disturbed |= story.acts.iter().any(lost);
        }
    }

    pub(crate) fn disturbed(&mut self, call: CallId) {
        self.0.entry(call).or_default().disturbed = true;
    }

    /// A leg has returned after this time, or is away for this long already.
    pub(crate) fn away(&mut self, call: CallId, time: Duration) {
        let story = self.0.entry(call).or_default();
        story.away = story.away.max(time);
    }

    /// A device was told that a call is over.
    pub(crate) fn ended(&mut self, call: CallId, device: usize, at: Instant, ending: Ending) -> Result<(), Finding> {
        let story = self.0.entry(call).or_default();
        if let Some((_, before)) = story.endings.insert(device, (at, ending.clone())) {
            return Err((Checker::Calls, format!("{call} ended twice on a device: {before:?}, {ending:?}")));
        }
        let lost = |ending: &Ending| *ending == Ending::Cause(v1::Cause::Lost);
        // Whoever hangs up on a link that is dead is away for good.
        let left = story.endings.iter().any(|(other, (_, theirs))| *other != device && !lost(theirs));
        if lost(&ending) && story.connected.contains(&device) && !left && story.away < MUST_RETURN {
            return Err((
                Checker::Calls,
                format!("{call} was lost though its legs were away for {:?} only", story.away),
            ));
        }
        story.agree(call)
    }

    /// How many calls were ever connected.
    pub(crate) fn connected_ever(&self) -> usize {
        self.0.values().filter(|story| story.connected.len() > 1).count()
    }

    /// Causes that devices were told.
    pub(crate) fn causes(&self) -> BTreeSet<i32> {
        let endings = self.0.values().flat_map(|story| story.endings.values());
        endings.filter_map(|(_, ending)| cause(ending)).map(i32::from).collect()
    }
}

impl Story {
    /// All devices hear the same cause, unless something failed or two acted at once.
    fn agree(&self, call: CallId) -> Result<(), Finding> {
        let elsewhere =
            |cause: &v1::Cause| matches!(cause, v1::Cause::AnsweredElsewhere | v1::Cause::DeclinedElsewhere);
        let causes: BTreeSet<_> = self.endings.values().filter_map(|(_, ending)| cause(ending)).collect();
        let told: Vec<_> = causes.iter().filter(|cause| !elsewhere(cause)).collect();
        if told.len() < 2 || self.disturbed || self.acted_at_once() {
            return Ok(());
        }
        // One hung up on a dead link and could not say so in time.
        if told.contains(&&v1::Cause::Lost) && self.away >= MUST_RETURN {
            return Ok(());
        }
        Err((Checker::Calls, format!("the sides of {call} disagree: {told:?}")))
    }

    /// Two devices acted at about the same time, or one did while the call was ended for another by a timer or by a call
    /// that crossed.
    fn acted_at_once(&self) -> bool {
        let near = |one: Instant, two: Instant| one.max(two).duration_since(one.min(two)) < AT_ONCE;
        let unasked = |ending: &Ending| {
            matches!(ending, Ending::Cause(v1::Cause::NoAnswer | v1::Cause::Busy | v1::Cause::Unreachable))
        };
        let ends =
            self.endings.iter().filter(|(_, (_, ending))| unasked(ending)).map(|(device, (at, _))| (*at, *device));
        let acts = self.acts.iter().map(|(at, device, _)| (*at, *device));
        let moments: Vec<_> = acts.chain(ends).collect();
        let crossed = |(at, device, _): &(Instant, usize, Act)| {
            moments.iter().any(|(other_at, other)| other != device && near(*at, *other_at))
        };
        self.acts.iter().any(crossed)
    }
}

fn cause(ending: &Ending) -> Option<v1::Cause> {
    match ending {
        Ending::Cause(cause) => Some(*cause),
        Ending::Refused(_) => None,
    }
}
