//! What leaves an exchange: outputs for the shell, messages between shards, and the counts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use ahoy_proto::v1::supernode_message::Body;
use ahoy_proto::{AccountId, CallId, frame, v1};
use bytes::Bytes;

use crate::peer::{Devices, Party, Peer, PeerMessage};
use crate::told::Told;
use crate::{Counters, Fleet, LinkId, Node, Output, QueryId, Question, Recipient, Seat, ShardId, trunk};

#[derive(Debug)]
pub(crate) struct Outbox {
    seat: Seat,
    fleet: Arc<Fleet>,
    outputs: VecDeque<Output>,
    own: VecDeque<Peer>,
    told: Told,
    pub(crate) counters: Counters,
}

impl Outbox {
    pub(crate) fn new(shard: ShardId, fleet: Fleet) -> Self {
        Self {
            seat: Seat { node: Node::OWN, shard },
            fleet: Arc::new(fleet),
            outputs: VecDeque::new(),
            own: VecDeque::new(),
            told: Told::default(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Puts another fleet into force and gives the one so far.
    pub(crate) fn set_fleet(&mut self, fleet: Arc<Fleet>) -> Arc<Fleet> {
        std::mem::replace(&mut self.fleet, fleet)
    }

    /// Where a message that has come here belongs, if that is another supernode.
    pub(crate) fn elsewhere(&self, message: &Peer) -> Option<Seat> {
        if self.fleet.nodes().len() <= 1 {
            return None;
        }
        let account = message.for_home_of().map(|account| self.fleet.home_of_account(account));
        let home = account.or_else(|| message.for_home_of_call().map(|call| self.fleet.home_of_call(call)));
        home.filter(|home| home.node != Node::OWN)
    }

    /// Sends a message on to where it belongs.
    pub(crate) fn send_on(&mut self, to: Seat, message: Peer) {
        self.tell_after(to, message, 1);
    }

    pub(crate) fn next(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(crate) fn next_own(&mut self) -> Option<Peer> {
        self.own.pop_front()
    }

    pub(crate) fn here(&self, link: LinkId) -> Recipient {
        Recipient { node: Node::OWN, shard: self.seat.shard, link }
    }

    pub(crate) fn send(&mut self, link: LinkId, bytes: Bytes) {
        self.outputs.push_back(Output::Send { link, bytes });
    }

    pub(crate) fn close(&mut self, link: LinkId, code: v1::ErrorCode) {
        self.outputs.push_back(Output::Close { link, code });
    }

    pub(crate) fn ask(&mut self, query: QueryId, question: Question) {
        self.counters.questions += 1;
        self.outputs.push_back(Output::Ask { query, question });
    }

    /// To a shard. What is for a supernode that is gone is dropped: whoever loses by it is told anew.
    pub(crate) fn tell(&mut self, to: Seat, message: Peer) {
        self.tell_after(to, message, 0);
    }

    fn tell_after(&mut self, to: Seat, message: Peer, hops: u32) {
        if to == self.seat {
            self.own.push_back(message);
        } else if to.node == Node::OWN {
            self.outputs.push_back(Output::Tell { shard: to.shard, message: PeerMessage(message) });
        } else if self.fleet.node(to.node).is_some() {
            let bytes = trunk::encode(message, self.seat.shard, to, hops, &self.fleet);
            self.counters.trunk_messages += 1;
            self.outputs.push_back(Output::Trunk { to, bytes });
        } else {
            self.counters.strays += 1;
        }
    }

    /// A link has become a trunk.
    pub(crate) fn joined(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// To the shard that keeps an account's state.
    pub(crate) fn tell_account(&mut self, account: AccountId, message: Peer) {
        self.tell(self.fleet.home_of_account(account), message);
    }

    /// To the shard that keeps a call's state.
    pub(crate) fn tell_call(&mut self, call: CallId, message: Peer) {
        self.tell(self.fleet.home_of_call(call), message);
    }

    /// Asks the link's shard for a flow.
    pub(crate) fn open_flow(&mut self, call: CallId, party: Party) {
        let Party { device, link, .. } = party;
        self.tell(link.seat(), Peer::OpenFlow { call, device, link: link.link, home: self.seat });
    }

    /// The response to a request of a link on any shard.
    pub(crate) fn respond(&mut self, to: Recipient, request: u64, body: Body) {
        let message = framed(request, body);
        self.tell(to.seat(), Peer::Deliver { link: to.link, in_reply_to: request, message });
    }

    /// The response that refuses a request.
    pub(crate) fn refuse(&mut self, to: Recipient, request: u64, refusal: Refusal) {
        self.respond(to, request, refusal.body());
    }

    /// An event for a link on any shard.
    pub(crate) fn event(&mut self, to: Recipient, body: Body) {
        self.event_framed(to, framed(0, body));
    }

    /// The same, for an event that goes to many.
    pub(crate) fn event_framed(&mut self, to: Recipient, message: Bytes) {
        self.tell(to.seat(), Peer::Deliver { link: to.link, in_reply_to: 0, message });
    }

    /// An event for devices of an account, wherever they are.
    pub(crate) fn notify(&mut self, account: AccountId, devices: Devices, message: Bytes) {
        self.tell_account(account, Peer::Notify { account, devices, message });
    }

    /// The same for what stands in the store, which nobody tells a second time: if a home turns out to be another within seconds, that
    /// one hears of it too.
    pub(crate) fn tell_lasting(&mut self, accounts: Vec<AccountId>, devices: Devices, message: Bytes, now: Instant) {
        self.notify_all(&accounts, devices, &message);
        self.told.keep(accounts, devices, message, now);
    }

    /// Tells what lasts again to homes that have moved.
    pub(crate) fn tell_moved(&mut self, before: &Fleet, now: Instant) {
        for event in self.told.moved(before, &self.fleet, now) {
            self.notify_all(&event.accounts, event.devices, &event.message);
        }
    }

    /// An event for devices of many accounts: one message for each of their homes.
    pub(crate) fn notify_all(&mut self, accounts: &[AccountId], devices: Devices, message: &Bytes) {
        for (home, accounts) in self.by_home(accounts) {
            self.tell(home, Peer::NotifyAll { accounts, devices, message: message.clone() });
        }
    }

    /// Accounts, by the shard that keeps their state.
    pub(crate) fn by_home(&self, accounts: &[AccountId]) -> BTreeMap<Seat, Vec<AccountId>> {
        let mut by_home = BTreeMap::<_, Vec<_>>::new();
        for account in accounts {
            by_home.entry(self.fleet.home_of_account(*account)).or_default().push(*account);
        }
        by_home
    }
}

/// A message as it stands on the stream, in fragments when it is long.
pub(crate) fn framed(in_reply_to: u64, body: Body) -> Bytes {
    frame::encode_message(&v1::SupernodeMessage { in_reply_to, body: Some(body) })
}

/// Why one request is refused; the link goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: v1::ErrorCode,
    pub(crate) text: &'static str,
    pub(crate) retry_after_ms: u32,
}

impl Refusal {
    pub(crate) const fn new(code: v1::ErrorCode, text: &'static str) -> Self {
        Self { code, text, retry_after_ms: 0 }
    }

    pub(crate) const fn invalid(text: &'static str) -> Self {
        Self::new(v1::ErrorCode::InvalidArgument, text)
    }

    pub(crate) const fn unavailable(text: &'static str) -> Self {
        Self { code: v1::ErrorCode::Unavailable, text, retry_after_ms: UNAVAILABLE_RETRY_MS }
    }

    pub(crate) fn body(self) -> Body {
        Body::Error(v1::Error {
            code: self.code.into(),
            text: self.text.to_owned(),
            retry_after_ms: self.retry_after_ms,
        })
    }
}

/// How soon to ask a store again that could not answer: long enough for a batch of 1,000 verbs on a slow disk to pass.
const UNAVAILABLE_RETRY_MS: u32 = 1_000;
