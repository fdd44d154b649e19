//! Sans-IO voice: what turns a microphone's frames into payloads and arriving payloads into frames for a speaker.
//!
//! No clock, no socket, no device: `now` is an input, payloads are bytes that the caller seals and sends. A [`Sender`] takes one
//! frame of 20 ms at a time and gives one payload; a [`Receiver`] takes payloads as they come, in any order, and gives one frame
//! whenever it is asked, exactly 20 ms of audio each. The receiver's [`payload::Report`] rides in the payloads of the other direction.

mod arrivals;
pub mod codec;
pub mod level;
pub mod payload;
mod receiver;
mod repair;
mod sender;
mod stretch;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub use receiver::{Frame, Origin, Receiver, Statistics};
pub use sender::{Protection, Sender};

/// Samples a second, everywhere in this crate.
pub const SAMPLE_RATE: u32 = 48_000;

/// Samples of one frame: 20 ms.
pub const FRAME_SAMPLES: usize = 960;
