//! The supernode's side of links: all connections of one shard, driven by one thread.

/// A link of this shard; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);
