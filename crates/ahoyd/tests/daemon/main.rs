//! The real `ahoyd` from the outside: starting, refusing to start, ending, and what it leaves in its logs.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod accounts;
mod backups;
mod harness;
mod invites;
mod logs;
mod migrate;
mod refusals;
mod reports;
mod restarts;
mod sessions;
mod supernodes;
mod tls;
