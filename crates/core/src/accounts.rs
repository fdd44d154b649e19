//! The accounts at home on this shard: which devices are online on which link.
//!
//! Invariant: a device has at most one link here; of two, the one that signed in later stays. Presence and the calls that
//! accounts are in have their own modules.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ahoy_proto::{AccountId, CallId, DeviceId, limits, v1};
use bytes::Bytes;
use smallvec::SmallVec;

use crate::engagements::{Engagements, Stage};
use crate::outbox::{Outbox, Refusal};
use crate::peer::{Devices, NewCall, Party, Peer, Reach};
use crate::presence::{self, Presence};
use crate::{CallWelcome, Fleet, Node, Now, Recipient, Timer};

/// How long contacts whose home has died may take to be heard of again: clients are back within 10 s.
const DOUBT: Duration = Duration::from_secs(15);
/// The same for contacts whose home has moved without a death: their devices tell everything anew within 30 s.
const DOUBT_OF_MOVED: Duration = Duration::from_secs(45);

#[derive(Debug, Default)]
pub(crate) struct Accounts {
    accounts: BTreeMap<AccountId, Account>,
    engagements: Engagements,
    /// When those contacts that have not been heard of again are told to be gone.
    doubt: Option<Instant>,
}

#[derive(Debug, Default)]
pub(crate) struct Account {
    online: SmallVec<[Online; 1]>,
    pub(crate) presence: Option<Box<Presence>>,
}

#[derive(Debug, Clone, Copy)]
struct Online {
    device: DeviceId,
    link: Recipient,
    /// When it signed in, by [`Now::steady_ms`].
    at_ms: u64,
    /// Nobody sits at it, or it has not said yet.
    away: bool,
}

impl Accounts {
    /// A device has proven itself on a link. Of two links of a device the later one stays, in whatever order their
    /// shards' messages arrive.
    pub(crate) fn signed_in(&mut self, party: Party, at_ms: u64, outbox: &mut Outbox) {
        let account = self.accounts.entry(party.account).or_default();
        let new = Online { device: party.device, link: party.link, at_ms, away: true };
        let replaced = match account.online.iter_mut().find(|online| online.device == party.device) {
            // A session that registers anew, because its account's home has moved.
            Some(old) if old.link == new.link => None,
            Some(old) if (old.at_ms, old.link) < (new.at_ms, new.link) => Some(std::mem::replace(old, new)),
            Some(_) => Some(new),
            None => account.add(new),
        };
        if let Some(Online { link, .. }) = replaced {
            outbox.tell(link.seat(), Peer::Replaced { link: link.link });
            if link == party.link {
                return;
            }
        }
        for call in self.engagements.ringing(party.account) {
            outbox.tell_call(call, Peer::DeviceUp { call, party });
        }
        self.refresh_presence(party.account, outbox);
    }

    /// A link of a device is gone. One that was replaced is not known any more.
    pub(crate) fn signed_out(&mut self, party: Party, outbox: &mut Outbox) {
        let Some(account) = self.accounts.get_mut(&party.account).filter(|account| account.has_link(party.link)) else {
            return;
        };
        account.online.retain(|online| online.link != party.link);
        if account.is_online() {
            self.refresh_presence(party.account, outbox);
        } else {
            self.forget_presence(party.account, outbox);
            self.accounts.remove(&party.account);
        }
    }

    /// Hands an event to devices that are online.
    pub(crate) fn notify(&self, account: AccountId, devices: Devices, message: &Bytes, outbox: &mut Outbox) {
        let Some(account) = self.accounts.get(&account) else { return };
        for online in &account.online {
            let meant = match devices {
                Devices::All => true,
                Devices::One(device) => online.device == device,
                Devices::AllBut(device) => online.device != device,
            };
            if meant {
                outbox.event_framed(online.link, message.clone());
            }
        }
    }

