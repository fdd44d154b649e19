//! The front of a browser's link: as much of HTTP/3 as lies between the handshake and one WebTransport session
//! (draft-ietf-webtrans-http3), on which everything else is as on any link.
//!
//! A browser may open three unidirectional streams (control, and two of QPACK) and one for its request, and no more. Of each so much is
//! kept as is needed to understand it; the rest is read and thrown away, within QUIC's windows. No dynamic table is offered.

use ahoy_proto::websocket::PATH;
use bytes::{Bytes, BytesMut};
use quinn_proto::{Connection, Dir, ReadError, Side, StreamId, VarInt};
use web_transport_proto as wt;
use web_transport_proto::http::{StatusCode, header};

use crate::Origins;

/// Its ALPN.
pub(crate) const ALPN: &[u8] = b"h3";

/// Unidirectional streams that a browser may open: what HTTP/3 needs.
pub(crate) const STREAMS: u32 = 3;

/// Longest beginning of a control stream that is looked at: settings are 60 bytes, and grease as much again.
const SETTINGS_MAX: usize = 1_024;

/// Longest request: Chromium's has 300 bytes.
const REQUEST_MAX: usize = 4 * 1024;

/// Application error codes of HTTP/3 (RFC 9114, section 8.1).
pub(super) const NO_ERROR: VarInt = VarInt::from_u32(0x100);
pub(super) const PROTOCOL_ERROR: VarInt = VarInt::from_u32(0x101);

/// What came of what a browser sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing yet.
    Wait,
    /// A session is asked for and may be had.
    Accept,
    /// A session is asked for that can't be had.
    Refuse(StatusCode),
    /// The browser has ended its session.
    Over,
    /// Not HTTP/3, or more of it than we allow.
    Broken,
}

/// What is known of one of the browser's unidirectional streams.
#[derive(Debug)]
enum Uni {
    /// Its type has not arrived, or it is the control stream and the settings have not.
    Beginning(StreamId, BytesMut),
    /// Nothing more of it matters.
    Understood(StreamId),
}

impl Uni {
    fn id(&self) -> StreamId {
        let (Self::Beginning(id, _) | Self::Understood(id)) = self;
        *id
    }
}

/// Everything but the session's stream and datagrams.
#[derive(Debug)]
pub(super) struct Front {
    origins: Origins,
    unis: Vec<Uni>,
    settings: bool,
    request: Request,
}

#[derive(Debug)]
enum Request {
    Coming(BytesMut),
    Accepted,
    Refused,
}

/// The stream that the request comes on, which names the session: the first that a client opens.
pub(super) fn request_stream() -> StreamId {
    StreamId::new(Side::Client, Dir::Bi, 0)
}

/// What begins each datagram of the session: a quarter of the request stream's number.
const DATAGRAM_PREFIX: u8 = 0;

/// What answers a ping: a byte of zero, since browsers hand no empty datagram to a page. No flow has that number.
pub(super) const PONG: &[u8] = &[DATAGRAM_PREFIX, 0];

/// A datagram of the session.
pub(super) fn wrap(datagram: &[u8]) -> Bytes {
    [&[DATAGRAM_PREFIX], datagram].concat().into()
}

/// What a datagram of the session holds; `None` for any other.
pub(super) fn unwrap(mut datagram: Bytes) -> Option<Bytes> {
    (!datagram.is_empty() && datagram.split_to(1)[0] == DATAGRAM_PREFIX).then_some(datagram)
}

/// What the session's stream begins with: its type, and the session.
pub(super) fn stream_header() -> Bytes {
    let mut header = BytesMut::new();
    wt::Frame::WEBTRANSPORT.encode(&mut header);
    wt::VarInt::from_u32(0).encode(&mut header);
    header.freeze()
}

/// The capsule that ends a session with a code, in a frame.
fn farewell(code: u32) -> Bytes {
    let mut capsule = BytesMut::new();
    wt::Capsule::CloseWebTransportSession { code, reason: String::new() }.encode(&mut capsule);
    let mut frame = BytesMut::new();
    wt::Frame::DATA.encode(&mut frame);
    wt::VarInt::from_u32(capsule.len() as u32).encode(&mut frame);
    frame.extend_from_slice(&capsule);
    frame.freeze()
}

impl Front {
    pub(super) fn new(origins: Origins) -> Self {
        Self { origins, unis: Vec::new(), settings: false, request: Request::Coming(BytesMut::new()) }
    }

