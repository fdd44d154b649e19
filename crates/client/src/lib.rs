//! The SDK: a sans-IO [`Member`](member::Member) that decides everything, and what drives it.
//!
//! `member` is pure: no socket, clock or thread. Everything else is behind the feature `driver`.

pub mod member;
