//! The supernode's side of links: all connections of one shard, driven by one thread, those that it dials to other supernodes
//! included.
//!
//! [`QuicShard::turn`] waits for packets, timers or the waker and does one bounded amount of work. What happened is then
//! taken with [`QuicShard::poll_event`]; commands take effect at once in memory and leave with the next turn. An
//! idle link costs no task, no lock and no allocation.

mod budget;
mod counters;
pub(crate) mod h3;
mod link;
mod socket;
#[cfg(test)]
mod tests;
mod trunk;

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use ahoy_proto::{limits::PROOF_TIMEOUT, v1::ErrorCode};
use bytes::{Bytes, BytesMut};
use mio::{Events, Poll, Token, Waker};
use quinn_proto::{
    Connection, ConnectionHandle, DatagramEvent, EcnCodepoint, Endpoint, EndpointConfig, Incoming, ServerConfig,
};

use budget::HandshakeBudget;
pub use counters::Counters;
pub use link::LostCause;
use link::{Bounds, Link, Phase};
use socket::{Inbox, Socket};
pub use trunk::DialError;

use crate::{Origins, ServerTls, connection_id, limits, timers::Timers, transport};

/// A link of this shard; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

impl LinkId {
    fn new(key: usize, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | key as u64)
    }

    /// Where the link stands in its shard's table.
    fn key(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }
}

/// What a shard is made of.
pub struct ShardConfig {
    /// This shard, counted from 0.
    pub shard: u16,
    /// How many shards there are; at most 256.
    pub shards: u16,
    /// One socket for each listen address, of [`crate::listen::bind`].
    pub sockets: Vec<UdpSocket>,
    /// Shared by all shards.
    pub tls: ServerTls,
    /// Makes stateless resets; the same for all shards and across restarts, so that clients learn of a restart at once.
    pub reset_key: [u8; 32],
}

impl std::fmt::Debug for ShardConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardConfig").field("shard", &self.shard).field("shards", &self.shards).finish_non_exhaustive()
    }
}

/// What happened to a link, or a packet for another shard.
#[derive(Debug)]
pub enum LinkEvent {
    /// A link is up and its stream is open.
    Up {
        /// The link.
        link: LinkId,
        /// 32 bytes of the TLS exporter; none of a browser's link.
        exporter: Option<[u8; 32]>,
    },
    /// Bytes of the ordered stream.
    Bytes {
        /// The link.
        link: LinkId,
        /// The next bytes, cut anywhere.
        bytes: Bytes,
    },
    /// A datagram.
    Datagram {
        /// The link.
        link: LinkId,
        /// Its payload.
        bytes: Bytes,
    },
    /// A link that was up is gone, or one that was dialled came to nothing; not reported for links that [`QuicShard::close`] closes.
    Lost {
        /// The link.
        link: LinkId,
        /// Why.
        cause: LostCause,
    },
    /// A packet of a link of another shard, to be given to that shard's [`QuicShard::handle_foreign`].
    Foreign {
        /// The shard that it belongs to.
        shard: u16,
        /// The packet.
        packet: ForeignPacket,
    },
}

/// A packet that the kernel gave to the wrong shard, as happens when a client changes its network, and to most answers on a link
/// that a shard dialled.
pub struct ForeignPacket {
    socket: usize,
    remote: SocketAddr,
    local_ip: Option<IpAddr>,
    ecn: Option<EcnCodepoint>,
    /// Shards that know no link of it; 0 but for what may be a stateless reset.
    unknown_to: u16,
    bytes: BytesMut,
}

