//! The sender: one frame in, one payload out; how much it repeats follows the receiver's reports.
//!
//! Two encoders hear the same frames. The primary gets the bytes that are left; the other makes small frames to be repeated in later
//! payloads. Opus frames of 20 ms in SILK lean little on their predecessors, so a decoder can take either for any moment.
//!
//! Invariant: every payload is [`PAYLOAD_BYTES`] long.

use std::collections::VecDeque;

use crate::FRAME_SAMPLES;
use crate::codec::{CodecError, Encoder};
use crate::payload::{COPY_HEADER_BYTES, Copy, HEADER_BYTES, PAYLOAD_BYTES, Payload, REPORT_BYTES, Report};

/// What a sender repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Nothing is known yet: guard against short bursts, and be ready for both other cases.
    Cautious,
    /// Clean: one small copy a frame later.
    Light,
    /// Single losses: two copies, close by, which cost little delay.
    Close,
    /// Bursts: two copies, far apart, so that one outlives the burst.
    Spaced,
}

impl Protection {
    /// Offsets of the copies, in frames.
    #[must_use]
    pub const fn offsets(self) -> &'static [u8] {
        match self {
            Self::Cautious => &[2, 4],
            Self::Light => &[1],
            Self::Close => &[1, 2],
            Self::Spaced => &[3, 6],
        }
    }
}

/// Turns a microphone's frames into payloads.
#[derive(Debug)]
pub struct Sender {
    primary: Encoder,
    repeated: Encoder,
    timestamp: u16,
    /// Small frames already sent as primaries, newest first, at most [`HISTORY_MAX`].
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
            primary: Encoder::new()?,
            repeated: Encoder::new()?,
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
        let copies: Vec<Copy<'_>> = self
            .protection
            .offsets()
            .iter()
            .filter_map(|&offset| {
                let frame = self.history.get(usize::from(offset) - 1)?;
                Some(Copy { offset, frame })
            })
            .collect();
        let spent = HEADER_BYTES
            + if report.is_some() { REPORT_BYTES } else { 0 }
            + copies.iter().map(|copy| COPY_HEADER_BYTES + copy.frame.len()).sum::<usize>();
        let primary = self.primary.encode(samples, (PAYLOAD_BYTES - spent).min(PRIMARY_BYTES_MAX))?;
        let payload = Payload { timestamp: self.timestamp, primary: &primary, copies, report }.to_bytes();
        self.timestamp = self.timestamp.wrapping_add(1);
        self.history.push_front(self.repeated.encode(samples, REPEATED_BYTES)?);
        self.history.truncate(HISTORY_MAX);
        Ok(payload)
    }

    /// Takes a report of the receiver of what we send: protects at once, relaxes as slowly as the report's window of 5 s forgets.
    pub fn handle_report(&mut self, report: &Report) {
        self.protection = protection_for(report, self.protection);
    }

    /// What is repeated at present.
    #[must_use]
    pub const fn protection(&self) -> Protection {
        self.protection
    }
}

/// Bytes of a small frame: 11.2 kbit/s. Three of them would leave the primary nothing, less is hard to understand.
const REPEATED_BYTES: usize = 28;

/// Bytes of the largest primary: 26 kbit/s, above which SILK gains nothing.
const PRIMARY_BYTES_MAX: usize = 66;

/// Small frames kept: as far back as the widest spacing reaches.
const HISTORY_MAX: usize = 6;

/// Reported packets before a clean start is believed: 2 s.
const CLEAN_START: u8 = 100;

fn protection_for(report: &Report, current: Protection) -> Protection {
    let (expected, lost, runs) = (f32::from(report.expected), f32::from(report.lost), f32::from(report.runs));
    if report.expected < CLEAN_START && report.lost == 0 {
        return current;
    }
    if lost <= 0.01 * expected {
        return Protection::Light;
    }
    // One run of single loss is assumed, so that one unlucky run says little and a true burst enough.
    let burst = (lost + 1.0) / (runs + 1.0);
    if burst >= 1.8 { Protection::Spaced } else { Protection::Close }
}
