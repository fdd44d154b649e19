//! Links between supernodes: dialling on the shard's own sockets, and the bounds of what is accepted as a trunk.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use ahoy_proto::v1::ErrorCode;
use bytes::{BufMut as _, BytesMut};
use ed25519_dalek::VerifyingKey;
use quinn_proto::{ClientConfig, ConnectError, ConnectionIdGenerator as _, Incoming, RandomConnectionIdGenerator};

use super::{
    ForeignPacket, LinkEvent, LinkId, QuicShard,
    link::{Bounds, Phase},
};
use crate::{connection_id::TRUNK_LENGTH, limits, tls, transport};

/// Why a supernode can't be dialled. Nothing was sent then.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// This supernode listens on no address of that family.
    #[error("this supernode has no {0} socket to dial from")]
    Family(&'static str),
    /// Port 0, or an address that stands for all.
    #[error("nobody can be dialled at this address")]
    Address,
    /// [`limits::DIALS_MAX`] dialled links are not up yet.
    #[error("too many supernodes are being dialled")]
    TooMany,
    /// No TLS configuration, or no connection, on this side.
    #[error("cannot dial: {0}")]
    Local(String),
}

/// The last bytes of a stateless reset, by which a link knows it (RFC 9000, section 10.3).
type ResetToken = [u8; 16];

impl QuicShard {
    /// Dials another supernode, which proves itself by its roster key. [`LinkEvent::Up`] follows when the link is up and the
    /// other side has opened the stream, or [`LinkEvent::Lost`] when that comes to nothing.
    ///
    /// # Errors
    /// When there is nothing to dial from or to; no event follows then.
    pub fn dial(&mut self, remote: SocketAddr, supernode: &VerifyingKey) -> Result<LinkId, DialError> {
        if self.dials >= limits::DIALS_MAX {
            return Err(DialError::TooMany);
        }
        let (socket, remote) = self.way_to(remote).ok_or_else(|| DialError::Family(family(remote)))?;
        let tls = tls::client(supernode, false).map_err(|error| DialError::Local(error.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(tls));
        config
            .transport_config(transport::trunk_client())
            .initial_dst_cid_provider(Arc::new(|| RandomConnectionIdGenerator::new(TRUNK_LENGTH).generate_cid()));
        let now = Instant::now();
        let (handle, connection) =
            self.endpoint.connect(now, config, remote, tls::NAME).map_err(|error| match error {
                ConnectError::InvalidRemoteAddress(_) => DialError::Address,
                other => DialError::Local(other.to_string()),
            })?;
        self.dials += 1;
        self.counters.trunks_dialled += 1;
        Ok(self.keep(handle, connection, Phase::Dialling, Bounds::Trunk, socket, now))
    }

    /// Says that an accepted link is another supernode's, so that it no longer counts towards
    /// [`limits::UNPROVEN_TRUNKS_MAX`]. `false` when it is gone, or has only the bounds of a client.
    pub fn confirm_trunk(&mut self, id: LinkId) -> bool {
        let Some(link) = self.links.get_mut(id.key()).and_then(Option::as_mut) else { return false };
        if link.id != id || link.bounds == Bounds::Client {
            return false;
        }
        if link.bounds == Bounds::UnprovenTrunk {
            link.bounds = Bounds::Trunk;
            self.unproven_trunks -= 1;
        }
        true
    }

    /// The socket to dial from, and the address as that socket names it.
    fn way_to(&self, remote: SocketAddr) -> Option<(usize, SocketAddr)> {
        let canonical = remote.ip().to_canonical();
        let remote = if canonical.is_ipv4() { SocketAddr::new(canonical, remote.port()) } else { remote };
        self.sockets
            .iter()
            .enumerate()
            .filter_map(|(index, socket)| Some((index, socket.name_of(remote)?)))
            .min_by_key(|(_, name)| name.is_ipv6() != remote.is_ipv6())
    }

    /// Forgets a link that is being dialled, without an event.
    pub(super) fn give_up(&mut self, key: usize, code: ErrorCode) {
        let Some(link) = self.links.get_mut(key).and_then(Option::as_mut) else { return };
        link.phase = Phase::Ended;
        link.close_now(code, Instant::now());
        self.dials -= 1;
        self.counters.trunks_failed += 1;
        self.mark(key);
    }

    /// The bounds of a link that begins: those of a trunk where it asks for them and few others have asked without proof.
    pub(super) fn bounds_for(&mut self, incoming: &Incoming) -> Bounds {
        if incoming.orig_dst_cid().len() != TRUNK_LENGTH {
            return Bounds::Client;
        }
        if self.unproven_trunks >= limits::UNPROVEN_TRUNKS_MAX {
            self.counters.trunks_kept_small += 1;
            return Bounds::Client;
        }
        Bounds::UnprovenTrunk
    }

    /// Asks the next shard whether a packet that this one does not know resets one of its links: a stateless reset has random
    /// bytes where others have the id that names a shard. It goes round once.
    pub(super) fn search(&mut self, packet: ForeignPacket, now: Instant) {
        let unknown_to = packet.unknown_to + 1;
        if unknown_to >= self.shards {
            return;
        }
        let first = packet.unknown_to == 0;
        if first && self.last_search.is_some_and(|last| last + limits::RESET_SEARCH_INTERVAL > now) {
            return;
        }
        if first {
            self.last_search = Some(now);
        }
        self.counters.packets_handed_over += 1;
        let shard = (self.shard + 1) % self.shards;
        self.events.push_back(LinkEvent::Foreign { shard, packet: ForeignPacket { unknown_to, ..packet } });
    }
}

/// A packet that is nothing but a stateless reset, with these last bytes.
pub(super) fn reset_of(token: &ResetToken) -> BytesMut {
    /// What comes before the token at least, so that it can't be told from a packet with an id and a payload.
    const PADDING: usize = 25;
    let mut packet = BytesMut::with_capacity(PADDING + token.len());
    packet.put_u8(0x40);
    packet.put_bytes(0, PADDING - 1);
    packet.put_slice(token);
    packet
}

fn family(address: SocketAddr) -> &'static str {
    match address {
        SocketAddr::V4(_) => "IPv4",
        SocketAddr::V6(_) => "IPv6",
    }
}