impl std::fmt::Debug for ForeignPacket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForeignPacket").field("length", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// All connections of one shard. See the module's description.
pub struct QuicShard {
    shard: u16,
    shards: u16,
    poll: Poll,
    ready: Events,
    waker: Arc<Waker>,
    sockets: Vec<Socket>,
    inbox: Inbox,
    endpoint: Endpoint,
    /// By the number of quinn's connection handle.
    links: Vec<Option<Box<Link>>>,
    count: usize,
    handshakes: usize,
    budget: HandshakeBudget,
    /// Links that we dial and that are not up.
    dials: usize,
    /// Links with the bounds of a trunk that have not proven themselves.
    unproven_trunks: usize,
    trunk_config: Arc<ServerConfig>,
    /// Whose pages may open links.
    origins: Origins,
    /// When this shard last asked the others about a packet that may be a stateless reset.
    last_search: Option<Instant>,
    generation: u32,
    timers: Timers,
    /// Links that something happened to and that are flushed before waiting again.
    dirty: Vec<usize>,
    /// Links that wait for a socket to take packets again.
    stalled: Vec<usize>,
    /// When each handshake has to be finished, oldest first.
    handshake_deadlines: VecDeque<(Instant, LinkId)>,
    /// When each link that delivers its last bytes is closed in any case, oldest first.
    close_deadlines: VecDeque<(Instant, LinkId)>,
    /// When each link of a browser is to be kept alive, oldest first.
    web_keepalives: VecDeque<(Instant, LinkId)>,
    events: VecDeque<LinkEvent>,
    scratch: Vec<u8>,
    counters: Counters,
}

impl std::fmt::Debug for QuicShard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuicShard").field("shard", &self.shard).field("links", &self.count).finish_non_exhaustive()
    }
}

const WAKER: Token = Token(usize::MAX);

impl QuicShard {
    /// A shard on sockets that are bound already.
    ///
    /// # Errors
    /// When the sockets can't be watched.
    ///
    /// # Panics
    /// When `shard` is not one of 1 to 256 `shards`.
    pub fn new(config: ShardConfig) -> io::Result<Self> {
        let ShardConfig { shard, shards, sockets, tls, reset_key } = config;
        assert!(shard < shards && shards <= connection_id::SHARDS_MAX, "shard {shard} of {shards}");
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let sockets = sockets
            .into_iter()
            .enumerate()
            .map(|(index, socket)| Socket::new(socket, poll.registry(), Token(index)))
            .collect::<io::Result<Vec<_>>>()?;
        let mut config = ServerConfig::with_crypto(tls.quic());
        config.transport_config(transport::server());
        let mut trunk_config = config.clone();
        trunk_config.transport_config(transport::trunk_server());
        let inbox = Inbox::new(sockets.iter().map(Socket::packets_a_buffer).max().unwrap_or(1));
        Ok(Self {
            shard,
            shards,
            poll,
            ready: Events::with_capacity(64),
            waker,
            sockets,
            inbox,
            endpoint: endpoint(shard, shards, config, &reset_key),
            links: Vec::new(),
            count: 0,
            handshakes: 0,
            budget: HandshakeBudget::full(Instant::now()),
            dials: 0,
            unproven_trunks: 0,
            trunk_config: Arc::new(trunk_config),
            origins: tls.origins().clone(),
            last_search: None,
            generation: 0,
            timers: Timers::default(),
            dirty: Vec::new(),
            stalled: Vec::new(),
            handshake_deadlines: VecDeque::new(),
            close_deadlines: VecDeque::new(),
            web_keepalives: VecDeque::new(),
            events: VecDeque::new(),
            scratch: Vec::with_capacity(limits::SEGMENTS_MAX * 1500),
            counters: Counters::default(),
        })
    }

    /// Ends [`Self::turn`]'s waiting from another thread.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// What was counted since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Connections of any phase, handshakes and closing ones included.
    pub fn connections(&self) -> usize {
        self.count
    }

    /// Clients' connections whose handshake is not finished.
    pub fn handshakes(&self) -> usize {
        self.handshakes
    }

    /// Sends what waits, then waits until a packet arrives, a timer or `deadline` is due or the waker is used, and does the
    /// work that this brings. Does not wait while there are events to take.
    ///
    /// # Errors
    /// When the operating system refuses to wait.
    pub fn turn(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let now = Instant::now();
        self.flush(now);
        let timeout = self.waiting_time(now, deadline);
        match self.poll.poll(&mut self.ready, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let now = Instant::now();
        let mut resumes = false;
        for event in &self.ready {
            let Some(socket) = self.sockets.get_mut(event.token().0) else { continue };
            socket.readable |= event.is_readable();
            resumes |= event.is_writable() && socket.is_stuck() && socket.unstick();
        }
        if resumes {
            self.resume();
        }
        self.receive(now);
        self.handle_timeouts(now);
        self.gather(now);
        Ok(())
    }

    /// The next event; take all of them after each turn.
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        self.events.pop_front()
    }

