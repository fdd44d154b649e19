//! Connection ids that say which shard issued them.
//!
//! Eight bytes, all random but for one thing: the first byte modulo the number of shards is the shard. An observer
//! learns at most that two ids belong to the same shard.

use quinn_proto::{ConnectionId, ConnectionIdGenerator};
use rand::Rng;

/// Length of every id that we issue, in bytes.
pub(crate) const LENGTH: usize = 8;

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

/// The shard that issued the destination id of this packet. `None` for packets with a long header: those belong to
/// handshakes, where the client's own choice of id stands, and which stay with the shard that the kernel picked.
#[inline]
pub(crate) fn shard_of(packet: &[u8], shards: u16) -> Option<u16> {
    let (first, rest) = packet.split_first()?;
    let id = rest.get(..LENGTH)?;
    (first & 0x80 == 0).then(|| u16::from(id[0]) % shards)
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

    #[test]
    fn long_headers_and_short_packets_name_no_shard() {
        assert_eq!(shard_of(&[0xc0; 40], 4), None);
        assert_eq!(shard_of(&[0x40; LENGTH], 4), None);
        assert_eq!(shard_of(&[], 4), None);
    }
}
