//! The payload: what stands in the clear inside one sealed voice packet. docs/voice.md states the layout.
//!
//! Invariant: every payload that we make is [`PAYLOAD_BYTES`] long, whatever was said and whatever the loss, so that its length tells
//! nothing; and no byte of a peer makes the parser panic or allocate more than the payload's own size.

use crate::repair::half_length;

/// Length of every payload that we make, in bytes.
///
/// 80 bytes stand around it on the wire (UDP/IPv4 28, QUIC header and tag 24, DATAGRAM frame 3, ACK now and then 4, flow id 2,
/// SFrame header and tag 19), so one direction is (104 + 80) * 8 * 50 = 73.6 kbit/s. Each byte more is 0.4 kbit/s.
pub const PAYLOAD_BYTES: usize = 104;

/// Longest payload that we accept, in bytes: what fits a voice datagram.
pub const PAYLOAD_BYTES_MAX: usize = 1_100;

/// Repairs that one payload can carry.
pub const REPAIRS_MAX: usize = 4;

/// Bytes of a [`Report`].
const REPORT_BYTES: usize = 4;

/// Bytes left for the primary and the repairs: without flags, timestamp, window, length of the primary and a report,
/// whose place is kept free in every payload so that all frames of a kind have one length.
pub(crate) const FRAMES_BYTES: usize = PAYLOAD_BYTES - 5 - REPORT_BYTES;

const VERSION: u8 = 0;
const VERSION_SHIFT: u8 = 5;
const REPORT_FLAG: u8 = 0b0001_0000;
const REPAIRS_MASK: u8 = 0b0000_0111;

/// Why bytes are no payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// A version that we don't speak.
    #[error("payload version {0} is not supported")]
    Version(u8),
    /// Ends before what it announces.
    #[error("payload is cut short")]
    Short,
    /// Longer than any that fits a datagram.
    #[error("payload is too long")]
    Long,
    /// More than [`REPAIRS_MAX`] repairs.
    #[error("payload announces {0} repairs")]
    Repairs(u8),
    /// Repairs over no frames, or over frames yet to come.
    #[error("window {0:#04x} is out of range")]
    Window(u8),
}

/// What a receiver tells the sender of what it receives: counts over its last 5 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Packets that should have come, at most 250; fewer only at the start.
    pub expected: u8,
    /// How many of them did not.
    pub lost: u8,
    /// In how many runs of neighbours they were lost: `lost / runs` is the mean length of a burst.
    pub runs: u8,
    /// Arrival jitter, in ms: how late the latest 5 % are, against the fastest. 255 is "or more".
    pub jitter_ms: u8,
}

/// The frames that repairs are made of, counted back from the payload's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Distance of the newest, 1 to 15.
    pub near: u8,
    /// Distance of the oldest, `near` to 15.
    pub far: u8,
}

impl Window {
    /// Numbers of the frames, for the payload numbered `index`.
    pub(crate) fn frames(self, index: i64) -> impl Iterator<Item = i64> {
        (i64::from(self.near)..=i64::from(self.far)).map(move |distance| index - distance)
    }
}

/// A payload, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload<'a> {
    /// Number of the primary frame, counted in frames of 20 ms, modulo 2^16.
    pub timestamp: u16,
    /// The Opus frame of this moment.
    pub primary: &'a [u8],
    /// What the repairs are made of; present if and only if there are any.
    pub window: Option<Window>,
    /// Sums of halves of earlier frames, each half as long as the primary, rounded up; at most [`REPAIRS_MAX`].
    pub repairs: Vec<&'a [u8]>,
    /// The sender's report of what it receives from us.
    pub report: Option<Report>,
}

