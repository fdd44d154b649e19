//! Leases of the supernodes of one process. They need no renewal: who has no task any more has no lease.

use std::{collections::BTreeMap, sync::Arc};

use ahoy_proto::{NetworkId, SupernodeId};
use tokio::sync::watch;

use crate::{Lease, RENEW_EVERY, Seen, Wish};

/// Leases in this process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Local {
    leases: Arc<watch::Sender<BTreeMap<(NetworkId, SupernodeId), Lease>>>,
}

impl Local {
    /// Runs until the membership ends, one way or the other.
    pub(crate) async fn keep(self, network: NetworkId, mut wish: watch::Receiver<Wish>, seen: Seen) {
        let mut leases = self.leases.subscribe();
        let (supernode, life) = {
            let wish = wish.borrow();
            (wish.lease.supernode, wish.lease.incarnation)
        };
        let key = (network, supernode);
        loop {
            let wished = wish.borrow_and_update().clone();
            if wished.leaving {
                break;
            }
            self.put(key, wished.lease);
            let of = |((of, supernode), lease): (&(NetworkId, SupernodeId), &Lease)| {
                (*of == network && wished.roster.contains(supernode)).then(|| (*supernode, lease.clone()))
            };
            let members = leases.borrow_and_update().iter().filter_map(of).collect();
            seen.tell(members, true);
            tokio::select! {
                changed = wish.changed() => if changed.is_err() { break },
                _ = leases.changed() => {}
                () = tokio::time::sleep(RENEW_EVERY) => {}
            }
        }
        self.leases.send_if_modified(|leases| {
            let own = leases.get(&key).is_some_and(|lease| lease.incarnation == life);
            own && leases.remove(&key).is_some()
        });
    }

    /// Unless there is the lease of a later life.
    fn put(&self, key: (NetworkId, SupernodeId), lease: Lease) {
        self.leases.send_if_modified(|leases| match leases.get(&key) {
            Some(held) if held.incarnation > lease.incarnation || *held == lease => false,
            _ => {
                leases.insert(key, lease);
                true
            }
        });
    }
}
