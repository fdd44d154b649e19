//! Which supernodes live, as this one sees it, and which of them it dials.
//!
//! A life of another supernode is in the view from the moment when its trunk is up and its lease is known (or leases can't be
//! asked) until the trunk is lost: a lease admits, the trunk decides. A supernode that can't renew its lease but answers on
//! its trunk stays, for it still holds sessions; one whose process is gone loses its trunk within two seconds.
//!
//! One thread owns the [`View`]. Shards and the daemon tell it what happened; it gives every shard the same fleets in the same
//! order.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{SocketAddr, ToSocketAddrs as _},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use ahoy_core::{Fleet, FleetNode, Node, ShardId};
use ahoy_net::LinkId;
use ahoy_proto::{
    SupernodeId,
    document::{Roster, RosterEntry},
    v1::ErrorCode,
};
use ed25519_dalek::VerifyingKey;

use crate::inbox::{Post, Reply};

/// A supernode that has a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub supernode: SupernodeId,
    /// Whether it is to be home of nothing.
    pub draining: bool,
}

/// What the view hears.
#[derive(Debug)]
pub(crate) enum Event {
    /// All leases. `stale`: they can't be asked for now, and these are the last.
    Members {
        members: Vec<Member>,
        stale: bool,
    },
    /// What the authority has signed has changed.
    Roster(Arc<Roster>),
    /// Whether this supernode drains.
    Draining(bool),
    /// A trunk is up; dialled in that attempt, or accepted.
    Up {
        at: At,
        peer: SupernodeId,
        incarnation: u64,
        shards: u16,
        attempt: Option<u64>,
    },
    /// A trunk is gone.
    Lost(At),
    /// An attempt to dial came to nothing.
    Failed {
        attempt: u64,
        why: Failure,
    },
    /// What the name of a dialled supernode stands for.
    Resolved {
        attempt: u64,
        addresses: Vec<SocketAddr>,
    },
    Stop,
}

/// Why an attempt to dial came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nobody answered, or whoever did refused. It is tried again.
    Unreached(String),
    /// What answered is not who the authority says it is. It is tried again when the authority has said something new, or in half a minute.
    Untrusted(String),
}

/// Where a trunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) shard: ShardId,
    pub(crate) link: LinkId,
}

/// The trunks to the supernodes of a fleet.
pub(crate) type Routes = BTreeMap<Node, At>;

/// A supernode to dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dial {
    pub(crate) attempt: u64,
    pub(crate) peer: SupernodeId,
    pub(crate) key: VerifyingKey,
    pub(crate) address: SocketAddr,
}

/// What the view wants done.
#[derive(Debug, PartialEq, Eq)]
enum Order {
    /// Every shard is to go by this fleet.
    Fleet(Arc<Fleet>, Arc<Routes>),
    /// What comes on this trunk is this node's.
    Open(At, Node),
    Close(At, ErrorCode),
    Dial(ShardId, Box<Dial>),
    GiveUp(ShardId, u64),
    Resolve {
        attempt: u64,
        name: String,
    },
}

/// First and last ceiling of the pause before another attempt; doubled in between, and the pause is anything up to it. Two
/// supernodes that come back at once meet within the time that a call may be silent.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long an attempt may take: a handshake of four round trips on a way across the world, with a loss.
const ATTEMPT_MAX: Duration = Duration::from_secs(3);

/// How long what answers with the wrong certificate is left alone: it may have fetched a new one since. A stranger has two handshakes a
/// minute of it.
const UNTRUSTED_PAUSE: Duration = Duration::from_secs(30);

/// How long a trunk may be up before its peer's lease is known: three renewals are 3 s, an engine that is back takes 3 s.
const LEASE_MAX: Duration = Duration::from_secs(10);

/// Least time between two warnings about supernodes that are not who they should be.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The share of accounts and calls of a supernode whose roster entry says none.
const WEIGHT: u32 = 1;