    /// Sends bytes on the ordered stream. Whoever does not read what is sent is cut off with
    /// [`ErrorCode::SlowReader`]. Nothing happens when the link is gone.
    pub fn send(&mut self, id: LinkId, bytes: Bytes) {
        let Some(link) = self.links.get_mut(id.key()).and_then(Option::as_mut) else { return };
        if link.id != id || link.phase != Phase::Up {
            return;
        }
        if link.send(bytes) {
            self.mark(id.key());
        } else {
            self.abort(id.key(), ErrorCode::SlowReader, LostCause::SlowReader, Instant::now());
        }
    }

    /// Sends a datagram. When the congestion window holds it back, it displaces older ones.
    pub fn send_datagram(&mut self, id: LinkId, bytes: Bytes) {
        let key = id.key();
        let Some(link) = self.links.get_mut(key).and_then(Option::as_mut) else { return };
        if link.id != id || link.phase != Phase::Up {
            return;
        }
        let bytes = link.wrap(bytes);
        if link.connection.datagrams().send_buffer_space() < bytes.len() {
            // What waits may be held back by nothing but us, when a burst comes in one turn.
            self.transmit(key, Instant::now());
            self.mark(key);
        }
        let Some(link) = self.links.get_mut(key).and_then(Option::as_mut) else { return };
        let mut datagrams = link.connection.datagrams();
        let displaces = u64::from(datagrams.send_buffer_space() < bytes.len());
        match datagrams.send(bytes, true) {
            Ok(()) => {
                self.counters.datagrams_sent += 1;
                self.counters.datagrams_displaced += displaces;
                if link.bounds != Bounds::Client {
                    self.counters.trunk_datagrams_sent += 1;
                    self.counters.trunk_datagrams_displaced += displaces;
                }
                self.mark(key);
            }
            Err(_) => self.counters.datagrams_refused += 1,
        }
    }

    /// Delivers what was sent, for at most [`limits::CLOSE_GRACE`], then closes the link with a code; gives up a link that is
    /// being dialled. No event follows.
    pub fn close(&mut self, id: LinkId, code: ErrorCode) {
        let Some(link) = self.links.get_mut(id.key()).and_then(Option::as_mut) else { return };
        if link.id == id && link.phase == Phase::Dialling {
            self.give_up(id.key(), code);
            return;
        }
        if link.id != id || link.phase != Phase::Up {
            return;
        }
        link.finish(code);
        self.close_deadlines.push_back((Instant::now() + limits::CLOSE_GRACE, id));
        self.mark(id.key());
    }

    /// Closes all links that are up as [`Self::close`] does.
    pub fn close_all(&mut self, code: ErrorCode) {
        let open: Vec<_> =
            self.links.iter().flatten().filter(|link| link.phase == Phase::Up).map(|link| link.id).collect();
        for id in open {
            self.close(id, code);
        }
    }

    /// Links that are up or still deliver what was sent before their close.
    pub fn open_links(&self) -> usize {
        self.links.iter().flatten().filter(|link| matches!(link.phase, Phase::Up | Phase::Closing(_))).count()
    }

    /// Takes a packet that another shard received.
    pub fn handle_foreign(&mut self, packet: ForeignPacket) {
        self.counters.packets_taken_over += 1;
        self.handle_packet(packet, Instant::now());
    }

    /// A socket takes packets again.
    fn resume(&mut self) {
        self.dirty.append(&mut self.stalled);
    }

    fn waiting_time(&self, now: Instant, deadline: Option<Instant>) -> Option<Duration> {
        let busy =
            !self.events.is_empty() || !self.dirty.is_empty() || self.sockets.iter().any(|socket| socket.readable);
        if busy {
            return Some(Duration::ZERO);
        }
        let queues = [self.handshake_deadlines.front(), self.close_deadlines.front(), self.web_keepalives.front()];
        let queues = queues.into_iter().flatten().map(|(at, _)| *at);
        let next = queues.chain(self.timers.next()).chain(deadline).min()?;
        Some(next.saturating_duration_since(now))
    }

