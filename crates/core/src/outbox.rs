//! What leaves an exchange: outputs for the shell, messages between shards, and the counts.

use std::collections::{BTreeMap, VecDeque};

use ahoy_proto::v1::supernode_message::Body;
use ahoy_proto::{AccountId, CallId, frame, v1};
use bytes::Bytes;

use crate::peer::{Devices, Party, Peer, PeerMessage};
use crate::{Counters, LinkId, Output, QueryId, Question, Recipient, ShardId};

#[derive(Debug)]
pub(crate) struct Outbox {
    shard: ShardId,
    shards: u16,
    outputs: VecDeque<Output>,
    own: VecDeque<Peer>,
    pub(crate) counters: Counters,
}

impl Outbox {
    pub(crate) fn new(shard: ShardId, shards: u16) -> Self {
        let shards = shards.max(1);
        Self { shard, shards, outputs: VecDeque::new(), own: VecDeque::new(), counters: Counters::default() }
    }

    pub(crate) fn next(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(crate) fn next_own(&mut self) -> Option<Peer> {
        self.own.pop_front()
    }

    pub(crate) fn here(&self, link: LinkId) -> Recipient {
        Recipient { shard: self.shard, link }
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

    pub(crate) fn tell(&mut self, shard: ShardId, message: Peer) {
        if shard == self.shard {
            self.own.push_back(message);
        } else {
            self.outputs.push_back(Output::Tell { shard, message: PeerMessage(message) });
        }
    }

    /// To the shard that keeps an account's state.
    pub(crate) fn tell_account(&mut self, account: AccountId, message: Peer) {
        self.tell(self.home(account), message);
    }

    /// To the shard that keeps a call's state.
    pub(crate) fn tell_call(&mut self, call: CallId, message: Peer) {
        self.tell(ShardId(u16::from(call.0[0]) % self.shards), message);
    }

    /// Asks the link's shard for a flow.
    pub(crate) fn open_flow(&mut self, call: CallId, party: Party) {
        let Party { device, link, .. } = party;
        self.tell(link.shard, Peer::OpenFlow { call, device, link: link.link });
    }

    /// The response to a request of a link on any shard.
    pub(crate) fn respond(&mut self, to: Recipient, request: u64, body: Body) {
        let message = framed(request, body);
        self.tell(to.shard, Peer::Deliver { link: to.link, in_reply_to: request, message });
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
        self.tell(to.shard, Peer::Deliver { link: to.link, in_reply_to: 0, message });
    }

    /// An event for devices of an account, wherever they are.
    pub(crate) fn notify(&mut self, account: AccountId, devices: Devices, message: Bytes) {
        self.tell_account(account, Peer::Notify { account, devices, message });
    }

    /// An event for devices of many accounts: one message for each of their homes.
    pub(crate) fn notify_all(&mut self, accounts: &[AccountId], devices: Devices, message: &Bytes) {
        for (shard, accounts) in self.by_home(accounts) {
            self.tell(shard, Peer::NotifyAll { accounts, devices, message: message.clone() });
        }
    }

    /// Accounts, by the shard that keeps their state.
    pub(crate) fn by_home(&self, accounts: &[AccountId]) -> BTreeMap<ShardId, Vec<AccountId>> {
        let mut by_home = BTreeMap::<_, Vec<_>>::new();
        for account in accounts {
            by_home.entry(self.home(*account)).or_default().push(*account);
        }
        by_home
    }

    fn home(&self, account: AccountId) -> ShardId {
        ShardId(u16::from(account.0[0]) % self.shards)
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
