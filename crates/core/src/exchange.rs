//! The exchange of one shard: takes inputs in, hands them to sessions, accounts, calls and relay, and queues outputs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ahoy_proto::call_token::CallTokenKey;
use ahoy_proto::document::{Revocations, Roster};
use ahoy_proto::{NetworkId, SupernodeId, UnixTime, v1};
use bytes::Bytes;
use ed25519_dalek::VerifyingKey;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use crate::accounts::Accounts;
use crate::answers::STORE_UNAVAILABLE;
use crate::calls::{Calls, TokenMint};
use crate::fleet::{Fleet, Node, Seat};
use crate::forwarded::Forwarded;
use crate::links::Links;
use crate::names::{Names, Refused};
use crate::outbox::{Outbox, Refusal};
use crate::peer::{Party, Peer, PeerMessage};
use crate::relay::{DropCause, Forward, Relay};
use crate::trunk;
use crate::{Answer, Counters, Day, Gauges, QueryId, Question, StoreError, Timer};

/// A moment: on the monotonic clock, and on the wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic; the same clock for all shards of a supernode.
    pub instant: Instant,
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

impl Now {
    /// Milliseconds since the Unix epoch by a clock that began with this life of the supernode and does not go back: the same
    /// for all shards, and for other supernodes as close as the machines' clocks are.
    pub(crate) fn steady_ms(self, started: Self) -> u64 {
        let since = self.instant.saturating_duration_since(started.instant);
        started.unix_ms.saturating_add(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn unix(self) -> UnixTime {
        UnixTime(self.unix_ms / 1000)
    }

    pub(crate) fn day(self) -> Day {
        Day(u32::try_from(self.unix_ms / 86_400_000).unwrap_or(u32::MAX))
    }
}

/// One transport connection of a shard. The shell makes these numbers and never uses one twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// A shard of this supernode, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// A link and the shard that it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Recipient {
    /// The supernode.
    pub node: Node,
    /// The shard.
    pub shard: ShardId,
    /// The link.
    pub link: LinkId,
}

impl Recipient {
    /// The shard that it is on.
    pub(crate) fn seat(self) -> Seat {
        Seat { node: self.node, shard: self.shard }
    }
}

/// What the authority has signed, as far as it concerns a supernode.
#[derive(Debug, Clone)]
pub struct Lists {
    /// The keys that credentials, certificates and lists are checked with.
    pub signing_keys: Vec<VerifyingKey>,
    /// The newest revocation list.
    pub revocations: Arc<Revocations>,
    /// The newest roster.
    pub roster: Arc<Roster>,
    /// This supernode's newest certificate, a compact JWS; shown to whoever dials.
    pub certificate: String,
}

/// What an exchange needs to know from the start.
#[derive(Debug, Clone)]
pub struct ExchangeConfig {
    /// The network that it serves.
    pub network: NetworkId,
    /// The supernode that it is part of.
    pub supernode: SupernodeId,
    /// The number in the supernode's certificate, which makes its flow ids unlike those of all others.
    pub number: u32,
    /// Which life of the supernode this is.
    pub incarnation: u64,
    /// When it began, the same for all shards: sign-ins are timed from then on, by a clock that does not go back.
    pub started: Now,
    /// Which shard this is.
    pub shard: ShardId,
    /// How many there are, at least 1.
    pub shards: u16,
    /// The fleet's.
    pub call_token_key: CallTokenKey,
    /// The least protocol version served.
    pub minimum_version: u32,
    /// Sessions of this shard; from then on sign-ins are refused with OVERLOADED, but for an eighth more of devices in a call.
    /// 100,000 sessions on a supernode of 4 shards, unevenly spread, are 40,000 on one.
    pub sessions_max: usize,
    /// Links of this shard that have not proven themselves, at most. Each holds at most 4 KiB for 10 s, so 10,000 hold 40 MB.
    pub half_open_max: usize,
    /// Calls at home on this shard, at most. A call holds about 10 KiB at most while it rings.
    pub calls_max: usize,
}

/// What the shell has to do.
#[derive(Debug)]
pub enum Output {
    /// Write to the link's ordered stream.
    Send {
        /// Where to.
        link: LinkId,
        /// Framed.
        bytes: Bytes,
    },
    /// Deliver what was sent, then close the link. The exchange has forgotten it already.
    Close {
        /// Which.
        link: LinkId,
        /// The application error code of the close.
        code: v1::ErrorCode,
    },
    /// Put to the store; the answer comes back by [`Exchange::handle_answer`], always.
    Ask {
        /// Names the question.
        query: QueryId,
        /// The question.
        question: Question,
    },
    /// Hand to another shard of this supernode, in order.
    Tell {
        /// Which, never this one.
        shard: ShardId,
        /// What.
        message: PeerMessage,
    },
    /// Write to the ordered stream of the trunk to another supernode.
    Trunk {
        /// Which shard of which supernode, never this one.
        to: Seat,
        /// A `TrunkMessage`, framed.
        bytes: Bytes,
    },
    /// A link has proven to come from another supernode of the roster. It is the shell's from now on, and what follows on its stream
    /// are `TrunkMessage`s; the exchange has answered, and has forgotten it.
    Joined {
        /// The link.
        link: LinkId,
        /// Who dialled.
        supernode: SupernodeId,
        /// In which life.
        incarnation: u64,
        /// How many shards it has, 1 to 256.
        shards: u16,
    },
    /// Nothing more to do until the next input.
    Idle {
        /// When [`Exchange::handle_timeout`] is due, and why.
        wake: Option<(Instant, Timer)>,
    },
}

/// One shard's switchboard.
#[derive(Debug)]
pub struct Exchange {
    links: Links,
    accounts: Accounts,
    names: Names,
    calls: Calls,
    relay: Relay,
    forwarded: Forwarded,
    outbox: Outbox,
}

impl Exchange {
    /// An exchange without links. `seed` must be random and its own.
    pub fn new(config: ExchangeConfig, seed: [u8; 32]) -> Self {
        let mut rng = ChaCha20Rng::from_seed(seed);
        let mint = TokenMint::new(config.network, config.call_token_key.clone(), ChaCha20Rng::from_rng(&mut rng));
        Self {
            accounts: Accounts::default(),
            names: Names::default(),
            forwarded: Forwarded::default(),
            calls: Calls::new(mint, config.calls_max),
            relay: Relay::new(config.shard, config.shards, config.number),
            outbox: Outbox::new(config.shard, Fleet::alone(config.supernode, config.incarnation, config.shards)),
            links: Links::new(config, rng),
        }
    }
}

/// Inputs. After each, drain [`poll_output`](Exchange::poll_output).
impl Exchange {
    /// What the authority has signed. Sessions of voided credentials are closed. A revocation list older than the one in force
    /// is ignored.
    pub fn handle_lists(&mut self, lists: Lists, now: Now) {
        self.links.set_lists(lists, &mut self.relay, &mut self.outbox);
        self.settle(now);
    }

