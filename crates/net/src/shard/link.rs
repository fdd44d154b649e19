//! One connection of a shard: its phase, its stream and what waits to be written to it.

use std::{collections::VecDeque, time::Instant};

use ahoy_proto::{limits::OUTBOUND_QUEUE_MAX, proof::EXPORTER_LABEL, v1::ErrorCode};
use bytes::Bytes;
use quinn_proto::{
    Connection, ConnectionError, Dir, Event, ReadError, Side, StreamEvent, StreamId, VarInt, WriteError,
    crypto::rustls::HandshakeData,
};
use web_transport_proto::http::StatusCode;

use super::{
    LinkEvent, LinkId,
    h3::{self, Front, Step},
};
use crate::{Origins, limits::TRUNK_OUTBOUND_QUEUE_MAX, tls};

/// Why a link that was up is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LostCause {
    /// The other side closed it.
    ByPeer,
    /// The other side was silent for `ahoy_proto::limits::IDLE_TIMEOUT`, on a trunk for [`crate::limits::TRUNK_IDLE_TIMEOUT`], or
    /// did not answer when it was dialled.
    TimedOut,
    /// The other side's process does not know the link any more.
    Reset,
    /// The other side did not read what was sent to it.
    SlowReader,
    /// The other side opened a stream that it should not.
    UnexpectedStream,
    /// The other side broke a rule of QUIC, or refused.
    Broken,
    /// We closed it.
    Closed,
    /// What answered to our dialling does not hold the roster key.
    WrongKey,
}

impl LostCause {
    /// All causes, in the order of [`index`](Self::index).
    pub const ALL: [Self; 8] = [
        Self::ByPeer,
        Self::TimedOut,
        Self::Reset,
        Self::SlowReader,
        Self::UnexpectedStream,
        Self::Broken,
        Self::Closed,
        Self::WrongKey,
    ];

    /// Its place among all causes.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::ByPeer => "by_peer",
            Self::TimedOut => "timed_out",
            Self::Reset => "reset",
            Self::SlowReader => "slow_reader",
            Self::UnexpectedStream => "unexpected_stream",
            Self::Broken => "broken",
            Self::Closed => "closed",
            Self::WrongKey => "wrong_key",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// A client's.
    Handshake,
    /// We dial, and the other side has not opened the stream yet.
    Dialling,
    Up,
    /// Delivers what was sent, then closes with the code.
    Closing(ErrorCode),
    /// Quinn says farewell; nothing of it matters to anybody.
    Ended,
}

/// Whose bounds a link has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bounds {
    Client,
    /// A trunk's, on the word of somebody who has not proven himself.
    UnprovenTrunk,
    Trunk,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) phase: Phase,
    pub(super) bounds: Bounds,
    /// Where the handshake arrived, or what we dial from: the other side never sees us change our address.
    pub(super) socket: usize,
    pub(super) connection: Connection,
    /// Whether it stands in the shard's list of links to flush.
    pub(super) dirty: bool,
    /// What a browser's link has before and beside its stream.
    front: Option<Box<Front>>,
    queue: VecDeque<Bytes>,
    queued: usize,
}

/// What came of a connection's events.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) up: bool,
    pub(super) lost: Option<LostCause>,
}

/// The one stream of a link: the first that the server opens.
fn stream() -> StreamId {
    StreamId::new(Side::Server, Dir::Bi, 0)
}

impl Link {
    pub(super) fn new(id: LinkId, phase: Phase, bounds: Bounds, socket: usize, connection: Connection) -> Self {
        let (queue, queued) = (VecDeque::new(), 0);
        Self { id, phase, bounds, socket, connection, dirty: false, front: None, queue, queued }
    }

    /// Takes what happened on the connection.
    pub(super) fn take_events(&mut self, events: &mut VecDeque<LinkEvent>, origins: &Origins, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        while let Some(event) = self.connection.poll() {
            match event {
                Event::Connected if self.phase == Phase::Handshake && self.asks_for_h3() => {
                    self.front = Some(Box::new(Front::new(origins.clone())));
                    // Nothing that dials as a trunk is a browser.
                    if self.bounds != Bounds::Client || !Front::begin(&mut self.connection) {
                        self.break_off(&mut outcome, now);
                    }
                }
                Event::Connected if self.phase == Phase::Handshake => {
                    // A client that allows no stream never hears the challenge and is dropped for want of a proof.
                    let _ = self.connection.streams().open(Dir::Bi);
                    self.come_up(Some(self.exporter()), events, &mut outcome);
                }
                Event::ConnectionLost { reason } => {
                    outcome.lost.get_or_insert_with(|| cause_of(&reason, self.phase));
                }
                Event::Stream(event) if outcome.lost.is_none() && self.is_web() => {
                    self.take_web_event(event, events, &mut outcome, now);
                }
                Event::Stream(event) if outcome.lost.is_none() => {
                    self.take_stream_event(event, events, &mut outcome, now);
                }
                Event::Connected
                | Event::Stream(_)
                | Event::HandshakeDataReady
                | Event::DatagramReceived
                | Event::DatagramsUnblocked => {}
            }
        }
        while let Some(bytes) = self.connection.datagrams().recv() {
            let Some(bytes) = self.unwrap(bytes) else { continue };
            if bytes.is_empty() && self.bounds == Bounds::Client {
                // A ping goes back as it came. Where there is no room for it something else is on its way, which says as much.
                let pong = if self.is_web() { Bytes::from_static(h3::PONG) } else { bytes };
                let _ = self.connection.datagrams().send(pong, false);
            } else if self.phase == Phase::Up {
                events.push_back(LinkEvent::Datagram { link: self.id, bytes });
            }
        }
        outcome
    }

