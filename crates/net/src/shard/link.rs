//! One connection of a shard: its phase, its stream and what waits to be written to it.

use std::{collections::VecDeque, time::Instant};

use ahoy_proto::{limits::OUTBOUND_QUEUE_MAX, proof::EXPORTER_LABEL, v1::ErrorCode};
use bytes::Bytes;
use quinn_proto::{
    Connection, ConnectionError, Dir, Event, ReadError, Side, StreamEvent, StreamId, VarInt, WriteError,
};

use super::{LinkEvent, LinkId};

/// Why a link that was up is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LostCause {
    /// The client closed it.
    ByClient,
    /// The client was silent for `ahoy_proto::limits::IDLE_TIMEOUT`.
    TimedOut,
    /// The client's process does not know the link any more.
    Reset,
    /// The client did not read what was sent to it.
    SlowReader,
    /// The client opened a stream.
    UnexpectedStream,
    /// The client broke a rule of QUIC.
    Broken,
    /// We closed it.
    Closed,
}

impl LostCause {
    /// All causes, in the order of [`index`](Self::index).
    pub const ALL: [Self; 7] = [
        Self::ByClient,
        Self::TimedOut,
        Self::Reset,
        Self::SlowReader,
        Self::UnexpectedStream,
        Self::Broken,
        Self::Closed,
    ];

    /// Its place among all causes.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::ByClient => "by_client",
            Self::TimedOut => "timed_out",
            Self::Reset => "reset",
            Self::SlowReader => "slow_reader",
            Self::UnexpectedStream => "unexpected_stream",
            Self::Broken => "broken",
            Self::Closed => "closed",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Handshake,
    Up,
    /// Delivers what was sent, then closes with the code.
    Closing(ErrorCode),
    /// Quinn says farewell; nothing of it matters to anybody.
    Ended,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) phase: Phase,
    /// Where the handshake arrived: a client never sees us change our address.
    pub(super) socket: usize,
    pub(super) connection: Connection,
    /// Whether it stands in the shard's list of links to flush.
    pub(super) dirty: bool,
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
    pub(super) fn new(id: LinkId, socket: usize, connection: Connection) -> Self {
        let (queue, queued) = (VecDeque::new(), 0);
        Self { id, phase: Phase::Handshake, socket, connection, dirty: false, queue, queued }
    }

    /// Takes what happened on the connection.
    pub(super) fn take_events(&mut self, events: &mut VecDeque<LinkEvent>, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        while let Some(event) = self.connection.poll() {
            match event {
                Event::Connected => {
                    self.come_up(events);
                    outcome.up = true;
                }
                Event::ConnectionLost { reason } => {
                    outcome.lost.get_or_insert_with(|| cause_of(&reason));
                }
                Event::Stream(event) if outcome.lost.is_none() => {
                    self.take_stream_event(event, events, &mut outcome, now);
                }
                Event::Stream(_) | Event::HandshakeDataReady | Event::DatagramReceived | Event::DatagramsUnblocked => {}
            }
        }
        while let Some(bytes) = self.connection.datagrams().recv() {
            if self.phase == Phase::Up {
                events.push_back(LinkEvent::Datagram { link: self.id, bytes });
            }
        }
        outcome
    }

    fn come_up(&mut self, events: &mut VecDeque<LinkEvent>) {
        let mut exporter = [0; 32];
        self.connection
            .crypto_session()
            .export_keying_material(&mut exporter, EXPORTER_LABEL, b"")
            .expect("the handshake is finished and 32 bytes are within the exporter's bounds");
        // A client that allows no stream never hears the challenge and is dropped for want of a proof.
        let _ = self.connection.streams().open(Dir::Bi);
        self.phase = Phase::Up;
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
            StreamEvent::Readable { id } if id == stream() => {
                if !self.read(events) && self.phase == Phase::Up {
                    self.close_now(ErrorCode::Unspecified, now);
                    outcome.lost = Some(LostCause::ByClient);
                }
            }
            StreamEvent::Writable { id } if id == stream() => self.write(),
            StreamEvent::Finished { .. } => {
                if let Phase::Closing(code) = self.phase {
                    self.close_now(code, now);
                    outcome.lost = Some(LostCause::Closed);
                }
            }
            StreamEvent::Stopped { .. } => {
                self.close_now(ErrorCode::Unspecified, now);
                outcome.lost = Some(LostCause::ByClient);
            }
            StreamEvent::Opened { .. } => {
                self.close_now(ErrorCode::UnexpectedStream, now);
                outcome.lost = Some(LostCause::UnexpectedStream);
            }
            StreamEvent::Readable { .. } | StreamEvent::Writable { .. } | StreamEvent::Available { .. } => {}
        }
    }

    /// Reads all there is. `false` when the client ended the stream.
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

    /// Queues bytes. `false` when the client does not read.
    pub(super) fn send(&mut self, bytes: Bytes) -> bool {
        if self.queued + bytes.len() > OUTBOUND_QUEUE_MAX {
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
        self.connection.close(now, VarInt::from_u32(code as u32), Bytes::new());
    }
}

fn cause_of(reason: &ConnectionError) -> LostCause {
    match reason {
        ConnectionError::ApplicationClosed(_) => LostCause::ByClient,
        ConnectionError::TimedOut => LostCause::TimedOut,
        ConnectionError::Reset => LostCause::Reset,
        ConnectionError::LocallyClosed => LostCause::Closed,
        ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::CidsExhausted => LostCause::Broken,
    }
}