    /// Sends our settings. `false` when the browser allows no stream for them.
    pub(super) fn begin(connection: &mut Connection) -> bool {
        let Some(control) = connection.streams().open(Dir::Uni) else { return false };
        let mut settings = wt::Settings::default();
        settings.enable_webtransport(1);
        let mut bytes = BytesMut::new();
        settings.encode(&mut bytes);
        write_all(connection, control, &bytes)
    }

    /// Takes what has come on the browser's own streams.
    pub(super) fn read(&mut self, connection: &mut Connection) -> Step {
        while let Some(id) = connection.streams().accept(Dir::Uni) {
            if self.unis.len() >= STREAMS as usize {
                return Step::Broken;
            }
            self.unis.push(Uni::Beginning(id, BytesMut::new()));
        }
        let ids: Vec<_> = self.unis.iter().map(Uni::id).collect();
        for id in ids {
            // None of them may end while the connection lasts.
            if !drain(connection, id, |bytes| self.take_uni(id, bytes)) || self.is_broken(id) {
                return Step::Broken;
            }
        }
        while let Some(id) = connection.streams().accept(Dir::Bi) {
            if id != request_stream() {
                return Step::Broken;
            }
        }
        let mut fits = true;
        let goes_on = drain(connection, request_stream(), |bytes| fits &= self.take_request(bytes));
        match self.decide() {
            _ if !fits => Step::Broken,
            Step::Wait if !goes_on => Step::Over,
            step => step,
        }
    }

    /// Whether a session was asked for and may be had.
    pub(super) fn is_accepted(&self) -> bool {
        matches!(self.request, Request::Accepted)
    }