    fn exporter(&self) -> [u8; 32] {
        let mut exporter = [0; 32];
        self.connection
            .crypto_session()
            .export_keying_material(&mut exporter, EXPORTER_LABEL, b"")
            .expect("the handshake is finished and 32 bytes are within the exporter's bounds");
        exporter
    }

    fn come_up(&mut self, exporter: Option<[u8; 32]>, events: &mut VecDeque<LinkEvent>, outcome: &mut Outcome) {
        self.phase = Phase::Up;
        outcome.up = true;
        events.push_back(LinkEvent::Up { link: self.id, exporter });
    }

    fn take_stream_event(
        &mut self,
        event: StreamEvent,
        events: &mut VecDeque<LinkEvent>,
        outcome: &mut Outcome,
        now: Instant,
    ) {
        match event {
            StreamEvent::Readable { id } if id == stream() => self.take_readable(events, outcome, now),
            StreamEvent::Writable { id } if id == stream() => self.write(),
            StreamEvent::Finished { .. } => {
                if let Phase::Closing(code) = self.phase {
                    self.close_now(code, now);
                    outcome.lost = Some(LostCause::Closed);
                }
            }
            StreamEvent::Stopped { .. } => {
                self.close_now(ErrorCode::Unspecified, now);
                outcome.lost = Some(LostCause::ByPeer);
            }
            StreamEvent::Opened { dir: Dir::Bi } if self.phase == Phase::Dialling => {
                self.connection.streams().accept(Dir::Bi);
                self.come_up(Some(self.exporter()), events, outcome);
                // What came with the opening is announced by nothing else.
                self.take_readable(events, outcome, now);
            }
            StreamEvent::Opened { .. } => {
                self.close_now(ErrorCode::UnexpectedStream, now);
                outcome.lost = Some(LostCause::UnexpectedStream);
            }
            StreamEvent::Readable { .. } | StreamEvent::Writable { .. } | StreamEvent::Available { .. } => {}
        }
    }

    fn take_readable(&mut self, events: &mut VecDeque<LinkEvent>, outcome: &mut Outcome, now: Instant) {
        if !self.read(events) && self.phase == Phase::Up {
            self.close_now(ErrorCode::Unspecified, now);
            outcome.lost = Some(LostCause::ByPeer);
        }
    }

    /// Reads all there is. `false` when the other side ended the stream.
    fn read(&mut self, events: &mut VecDeque<LinkEvent>) -> bool {
        let mut stream = self.connection.recv_stream(stream());
        let Ok(mut chunks) = stream.read(true) else { return false };
        let goes_on = loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => {
                    if self.phase == Phase::Up {
                        events.push_back(LinkEvent::Bytes { link: self.id, bytes: chunk.bytes });
                    }
                }
                Err(ReadError::Blocked) => break true,
                Ok(None) | Err(ReadError::Reset(_)) => break false,
            }
        };
        // Whether flow control has news to send is found out by sending, which follows in any case.
        let _ = chunks.finalize();
        goes_on
    }

    /// Queues bytes. `false` when the other side does not read.
    pub(super) fn send(&mut self, bytes: Bytes) -> bool {
        let max = if self.bounds == Bounds::Trunk { TRUNK_OUTBOUND_QUEUE_MAX } else { OUTBOUND_QUEUE_MAX };
        if self.queued + bytes.len() > max {
            return false;
        }
        self.queued += bytes.len();
        self.queue.push_back(bytes);
        self.write();
        true
    }

    /// Hands to the connection what it takes.
    fn write(&mut self) {
        while let Some(front) = self.queue.front_mut() {
            match self.connection.send_stream(stream()).write_chunks(std::slice::from_mut(front)) {
                Ok(written) => {
                    self.queued -= written.bytes;
                    if written.chunks == 1 {
                        self.queue.pop_front();
                    }
                }
                Err(WriteError::Blocked) => return,
                // The event that says so closes the link.
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => return,
            }
        }
        self.queue = VecDeque::new();
        if matches!(self.phase, Phase::Closing(_)) {
            // Fails when the client has stopped the stream; the deadline closes the link then.
            let _ = self.connection.send_stream(stream()).finish();
        }
    }

    /// Closes the link once everything queued has been acknowledged.
    pub(super) fn finish(&mut self, code: ErrorCode) {
        self.phase = Phase::Closing(code);
        self.write();
    }

    /// Closes the connection whatever waits.
    pub(super) fn close_now(&mut self, code: ErrorCode, now: Instant) {
        self.queue = VecDeque::new();
        self.queued = 0;
        let code = if self.is_web() { h3::NO_ERROR } else { VarInt::from_u32(code as u32) };
        self.connection.close(now, code, Bytes::new());
    }
}