#[derive(Debug)]
struct View {
    own: FleetNode,
    roster: Arc<Roster>,
    members: BTreeMap<SupernodeId, Member>,
    stale: bool,
    draining: bool,
    peers: BTreeMap<SupernodeId, Peer>,
    /// The fleet in force.
    nodes: Vec<FleetNode>,
    routes: Routes,
    last_node: u32,
    last_attempt: u64,
    /// The last attempt that was begun before the newest word of the authority.
    outdated_attempt: u64,
    warned: Option<Instant>,
    orders: VecDeque<Order>,
}

/// Another supernode of the roster, or one that was in it.
#[derive(Debug, Default)]
struct Peer {
    trunk: Option<Trunk>,
    dial: Dialling,
    /// Attempts and short-lived trunks in a row.
    failures: u32,
}

#[derive(Debug)]
struct Trunk {
    at: At,
    incarnation: u64,
    shards: u16,
    since: Instant,
    /// Its number in the view, if it is in it.
    node: Option<Node>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Dialling {
    #[default]
    Not,
    /// Its name is being resolved, which ends by itself.
    Resolving {
        attempt: u64,
    },
    Trying {
        attempt: u64,
        shard: ShardId,
        until: Instant,
    },
    Waiting {
        until: Instant,
    },
    /// What answered was not it.
    Untrusted {
        until: Instant,
    },
}

impl Dialling {
    fn attempt(&self) -> Option<u64> {
        match self {
            Self::Resolving { attempt } | Self::Trying { attempt, .. } => Some(*attempt),
            Self::Not | Self::Waiting { .. } | Self::Untrusted { .. } => None,
        }
    }
}

impl View {
    fn new(supernode: SupernodeId, incarnation: u64, shards: u16, roster: Arc<Roster>) -> Self {
        let own = FleetNode { node: Node::OWN, supernode, incarnation, shards, weight: WEIGHT, near: true };
        Self {
            nodes: vec![own.clone()],
            own,
            roster,
            members: BTreeMap::new(),
            stale: false,
            draining: false,
            peers: BTreeMap::new(),
            routes: Routes::new(),
            last_node: Node::OWN.0,
            last_attempt: 0,
            outdated_attempt: 0,
            warned: None,
            orders: VecDeque::new(),
        }
    }

    fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Members { members, stale } => {
                self.members = members.into_iter().map(|member| (member.supernode, member)).collect();
                self.stale = stale;
            }
            Event::Roster(roster) => self.set_roster(roster),
            Event::Draining(draining) => self.draining = draining,
            Event::Up { at, peer, incarnation, shards, attempt } => {
                let trunk = Trunk { at, incarnation, shards, since: now, node: None };
                self.up(peer, trunk, attempt);
            }
            Event::Lost(at) => self.lost(at, now),
            Event::Failed { attempt, why } => self.failed(attempt, why, now),
            Event::Resolved { attempt, addresses } => self.resolved(attempt, &addresses, now),
            Event::Stop => {}
        }
        self.settle(now);
    }

    fn set_roster(&mut self, roster: Arc<Roster>) {
        self.roster = roster;
        self.outdated_attempt = self.last_attempt;
        let listed = |supernode| self.roster.supernodes.iter().any(|entry| entry.supernode == supernode);
        self.peers.retain(|supernode, peer| {
            if matches!(peer.dial, Dialling::Untrusted { .. }) {
                peer.dial = Dialling::Not;
            }
            let listed = listed(*supernode);
            if let Some(trunk) = peer.trunk.as_ref().filter(|_| !listed) {
                tracing::warn!(?supernode, "the authority has taken a supernode out: its trunk is closed");
                self.orders.push_back(Order::Close(trunk.at, ErrorCode::CredentialRevoked));
            }
            listed
        });
    }

    fn up(&mut self, supernode: SupernodeId, trunk: Trunk, attempt: Option<u64>) {
        let peer = self.peers.entry(supernode).or_default();
        let wanted = match attempt {
            Some(attempt) => peer.dial.attempt() == Some(attempt),
            // The one with the smaller id dials.
            None => supernode < self.own.supernode,
        };
        let listed = self.roster.supernodes.iter().any(|entry| entry.supernode == supernode);
        if !wanted || !listed {
            let code = if listed { ErrorCode::OutOfOrder } else { ErrorCode::CredentialRevoked };
            return self.orders.push_back(Order::Close(trunk.at, code));
        }
        if attempt.is_some() {
            peer.dial = Dialling::Not;
        }
        // The other side has lost the old one, with what was on its way: it leaves the view before it comes anew.
        if let Some(old) = peer.trunk.take() {
            self.orders.push_back(Order::Close(old.at, ErrorCode::SessionReplaced));
            self.publish();
        }
        tracing::info!(?supernode, incarnation = trunk.incarnation, "a trunk is up");
        if let Some(peer) = self.peers.get_mut(&supernode) {
            peer.trunk = Some(trunk);
        }
    }

    fn lost(&mut self, at: At, now: Instant) {
        let of = |(_, peer): &(&SupernodeId, &mut Peer)| peer.trunk.as_ref().is_some_and(|trunk| trunk.at == at);
        let Some((supernode, peer)) = self.peers.iter_mut().find(of) else { return };
        tracing::info!(?supernode, "a trunk is lost");
        let lasted = peer.trunk.take().is_some_and(|trunk| now.saturating_duration_since(trunk.since) >= PAUSE_MAX);
        if lasted {
            peer.failures = 0;
        }
        peer.wait(now);
    }

    fn failed(&mut self, attempt: u64, why: Failure, now: Instant) {
        let of = |(_, peer): &(&SupernodeId, &mut Peer)| peer.dial.attempt() == Some(attempt);
        let Some((supernode, peer)) = self.peers.iter_mut().find(of) else { return };
        match why {
            Failure::Unreached(why) => {
                tracing::debug!(?supernode, why, "a supernode can't be reached");
                peer.wait(now);
            }
            // Judged by what the authority said before: it may be good by now.
            Failure::Untrusted(_) if attempt <= self.outdated_attempt => peer.wait(now),
            Failure::Untrusted(why) => {
                // It may be found at another of its addresses.
                peer.failures = peer.failures.saturating_add(1);
                peer.dial = Dialling::Untrusted { until: now + UNTRUSTED_PAUSE };
                if self.warned.is_none_or(|warned| warned + WARN_EVERY <= now) {
                    self.warned = Some(now);
                    tracing::warn!(?supernode, why, "what answers there is no supernode of this network");
                }
            }
        }
    }

    fn resolved(&mut self, attempt: u64, addresses: &[SocketAddr], now: Instant) {
        let of = |(_, peer): &(&SupernodeId, &mut Peer)| peer.dial == Dialling::Resolving { attempt };
        let Some((supernode, peer)) = self.peers.iter_mut().find(of) else { return };
        let entry = self.roster.supernodes.iter().find(|entry| entry.supernode == *supernode);
        let key = entry.and_then(|entry| entry.key.verifying_key());
        match (key, addresses.get(peer.failures as usize % addresses.len().max(1))) {
            (Some(key), Some(&address)) => {
                let shard = shard_for(*supernode, self.own.shards);
                peer.dial = Dialling::Trying { attempt, shard, until: now + ATTEMPT_MAX };
                self.orders.push_back(Order::Dial(shard, Box::new(Dial { attempt, peer: *supernode, key, address })));
            }
            _ => peer.wait(now),
        }
    }

    /// Does what is due, and tells the shards if the view has changed by it.
    fn settle(&mut self, now: Instant) {
        for peer in self.peers.values_mut() {
            if let Some(trunk) = peer.trunk.take_if(|trunk| trunk.node.is_none() && trunk.since + LEASE_MAX <= now) {
                self.orders.push_back(Order::Close(trunk.at, ErrorCode::Unavailable));
                peer.wait(now);
            }
            if let Dialling::Trying { attempt, shard, until } = peer.dial
                && until <= now
            {
                self.orders.push_back(Order::GiveUp(shard, attempt));
                peer.wait(now);
            }
            if let Dialling::Waiting { until } | Dialling::Untrusted { until } = peer.dial
                && until <= now
            {
                peer.dial = Dialling::Not;
            }
        }
        let roster = Arc::clone(&self.roster);
        for entry in &roster.supernodes {
            // While leases can't be asked for, whoever has just started knows of none.
            let may_live = self.stale || self.members.contains_key(&entry.supernode);
            if self.own.supernode < entry.supernode && may_live {
                self.dial(entry, now);
            }
        }
        self.admit();
        self.publish();
    }

    /// Dials a supernode that may live, unless there is a trunk, an attempt or a pause.
    fn dial(&mut self, entry: &RosterEntry, now: Instant) {
        let peer = self.peers.entry(entry.supernode).or_default();
        if peer.trunk.is_some() || peer.dial != Dialling::Not || entry.addresses.is_empty() {
            return;
        }
        self.last_attempt += 1;
        let attempt = self.last_attempt;
        peer.dial = Dialling::Resolving { attempt };
        let name = &entry.addresses[peer.failures as usize % entry.addresses.len()];
        match name.parse() {
            Ok(address) => self.resolved(attempt, &[address], now),
            Err(_) => self.orders.push_back(Order::Resolve { attempt, name: name.clone() }),
        }
    }

    /// Takes in those whose trunk is up and whose lease is known.
    fn admit(&mut self) {
        for (supernode, peer) in &mut self.peers {
            let Some(trunk) = peer.trunk.as_mut().filter(|trunk| trunk.node.is_none()) else { continue };
            if self.stale || self.members.contains_key(supernode) {
                self.last_node += 1;
                trunk.node = Some(Node(self.last_node));
            }
        }
    }

    /// Tells the shards who is in the view, if that has changed. Every shard knows a node before any may hand on what it
    /// says.
    fn publish(&mut self) {
        let mut nodes = vec![self.node(&self.own.clone(), self.draining)];
        let mut routes = Routes::new();
        for (supernode, peer) in &self.peers {
            let Some(Trunk { at, incarnation, shards, node: Some(node), .. }) = peer.trunk else { continue };
            routes.insert(node, at);
            let draining = self.members.get(supernode).is_some_and(|member| member.draining);
            let own = FleetNode { node, supernode: *supernode, incarnation, shards, weight: WEIGHT, near: false };
            nodes.push(self.node(&own, draining));
        }
        if nodes == self.nodes {
            return;
        }
        let known = std::mem::replace(&mut self.routes, routes.clone());
        self.nodes.clone_from(&nodes);
        self.orders.push_back(Order::Fleet(Arc::new(Fleet::new(nodes)), Arc::new(routes)));
        let new = self.routes.iter().filter(|(node, _)| !known.contains_key(node));
        self.orders.extend(new.map(|(node, at)| Order::Open(*at, *node)));
    }

    /// With what the roster says of it.
    fn node(&self, node: &FleetNode, draining: bool) -> FleetNode {
        let entry = |supernode| self.roster.supernodes.iter().find(|entry| entry.supernode == supernode);
        let (own, of) = (entry(self.own.supernode), entry(node.supernode));
        let weight = of.map_or(WEIGHT, |entry| entry.weight);
        let near = own.map(|own| &own.region) == of.map(|of| &of.region);
        FleetNode { weight: if draining { 0 } else { weight }, near, ..node.clone() }
    }

    /// When something is due that nobody tells.
    fn next_deadline(&self) -> Option<Instant> {
        let of = |peer: &Peer| {
            let dial = match peer.dial {
                Dialling::Trying { until, .. } | Dialling::Waiting { until } | Dialling::Untrusted { until } => {
                    Some(until)
                }
                Dialling::Not | Dialling::Resolving { .. } => None,
            };
            let lease = peer.trunk.as_ref().filter(|trunk| trunk.node.is_none());
            dial.into_iter().chain(lease.map(|trunk| trunk.since + LEASE_MAX)).min()
        };
        self.peers.values().filter_map(of).min()
    }
}

