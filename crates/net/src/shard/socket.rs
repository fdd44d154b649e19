//! One UDP socket of a shard: batched receiving, sending with segmentation offload, and what to do when it is full.
//!
//! Packets to different clients leave one call each: `sendmmsg` saves a tenth of a call (0.9 µs), which its bookkeeping eats up.

use std::{
    io::{self, IoSliceMut},
    net::{SocketAddr, UdpSocket},
};

use mio::{Interest, Registry, Token};
use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, UdpSocketState};

use super::Counters;
use crate::limits;

/// Longest UDP payload that is received: what fits an Ethernet frame, and quinn's own limit.
const PACKET_MAX: usize = 1472;

pub(super) struct Socket {
    socket: mio::net::UdpSocket,
    state: UdpSocketState,
    /// Whether there may be more to read.
    pub(super) readable: bool,
    /// A packet that the full send buffer refused.
    stuck: Option<(quinn_proto::Transmit, Vec<u8>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Yes,
    /// The send buffer is full. The packet is kept; nothing more is taken until it is out.
    Stuck,
}

impl Socket {
    pub(super) fn new(socket: UdpSocket, registry: &Registry, token: Token) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        let mut socket = mio::net::UdpSocket::from_std(socket);
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { socket, state, readable: true, stuck: None })
    }

    /// The address by which this socket reaches a remote one: an IPv6 socket that takes IPv4 as well names it in its own
    /// family. `None` when it can't.
    pub(super) fn name_of(&self, remote: SocketAddr) -> Option<SocketAddr> {
        match (self.socket.local_addr().ok()?, remote) {
            (SocketAddr::V4(_), SocketAddr::V4(_)) | (SocketAddr::V6(_), SocketAddr::V6(_)) => Some(remote),
            (SocketAddr::V6(_), SocketAddr::V4(v4)) => {
                let dual_stack = !socket2::SockRef::from(&self.socket).only_v6().ok()?;
                dual_stack.then(|| SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port())))
            }
            (SocketAddr::V4(_), SocketAddr::V6(_)) => None,
        }
    }

    /// Packets that one receive buffer can hold.
    pub(super) fn packets_a_buffer(&self) -> usize {
        self.state.gro_segments()
    }

    pub(super) fn segments_max(&self) -> usize {
        self.state.max_gso_segments().min(limits::SEGMENTS_MAX)
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.stuck.is_some()
    }

    /// Fills the inbox; gives the number of buffers filled.
    pub(super) fn receive(&mut self, inbox: &mut Inbox) -> usize {
        match inbox.fill(|buffers, metas| self.state.recv((&self.socket).into(), buffers, metas)) {
            Ok(count) => {
                // Fewer buffers than asked for: the socket is empty, and the next packet is announced.
                self.readable = count == BATCH_SIZE;
                count
            }
            Err(error) => {
                // Anything but an empty socket is a report about a packet sent earlier (ICMP); the next call goes on.
                self.readable = error.kind() != io::ErrorKind::WouldBlock;
                0
            }
        }
    }

    pub(super) fn send(&mut self, transmit: &quinn_proto::Transmit, bytes: &[u8], counters: &mut Counters) -> Sent {
        let bytes = &bytes[..transmit.size];
        match self.try_send(transmit, bytes) {
            Ok(()) => {
                counters.packets_sent += transmit.segment_size.map_or(1, |size| bytes.len().div_ceil(size)) as u64;
                counters.bytes_sent += bytes.len() as u64;
                Sent::Yes
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                counters.sends_stalled += 1;
                self.stick(transmit, bytes);
                Sent::Stuck
            }
            Err(_) => {
                // No route, or a firewall: for the peer the packet is lost, and QUIC deals with losses.
                counters.sends_failed += 1;
                Sent::Yes
            }
        }
    }

    /// Sends a packet that belongs to no connection; a full socket drops it.
    pub(super) fn respond(&mut self, transmit: &quinn_proto::Transmit, bytes: &[u8], counters: &mut Counters) {
        if !self.is_stuck() {
            self.send(transmit, bytes, counters);
        }
    }

    /// Keeps the packet that was refused.
    pub(super) fn stick(&mut self, transmit: &quinn_proto::Transmit, bytes: &[u8]) {
        self.stuck = Some((clone_of(transmit), bytes.to_vec()));
    }

    /// Tries to send the packet that was refused. `true` when the socket takes packets again.
    pub(super) fn unstick(&mut self) -> bool {
        let Some((transmit, bytes)) = self.stuck.take() else { return true };
        match self.try_send(&transmit, &bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.stuck = Some((transmit, bytes));
                false
            }
            _ => true,
        }
    }

    fn try_send(&self, transmit: &quinn_proto::Transmit, bytes: &[u8]) -> io::Result<()> {
        let transmit = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: transmit.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
            contents: bytes,
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        self.state.try_send((&self.socket).into(), &transmit)
    }
}

fn clone_of(transmit: &quinn_proto::Transmit) -> quinn_proto::Transmit {
    quinn_proto::Transmit {
        destination: transmit.destination,
        ecn: transmit.ecn,
        size: transmit.size,
        segment_size: transmit.segment_size,
        src_ip: transmit.src_ip,
    }
}

/// The buffers that all sockets of a shard receive into: 32 of them, each for one packet or, where the kernel coalesces
/// packets, for 64; 3 MB a shard.
#[derive(Default)]
pub(super) struct Inbox {
    buffer: Box<[u8]>,
    metas: Vec<RecvMeta>,
    size: usize,
}

impl Inbox {
    pub(super) fn new(packets_a_buffer: usize) -> Self {
        let size = PACKET_MAX * packets_a_buffer;
        let buffer = vec![0; size * BATCH_SIZE].into_boxed_slice();
        Self { buffer, metas: vec![RecvMeta::default(); BATCH_SIZE], size }
    }

    fn fill(
        &mut self,
        receive: impl FnOnce(&mut [IoSliceMut<'_>], &mut [RecvMeta]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut chunks = self.buffer.chunks_exact_mut(self.size);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().expect("the buffer holds a whole batch")));
        receive(&mut slices, &mut self.metas)
    }

    /// The packets in the first `count` buffers.
    pub(super) fn packets(&self, count: usize) -> impl Iterator<Item = (&RecvMeta, &[u8])> {
        let buffers = self.buffer.chunks_exact(self.size.max(1));
        self.metas
            .iter()
            .zip(buffers)
            .take(count)
            .flat_map(|(meta, buffer)| buffer[..meta.len].chunks(meta.stride.max(1)).map(move |packet| (meta, packet)))
    }
}
