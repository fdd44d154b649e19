//! What the whole system has to show, on real processes. Each trial is named for the behaviour that it protects.
//!
//! Trials that measure time run alone (see `harness::Machine`), whatever the number of test threads.

mod address_leak;
mod bad_input;
mod census;
mod fleet;
mod hostile_input;
mod load;
mod messages;
mod refusals;
mod restarts;
mod voice;
