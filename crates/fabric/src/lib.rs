//! What is true *now* about a fleet: which supernodes live.
//!
//! A supernode that has joined keeps a [`Lease`] and sees those of all others. A lease ends when its supernode leaves, or three
//! seconds after it was last renewed. [`Fabric::Local`] serves supernodes of one process, [`Fabric::Valkey`] a fleet.
//!
//! Nobody waits for Valkey: while it is away, everybody keeps the members that they saw last, and [`Members::fresh`] says so.

mod lease;
mod local;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod valkey;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ahoy_proto::{NetworkId, SupernodeId};
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use tokio::{sync::watch, task::JoinHandle};

pub use lease::{Figures, Lease};
pub use local::Local;
pub use valkey::{InvalidAddress, ValkeyConfig};

/// How long a lease lasts that is not renewed: two renewals may be lost. A supernode that dies is noticed earlier, by its trunks.
const LEASE: Duration = Duration::from_secs(3);

/// How often a lease is renewed, and all leases are looked at.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// How long one thing that Valkey is asked for may take.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Members of a fleet, at most. Each renewal reads all leases: 300 supernodes read 90,000 a second, half of what one Valkey can do.
const MEMBERS_MAX: usize = 512;

/// Where leases are kept.
#[derive(Debug, Clone)]
pub enum Fabric {
    /// In this process; clones share them.
    Local(Local),
    /// In Valkey, or Redis from 7.0 on.
    Valkey(ValkeyConfig),
}

impl Default for Fabric {
    fn default() -> Self {
        Self::Local(Local::default())
    }
}

/// All who live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// The lease of each, one's own included.
    pub leases: BTreeMap<SupernodeId, Lease>,
    /// False: leases can't be asked for now, and these are the last that were seen.
    pub fresh: bool,
}

/// What a member wants the others to know, and whom it wants to know of.
#[derive(Debug, Clone)]
struct Wish {
    lease: Lease,
    roster: Arc<BTreeSet<SupernodeId>>,
    leaving: bool,
}

/// A supernode's place among the living. Dropping it is dying: the lease ends by itself.
#[derive(Debug)]
pub struct Membership {
    wish: watch::Sender<Wish>,
    members: watch::Receiver<Arc<Members>>,
    counters: Counters,
    keeper: JoinHandle<()>,
}

/// What is counted.
#[derive(Debug, Clone, Default)]
struct Counters {
    fresh: Gauge,
    leases: Gauge,
    failures: Counter,
    invalid: Counter,
}

/// Where a keeper says what it sees.
#[derive(Debug)]
struct Seen {
    members: watch::Sender<Arc<Members>>,
    counters: Counters,
}

impl Fabric {
    /// Takes out a lease and keeps it, from now on, by a task of the runtime that this is called in. `roster`: who may be a
    /// member, as the authority has signed it.
    pub fn join(&self, network: NetworkId, lease: Lease, roster: impl IntoIterator<Item = SupernodeId>) -> Membership {
        let alone = Members { leases: BTreeMap::from([(lease.supernode, lease.clone())]), fresh: false };
        let (members, seen) = watch::channel(Arc::new(alone));
        let roster = bounded(roster, lease.supernode);
        let (wish, wished) = watch::channel(Wish { lease, roster, leaving: false });
        let counters = Counters::default();
        let says = Seen { members, counters: counters.clone() };
        let keeper = match self.clone() {
            Self::Local(local) => tokio::spawn(local.keep(network, wished, says)),
            Self::Valkey(config) => tokio::spawn(valkey::keep(config, network, wished, says)),
        };
        Membership { wish, members: seen, counters, keeper }
    }
}

impl Membership {
    /// All who live, and every change of it. Until there has been an answer it is oneself alone, not fresh.
    pub fn members(&self) -> watch::Receiver<Arc<Members>> {
        self.members.clone()
    }

    /// Says that this supernode is to be home of nothing, or is again. The others hear of it at once.
    pub fn set_draining(&self, draining: bool) {
        self.wish.send_if_modified(|wish| std::mem::replace(&mut wish.lease.draining, draining) != draining);
    }

    /// Says what it carries. The others see it with the next renewal.
    pub fn set_figures(&self, figures: Figures) {
        self.wish.send_if_modified(|wish| {
            wish.lease.figures = figures;
            false
        });
    }

    /// Who may be a member, from now on.
    pub fn set_roster(&self, roster: impl IntoIterator<Item = SupernodeId>) {
        self.wish.send_if_modified(|wish| {
            let roster = bounded(roster, wish.lease.supernode);
            let changed = wish.roster != roster;
            wish.roster = roster;
            changed
        });
    }

    /// Ends the lease, so that the others see it at once. Takes a second at most; if Valkey is away, the lease ends by itself.
    pub async fn leave(mut self) {
        self.wish.send_modify(|wish| wish.leaving = true);
        if tokio::time::timeout(ANSWER_MAX, &mut self.keeper).await.is_err() {
            self.keeper.abort();
        }
    }

    /// Adds what is counted here to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let Counters { fresh, leases, failures, invalid } = self.counters.clone();
        registry.register("ahoy_fabric_fresh", "1 while leases can be asked for", fresh);
        registry.register("ahoy_fabric_leases", "Supernodes that have a lease, this one included", leases);
        registry.register("ahoy_fabric_failures", "Connections to the fabric that failed or were lost", failures);
        registry.register("ahoy_fabric_leases_invalid", "Leases that were read and made no sense", invalid);
    }
}

impl Seen {
    fn tell(&self, leases: BTreeMap<SupernodeId, Lease>, fresh: bool) {
        self.counters.fresh.set(fresh.into());
        self.counters.leases.set(i64::try_from(leases.len()).unwrap_or(i64::MAX));
        self.members.send_if_modified(|members| {
            let newest = Members { leases, fresh };
            let changed = **members != newest;
            *members = Arc::new(newest);
            changed
        });
    }

    fn leases(&self) -> BTreeMap<SupernodeId, Lease> {
        self.members.borrow().leases.clone()
    }
}

/// Whose leases are looked at: always one's own.
fn bounded(roster: impl IntoIterator<Item = SupernodeId>, own: SupernodeId) -> Arc<BTreeSet<SupernodeId>> {
    let mut others: BTreeSet<_> = roster.into_iter().filter(|supernode| *supernode != own).collect();
    if others.len() >= MEMBERS_MAX {
        tracing::error!(
            supernodes = others.len(),
            max = MEMBERS_MAX,
            "the roster is longer than a fleet may be: not all are seen"
        );
        others = others.into_iter().take(MEMBERS_MAX - 1).collect();
    }
    others.insert(own);
    Arc::new(others)
}