    /// A device of this account starts a call, or asks again for one whose first response it missed.
    pub(crate) fn start_call(&mut self, new: Box<NewCall>, now: Now, outbox: &mut Outbox) {
        let NewCall { call, caller, callee, request, .. } = *new;
        match self.engagements.stage(caller.account, call) {
            Some(Stage::Ringing) => return outbox.refuse(caller.link, request, CALL_EXISTS),
            Some(Stage::Calling | Stage::Answered) => return outbox.tell_call(call, Peer::NewCall(new)),
            None => {}
        }
        if self.engagements.is_full(caller.account) {
            return outbox.refuse(caller.link, request, TOO_MANY_CALLS);
        }
        if self.engagements.gives_way(caller.account, call, callee, Stage::Ringing, outbox) {
            outbox.respond(caller.link, request, v1::supernode_message::Body::Done(v1::Done {}));
            let ended = v1::CallEnded { call: call.to_bytes(), cause: v1::Cause::Busy.into() };
            return outbox.event(caller.link, v1::supernode_message::Body::CallEnded(ended));
        }
        self.engagements.engage(caller.account, call, callee, Stage::Calling, now.instant);
        outbox.tell_call(call, Peer::NewCall(new));
    }

    /// Somebody calls this account: its devices ring, and it is for them to say that they are busy. Whoever may not ring takes
    /// the same way as when nobody is online, so that there is no difference to see.
    pub(crate) fn reach(
        &mut self,
        call: CallId,
        caller: AccountId,
        callee: AccountId,
        welcome: CallWelcome,
        now: Now,
        outbox: &mut Outbox,
    ) {
        let rings = welcome == CallWelcome::Rings;
        let reach = match self.accounts.get(&callee).filter(|_| rings) {
            None if welcome == CallWelcome::BecomesRequest => Reach::Requested,
            None => Reach::Unreachable,
            Some(_) if self.engagements.is_full(callee) => Reach::Busy,
            Some(_) if self.engagements.gives_way(callee, call, caller, Stage::Calling, outbox) => Reach::Busy,
            Some(account) => {
                self.engagements.engage(callee, call, caller, Stage::Ringing, now.instant);
                Reach::Ringing(account.online.iter().map(|online| (online.device, online.link)).collect())
            }
        };
        outbox.tell_call(call, Peer::Reached { call, reach });
    }

    /// A call of this account was answered, goes on, or was taken up again after a restart.
    pub(crate) fn answered(&mut self, call: CallId, account: AccountId, peer: AccountId, now: Now) {
        self.engagements.engage(account, call, peer, Stage::Answered, now.instant);
    }

    /// A call of this account is over.
    pub(crate) fn disengage(&mut self, call: CallId, account: AccountId) {
        self.engagements.disengage(account, call);
    }

    /// The fleet has changed: accounts whose home is elsewhere now are forgotten, and links of supernodes that are gone are gone.
    pub(crate) fn fleet_changed(&mut self, before: &Fleet, now: Now, outbox: &mut Outbox) {
        self.accounts.retain(|id, _| outbox.fleet().home_of_account(*id).node == Node::OWN);
        let dead: Vec<Node> =
            before.nodes().iter().map(|node| node.node).filter(|node| outbox.fleet().node(*node).is_none()).collect();
        self.engagements.fleet_changed(before, &dead, outbox.fleet());
        self.greet(before, outbox);
        self.doubt_moved(before, &dead, now, outbox.fleet());
        if dead.is_empty() {
            return;
        }
        let lost = |account: &Account| -> Vec<_> {
            account.online.iter().filter(|online| dead.contains(&online.link.node)).copied().collect()
        };
        let lost: Vec<_> = self.accounts.iter().map(|(id, account)| (*id, lost(account))).collect();
        for (account, online) in lost {
            for Online { device, link, .. } in online {
                self.signed_out(Party { account, device, link }, outbox);
            }
        }
    }

