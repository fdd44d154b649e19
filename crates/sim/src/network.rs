//! Links between devices and shards: ordered streams that arrive late, datagrams that may not arrive, and how links die.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ahoy_core::{LinkId, ShardId};
use rand::{Rng, RngExt};

use crate::plan::Plan;

/// A link as it really is; each end knows less.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) shard: ShardId,
    pub(crate) device: usize,
    /// Which life of its supernode it leads to.
    pub(crate) life: u64,
    /// Whether anything still arrives.
    pub(crate) carries: bool,
    /// Whether the shard has been told of it and not of its end.
    pub(crate) at_shard: bool,
    /// Whether its device still uses it.
    pub(crate) at_device: bool,
    /// When the last message in each direction arrives: none after it may arrive earlier.
    up_until: Instant,
    down_until: Instant,
    /// Bytes on their way to the device.
    pub(crate) queued: usize,
}

/// All links that ever were, in the order in which they were dialled.
#[derive(Debug, Default)]
pub(crate) struct Network {
    links: BTreeMap<LinkId, Link>,
}

/// Which way something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

impl Network {
    pub(crate) fn dial(&mut self, device: usize, shard: ShardId, life: u64, now: Instant) -> LinkId {
        let id = LinkId(self.links.len() as u64 + 1);
        let link = Link {
            shard,
            device,
            life,
            carries: true,
            at_shard: false,
            at_device: true,
            up_until: now,
            down_until: now,
            queued: 0,
        };
        self.links.insert(id, link);
        id
    }

    pub(crate) fn link(&self, id: LinkId) -> Option<&Link> {
        self.links.get(&id)
    }

    pub(crate) fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(&id)
    }

    /// Links that a shard knows of in this life.
    pub(crate) fn at_shard(&self, shard: ShardId, life: u64) -> usize {
        self.links.values().filter(|link| (link.shard, link.life, link.at_shard) == (shard, life, true)).count()
    }

    /// Links that carry something, by id.
    pub(crate) fn carrying(&self) -> Vec<LinkId> {
        self.links.iter().filter(|(_, link)| link.carries).map(|(id, _)| *id).collect()
    }

    /// When a message of the ordered stream arrives: never before the one in front of it.
    pub(crate) fn stream_arrival(
        &mut self,
        id: LinkId,
        way: Way,
        plan: &Plan,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Option<Instant> {
        let link = self.links.get_mut(&id)?;
        let mut delay = one_way(plan, rng);
        while rng.random_bool(plan.loss) {
            delay += 2 * one_way(plan, rng);
        }
        let until = match way {
            Way::Up => &mut link.up_until,
            Way::Down => &mut link.down_until,
        };
        *until = (now + delay).max(*until);
        Some(*until)
    }
}

/// How long a packet takes; packets that are sent close together overtake each other.
pub(crate) fn one_way(plan: &Plan, rng: &mut impl Rng) -> Duration {
    let unit: f64 = rng.random_range(1e-6..1.0);
    plan.delay + plan.jitter.mul_f64(-unit.ln())
}

/// A random duration between two.
pub(crate) fn between(least: Duration, most: Duration, rng: &mut impl Rng) -> Duration {
    least + (most - least).mul_f64(rng.random_range(0.0..1.0))
}
