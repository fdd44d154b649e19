//! The supernode's shell: threads that move bytes between sockets, exchanges and the store, and decide nothing.
//!
//! [`Supernode::start`] makes one thread a shard. Each owns its sockets, its connections and its
//! [`Exchange`](ahoy_core::Exchange); everything else reaches it through a bounded inbox. No lock is held while anything
//! waits, and no store is asked on the way of a voice packet. One more thread keeps the view of the fleet: it decides who is
//! dialled, and tells all shards who lives.

mod inbox;
mod metrics;
mod questions;
mod shard;
mod sockets;
mod supernode;
#[cfg(test)]
mod tests;
mod trunks;
mod view;

pub use sockets::{Outgoing, SocketAcceptor, SocketReceiver, SocketSender};
pub use supernode::{CredentialKeys, Figures, StartError, Supernode, SupernodeConfig};
pub use view::Member;
