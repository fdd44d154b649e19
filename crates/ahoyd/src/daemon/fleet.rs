//! The supernode's place in its fleet: it keeps a lease, hears of those of others, and says what it carries.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ahoy_fabric::{Figures, Lease, Members, Membership};
use ahoy_proto::document::{Roster, RosterEntry};
use ahoy_proto::{NetworkId, SupernodeId, control};
use ahoy_supernode::{CredentialKeys, Member, Supernode};
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::machine;
use crate::config::{Config, Role};

/// What `/proc` counts processor time in, on every Linux that there is.
const CLOCK_TICK_MS: u64 = 10;

/// Supernodes told of, at most: as many as a fleet has, and a reply takes.
const ROWS_MAX: usize = 512;

/// Membership of the fleet.
pub(super) struct Fleet {
    membership: Membership,
    members: watch::Receiver<Arc<Members>>,
    sessions_max: u32,
    /// When figures were told last, and the processor time taken until then.
    told: (Instant, Duration),
}

impl Fleet {
    /// Takes out a lease for a supernode that is up.
    ///
    /// # Errors
    /// When `fabric` is no address.
    pub(super) fn join(
        config: &Config,
        network: NetworkId,
        supernode: SupernodeId,
        roster: &Roster,
    ) -> anyhow::Result<Self> {
        if config.fabric.is_none() && !config.is(Role::Authority) {
            tracing::warn!("`fabric` is not set: this supernode knows of no other, and no other knows of it");
        }
        let lease = Lease {
            supernode,
            // A later life has a greater one, as long as the clock does not go back; if it does, the lease of the life before is in
            // the way until it runs out, which takes three seconds.
            incarnation: unix_ms(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            draining: false,
            figures: Figures::default(),
            machine: machine::own(),
        };
        let membership = config.fabric()?.join(network, lease, ids(roster));
        let mut members = membership.members();
        members.mark_changed();
        Ok(Self { membership, members, sessions_max: config.sessions_max, told: (Instant::now(), processor_time()) })
    }

    /// Waits for news of the members, for ever if there will be none.
    pub(super) async fn changed(&mut self) {
        if self.members.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Hands the members on.
    pub(super) fn update(&mut self, supernode: &Supernode) {
        let members = Arc::clone(&self.members.borrow_and_update());
        let of = |lease: &Lease| Member { supernode: lease.supernode, draining: lease.draining };
        supernode.update_members(members.leases.values().map(of).collect(), !members.fresh);
    }

    /// Who may be a member, from now on.
    pub(super) fn set_roster(&self, roster: &Roster) {
        self.membership.set_roster(ids(roster));
    }

    /// Tells what the supernode carries; called `late` after it was due.
    pub(super) fn tell_figures(&mut self, supernode: &Supernode, late: Duration) {
        let now = (Instant::now(), processor_time());
        let (since, taken) = (now.0.duration_since(self.told.0), now.1.saturating_sub(self.told.1));
        self.told = now;
        let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        let ahoy_supernode::Figures { sessions, calls, legs, supernodes } = supernode.figures();
        self.membership.set_figures(Figures {
            sessions: count(sessions),
            sessions_max: self.sessions_max,
            calls: count(calls),
            legs: count(legs),
            supernodes: count(supernodes),
            load_permille: (taken.as_secs_f64() / since.as_secs_f64().max(0.001) / cores * 1_000.0) as u32,
            lag_ms: u32::try_from(late.as_millis()).unwrap_or(u32::MAX),
        });
    }

    /// Whether the others are to count on this supernode no more, while it hands over what it has.
    pub(super) fn set_draining(&self, draining: bool) {
        self.membership.set_draining(draining);
    }

    /// The members, as the operator looks at them.
    pub(super) fn view(&self, network: &str, own: SupernodeId, keys: &watch::Receiver<CredentialKeys>) -> View {
        View { network: network.to_owned(), own, members: self.members.clone(), keys: keys.clone() }
    }

    /// Gives the lease back, when the supernode is down.
    pub(super) async fn leave(self) {
        self.membership.leave().await;
    }

    /// Adds the fabric's metrics.
    pub(super) fn register(&self, registry: &mut Registry) {
        self.membership.register(registry);
    }
}

/// The fleet as this supernode sees it, for the operator; clones see the same.
#[derive(Clone)]
pub(crate) struct View {
    network: String,
    own: SupernodeId,
    members: watch::Receiver<Arc<Members>>,
    keys: watch::Receiver<CredentialKeys>,
}

impl View {
    /// All who live, as they say themselves, and who is listed and does not.
    pub(crate) fn told(&self) -> control::Fleet {
        let members = Arc::clone(&self.members.borrow());
        let roster = Arc::clone(&self.keys.borrow().roster);
        let entries: BTreeMap<_, _> = roster.supernodes.iter().map(|entry| (entry.supernode, entry)).collect();
        let first = |entry: &RosterEntry| entry.addresses.first().cloned().unwrap_or_default();
        let row = |lease: &Lease| {
            let Figures { sessions, sessions_max, calls, legs, supernodes, load_permille, lag_ms } = lease.figures;
            let entry = entries.get(&lease.supernode);
            control::Supernode {
                supernode: lease.supernode.to_hex(),
                own: lease.supernode == self.own,
                address: entry.map(|entry| first(entry)).unwrap_or_default(),
                region: entry.map(|entry| entry.region.clone()).unwrap_or_default(),
                version: lease.version.clone(),
                draining: lease.draining,
                sessions,
                sessions_max,
                calls,
                legs,
                supernodes,
                load_permille,
                lag_ms,
                machine: lease.machine.clone(),
            }
        };
        let supernodes: Vec<_> = members.leases.values().map(row).collect();
        let row_of_missing = |entry: &RosterEntry| control::Missing {
            supernode: entry.supernode.to_hex(),
            address: first(entry),
            region: entry.region.clone(),
        };
        let missing = |entry: &&RosterEntry| !members.leases.contains_key(&entry.supernode);
        let mut missing: Vec<_> = roster.supernodes.iter().filter(missing).collect();
        let all_missing = missing.len();
        missing.truncate(ROWS_MAX.saturating_sub(supernodes.len()));
        control::Fleet {
            network: self.network.clone(),
            fresh: members.fresh,
            supernodes,
            untold: all_missing - missing.len(),
            missing: missing.into_iter().map(row_of_missing).collect(),
        }
    }
}

fn ids(roster: &Roster) -> impl Iterator<Item = SupernodeId> {
    roster.supernodes.iter().map(|entry| entry.supernode)
}

pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// That this process has taken since it began; nothing, where `/proc` does not tell.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The program's name, in parentheses, may hold anything. 12th and 13th after it: user and system time.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(CLOCK_TICK_MS * ticks)
}