impl<'a> Payload<'a> {
    /// Takes a payload apart. Nothing of the frames themselves is checked but their lengths.
    ///
    /// # Errors
    /// When the bytes are no payload of this version.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PayloadError> {
        if bytes.len() > PAYLOAD_BYTES_MAX {
            return Err(PayloadError::Long);
        }
        let mut rest = Rest(bytes);
        let flags = rest.octet()?;
        if flags >> VERSION_SHIFT != VERSION {
            return Err(PayloadError::Version(flags >> VERSION_SHIFT));
        }
        let timestamp = u16::from_be_bytes([rest.octet()?, rest.octet()?]);
        let report = if flags & REPORT_FLAG == 0 { None } else { Some(rest.report()?) };
        let count = flags & REPAIRS_MASK;
        if usize::from(count) > REPAIRS_MAX {
            return Err(PayloadError::Repairs(count));
        }
        let window = if count == 0 { None } else { Some(rest.window()?) };
        let length = usize::from(rest.octet()?);
        let primary = rest.take(length)?;
        let repairs = (0..count).map(|_| rest.take(half_length(length))).collect::<Result<_, _>>()?;
        Ok(Self { timestamp, primary, window, repairs, report })
    }

    /// The bytes, padded with zeros to [`PAYLOAD_BYTES`].
    ///
    /// # Panics
    /// When the primary is longer than 255 bytes or there are too many repairs: a mistake of the caller.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        assert!(self.repairs.len() <= REPAIRS_MAX, "more repairs than a payload can hold");
        let mut bytes = Vec::with_capacity(PAYLOAD_BYTES);
        let report_flag = if self.report.is_some() { REPORT_FLAG } else { 0 };
        bytes.push(VERSION << VERSION_SHIFT | report_flag | self.repairs.len() as u8);
        bytes.extend(self.timestamp.to_be_bytes());
        if let Some(report) = self.report {
            bytes.extend([report.expected, report.lost, report.runs, report.jitter_ms]);
        }
        if let Some(window) = self.window {
            bytes.push(window.near << 4 | window.far);
        }
        bytes.push(u8::try_from(self.primary.len()).expect("our frames are shorter than a payload"));
        bytes.extend(self.primary);
        bytes.extend(self.repairs.iter().copied().flatten());
        if bytes.len() < PAYLOAD_BYTES {
            bytes.resize(PAYLOAD_BYTES, 0);
        }
        bytes
    }
}

/// What an echo sends back for a payload: the same bytes. The report in it comes home to the one who wrote it, and rightly:
/// what its receiver hears is what its sender sent, so the report is about its own packets on both ways.
///
/// # Errors
/// When the bytes are no payload.
pub fn reflect(payload: &[u8]) -> Result<Vec<u8>, PayloadError> {
    Payload::parse(payload).map(|_| payload.to_vec())
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn octet(&mut self) -> Result<u8, PayloadError> {
        let (&octet, rest) = self.0.split_first().ok_or(PayloadError::Short)?;
        self.0 = rest;
        Ok(octet)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], PayloadError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(PayloadError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn report(&mut self) -> Result<Report, PayloadError> {
        Ok(Report { expected: self.octet()?, lost: self.octet()?, runs: self.octet()?, jitter_ms: self.octet()? })
    }

    fn window(&mut self) -> Result<Window, PayloadError> {
        let octet = self.octet()?;
        let window = Window { near: octet >> 4, far: octet & 0x0f };
        if window.near == 0 || window.far < window.near {
            return Err(PayloadError::Window(octet));
        }
        Ok(window)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..1_300)) {
            let _ = Payload::parse(&bytes);
        }

        #[test]
        fn what_is_written_is_read_back_and_every_length_is_the_same(
            timestamp: u16,
            primary in prop::collection::vec(any::<u8>(), 0..30),
            repairs in 0..=REPAIRS_MAX,
            near in 1_u8..=15,
            report in prop::option::of(any::<[u8; 4]>()),
        ) {
            let payload = Payload {
                timestamp,
                primary: &primary,
                window: (repairs > 0).then_some(Window { near, far: 15 }),
                repairs: vec![&primary[..half_length(primary.len())]; repairs],
                report: report.map(|[expected, lost, runs, jitter_ms]| Report { expected, lost, runs, jitter_ms }),
            };
            let bytes = payload.to_bytes();
            prop_assert_eq!(bytes.len(), PAYLOAD_BYTES);
            prop_assert_eq!(Payload::parse(&bytes), Ok(payload));
            prop_assert_eq!(reflect(&bytes), Ok(bytes));
        }
    }

    #[test]
    fn each_broken_rule_has_its_error() {
        assert_eq!(Payload::parse(&[]), Err(PayloadError::Short));
        assert_eq!(Payload::parse(&[0b0010_0000, 0, 0, 0]), Err(PayloadError::Version(1)));
        assert_eq!(Payload::parse(&[0, 0, 0, 5, 1, 2]), Err(PayloadError::Short));
        assert_eq!(Payload::parse(&[5, 0, 0, 0x11, 0]), Err(PayloadError::Repairs(5)));
        assert_eq!(Payload::parse(&[1, 0, 0, 0x21, 0]), Err(PayloadError::Window(0x21)));
        assert_eq!(Payload::parse(&[0; PAYLOAD_BYTES_MAX + 1]), Err(PayloadError::Long));
    }
}
