//! The calls that the accounts at home on this shard are in, so that calls that cross are settled and no account is in too many.
//!
//! The home of a call says when one begins and ends, and one of both may die or move in between. So an engagement is a lease: the home of an
//! answered call renews it, and what nobody renews is forgotten.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ahoy_proto::{AccountId, CallId, limits};

use crate::outbox::Outbox;
use crate::peer::Peer;
use crate::{Fleet, Node, Timer};

/// A call rings for this long from when it starts, and once more from when it is heard of at the callee's home.
const RINGS: Duration = limits::RING_TIMEOUT.saturating_mul(2);

/// The home of an answered call renews at half of this, with the call tokens.
const ANSWERED: Duration = limits::CALL_TOKEN_LIFE;

/// How often those that are over are looked for: a look at each of 10,000 calls costs about a millisecond.
const SWEEP: Duration = Duration::from_secs(60);

/// Of each account, the calls that it is in. Those of nobody are not kept.
#[derive(Debug, Default)]
pub(crate) struct Engagements {
    accounts: BTreeMap<AccountId, Vec<Engagement>>,
    sweep: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Engagement {
    call: CallId,
    peer: AccountId,
    stage: Stage,
    until: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Calling,
    Ringing,
    Answered,
}

impl Engagements {
    /// How far a call of an account is.
    pub(crate) fn stage(&self, account: AccountId, call: CallId) -> Option<Stage> {
        self.of(account).iter().find(|engagement| engagement.call == call).map(|engagement| engagement.stage)
    }

    /// The calls for which an account's devices ring.
    pub(crate) fn ringing(&self, account: AccountId) -> impl Iterator<Item = CallId> {
        self.of(account)
            .iter()
            .filter(|engagement| engagement.stage == Stage::Ringing)
            .map(|engagement| engagement.call)
    }

    /// In as many calls as an account can be.
    pub(crate) fn is_full(&self, account: AccountId) -> bool {
        self.of(account).len() >= limits::CALLS_PER_ACCOUNT_MAX
    }

    /// Glare: two accounts that call each other at once. The call with the lower id goes on and the others end BUSY; both
    /// homes see all of them and decide alike. Says whether `call` is one to end.
    pub(crate) fn gives_way(
        &self,
        account: AccountId,
        call: CallId,
        peer: AccountId,
        opposite: Stage,
        outbox: &mut Outbox,
    ) -> bool {
        let glare = || self.of(account).iter().filter(|other| other.peer == peer && other.stage == opposite);
        if glare().any(|other| other.call < call) {
            return true;
        }
        for other in glare() {
            outbox.tell_call(other.call, Peer::GiveWay { call: other.call });
        }
        false
    }

    /// A call of an account has begun, or was answered, or goes on.
    pub(crate) fn engage(&mut self, account: AccountId, call: CallId, peer: AccountId, stage: Stage, now: Instant) {
        let life = if stage == Stage::Answered { ANSWERED } else { RINGS };
        let engagement = Engagement { call, peer, stage, until: now + life };
        let engagements = self.accounts.entry(account).or_default();
        match engagements.iter_mut().find(|known| known.call == call) {
            Some(known) => *known = engagement,
            None => engagements.push(engagement),
        }
        self.sweep.get_or_insert(now + SWEEP);
    }

    /// A call of an account is over.
    pub(crate) fn disengage(&mut self, account: AccountId, call: CallId) {
        if let Some(engagements) = self.accounts.get_mut(&account) {
            engagements.retain(|engagement| engagement.call != call);
            if engagements.is_empty() {
                self.accounts.remove(&account);
            }
        }
        self.rest();
    }

    /// Forgets accounts whose home is elsewhere now, and calls that have lost their home: they are engaged in anew once they have
    /// another one.
    pub(crate) fn fleet_changed(&mut self, before: &Fleet, dead: &[Node], after: &Fleet) {
        self.accounts.retain(|account, engagements| {
            engagements.retain(|engagement| !dead.contains(&before.home_of_call(engagement.call).node));
            !engagements.is_empty() && after.home_of_account(*account).node == Node::OWN
        });
        self.rest();
    }

    /// Forgets what nobody has renewed.
    pub(crate) fn timeout(&mut self, now: Instant) {
        if self.sweep.is_none_or(|at| at > now) {
            return;
        }
        self.accounts.retain(|_, engagements| {
            engagements.retain(|engagement| engagement.until > now);
            !engagements.is_empty()
        });
        self.sweep = Some(now + SWEEP);
        self.rest();
    }

    pub(crate) fn next_timer(&self) -> Option<(Instant, Timer)> {
        self.sweep.map(|at| (at, Timer::Engagements))
    }

    fn of(&self, account: AccountId) -> &[Engagement] {
        self.accounts.get(&account).map_or(&[], Vec::as_slice)
    }

    fn rest(&mut self) {
        self.sweep = self.sweep.filter(|_| !self.accounts.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: AccountId = AccountId([1; 16]);
    const PEER: AccountId = AccountId([2; 16]);
    const CALL: CallId = CallId([3; 16]);

    /// Lets time pass as the exchange does, from wake to wake.
    fn pass(engagements: &mut Engagements, until: Instant) {
        while let Some((at, _)) = engagements.next_timer().filter(|(at, _)| *at <= until) {
            engagements.timeout(at);
        }
    }

    #[test]
    fn calls_whose_end_nobody_told_are_forgotten_and_make_nobody_busy() {
        let start = crate::tests::instant();
        for (stage, life) in [(Stage::Calling, RINGS), (Stage::Ringing, RINGS), (Stage::Answered, ANSWERED)] {
            let mut engagements = Engagements::default();
            engagements.engage(ACCOUNT, CALL, PEER, stage, start);
            pass(&mut engagements, start + life - Duration::from_secs(1));
            assert_eq!(engagements.stage(ACCOUNT, CALL), Some(stage));
            pass(&mut engagements, start + life + SWEEP);
            assert_eq!(engagements.stage(ACCOUNT, CALL), None);
            assert_eq!(engagements.next_timer(), None);
        }
    }

    #[test]
    fn a_call_that_goes_on_is_kept_as_long_as_its_home_says_so() {
        let start = crate::tests::instant();
        let mut engagements = Engagements::default();
        engagements.engage(ACCOUNT, CALL, PEER, Stage::Ringing, start);
        for half_lives in 0..10 {
            let now = start + limits::CALL_TOKEN_LIFE / 2 * half_lives;
            pass(&mut engagements, now);
            engagements.engage(ACCOUNT, CALL, PEER, Stage::Answered, now);
        }
        pass(&mut engagements, start + limits::CALL_TOKEN_LIFE * 5);
        assert_eq!(engagements.stage(ACCOUNT, CALL), Some(Stage::Answered));
        engagements.disengage(ACCOUNT, CALL);
        assert_eq!((engagements.stage(ACCOUNT, CALL), engagements.next_timer()), (None, None));
    }
}
