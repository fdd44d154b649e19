//! What the whole system has to show, on real processes. Each trial is named for the behaviour that it protects.
//!
//! Trials that measure time run alone (see `harness::Machine`), whatever the number of test threads.

mod address_leak;
mod hostile_input;
mod refusals;
mod restarts;
mod voice;
