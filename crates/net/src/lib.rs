//! Links between a client and its supernode: one ordered stream of messages and unreliable datagrams.
//!
//! [`shard`] is the supernode's side: quinn-proto driven by one hand-written loop on one thread. [`client`] is the
//! dialling side, on quinn and tokio. Both carry bytes and understand none of them.

pub mod client;
mod connection_id;
mod floor;
pub mod limits;
pub mod listen;
mod origin;
pub mod shard;
mod timers;
pub mod tls;
mod transport;
mod web;

pub use client::{ClientLink, DialError, DialOptions, LinkEnd, SharedSockets, WebSocketUse, dial};
pub use listen::ListenAddress;
pub use origin::Origins;
pub use shard::{ForeignPacket, LinkEvent, LinkId, LostCause, QuicShard, ShardConfig};
pub use tls::ServerTls;
pub use web::{SelfSigned, Web, WebCertificate};