    /// Which supernodes live from now on. Until the first call this one is alone.
    pub fn handle_fleet(&mut self, fleet: Arc<Fleet>, now: Now) {
        let Self { links, accounts, calls, relay, outbox, .. } = self;
        let before = outbox.set_fleet(fleet);
        // Links first: what they tell the new homes comes before what is forgotten here.
        links.fleet_changed(&before, now, relay, outbox);
        accounts.fleet_changed(&before, now, outbox);
        calls.fleet_changed(&before, now, outbox);
        for (from, message) in self.forwarded.take_astray(&self.outbox, now.instant) {
            self.take_or_forward(from, message, 0, now);
        }
        self.outbox.tell_moved(&before, now.instant);
        self.settle(now);
    }

    /// A message of a shard of another supernode. Whatever is wrong with it, it is dropped and counted.
    pub fn handle_trunk(&mut self, from: Node, message: v1::TrunkMessage, now: Now) {
        let hops = message.hops;
        match trunk::decode(from, message, self.outbox.fleet()) {
            Some(peer) => self.take_or_forward(from, peer, hops, now),
            None => self.outbox.counters.trunk_refused += 1,
        }
        self.settle(now);
    }

    /// A link is there; `exporter` is the TLS exporter of a native one.
    pub fn handle_link_up(&mut self, link: LinkId, exporter: Option<[u8; 32]>, now: Now) {
        self.links.up(link, exporter, now, &mut self.outbox);
    }

    /// Bytes of a link's ordered stream.
    pub fn handle_bytes(&mut self, link: LinkId, bytes: &[u8], now: Now) {
        self.links.bytes(link, bytes, now, &mut self.relay, &mut self.outbox);
        self.settle(now);
    }