    fn receive(&mut self, now: Instant) {
        let mut inbox = std::mem::take(&mut self.inbox);
        for index in 0..self.sockets.len() {
            for _ in 0..limits::RECEIVE_ROUNDS {
                if !self.sockets[index].readable {
                    break;
                }
                let count = self.sockets[index].receive(&mut inbox);
                for (meta, bytes) in inbox.packets(count) {
                    self.counters.packets_received += 1;
                    self.counters.bytes_received += bytes.len() as u64;
                    let packet = ForeignPacket {
                        socket: index,
                        remote: meta.addr,
                        local_ip: meta.dst_ip,
                        ecn: meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
                        unknown_to: 0,
                        bytes: BytesMut::from(bytes),
                    };
                    self.route(packet, now);
                }
            }
        }
        self.inbox = inbox;
    }

    fn route(&mut self, packet: ForeignPacket, now: Instant) {
        match connection_id::shard_of(&packet.bytes, self.shards) {
            Some(shard) if shard != self.shard => {
                self.counters.packets_handed_over += 1;
                self.events.push_back(LinkEvent::Foreign { shard, packet });
            }
            _ => self.handle_packet(packet, now),
        }
    }

    fn handle_packet(&mut self, packet: ForeignPacket, now: Instant) {
        let ForeignPacket { socket, remote, local_ip, ecn, unknown_to, bytes } = packet;
        let short = bytes.first().is_some_and(|first| first & 0x80 == 0);
        let tail = bytes.last_chunk().copied();
        let mut response = std::mem::take(&mut self.scratch);
        response.clear();
        let mut unknown = false;
        match self.endpoint.handle(now, remote, local_ip, ecn, bytes, &mut response) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(link) = self.links.get_mut(handle.0).and_then(Option::as_mut) {
                    link.connection.handle_event(event);
                    self.mark(handle.0);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.admit(socket, incoming, now, &mut response),
            Some(DatagramEvent::Response(transmit)) if unknown_to == 0 => {
                self.counters.resets_sent += u64::from(short);
                self.sockets[socket].respond(&transmit, &response, &mut self.counters);
                unknown = short;
            }
            Some(DatagramEvent::Response(_)) => unknown = true,
            None => {
                self.counters.packets_ignored += u64::from(unknown_to == 0);
                unknown = short;
            }
        }
        self.scratch = response;
        if unknown && let Some(tail) = tail {
            let packet = ForeignPacket { socket, remote, local_ip, ecn, unknown_to, bytes: trunk::reset_of(&tail) };
            self.search(packet, now);
        }
    }

    fn admit(&mut self, socket: usize, incoming: Incoming, now: Instant, response: &mut Vec<u8>) {
        if self.handshakes >= limits::HANDSHAKES_MAX {
            self.counters.handshakes_refused += 1;
            self.endpoint.ignore(incoming);
            return;
        }
        let is_busy = self.handshakes >= limits::HANDSHAKES_BEFORE_RETRY || !self.budget.is_ample(now);
        if is_busy && incoming.may_retry() {
            self.counters.retries_sent += 1;
            if let Ok(transmit) = self.endpoint.retry(incoming, response) {
                self.sockets[socket].respond(&transmit, response, &mut self.counters);
            }
            return;
        }
        let bounds = self.bounds_for(&incoming);
        // Supernodes come even so: without trunks a fleet is none.
        if bounds == Bounds::Client && !self.budget.take(now) {
            self.counters.handshakes_refused += 1;
            self.endpoint.ignore(incoming);
            return;
        }
        let config = (bounds != Bounds::Client).then(|| Arc::clone(&self.trunk_config));
        match self.endpoint.accept(incoming, now, response, config) {
            Ok((handle, connection)) => {
                self.handshakes += 1;
                self.unproven_trunks += usize::from(bounds == Bounds::UnprovenTrunk);
                self.keep(handle, connection, Phase::Handshake, bounds, socket, now);
            }
            Err(error) => {
                self.counters.handshakes_failed += 1;
                if let Some(transmit) = error.response {
                    self.sockets[socket].respond(&transmit, response, &mut self.counters);
                }
            }
        }
    }

