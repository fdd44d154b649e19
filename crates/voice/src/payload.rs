//! The payload: what stands in the clear inside one sealed voice packet. docs/voice.md states the layout.
//!
//! Invariant: every payload that we make is [`PAYLOAD_BYTES`] long, whatever was said and whatever the loss, so that its length tells
//! nothing; and no byte of a peer makes the parser panic or allocate more than the payload's own size.

/// Length of every payload that we make, in bytes.
///
/// 80 bytes stand around it on the wire (UDP/IPv4 28, QUIC header and tag 24, DATAGRAM frame 3, ACK now and then 4, flow id 2,
/// SFrame header and tag 19), so one direction is (104 + 80) * 8 * 50 = 73.6 kbit/s. Each byte more is 0.4 kbit/s.
pub const PAYLOAD_BYTES: usize = 104;

/// Longest payload that we accept, in bytes: what fits a voice datagram.
pub const PAYLOAD_BYTES_MAX: usize = 1_100;

/// Earlier frames that one payload can repeat.
pub const COPIES_MAX: usize = 3;

/// Largest distance, in frames, of a copy from its payload's own frame: 300 ms, more delay than any call wants.
pub const OFFSET_MAX: u8 = 15;

/// Bytes of a [`Report`].
pub(crate) const REPORT_BYTES: usize = 5;

/// Bytes before the frames: flags, timestamp, length of the primary.
pub(crate) const HEADER_BYTES: usize = 4;

/// Bytes that each copy adds beside the frame itself: offset and length.
pub(crate) const COPY_HEADER_BYTES: usize = 2;

const VERSION: u8 = 0;
const VERSION_SHIFT: u8 = 5;
const REPORT_FLAG: u8 = 0b0001_0000;
const COPIES_MASK: u8 = 0b0000_0011;

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
    /// A copy's offset is 0 or above [`OFFSET_MAX`].
    #[error("copy at offset {0} is out of range")]
    Offset(u8),
}

/// What a receiver tells the sender of what it receives: counts over its last 5 s, and its delay.
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
    /// Playout delay, in units of 5 ms.
    pub delay_5ms: u8,
}

/// An earlier frame, repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copy<'a> {
    /// Frames back from the payload's own.
    pub offset: u8,
    /// An Opus frame.
    pub frame: &'a [u8],
}

/// A payload, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload<'a> {
    /// Number of the primary frame, counted in frames of 20 ms, modulo 2^16.
    pub timestamp: u16,
    /// The Opus frame of this moment.
    pub primary: &'a [u8],
    /// Earlier frames, at most [`COPIES_MAX`].
    pub copies: Vec<Copy<'a>>,
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
        let primary_length = rest.octet()?;
        let mut heads = [(0, 0); COPIES_MAX];
        let heads = &mut heads[..usize::from(flags & COPIES_MASK)];
        for head in &mut *heads {
            *head = (rest.octet()?, rest.octet()?);
            if head.0 == 0 || head.0 > OFFSET_MAX {
                return Err(PayloadError::Offset(head.0));
            }
        }
        let primary = rest.take(primary_length.into())?;
        let copies = heads
            .iter()
            .map(|&(offset, length)| Ok(Copy { offset, frame: rest.take(length.into())? }))
            .collect::<Result<_, PayloadError>>()?;
        Ok(Self { timestamp, primary, copies, report })
    }

    /// The bytes, padded with zeros to [`PAYLOAD_BYTES`].
    ///
    /// # Panics
    /// When a frame is longer than 255 bytes or there are too many copies: a mistake of the caller.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        assert!(self.copies.len() <= COPIES_MAX, "more copies than a payload can hold");
        let mut bytes = Vec::with_capacity(PAYLOAD_BYTES);
        let report_flag = if self.report.is_some() { REPORT_FLAG } else { 0 };
        bytes.push(VERSION << VERSION_SHIFT | report_flag | self.copies.len() as u8);
        bytes.extend(self.timestamp.to_be_bytes());
        if let Some(report) = self.report {
            bytes.extend([report.expected, report.lost, report.runs, report.jitter_ms, report.delay_5ms]);
        }
        bytes.push(length_octet(self.primary));
        for copy in &self.copies {
            bytes.extend([copy.offset, length_octet(copy.frame)]);
        }
        bytes.extend(self.primary);
        for copy in &self.copies {
            bytes.extend(copy.frame);
        }
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
        Ok(Report {
            expected: self.octet()?,
            lost: self.octet()?,
            runs: self.octet()?,
            jitter_ms: self.octet()?,
            delay_5ms: self.octet()?,
        })
    }
}

fn length_octet(frame: &[u8]) -> u8 {
    u8::try_from(frame.len()).expect("our frames are shorter than a payload")
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
            copies in prop::collection::vec((1..=OFFSET_MAX, prop::collection::vec(any::<u8>(), 0..20)), 0..=COPIES_MAX),
            report in prop::option::of(any::<[u8; 5]>()),
        ) {
            let payload = Payload {
                timestamp,
                primary: &primary,
                copies: copies.iter().map(|(offset, frame)| Copy { offset: *offset, frame }).collect(),
                report: report.map(|[expected, lost, runs, jitter_ms, delay_5ms]| {
                    Report { expected, lost, runs, jitter_ms, delay_5ms }
                }),
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
        assert_eq!(Payload::parse(&[1, 0, 0, 0, 0, 0]), Err(PayloadError::Offset(0)));
        assert_eq!(Payload::parse(&[1, 0, 0, 0, OFFSET_MAX + 1, 0]), Err(PayloadError::Offset(OFFSET_MAX + 1)));
        assert_eq!(Payload::parse(&[0; PAYLOAD_BYTES_MAX + 1]), Err(PayloadError::Long));
    }
}
