//! The contract between the parts of Ahoy: ids, messages, framing, signed documents and limits.
//!
//! Everything here is pure: no socket, no clock, no randomness. docs/protocol.md says the same in prose;
//! a change touches both, and `vectors/`.

pub mod api;
mod base_mode;
pub mod binding;
pub mod call_token;
pub mod comparison;
pub mod control;
pub mod document;
pub mod enrolment;
pub mod flow;
pub mod frame;
mod hex;
pub mod id;
pub mod limits;
pub mod name;
pub mod note;
#[cfg(feature = "opaque")]
pub mod opaque;
pub mod placement;
pub mod proof;
pub mod report;
pub mod request_key;
pub mod sealing;
pub mod time;
pub mod websocket;

/// The messages of `schema/ahoy/v1`, generated.
#[allow(missing_docs, clippy::use_self, unreachable_pub)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/ahoy.v1.rs"));
}

pub use id::{AccountId, CallId, ConversationId, DeviceId, LegId, NetworkId, SupernodeId};
pub use name::Name;
pub use time::UnixTime;

/// The protocol version that this crate speaks.
pub const VERSION: u32 = 1;

/// The version of what supernodes say to each other. Those of one fleet speak the same.
pub const TRUNK_VERSION: u32 = 1;

/// ALPN of a native QUIC link.
pub const ALPN: &[u8] = b"ahoy/1";
