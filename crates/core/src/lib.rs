//! The sans-IO [`Exchange`] of one shard: sessions, who is online, calls and the relay tables.
//!
//! One input, then drain [`Exchange::poll_output`] until [`Output::Idle`]. Nothing here reads a clock, draws randomness
//! beyond its seed, or waits; what peers send can close their link and never panics.

mod accounts;
mod admission;
mod answers;
mod calls;
mod counters;
mod engagements;
mod exchange;
mod fleet;
mod forwarded;
mod links;
mod names;
mod outbox;
mod peer;
mod presence;
mod question;
mod rate;
mod relay;
mod requests;
mod session;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod timers;
mod told;
mod trunk;

pub use counters::{Counters, Gauges};
pub use exchange::{Exchange, ExchangeConfig, LinkId, Lists, Now, Output, Recipient, ShardId};
pub use fleet::{Fleet, FleetNode, Node, Seat};
pub use peer::PeerMessage;
pub use question::{
    Answer, CallWelcome, Callee, Commit, ContactChange, Day, Delivery, FoundAccount, QueryId, Question, StoreError,
    Welcoming,
};
pub use relay::{DropCause, Forward};
pub use session::Violation;
pub use timers::Timer;