/// Links of browsers.
impl Link {
    pub(super) fn is_web(&self) -> bool {
        self.front.is_some()
    }

    fn asks_for_h3(&self) -> bool {
        let data = self.connection.crypto_session().handshake_data();
        let data = data.and_then(|data| data.downcast::<HandshakeData>().ok());
        data.is_some_and(|data| data.protocol.as_deref() == Some(h3::ALPN))
    }

    /// A datagram as it travels.
    pub(super) fn wrap(&self, datagram: Bytes) -> Bytes {
        if self.is_web() { h3::wrap(&datagram) } else { datagram }
    }

    fn unwrap(&self, datagram: Bytes) -> Option<Bytes> {
        if !self.is_web() {
            return Some(datagram);
        }
        h3::unwrap(datagram).filter(|_| self.phase == Phase::Up)
    }

    fn take_web_event(
        &mut self,
        event: StreamEvent,
        events: &mut VecDeque<LinkEvent>,
        outcome: &mut Outcome,
        now: Instant,
    ) {
        match event {
            StreamEvent::Readable { id } if id == stream() => self.take_readable(events, outcome, now),
            StreamEvent::Writable { id } if id == stream() => self.write(),
            StreamEvent::Opened { .. } | StreamEvent::Readable { .. } => self.read_front(events, outcome, now),
            StreamEvent::Available { dir: Dir::Bi } => self.open_session(events, outcome),
            // All that was sent has arrived: now the code may.
            StreamEvent::Finished { id } if id == stream() => {
                if let Phase::Closing(code) = self.phase
                    && !h3::close(&mut self.connection, code as u32)
                {
                    self.leave(LostCause::Closed, outcome, now);
                }
            }
            StreamEvent::Finished { .. } => self.leave(LostCause::Closed, outcome, now),
            StreamEvent::Stopped { .. } => self.leave(LostCause::ByPeer, outcome, now),
            StreamEvent::Writable { .. } | StreamEvent::Available { .. } => {}
        }
    }

    fn read_front(&mut self, events: &mut VecDeque<LinkEvent>, outcome: &mut Outcome, now: Instant) {
        let Some(front) = &mut self.front else { return };
        match front.read(&mut self.connection) {
            Step::Wait => {}
            Step::Accept => {
                if h3::respond(&mut self.connection, StatusCode::OK) {
                    self.open_session(events, outcome);
                } else {
                    self.break_off(outcome, now);
                }
            }
            Step::Refuse(status) => {
                if !h3::respond(&mut self.connection, status) || !h3::finish(&mut self.connection) {
                    self.break_off(outcome, now);
                }
            }
            Step::Over => self.leave(LostCause::ByPeer, outcome, now),
            Step::Broken => self.break_off(outcome, now),
        }
    }

    /// Opens the session's stream, once the browser has asked for a session and allows it.
    fn open_session(&mut self, events: &mut VecDeque<LinkEvent>, outcome: &mut Outcome) {
        let is_asked = self.front.as_ref().is_some_and(|front| front.is_accepted());
        if !is_asked || self.phase != Phase::Handshake || self.connection.streams().open(Dir::Bi).is_none() {
            return;
        }
        let header = h3::stream_header();
        self.queued += header.len();
        self.queue.push_back(header);
        self.write();
        self.come_up(None, events, outcome);
    }

    /// Tells a browser that is up the code and nothing else. `false` for other links, and where it does not take that.
    pub(super) fn cut(&mut self, code: ErrorCode) -> bool {
        if !self.is_web() {
            return false;
        }
        (self.queue, self.queued) = (VecDeque::new(), 0);
        // Fails where it was reset before, which is as good.
        let _ = self.connection.send_stream(stream()).reset(VarInt::from_u32(0));
        h3::close(&mut self.connection, code as u32)
    }

    fn leave(&mut self, cause: LostCause, outcome: &mut Outcome, now: Instant) {
        self.close_now(ErrorCode::Unspecified, now);
        outcome.lost = Some(cause);
    }

    fn break_off(&mut self, outcome: &mut Outcome, now: Instant) {
        self.connection.close(now, h3::PROTOCOL_ERROR, Bytes::new());
        outcome.lost = Some(LostCause::Broken);
    }
}

fn cause_of(reason: &ConnectionError, phase: Phase) -> LostCause {
    match reason {
        ConnectionError::TransportError(error) if phase == Phase::Dialling && tls::is_alert(error.code) => {
            LostCause::WrongKey
        }
        ConnectionError::ApplicationClosed(_) => LostCause::ByPeer,
        ConnectionError::TimedOut => LostCause::TimedOut,
        ConnectionError::Reset => LostCause::Reset,
        ConnectionError::LocallyClosed => LostCause::Closed,
        ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::CidsExhausted => LostCause::Broken,
    }
}