    /// Doubts that contacts are as they were whose home is another one now.
    fn doubt_moved(&mut self, before: &Fleet, dead: &[Node], now: Now, after: &Fleet) {
        let patience = |contact| {
            let home = before.home_of_account(contact).node;
            if dead.contains(&home) {
                return Some(DOUBT);
            }
            (home != after.home_of_account(contact).node).then_some(DOUBT_OF_MOVED)
        };
        for presence in self.accounts.values_mut().filter_map(|account| account.presence.as_mut()) {
            let longest = presence.doubt(patience);
            self.doubt = self.doubt.max(longest.map(|patience| now.instant + patience));
        }
    }

    /// Tells contacts at home on a supernode that was not there before how their contacts are, and asks back: a trunk that broke and
    /// returns has moved no home that is on one of its ends, and so nobody there is told anew otherwise.
    fn greet(&self, before: &Fleet, outbox: &mut Outbox) {
        let entered: Vec<Node> =
            outbox.fleet().nodes().iter().map(|node| node.node).filter(|node| before.node(*node).is_none()).collect();
        if entered.is_empty() {
            return;
        }
        for (id, account) in &self.accounts {
            if let Some(presence) = &account.presence {
                presence.greet(*id, |contact, fleet| entered.contains(&fleet.home_of_account(contact).node), outbox);
            }
        }
    }

    /// Tells devices that those contacts are gone whose home has died or moved, and who have not been heard of again; and asks
    /// them, because one who spoke before this supernode saw the change was not heard.
    pub(crate) fn timeout(&mut self, now: Instant, outbox: &mut Outbox) {
        self.engagements.timeout(now);
        if self.doubt.is_none_or(|at| at > now) {
            return;
        }
        self.doubt = None;
        let gone =
            |account: &mut Account| account.presence.as_mut().map(|presence| presence.give_up()).unwrap_or_default();
        let gone: Vec<_> = self.accounts.iter_mut().map(|(id, account)| (*id, gone(account))).collect();
        for (account, contacts) in gone {
            for contact in &contacts {
                self.notify(account, Devices::All, &presence::offline(*contact), outbox);
            }
            presence::ask(account, &contacts, outbox);
        }
    }

    pub(crate) fn next_timer(&self) -> Option<(Instant, Timer)> {
        let doubt = self.doubt.map(|at| (at, Timer::Doubt));
        doubt.into_iter().chain(self.engagements.next_timer()).min()
    }

    pub(crate) fn timers(&self) -> usize {
        usize::from(self.doubt.is_some()) + usize::from(self.engagements.next_timer().is_some())
    }

    pub(crate) fn len(&self) -> usize {
        self.accounts.len()
    }

    pub(crate) fn account(&self, id: AccountId) -> Option<&Account> {
        self.accounts.get(&id)
    }

    pub(crate) fn account_mut(&mut self, id: AccountId) -> Option<&mut Account> {
        self.accounts.get_mut(&id)
    }
}

impl Account {
    pub(crate) fn is_online(&self) -> bool {
        !self.online.is_empty()
    }

    pub(crate) fn has_link(&self, link: Recipient) -> bool {
        self.online.iter().any(|online| online.link == link)
    }

    pub(crate) fn all_away(&self) -> bool {
        self.online.iter().all(|online| online.away)
    }

    pub(crate) fn set_away(&mut self, link: Recipient, away: bool) {
        self.online.iter_mut().filter(|online| online.link == link).for_each(|online| online.away = away);
    }

    /// Adds a device; when there are too many, the one that signed in first has to go.
    fn add(&mut self, new: Online) -> Option<Online> {
        let full = self.online.len() >= limits::DEVICES_MAX;
        let oldest = self.online.iter().enumerate().filter(|_| full).min_by_key(|(_, online)| online.at_ms);
        let gone = oldest.map(|(index, _)| index).map(|index| self.online.remove(index));
        self.online.push(new);
        gone
    }
}

const CALL_EXISTS: Refusal = Refusal::new(v1::ErrorCode::AlreadyExists, "there is a call of this id");
const TOO_MANY_CALLS: Refusal = Refusal::new(v1::ErrorCode::LimitReached, "this account is in too many calls already");
