//! The real `ahoyd` from the outside: starting, refusing to start, ending, and what it leaves in its logs.

mod harness;
mod invites;
mod logs;
mod refusals;
mod restarts;
mod tls;
