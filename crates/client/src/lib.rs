//! The SDK: a sans-IO [`Member`](member::Member) that decides everything, and what drives it.
//!
//! `member` is pure: no socket, clock or thread. Everything else is behind the feature `driver`.

#[cfg(feature = "driver")]
pub mod account;
#[cfg(feature = "driver")]
pub mod audio;
#[cfg(feature = "driver")]
pub mod driver;
pub mod member;
mod mls;
#[cfg(feature = "driver")]
pub mod profile;
#[cfg(feature = "driver")]
pub mod voice;

/// Name and version of this program, as it introduces itself to authority and supernodes.
pub const AGENT: &str = concat!("ahoy/", env!("CARGO_PKG_VERSION"));
