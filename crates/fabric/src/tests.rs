//! What holds wherever leases are kept, and what holds of Valkey. All with the times of production.

mod conformance;
mod tls;
mod valkey;

use std::{sync::Arc, time::Duration};

use ahoy_proto::{NetworkId, SupernodeId};
use tokio::sync::watch;

use crate::{Fabric, Figures, Lease, Members, Membership, ValkeyConfig};

/// How long anything may take that is waited for: a failover takes the longest.
const DEADLINE: Duration = Duration::from_secs(20);

/// The supernodes of a network that no other test has.
#[derive(Debug, Clone)]
struct Fleet {
    fabric: Fabric,
    network: NetworkId,
    roster: Vec<SupernodeId>,
}

impl Fleet {
    fn new(fabric: &Fabric) -> Self {
        let roster = (1..=4).map(|number| SupernodeId([number; 16])).collect();
        Self { fabric: fabric.clone(), network: NetworkId(rand::random()), roster }
    }

    fn lease(&self, number: usize, incarnation: u64) -> Lease {
        let version = "1.2.3".to_owned();
        let figures = Figures::default();
        Lease { supernode: self.roster[number], incarnation, version, draining: false, figures, machine: None }
    }

    /// The first life of a supernode of the roster.
    fn join(&self, number: usize) -> Membership {
        self.join_as(number, 1)
    }

    fn join_as(&self, number: usize, incarnation: u64) -> Membership {
        self.fabric.join(self.network, self.lease(number, incarnation), self.roster.clone())
    }

    /// Whether these are the members, and no others, in the lives given.
    fn are(&self, members: &Members, lives: &[(usize, u64)]) -> bool {
        let wanted = lives.iter().map(|(number, life)| (self.roster[*number], *life));
        wanted.eq(members.leases.values().map(|lease| (lease.supernode, lease.incarnation)))
    }

    /// Waits until a member sees these, freshly.
    async fn until(&self, membership: &Membership, lives: &[(usize, u64)]) -> Arc<Members> {
        until(&mut membership.members(), |members| members.fresh && self.are(members, lives)).await
    }
}

async fn until(members: &mut watch::Receiver<Arc<Members>>, wanted: impl Fn(&Members) -> bool) -> Arc<Members> {
    let reached = tokio::time::timeout(DEADLINE, members.wait_for(|members| wanted(members)))
        .await
        .map(|members| Arc::clone(&members.expect("the keeper runs")));
    match reached {
        Ok(members) => members,
        Err(_) => panic!("the members stay {:?}", members.borrow()),
    }
}
