//! Starts real processes, waits for what they say, and leaves nothing behind.
//!
//! A [`Trial`] owns a folder, a deadline that every wait obeys, and a share of the machine. Processes end with the value that
//! owns them, and with our own thread, however that ends.

mod child;
mod daemon;
mod http;
mod person;
mod puppet;
mod trial;

pub use ahoy_fabric::testing::free_port;
pub use child::{Child, Line, cpu_time, resident_bytes};
pub use daemon::{Daemon, DaemonOptions, metric};
pub use http::{HttpResponse, http_get};
pub use person::{Event, Outcome, Person, Verb, unix_ms};
pub use puppet::{Answer, Puppet, Refused};
pub use trial::{Machine, Trial, binary, trial, workspace};
