//! The fleet as a shard sees it: which supernodes live, and where accounts and calls are at home.
//!
//! Homes are found by weighted rendezvous hashing over the supernodes that live ([`placement`]), so every supernode finds them
//! without asking anybody, and the loss of one moves only what was at home there. All that a home holds is made anew by the
//! links' supernodes when it moves: they hold the sessions.

use std::collections::{BTreeMap, VecDeque};

use ahoy_proto::placement::{self, Candidate};
use ahoy_proto::{AccountId, CallId, SupernodeId};

use crate::ShardId;

/// One life of a supernode, as the shell of this one numbers them; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node(pub u32);

impl Node {
    /// This supernode.
    pub const OWN: Self = Self(0);
    /// One that is not, or no more, part of the fleet: whatever is sent there is dropped.
    pub const NOWHERE: Self = Self(u32::MAX);
}

/// A shard of some supernode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seat {
    /// The supernode.
    pub node: Node,
    /// The shard.
    pub shard: ShardId,
}

/// A supernode that lives and can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetNode {
    /// How it is called here.
    pub node: Node,
    /// Its id.
    pub supernode: SupernodeId,
    /// Its present life.
    pub incarnation: u64,
    /// How many shards it has, 1 to 256.
    pub shards: u16,
    /// Its share of accounts and calls; 0: it is draining and is home of nothing.
    pub weight: u32,
    /// Whether it stands where this one does, so that clients may be sent from one to the other.
    pub near: bool,
}

/// All supernodes that live and can be reached, this one among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    nodes: Vec<FleetNode>,
    candidates: Vec<Candidate>,
}

impl Fleet {
    /// These supernodes. [`Node::OWN`] must be among them.
    pub fn new(nodes: Vec<FleetNode>) -> Self {
        let candidates = nodes.iter().map(|node| Candidate { supernode: node.supernode, weight: node.weight });
        Self { candidates: candidates.collect(), nodes }
    }

    /// This supernode alone.
    pub fn alone(supernode: SupernodeId, incarnation: u64, shards: u16) -> Self {
        Self::new(vec![FleetNode { node: Node::OWN, supernode, incarnation, shards, weight: 1, near: true }])
    }

    /// The supernodes, in no order.
    pub fn nodes(&self) -> &[FleetNode] {
        &self.nodes
    }

    /// The supernode of this number, if it lives.
    pub fn node(&self, node: Node) -> Option<&FleetNode> {
        self.nodes.iter().find(|other| other.node == node)
    }

    /// The life of a supernode that is meant by its id and incarnation.
    pub fn find(&self, supernode: SupernodeId, incarnation: u64) -> Option<Node> {
        let named = |node: &&FleetNode| (node.supernode, node.incarnation) == (supernode, incarnation);
        self.nodes.iter().find(named).map(|node| node.node)
    }

    /// Where an account's state is kept.
    pub(crate) fn home_of_account(&self, account: AccountId) -> Seat {
        self.home(&account.0)
    }

    /// Where a call's state is kept.
    pub(crate) fn home_of_call(&self, call: CallId) -> Seat {
        self.home(&call.0)
    }

    fn home(&self, id: &[u8; 16]) -> Seat {
        let best = if self.nodes.len() > 1 { placement::best(id, &self.candidates) } else { None };
        // While all of them drain, each is its own home.
        let own = || self.nodes.iter().find(|node| node.node == Node::OWN);
        let (node, shards) = match best.map(|best| &self.nodes[best]).or_else(own) {
            Some(node) => (node.node, node.shards.max(1)),
            None => (Node::OWN, 1),
        };
        Seat { node, shard: ShardId(u16::from(id[0]) % shards) }
    }
}

/// Lives of supernodes that are remembered after they have left the fleet: all that a partition of a large fleet takes away, in 24 KiB.
/// One that was forgotten comes back like a new one.
const DEPARTED_MAX: usize = 1_000;

/// Lives of supernodes that have left the fleet: they may come back.
#[derive(Debug, Default)]
pub(crate) struct Departed {
    /// The oldest first.
    lives: VecDeque<(SupernodeId, u64)>,
    /// Whether there ever was another one than this.
    met: bool,
}

impl Departed {
    /// Whether sessions here and supernodes of this fleet have been out of each other's reach until now.
    pub(crate) fn heals(&mut self, before: &Fleet, now: &Fleet) -> bool {
        let lives = |fleet: &Fleet| -> BTreeMap<SupernodeId, u64> {
            fleet.nodes().iter().map(|node| (node.supernode, node.incarnation)).collect()
        };
        let (before, now) = (lives(before), lives(now));
        let come = now.iter().filter(|(supernode, life)| before.get(supernode) != Some(life));
        let returns = come.map(|(supernode, life)| (*supernode, *life)).any(|life| self.lives.contains(&life));
        // Whoever has only just started may have had sessions before it saw the others.
        let heals = returns || now.len() > 1 && !std::mem::replace(&mut self.met, true);
        // Of one supernode no more than its last life can come back.
        self.lives.retain(|(supernode, _)| !now.contains_key(supernode));
        self.lives.extend(before.into_iter().filter(|(supernode, _)| !now.contains_key(supernode)));
        let excess = self.lives.len().saturating_sub(DEPARTED_MAX);
        self.lives.drain(..excess);
        heals
    }
}
