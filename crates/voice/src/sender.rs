//! The sender: one frame in, one payload out; how much of it is repair follows the receiver's reports.
//!
//! What is repeated are the frames themselves, through an erasure code, not coarser copies: a repaired frame is the one that was lost,
//! to the bit, so the decoder never sees a foreign state. All frames of one protection have one length.
//!
//! Invariant: every payload is [`PAYLOAD_BYTES`](crate::payload::PAYLOAD_BYTES) long.

use std::collections::VecDeque;

use crate::FRAME_SAMPLES;
use crate::codec::{CodecError, Encoder};
use crate::payload::{FRAMES_BYTES, Payload, Report, Window};
use crate::repair;

/// How a sender guards its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Clean: half a frame of repair in each payload, the rest for quality.
    Light,
    /// Nothing is known yet: as `Close`.
    Cautious,
    /// Single losses: a whole frame of repair over the last four.
    Close,
    /// Many single losses: one and a half frames of repair over the last four.
    Dense,
    /// Bursts: the frame of 120 ms ago once more, so that it outlives the burst.
    Spaced,
}

impl Protection {
    /// How many repairs a payload carries, and over which frames.
    const fn code(self) -> (usize, Window) {
        match self {
            Self::Light => (1, Window { near: 1, far: 4 }),
            Self::Cautious | Self::Close => (2, Window { near: 1, far: 4 }),
            Self::Dense => (3, Window { near: 1, far: 4 }),
            Self::Spaced => (2, Window { near: 6, far: 6 }),
        }
    }
}

/// Turns a microphone's frames into payloads.
#[derive(Debug)]
pub struct Sender {
    encoder: Encoder,
    timestamp: u16,
    /// Frames already sent, newest first, at most [`HISTORY_MAX`].
    history: VecDeque<Vec<u8>>,
    protection: Protection,
}

impl Sender {
    /// A new sender, cautious until the first reports come.
    ///
    /// # Errors
    /// When memory is out.
    pub fn new() -> Result<Self, CodecError> {
        Ok(Self {
            encoder: Encoder::new()?,
            timestamp: 0,
            history: VecDeque::with_capacity(HISTORY_MAX + 1),
            protection: Protection::Cautious,
        })
    }

    /// Encodes the next frame of 20 ms into a payload, with `report` (see `Receiver::poll_report`) on board.
    ///
    /// # Errors
    /// Never in practice: libopus takes any samples. The type says so because libopus does.
    pub fn push_frame(
        &mut self,
        samples: &[f32; FRAME_SAMPLES],
        report: Option<Report>,
    ) -> Result<Vec<u8>, CodecError> {
        let (count, window) = self.protection.code();
        let length = primary_length(count);
        if self.history.front().is_some_and(|frame| frame.len() != length) {
            // A repair sums frames of one length only.
            self.history.clear();
        }
        let primary = self.encoder.encode(samples, length)?;
        let far = window.far.min(self.history.len() as u8);
        let frames: Vec<(u16, &[u8])> = (window.near..=far)
            .map(|distance| {
                let number = self.timestamp.wrapping_sub(distance.into());
                (number, self.history[usize::from(distance) - 1].as_slice())
            })
            .collect();
        let (window, count) = if frames.is_empty() { (None, 0) } else { (Some(Window { far, ..window }), count) };
        let repairs = repair::make(self.timestamp, &frames, count);
        let repairs = repairs.iter().map(Vec::as_slice).collect();
        let payload = Payload { timestamp: self.timestamp, primary: &primary, window, repairs, report }.to_bytes();
        self.timestamp = self.timestamp.wrapping_add(1);
        self.history.push_front(primary);
        self.history.truncate(HISTORY_MAX);
        Ok(payload)
    }

    /// Takes a report of the receiver of what we send: protects at once, relaxes as slowly as the report's window of 5 s forgets.
    pub fn handle_report(&mut self, report: &Report) {
        self.protection = protection_for(report, self.protection);
    }

    /// As if so many frames had been sent.
    #[cfg(test)]
    pub(crate) fn skip(&mut self, frames: u16) {
        self.timestamp = self.timestamp.wrapping_add(frames);
        self.history.clear();
    }

    /// How frames are guarded at present.
    #[must_use]
    pub const fn protection(&self) -> Protection {
        self.protection
    }
}

/// The longest primary that leaves room for `count` repairs of half its length each.
const fn primary_length(count: usize) -> usize {
    let length = FRAMES_BYTES * 2 / (2 + count);
    // Halves are rounded up: one byte less where that does not fit.
    if length + count * repair::half_length(length) > FRAMES_BYTES { length - 1 } else { length }
}

/// Frames kept: as far back as the widest window reaches.
const HISTORY_MAX: usize = 8;

/// Reported packets before the first choice: 2 s. Sooner, chance decides, and a wrong choice is two changes of length.
const MATURE: u8 = 100;

/// Loss up to which a path counts as clean.
const LIGHT_UP_TO: f32 = 0.01;

/// Loss from which (to stay, to enter) one repair for each frame is too little: losses then come faster than they are solved.
const DENSE_FROM: (f32, f32) = (0.12, 0.16);

/// Mean length of a run, in packets, from which (to stay, to enter) losses are bursts. At 20 % of single losses it is 1.25.
const BURSTS_FROM: (f32, f32) = (1.5, 1.8);

fn protection_for(report: &Report, current: Protection) -> Protection {
    let (expected, lost, runs) = (f32::from(report.expected), f32::from(report.lost), f32::from(report.runs));
    if report.expected < MATURE && current == Protection::Cautious {
        return current;
    }
    if lost <= LIGHT_UP_TO * expected {
        return Protection::Light;
    }
    // Two single losses are assumed, so that one unlucky run says little and a few true bursts enough. What is in force
    // stays on weaker evidence: each change of length leaves the frames before it without repair.
    let burst = (lost + 2.0) / (runs + 2.0);
    let bursts_from = if current == Protection::Spaced { BURSTS_FROM.0 } else { BURSTS_FROM.1 };
    let dense_from = if current == Protection::Dense { DENSE_FROM.0 } else { DENSE_FROM.1 };
    if burst >= bursts_from {
        Protection::Spaced
    } else if lost >= dense_from * expected {
        Protection::Dense
    } else {
        Protection::Close
    }
}