    /// A link is gone. Not needed after [`Output::Close`], and harmless then.
    pub fn handle_link_lost(&mut self, link: LinkId, now: Now) {
        self.links.lost(link, &mut self.relay, &mut self.outbox);
        self.settle(now);
    }

    /// What the store says to a question.
    pub fn handle_answer(&mut self, query: QueryId, answer: Result<Answer, StoreError>, now: Now) {
        self.links.answer(query, answer, now, &mut self.outbox);
        self.settle(now);
    }

    /// A message of another shard of this supernode.
    pub fn handle_peer(&mut self, _from: ShardId, message: PeerMessage, now: Now) {
        self.take_or_forward(Node::OWN, message.0, 0, now);
        self.settle(now);
    }

    /// The time asked for by [`Output::Idle`] has come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.links.timeout(now, &mut self.relay, &mut self.outbox);
        self.calls.timeout(now, &mut self.outbox);
        self.names.timeout(now.instant);
        self.accounts.timeout(now.instant, &mut self.outbox);
        self.settle(now);
    }

    /// Takes sign-ins again, after [`drain`](Self::drain). Sessions that have heard GoAway may still go.
    pub fn undrain(&mut self) {
        self.links.undrain();
    }

    /// Asks all sessions to go elsewhere, and refuses sign-ins from now on. Supernodes are let in: a trunk may break and be dialled anew.
    pub fn drain(&mut self, reconnect_in: Duration, spread: Duration) {
        self.links.drain(reconnect_in, spread, &mut self.outbox);
    }

