//! Connection ids that say which shard issued them.
//!
//! Eight bytes, all random but for one thing: the first byte modulo the number of shards is the shard. An observer
//! learns at most that two ids belong to the same shard.

use quinn_proto::{ConnectionId, ConnectionIdGenerator};
use rand::Rng;

/// Length of every id that we issue, in bytes.
pub(crate) const LENGTH: usize = 8;

/// Length of the id to which a dialling supernode addresses its first packet, in bytes: it asks for the bounds of a trunk.
/// Clients use 20, or 8 as browsers do; an observer who reads it learns what he knows from the two addresses.
pub(crate) const TRUNK_LENGTH: usize = 17;

/// Most shards of one supernode: the first byte has 256 values.
pub(crate) const SHARDS_MAX: u16 = 256;

#[derive(Debug, Clone, Copy)]
pub(crate) struct ShardIds {
    pub(crate) shard: u16,
    pub(crate) shards: u16,
}

impl ConnectionIdGenerator for ShardIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; LENGTH];
        rand::rng().fill_bytes(&mut bytes);
        let random = u16::from(bytes[0]);
        let below = random - random % self.shards + self.shard;
        // The last, incomplete run of `shards` values may not hold this shard: step back by one run.
        let first = if below < SHARDS_MAX { below } else { below - self.shards };
        bytes[0] = u8::try_from(first).expect("stepped back below 256");
        ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        LENGTH
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

/// The shard that issued the destination id of this packet. `None` for the packets of a client's handshake, where the
/// client's own choice of id may stand: those stay with the shard that the kernel picked.
#[inline]
pub(crate) fn shard_of(packet: &[u8], shards: u16) -> Option<u16> {
    let (first, rest) = packet.split_first()?;
    let id = if first & 0x80 == 0 { rest.get(..LENGTH)? } else { answered(rest)? };
    Some(u16::from(id[0]) % shards)
}

/// The destination id of a handshake packet between two supernodes that answers one of ours. Both ids have our length then:
/// the first packet of a dialling supernode has a longer destination, and our clients' source ids are empty. A stranger whose
/// ids have these lengths is always sent to the same shard, which serves him as well as any other.
fn answered(after_first_byte: &[u8]) -> Option<&[u8]> {
    const VERSION: usize = 4;
    let (destination, rest) = id(after_first_byte.get(VERSION..)?)?;
    let (source, _) = id(rest)?;
    (destination.len() == LENGTH && source.len() == LENGTH).then_some(destination)
}

/// An id that stands behind its length, and what follows it.
fn id(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_names_its_shard() {
        for shards in [1, 2, 3, 7, 96, 256] {
            for shard in 0..shards {
                let id = ShardIds { shard, shards }.generate_cid();
                let packet = [&[0x40], &id[..], &[0; 20]].concat();
                assert_eq!(shard_of(&packet, shards), Some(shard));
            }
        }
    }

    fn long_header(destination: &[u8], source: &[u8]) -> Vec<u8> {
        let lengths = [destination, source].map(|id| u8::try_from(id.len()).unwrap());
        [&[0xc0, 0, 0, 0, 1, lengths[0]], destination, &lengths[1..], source, &[0; 20]].concat()
    }

    #[test]
    fn handshakes_between_supernodes_name_the_shard_that_is_answered() {
        let source = ShardIds { shard: 1, shards: 4 }.generate_cid();
        for shard in 0..4 {
            let destination = ShardIds { shard, shards: 4 }.generate_cid();
            assert_eq!(shard_of(&long_header(&destination, &source), 4), Some(shard));
        }
    }

    #[test]
    fn handshakes_of_clients_and_first_packets_name_no_shard() {
        assert_eq!(shard_of(&long_header(&[7; 20], &[]), 4), None);
        assert_eq!(shard_of(&long_header(&[7; 20], &[7; LENGTH]), 4), None);
        assert_eq!(shard_of(&long_header(&[7; LENGTH], &[]), 4), None);
        assert_eq!(shard_of(&long_header(&[7; TRUNK_LENGTH], &[7; LENGTH]), 4), None);
    }

    #[test]
    fn long_headers_and_short_packets_name_no_shard() {
        assert_eq!(shard_of(&[0xc0; 40], 4), None);
        for cut in 0..6 + LENGTH + 1 + LENGTH {
            assert_eq!(shard_of(&long_header(&[7; LENGTH], &[7; LENGTH])[..cut], 4), None);
        }
        assert_eq!(shard_of(&[0x40; LENGTH], 4), None);
        assert_eq!(shard_of(&[], 4), None);
    }
}
