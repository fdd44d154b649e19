//! The supernode's shell: threads that move bytes between sockets, exchanges and the store, and decide nothing.
//!
//! [`Supernode::start`] makes one thread a shard. Each owns its sockets, its connections and its
//! [`Exchange`](ahoy_core::Exchange); everything else reaches it through a bounded inbox. No lock is held while anything
//! waits, and no store is asked on the way of a voice packet.

mod inbox;
mod metrics;
mod questions;
mod shard;
mod supernode;
#[cfg(test)]
mod tests;

pub use supernode::{CredentialKeys, StartError, Supernode, SupernodeConfig};
