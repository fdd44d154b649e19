//! Flow ids: the clear prefix of a voice datagram, and all that a relay reads of it.
//!
//! A flow id is a QUIC variable-length integer (RFC 9000, section 16) of at most 62 bits; the rest of the
//! datagram is an SFrame (RFC 9605) that the relay forwards as it is.

/// Names one direction of voice of one leg, on one supernode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(u64);

/// Largest flow id.
const MAX: u64 = (1 << 62) - 1;

impl FlowId {
    /// `None` when the number needs more than 62 bits.
    pub fn new(number: u64) -> Option<Self> {
        (number <= MAX).then_some(Self(number))
    }

    /// The number.
    pub fn number(self) -> u64 {
        self.0
    }

    /// Appends the id in its shortest form (1, 2, 4 or 8 bytes).
    pub fn encode(self, out: &mut Vec<u8>) {
        match self.0 {
            n if n < 1 << 6 => out.push(n as u8),
            n if n < 1 << 14 => out.extend_from_slice(&(n as u16 | 0x4000).to_be_bytes()),
            n if n < 1 << 30 => out.extend_from_slice(&(n as u32 | 0x8000_0000).to_be_bytes()),
            n => out.extend_from_slice(&(n | 0xc000_0000_0000_0000).to_be_bytes()),
        }
    }

    /// Splits a datagram into its flow id and the length of that prefix in bytes; `None` when the datagram is too short.
    #[inline]
    pub fn split(datagram: &[u8]) -> Option<(Self, usize)> {
        let first = *datagram.first()?;
        let length = 1usize << (first >> 6);
        let prefix = datagram.get(..length)?;
        let number = prefix[1..].iter().fold(u64::from(first & 0x3f), |n, byte| n << 8 | u64::from(*byte));
        Some((Self(number), length))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_rfc_9000_appendix_a_1_decode() {
        let examples: [(&[u8], u64); 4] = [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
        ];
        for (bytes, number) in examples {
            assert_eq!(FlowId::split(bytes), Some((FlowId(number), bytes.len())));
        }
    }

    proptest! {
        #[test]
        fn every_flow_id_survives_its_encoding(number in 0..=MAX) {
            let mut bytes = Vec::new();
            FlowId(number).encode(&mut bytes);
            prop_assert_eq!(FlowId::split(&bytes), Some((FlowId(number), bytes.len())));
        }

        #[test]
        fn any_bytes_split_or_are_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            let _ = FlowId::split(&bytes);
        }
    }
}