    /// Puts a new connection into the table.
    fn keep(
        &mut self,
        handle: ConnectionHandle,
        connection: Connection,
        phase: Phase,
        bounds: Bounds,
        socket: usize,
        now: Instant,
    ) -> LinkId {
        // 30 bits, so that a link's number is a QUIC varint, as trunks name it.
        self.generation = (self.generation + 1) & (u32::MAX >> 2);
        let id = LinkId::new(handle.0, self.generation);
        if self.links.len() <= handle.0 {
            self.links.resize_with(handle.0 + 1, || None);
        }
        self.links[handle.0] = Some(Box::new(Link::new(id, phase, bounds, socket, connection)));
        self.count += 1;
        self.handshake_deadlines.push_back((now + PROOF_TIMEOUT, id));
        self.mark(handle.0);
        id
    }

    fn handle_timeouts(&mut self, now: Instant) {
        while let Some(key) = self.timers.pop_due(now) {
            let Some(link) = self.links.get_mut(key).and_then(Option::as_mut) else { continue };
            match link.connection.poll_timeout() {
                Some(at) if at <= now => {
                    link.connection.handle_timeout(now);
                    self.mark(key);
                }
                Some(at) => self.timers.set(key, at),
                None => {}
            }
        }
        while let Some((_, id)) = self.handshake_deadlines.pop_front_if(|(at, _)| *at <= now) {
            if matches!(self.phase_of(id), Some(Phase::Handshake | Phase::Dialling)) {
                self.abort(id.key(), ErrorCode::ProofTimeout, LostCause::TimedOut, now);
            }
        }
        while let Some((_, id)) = self.close_deadlines.pop_front_if(|(at, _)| *at <= now) {
            if let Some(Phase::Closing(code)) = self.phase_of(id) {
                self.abort(id.key(), code, LostCause::Closed, now);
            }
        }
        while let Some((_, id)) = self.web_keepalives.pop_front_if(|(at, _)| *at <= now) {
            if self.phase_of(id) == Some(Phase::Up)
                && let Some(link) = self.links.get_mut(id.key()).and_then(Option::as_mut)
            {
                link.connection.ping();
                self.web_keepalives.push_back((now + limits::WEB_KEEPALIVE, id));
                self.mark(id.key());
            }
        }
    }

    fn phase_of(&self, id: LinkId) -> Option<Phase> {
        let link = self.links.get(id.key())?.as_ref()?;
        (link.id == id).then_some(link.phase)
    }

    /// Closes a connection now.
    fn abort(&mut self, key: usize, code: ErrorCode, cause: LostCause, now: Instant) {
        let Some(link) = self.links.get_mut(key).and_then(Option::as_mut) else { return };
        if link.phase == Phase::Up && link.cut(code) {
            let id = link.id;
            self.end(key, cause);
            if let Some(link) = self.links.get_mut(key).and_then(Option::as_mut) {
                link.phase = Phase::Closing(code);
            }
            self.close_deadlines.push_back((now + limits::CLOSE_GRACE, id));
        } else {
            link.close_now(code, now);
            self.end(key, cause);
        }
        self.mark(key);
    }

    /// Notes that a connection is over, and tells so once if it was up or dialled.
    fn end(&mut self, key: usize, cause: LostCause) {
        let Some(link) = self.links.get_mut(key).and_then(Option::as_mut) else { return };
        match std::mem::replace(&mut link.phase, Phase::Ended) {
            Phase::Handshake => {
                self.handshakes -= 1;
                self.counters.handshakes_failed += 1;
            }
            Phase::Dialling => {
                self.dials -= 1;
                self.counters.trunks_failed += 1;
                self.events.push_back(LinkEvent::Lost { link: link.id, cause });
            }
            Phase::Up => self.events.push_back(LinkEvent::Lost { link: link.id, cause }),
            Phase::Closing(_) | Phase::Ended => {}
        }
        if link.bounds == Bounds::UnprovenTrunk {
            link.bounds = Bounds::Client;
            self.unproven_trunks -= 1;
        }
    }