    fn take_uni(&mut self, id: StreamId, bytes: &[u8]) {
        let Some(uni) = self.unis.iter_mut().find(|uni| uni.id() == id) else { return };
        if let Uni::Beginning(_, begun) = uni {
            let room = SETTINGS_MAX - begun.len();
            begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    /// Understands the beginning of a stream, if it can.
    fn is_broken(&mut self, id: StreamId) -> bool {
        let Some(uni) = self.unis.iter_mut().find(|uni| uni.id() == id) else { return false };
        let Uni::Beginning(_, begun) = uni else { return false };
        let Ok(kind) = wt::StreamUni::decode(&mut &begun[..]) else { return false };
        match kind {
            wt::StreamUni::CONTROL if self.settings => return true,
            wt::StreamUni::CONTROL => match wt::Settings::decode(&mut &begun[..]) {
                Ok(_) => self.settings = true,
                Err(wt::SettingsError::UnexpectedEnd) => return begun.len() >= SETTINGS_MAX,
                Err(_) => return true,
            },
            // Sessions have the one stream that we open, and servers push.
            wt::StreamUni::WEBTRANSPORT | wt::StreamUni::PUSH => return true,
            _ => {}
        }
        *uni = Uni::Understood(id);
        false
    }

    /// `false` when the request is too long.
    fn take_request(&mut self, bytes: &[u8]) -> bool {
        let Request::Coming(begun) = &mut self.request else { return true };
        begun.extend_from_slice(bytes);
        begun.len() <= REQUEST_MAX
    }

    /// What to say to the request, once that and the browser's settings are there.
    fn decide(&mut self) -> Step {
        let Request::Coming(begun) = &self.request else { return Step::Wait };
        if !self.settings {
            return Step::Wait;
        }
        let step = match wt::ConnectRequest::decode(&mut &begun[..]) {
            Ok(request) => self.answer(&request),
            Err(wt::ConnectError::UnexpectedEnd) => return Step::Wait,
            // Some other request of HTTP.
            Err(wt::ConnectError::WrongMethod(_) | wt::ConnectError::WrongProtocol(_)) => {
                Step::Refuse(StatusCode::NOT_FOUND)
            }
            Err(_) => Step::Broken,
        };
        self.request = if step == Step::Accept { Request::Accepted } else { Request::Refused };
        step
    }

    fn answer(&self, request: &wt::ConnectRequest) -> Step {
        let origin = request.headers.get(header::ORIGIN).map(|origin| origin.as_bytes());
        if request.url.path() != PATH {
            Step::Refuse(StatusCode::NOT_FOUND)
        } else if !self.origins.admit(origin, Some(request.url.authority())) {
            Step::Refuse(StatusCode::FORBIDDEN)
        } else {
            Step::Accept
        }
    }
}

/// Answers the request. `false` when the browser does not take it.
pub(super) fn respond(connection: &mut Connection, status: StatusCode) -> bool {
    let mut bytes = BytesMut::new();
    let encoded = wt::ConnectResponse::new(status).encode(&mut bytes);
    encoded.is_ok() && write_all(connection, request_stream(), &bytes)
}

/// Ends the request's stream.
pub(super) fn finish(connection: &mut Connection) -> bool {
    connection.send_stream(request_stream()).finish().is_ok()
}

/// Ends the session with a code. `false` when the browser does not take it.
pub(super) fn close(connection: &mut Connection, code: u32) -> bool {
    write_all(connection, request_stream(), &farewell(code)) && finish(connection)
}

/// Writes some bytes on a stream that has room for them, as every stream of an honest browser has for the first hundred.
fn write_all(connection: &mut Connection, id: StreamId, bytes: &[u8]) -> bool {
    connection.send_stream(id).write(bytes) == Ok(bytes.len())
}

/// Reads all there is. `false` when the other side ended the stream.
fn drain(connection: &mut Connection, id: StreamId, mut take: impl FnMut(&[u8])) -> bool {
    let mut stream = connection.recv_stream(id);
    // Not opened yet, or read to its end before.
    let Ok(mut chunks) = stream.read(true) else { return true };
    let goes_on = loop {
        match chunks.next(usize::MAX) {
            Ok(Some(chunk)) => take(&chunk.bytes),
            Err(ReadError::Blocked) => break true,
            Ok(None) | Err(ReadError::Reset(_)) => break false,
        }
    };
    // Whether flow control has news to send is found out by sending, which follows in any case.
    let _ = chunks.finalize();
    goes_on
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        bytes
    }

    fn settings() -> Vec<u8> {
        let mut settings = wt::Settings::default();
        settings.enable_webtransport(1);
        encoded(|bytes| settings.encode(bytes))
    }

    fn request() -> Vec<u8> {
        let url: url::Url = "https://localhost:8080/session".parse().expect("it is a URL");
        encoded(|bytes| wt::ConnectRequest::new(url).encode(bytes).expect("it is short"))
    }

    fn uni(number: u64) -> StreamId {
        StreamId::new(Side::Client, Dir::Uni, number)
    }

    /// Plays bytes of the streams, cut as they come, and says what came of it first.
    fn play(pieces: &[(usize, Vec<u8>)]) -> Step {
        let mut front = Front::new(Origins::default());
        front.unis = (0..u64::from(STREAMS)).map(|number| Uni::Beginning(uni(number), BytesMut::new())).collect();
        for (stream, bytes) in pieces {
            let step = if *stream < STREAMS as usize {
                let id = uni(*stream as u64);
                front.take_uni(id, bytes);
                if front.is_broken(id) { Step::Broken } else { front.decide() }
            } else if front.take_request(bytes) {
                front.decide()
            } else {
                Step::Broken
            };
            let held: usize =
                front.unis.iter().map(|uni| if let Uni::Beginning(_, b) = uni { b.len() } else { 0 }).sum();
            assert!(held <= STREAMS as usize * SETTINGS_MAX, "{held} bytes held");
            if step != Step::Wait {
                return step;
            }
        }
        Step::Wait
    }

    fn cut(stream: usize, bytes: &[u8], size: usize) -> Vec<(usize, Vec<u8>)> {
        bytes.chunks(size.max(1)).map(|piece| (stream, piece.to_vec())).collect()
    }

    proptest! {
        #[test]
        fn a_session_is_had_however_its_bytes_are_cut(size in 1..40usize, first in any::<bool>()) {
            let (settings, request) = (cut(0, &settings(), size), cut(3, &request(), size));
            let pieces = if first { [settings, request] } else { [request, settings] }.concat();
            prop_assert_eq!(play(&pieces), Step::Accept);
        }

        #[test]
        fn no_bytes_break_more_than_their_own_connection(
            pieces in proptest::collection::vec((0..4usize, proptest::collection::vec(any::<u8>(), 0..600)), 0..20),
        ) {
            play(&pieces);
        }

        #[test]
        fn no_spoilt_request_does(place in 0..200usize, byte: u8, size in 1..40usize) {
            let mut bytes = request();
            let place = place % bytes.len();
            bytes[place] = byte;
            play(&[cut(0, &settings(), size), cut(3, &bytes, size)].concat());
        }

        #[test]
        fn no_spoilt_settings_do(place in 0..200usize, byte: u8, size in 1..40usize) {
            let mut bytes = settings();
            let place = place % bytes.len();
            bytes[place] = byte;
            play(&[cut(0, &bytes, size), cut(3, &request(), size)].concat());
        }
    }

    #[test]
    fn a_control_stream_that_never_comes_to_its_settings_is_refused() {
        // A frame of grease that is announced to be long.
        let mut bytes = vec![0, 0x21, 0x4f, 0xff];
        bytes.resize(SETTINGS_MAX, 0);
        assert_eq!(play(&cut(0, &bytes, 100)), Step::Broken);
    }
}