    /// Decides where a voice datagram goes, unchanged. The hot path: it allocates nothing.
    #[inline]
    pub fn forward(&mut self, link: LinkId, datagram: &[u8], now: Now) -> Forward<'_> {
        let counters = &mut self.outbox.counters;
        match self.relay.forward(link, datagram, now.instant) {
            Ok(recipients) => {
                counters.forwarded += 1;
                counters.forwarded_bytes += datagram.len() as u64;
                Forward::To(recipients)
            }
            Err(cause) => {
                let cause = if self.links.is_online(link) { cause } else { DropCause::Unproven };
                counters.drops[cause.index()] += 1;
                Forward::Drop(cause)
            }
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Output {
        self.outbox.next().unwrap_or_else(|| {
            let (links, calls) = (self.links.next_timer(), self.calls.next_timer());
            let wakes = [links, calls, self.names.next_timer(), self.accounts.next_timer()];
            Output::Idle { wake: wakes.into_iter().flatten().min() }
        })
    }

    /// Messages to this shard itself, until there are none. Ends: each kind of message leads only to kinds further down
    /// its way (link, account, call, link; an account asks others, and they answer).
    fn settle(&mut self, now: Now) {
        while let Some(message) = self.outbox.next_own() {
            self.take_or_forward(Node::OWN, message, 0, now);
        }
    }

    /// Takes a message, or sends it on, once, when a home has moved and whoever sent it did not know or could not. What was sent on to
    /// a supernode that turns out to be dead, or not to be the home, comes here again. What was sent on to this one although it is not
    /// the home waits until it is: whoever sent it on takes it as soon as both see the same fleet, and a call taken by both would have
    /// two homes, of which the wrong one ends it when its legs go elsewhere.
    fn take_or_forward(&mut self, from: Node, message: Peer, hops: u32, now: Now) {
        let Some(seat) = self.outbox.elsewhere(&message) else {
            return self.take(message, now);
        };
        if hops > 0 {
            return self.forwarded.keep(from, Node::OWN, message, now.instant);
        }
        self.outbox.counters.forwarded_messages += 1;
        self.forwarded.keep(from, seat.node, message.clone(), now.instant);
        self.outbox.send_on(seat, message);
    }

    fn take(&mut self, message: Peer, now: Now) {
        let Self { links, accounts, names, calls, relay, outbox, .. } = self;
        match message {
            Peer::SignedIn { party, at_ms } => accounts.signed_in(party, at_ms, outbox),
            Peer::SignedOut { party } => accounts.signed_out(party, outbox),
            Peer::Notify { account, devices, message } => accounts.notify(account, devices, &message, outbox),
            Peer::NotifyAll { accounts: all, devices, message } => {
                all.into_iter().for_each(|account| accounts.notify(account, devices, &message, outbox));
            }
            Peer::AskAtHome { party, request, question } => links.ask_at_home(party, request, *question, outbox),
            Peer::AskNames { party, request, question, cost } => match names.charge(party.account, cost, now.instant) {
                Ok(()) => links.ask_names(party, request, *question, outbox),
                Err(refused) => refuse_names(party, request, refused, outbox),
            },
            Peer::SetActivity { party, request, away } => accounts.set_activity(party, request, away, outbox),
            Peer::SettingsChanged { party, request, change } => {
                accounts.settings_changed(party, request, *change, outbox);
            }
            Peer::Listed { party, request, response, page } => {
                accounts.listed(party, request, response, &page, outbox);
            }
            Peer::Presence { from, to, event, wish } => accounts.hear(from, &to, event.as_ref(), wish, outbox),
            Peer::Presences { to, devices, told } => accounts.hear_all(to, devices, &told, outbox),
            Peer::MarkSeen { account } => links.mark_seen(account, now, outbox),
            Peer::ContactChanged { account, devices, change } => {
                accounts.contact_changed(account, devices, *change, outbox);
            }
            Peer::StartCall(new) => accounts.start_call(new, now, outbox),
            Peer::Reach { call, caller, callee, welcome } => accounts.reach(call, caller, callee, welcome, now, outbox),
            Peer::Answered { call, account, peer } => accounts.answered(call, account, peer, now),
            Peer::Disengage { call, account } => accounts.disengage(call, account),

            Peer::NewCall(new) => calls.start(*new, now, outbox),
            Peer::Reached { call, reach } => calls.reached(call, reach, now, outbox),
            Peer::DeviceUp { call, party } => calls.device_up(call, party, outbox),
            Peer::GiveWay { call } => calls.give_way(call, now, outbox),
            Peer::Answer(join) => calls.answer(*join, now, outbox),
            Peer::Decline { call, party, request, cause } => calls.decline(call, party, request, cause, now, outbox),
            Peer::HangUp { call, party, request, cause } => calls.hang_up(call, party, request, cause, now, outbox),
            Peer::Attach(join, call_token) => calls.attach(*join, &call_token, now, outbox),
            Peer::FlowOpened { call, device, link, flow } => calls.flow_opened(call, device, link, flow, now, outbox),
            Peer::LinkLost { call, device, link } => calls.link_lost(call, device, link, now, outbox),

            Peer::Replaced { link } => links.replaced(link, relay, outbox),
            Peer::Deliver { link, in_reply_to, message } => links.deliver(link, in_reply_to, message, outbox),
            Peer::OpenFlow { call, device, link, home } => links.open_flow(call, device, link, home, relay, outbox),
            Peer::SetPeers { flow, peers } => relay.set_peers(flow, peers),
            Peer::CloseFlow { link, flow } => links.close_flow(link, flow, relay),
            Peer::LetGo { call, link } => links.let_go(call, link, now, relay, outbox),
        }
    }
}

/// The account has learnt as many names as it may for now, or the shard keeps track of no more look-ups.
fn refuse_names(party: Party, request: u64, refused: Refused, outbox: &mut Outbox) {
    outbox.counters.names_refused += 1;
    let refusal = match refused {
        Refused::For(wait) => {
            let retry_after_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1);
            Refusal { retry_after_ms, ..TOO_MANY_NAMES }
        }
        Refused::Full => STORE_UNAVAILABLE,
    };
    outbox.refuse(party.link, request, refusal);
}

const TOO_MANY_NAMES: Refusal =
    Refusal::new(v1::ErrorCode::RateLimited, "this account has looked up as many names as it may in an hour");

/// What there is to see.
impl Exchange {
    /// Counted since the start.
    pub fn counters(&self) -> &Counters {
        &self.outbox.counters
    }

    /// The moment's figures.
    pub fn gauges(&self) -> Gauges {
        let (calls, calls_answered) = self.calls.len();
        Gauges {
            links: self.links.len(),
            half_open: self.links.half_open(),
            sessions: self.links.len() - self.links.half_open(),
            accounts: self.accounts.len(),
            calls,
            calls_answered,
            flows: self.relay.len(),
            queries: self.links.queries(),
            long_bytes: self.links.long_bytes(),
            timers: self.links.timers() + self.calls.timers() + self.names.timers() + self.accounts.timers(),
        }
    }
}
