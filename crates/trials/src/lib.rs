//! Whole-system trials: what only real processes can show.
//!
//! [`impair`] is a bad network, [`harness`] starts `ahoyd` and `ahoy` and reads what they print, [`quality`] scores calls,
//! [`outside`] collects what anybody can learn, [`capture`] reads two clients' traffic as their supernode does, [`wire`] speaks the protocol without the SDK, [`mod@bench`] measures,
//! [`plot`] draws it, [`returns`] kills supernodes in calls, [`kills`] everything in conversations. Nothing here is used by what ships.

pub mod bench;
pub mod capture;
pub mod harness;
pub mod impair;
pub mod kills;
pub mod outside;
pub mod plot;
pub mod quality;
pub mod returns;
pub mod wire;