    fn mark(&mut self, key: usize) {
        if let Some(link) = self.links.get_mut(key).and_then(Option::as_mut)
            && !std::mem::replace(&mut link.dirty, true)
        {
            self.dirty.push(key);
        }
    }

    /// Takes what happened on links that something happened to.
    fn gather(&mut self, now: Instant) {
        for index in 0..self.dirty.len() {
            self.take_events(self.dirty[index], now);
        }
    }

    /// Sends what those links have to send. Between gathering and this, the caller has added what follows from the
    /// events, so that an acknowledgement and a forwarded voice packet leave as one.
    fn flush(&mut self, now: Instant) {
        for _ in 0..self.dirty.len() {
            let Some(key) = self.dirty.pop() else { break };
            if let Some(link) = self.links.get_mut(key).and_then(Option::as_mut) {
                link.dirty = false;
                self.take_events(key, now);
                self.transmit(key, now);
                self.settle_with_endpoint(key);
            }
        }
    }

    fn take_events(&mut self, key: usize, now: Instant) {
        let Some(link) = self.links.get_mut(key).and_then(Option::as_mut) else { return };
        let dialled = link.phase == Phase::Dialling;
        let outcome = link.take_events(&mut self.events, &self.origins, now);
        let (id, is_web) = (link.id, link.is_web());
        if outcome.up && dialled {
            self.dials -= 1;
        } else if outcome.up {
            self.handshakes -= 1;
            self.counters.handshakes_finished += 1;
        }
        if outcome.up && is_web {
            self.counters.web_transports += 1;
            self.web_keepalives.push_back((now + limits::WEB_KEEPALIVE, id));
        }
        if let Some(cause) = outcome.lost {
            self.end(key, cause);
        }
    }

    /// Lets the connection and the endpoint exchange what they owe each other; forgets the connection when it is drained.
    fn settle_with_endpoint(&mut self, key: usize) {
        let Some(link) = self.links.get_mut(key).and_then(Option::as_mut) else { return };
        let mut drained = false;
        while let Some(event) = link.connection.poll_endpoint_events() {
            drained |= event.is_drained();
            if let Some(reply) = self.endpoint.handle_event(ConnectionHandle(key), event) {
                link.connection.handle_event(reply);
                if !std::mem::replace(&mut link.dirty, true) {
                    self.dirty.push(key);
                }
            }
        }
        if drained {
            self.end(key, LostCause::Closed);
            self.links[key] = None;
            self.count -= 1;
            self.timers.remove(key);
        } else if let Some(at) = link.connection.poll_timeout() {
            self.timers.set(key, at);
        }
    }

    /// Sends what a connection has to send now.
    fn transmit(&mut self, key: usize, now: Instant) {
        let Some(link) = self.links.get_mut(key).and_then(Option::as_mut) else { return };
        let socket = &mut self.sockets[link.socket];
        let mut packets = std::mem::take(&mut self.scratch);
        loop {
            if socket.is_stuck() {
                if !std::mem::replace(&mut link.dirty, true) {
                    self.stalled.push(key);
                }
                break;
            }
            packets.clear();
            let segments = socket.segments_max();
            let Some(transmit) = link.connection.poll_transmit(now, segments, &mut packets) else { break };
            socket.send(&transmit, &packets, &mut self.counters);
        }
        self.scratch = packets;
    }
}

fn endpoint(shard: u16, shards: u16, server: ServerConfig, reset_key: &[u8; 32]) -> Endpoint {
    let reset_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, reset_key);
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    config
        .cid_generator(move || Box::new(connection_id::ShardIds { shard, shards }))
        .min_reset_interval(limits::RESET_INTERVAL);
    // Segments are equal in length only while the path's packet size is fixed, which it is without MTU discovery.
    let discovers_mtu = false;
    Endpoint::new(Arc::new(config), Some(Arc::new(server)), discovers_mtu, None)
}