impl Peer {
    /// Puts the next attempt off.
    fn wait(&mut self, now: Instant) {
        let ceiling = PAUSE_MIN.saturating_mul(1 << self.failures.min(8)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        self.dial = Dialling::Waiting { until: now + ceiling.mul_f64(rand::random::<f64>()) };
    }
}

/// The shard that dials a supernode: its trunks spread over all.
fn shard_for(peer: SupernodeId, shards: u16) -> ShardId {
    ShardId(u16::from(peer.0[0]) % shards.max(1))
}

/// What the view's thread needs.
pub(crate) struct Steering {
    pub(crate) supernode: SupernodeId,
    pub(crate) incarnation: u64,
    pub(crate) shards: u16,
    pub(crate) roster: Arc<Roster>,
    pub(crate) posts: Vec<Post>,
    /// How many supernodes are in the view.
    pub(crate) size: Arc<AtomicUsize>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) heard: mpsc::Receiver<Event>,
}

/// Runs until told to stop.
pub(crate) fn run(steering: &Steering) {
    let Steering { supernode, incarnation, shards, ref roster, .. } = *steering;
    let mut view = View::new(supernode, incarnation, shards, Arc::clone(roster));
    loop {
        let deadline = view.next_deadline();
        let waited = match deadline {
            Some(at) => steering.heard.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => steering.heard.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
        };
        match waited {
            Ok(Event::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
            Ok(event) => view.handle(event, Instant::now()),
            Err(mpsc::RecvTimeoutError::Timeout) => view.settle(Instant::now()),
        }
        while let Some(order) = view.orders.pop_front() {
            steering.carry_out(order);
        }
    }
}

impl Steering {
    fn carry_out(&self, order: Order) {
        let post = |shard: ShardId, reply| self.posts[usize::from(shard.0)].reply(reply);
        match order {
            Order::Fleet(fleet, routes) => {
                self.size.store(fleet.nodes().len(), Ordering::Relaxed);
                tracing::info!(supernodes = fleet.nodes().len(), "the view has changed");
                for post in &self.posts {
                    post.reply(Reply::Fleet { fleet: Arc::clone(&fleet), routes: Arc::clone(&routes) });
                }
            }
            Order::Open(at, node) => post(at.shard, Reply::OpenTrunk { link: at.link, node }),
            Order::Close(at, code) => post(at.shard, Reply::CloseTrunk { link: at.link, code }),
            Order::Dial(shard, dial) => post(shard, Reply::Dial(dial)),
            Order::GiveUp(shard, attempt) => post(shard, Reply::GiveUp { attempt }),
            Order::Resolve { attempt, name } => self.resolve(attempt, name),
        }
    }

    /// On a thread of its own, one a supernode at most: a name server that is silent holds up nobody else.
    fn resolve(&self, attempt: u64, name: String) {
        let events = self.events.clone();
        let resolve = move || {
            let addresses = name.to_socket_addrs().map(Iterator::collect).unwrap_or_default();
            let _ = events.send(Event::Resolved { attempt, addresses });
        };
        if let Err(error) = thread::Builder::new().name("resolver".to_owned()).spawn(resolve) {
            let why = Failure::Unreached(error.to_string());
            let _ = self.events.send(Event::Failed { attempt, why });
        }
    }
}

#[cfg(test)]
mod tests;
