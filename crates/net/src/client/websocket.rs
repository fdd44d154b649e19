//! A link by WebSocket, for networks that let no UDP through: one task carries it, and what waits for it is bounded as on QUIC.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex as SyncMutex, MutexGuard, PoisonError},
    time::Duration,
};

use ahoy_proto::{
    document::RosterEntry,
    limits::{DATAGRAM_MAX, IDLE_TIMEOUT},
    v1::ErrorCode,
    websocket::{self, Carried, PIECE_MAX},
};
use bytes::Bytes;
use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{Mutex, Notify, mpsc, watch},
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Message,
        client::IntoClientRequest as _,
        http::{HeaderValue, header},
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{DialError, LinkEnd, LinkStats, SendError, Target, race, resolve};
use crate::limits;

/// Datagrams that wait for a network that takes them slowly: 160 ms of one voice. The oldest is dropped first.
const UNSENT_MAX: usize = 8;

/// Datagrams that have come and were not taken: a second of one voice.
const UNREAD_MAX: usize = 50;

/// Pieces of the stream that have come and were not taken; then the other side waits.
const PIECES_MAX: usize = 8;

/// How often a link that carries voice pings: nothing else acknowledges it, and a silent peer is no reason to doubt the link.
const PING_EVERY: Duration = Duration::from_millis(400);

type Sink<S> = SplitSink<WebSocketStream<S>, Message>;

/// What a link has beside its stream.
pub(super) struct Socket {
    shared: Arc<Shared>,
    datagrams: Mutex<mpsc::Receiver<Bytes>>,
    ended: watch::Receiver<Option<LinkEnd>>,
    remote: SocketAddr,
}

/// What is handed to whoever makes a link of it.
pub(super) struct Parts {
    pub(super) socket: Socket,
    pub(super) pieces: mpsc::Receiver<Bytes>,
    pub(super) outbound: mpsc::Sender<Bytes>,
}

/// Between a link and its task.
#[derive(Default)]
struct Shared {
    state: SyncMutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    datagrams: VecDeque<Bytes>,
    close: Option<ErrorCode>,
    stats: LinkStats,
    /// When the ping went out that is unanswered.
    pinged: Option<Instant>,
}

enum Next {
    Datagram(Bytes),
    Close(ErrorCode),
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, datagram: Bytes) {
        let mut state = self.state();
        state.datagrams.push_back(datagram);
        if state.datagrams.len() > UNSENT_MAX {
            state.datagrams.pop_front();
        }
        drop(state);
        self.changed.notify_one();
    }

    fn next(&self) -> Option<Next> {
        let mut state = self.state();
        if let Some(code) = state.close {
            return Some(Next::Close(code));
        }
        let datagram = state.datagrams.pop_front()?;
        let now = Instant::now();
        if datagram.is_empty() {
            state.pinged = Some(now);
        } else if state.pinged.is_none_or(|pinged| now - pinged >= PING_EVERY) {
            state.datagrams.push_back(Bytes::new());
        }
        Some(Next::Datagram(datagram))
    }

    fn sent(&self, bytes: usize) {
        let mut state = self.state();
        state.stats.packets_sent += 1;
        state.stats.bytes_sent += bytes as u64;
    }

    fn received(&self, bytes: usize, is_pong: bool) {
        let mut state = self.state();
        state.stats.packets_received += 1;
        state.stats.bytes_received += bytes as u64;
        if is_pong && let Some(pinged) = state.pinged.take() {
            state.stats.rtt = (7 * state.stats.rtt + pinged.elapsed()) / 8;
        }
    }
}

impl Socket {
    pub(super) fn send_datagram(&self, datagram: Bytes) -> Result<(), SendError> {
        if self.ended.borrow().is_some() {
            return Err(SendError::Ended);
        }
        if datagram.len() > DATAGRAM_MAX {
            return Err(SendError::TooLong);
        }
        self.shared.push(datagram);
        Ok(())
    }

    pub(super) async fn next_datagram(&self) -> Result<Bytes, LinkEnd> {
        let next = self.datagrams.lock().await.recv().await;
        match next {
            Some(datagram) => Ok(datagram),
            None => Err(self.ended().await),
        }
    }

    pub(super) fn close(&self, code: ErrorCode) {
        self.shared.state().close.get_or_insert(code);
        self.shared.changed.notify_one();
    }

    pub(super) async fn ended(&self) -> LinkEnd {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await.map(|end| end.clone()) {
            Ok(Some(end)) => end,
            Ok(None) | Err(_) => LinkEnd::Local,
        }
    }

    pub(super) fn end(&self) -> Option<LinkEnd> {
        self.ended.borrow().clone()
    }

    pub(super) fn stats(&self) -> LinkStats {
        self.shared.state().stats
    }

    pub(super) fn remote_address(&self) -> SocketAddr {
        self.remote
    }
}

/// Dials the supernode's addresses in their order, as by QUIC. `is_plain`: without TLS where that leads to this very machine.
pub(super) async fn dial(entry: &RosterEntry, is_plain: bool, deadline: Instant) -> Result<Parts, DialError> {
    let targets = timeout_at(deadline, resolve(&entry.addresses)).await.map_err(|_| DialError::NoAnswer)??;
    race(targets, deadline, |target| attempt(target, is_plain)).await
}

async fn attempt(Target { text, address }: Target, is_plain: bool) -> Result<Parts, DialError> {
    let asked = Instant::now();
    let stream = TcpStream::connect(address).await.map_err(|_| DialError::NoAnswer)?;
    let rtt = asked.elapsed();
    // Voice waits for nothing that it could fill a packet with.
    let _ = stream.set_nodelay(true);
    let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(4 * 1024);
    let host = text.rsplit_once(':').map_or(&*text, |(host, _)| host).trim_matches(['[', ']']);
    // Whatever a name server says of the name: what goes in the clear stays on this machine.
    if is_plain && is_loopback(host) && address.ip().is_loopback() {
        return open(stream, &format!("ws://{text}{}", websocket::PATH), address, rtt).await;
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|_| DialError::Entry("its address has no name"))?;
    let stream = TlsConnector::from(tls()?).connect(name, stream).await;
    let stream = stream.map_err(|error| DialError::Ended(LinkEnd::Broken(error.to_string())))?;
    open(stream, &format!("wss://{text}{}", websocket::PATH), address, rtt).await
}

/// Whether a roster's address names this very machine, as a browser sees it too.
fn is_loopback(host: &str) -> bool {
    let name = host.to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The web's certificates, as this machine knows them.
fn tls() -> Result<Arc<ClientConfig>, DialError> {
    let local = |error: rustls::Error| DialError::Local(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls_platform_verifier::Verifier::new(Arc::clone(&provider)).map_err(local)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(local)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

async fn open<S>(stream: S, url: &str, remote: SocketAddr, rtt: Duration) -> Result<Parts, DialError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let refused = |error: tokio_tungstenite::tungstenite::Error| DialError::Ended(LinkEnd::Broken(error.to_string()));
    let mut request = url.into_client_request().map_err(refused)?;
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(websocket::SUBPROTOCOL));
    let config = WebSocketConfig::default()
        .max_message_size(Some(websocket::MESSAGE_MAX))
        .max_frame_size(Some(websocket::MESSAGE_MAX))
        .write_buffer_size(0);
    let (stream, _) = client_async_with_config(request, stream, Some(config)).await.map_err(refused)?;
    let shared = Arc::new(Shared::default());
    shared.state().stats.rtt = rtt;
    let (outbound, to_send) = mpsc::channel(limits::CLIENT_QUEUE_MAX);
    let (to_pieces, pieces) = mpsc::channel(PIECES_MAX);
    let (to_datagrams, datagrams) = mpsc::channel(UNREAD_MAX);
    let (ends, ended) = watch::channel(None);
    let to = Inward { pieces: to_pieces, datagrams: to_datagrams, shared: Arc::clone(&shared) };
    tokio::spawn(carry(stream, to_send, to, ends));
    Ok(Parts { socket: Socket { shared, datagrams: Mutex::new(datagrams), ended, remote }, pieces, outbound })
}

/// Where what comes goes.
struct Inward {
    pieces: mpsc::Sender<Bytes>,
    datagrams: mpsc::Sender<Bytes>,
    shared: Arc<Shared>,
}

/// Carries a link from its first byte to its last.
async fn carry<S>(
    stream: WebSocketStream<S>,
    mut outbound: mpsc::Receiver<Bytes>,
    to: Inward,
    ends: watch::Sender<Option<LinkEnd>>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sink, mut stream) = stream.split();
    let shared = Arc::clone(&to.shared);
    let end = tokio::select! {
        end = read(&mut stream, &to) => end,
        end = write(&mut sink, &mut outbound, &shared) => end,
    };
    // The readers learn why as soon as they learn that it is over.
    ends.send_replace(Some(end));
    drop(to);
    let _ = timeout(limits::CLOSE_GRACE, sink.close()).await;
}

async fn read<S>(stream: &mut SplitStream<WebSocketStream<S>>, to: &Inward) -> LinkEnd
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let broken = |why: &str| LinkEnd::Broken(why.to_owned());
    loop {
        let message = match timeout(IDLE_TIMEOUT, stream.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(error))) => return LinkEnd::Broken(error.to_string()),
            Ok(None) => return broken("the connection ended"),
            Err(_) => return LinkEnd::TimedOut,
        };
        let length = message.len();
        match message {
            Message::Binary(bytes) => match Carried::decode(bytes) {
                Some(Carried::Bytes(bytes)) => {
                    to.shared.received(length, false);
                    if to.pieces.send(bytes).await.is_err() {
                        return LinkEnd::Local;
                    }
                }
                Some(Carried::Datagram(bytes)) => {
                    to.shared.received(length, bytes.is_empty());
                    // What nobody takes in time is lost, as on the way.
                    let _ = to.datagrams.try_send(bytes);
                }
                None => return broken("a message that is none of a link"),
            },
            Message::Close(Some(frame)) => {
                let code = websocket::error_code(frame.code.into());
                return code.map_or_else(|| broken("the connection was closed"), LinkEnd::Closed);
            }
            Message::Close(None) => return broken("the connection was closed"),
            Message::Text(_) | Message::Frame(_) => return broken("a message that is none of a link"),
            Message::Ping(_) | Message::Pong(_) => to.shared.received(length, false),
        }
    }
}

async fn write<S>(sink: &mut Sink<S>, outbound: &mut mpsc::Receiver<Bytes>, shared: &Shared) -> LinkEnd
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let sent = match shared.next() {
            Some(Next::Datagram(datagram)) => send(sink, Carried::Datagram(datagram), shared).await,
            Some(Next::Close(code)) => {
                let code = CloseCode::from(websocket::close_code(code));
                let close = Message::Close(Some(CloseFrame { code, reason: Default::default() }));
                let _ = timeout(limits::CLOSE_GRACE, sink.send(close)).await;
                return LinkEnd::Local;
            }
            None => tokio::select! {
                () = shared.changed.notified() => continue,
                message = outbound.recv() => match message {
                    Some(message) => send_all(sink, message, shared).await,
                    None => return LinkEnd::Local,
                },
            },
        };
        if let Err(end) = sent {
            return end;
        }
    }
}

/// In pieces, with datagrams between them.
async fn send_all<S>(sink: &mut Sink<S>, mut message: Bytes, shared: &Shared) -> Result<(), LinkEnd>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while !message.is_empty() {
        let piece = message.split_to(message.len().min(PIECE_MAX));
        send(sink, Carried::Bytes(piece), shared).await?;
        let datagram = shared.state().datagrams.pop_front();
        if let Some(datagram) = datagram {
            send(sink, Carried::Datagram(datagram), shared).await?;
        }
    }
    Ok(())
}

async fn send<S>(sink: &mut Sink<S>, carried: Carried, shared: &Shared) -> Result<(), LinkEnd>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let bytes = carried.encode();
    let length = bytes.len();
    sink.send(Message::Binary(bytes)).await.map_err(|error| LinkEnd::Broken(error.to_string()))?;
    shared.sent(length);
    Ok(())
}

#[cfg(test)]
mod tests {
    use ahoy_proto::{SupernodeId, document::Jwk};
    use tokio::net::TcpListener;
    use tokio_tungstenite::{
        accept_hdr_async,
        tungstenite::handshake::server::{Request, Response},
    };

    use super::*;

    /// Long enough for a machine that has much to do.
    const SOON: Duration = Duration::from_secs(20);

    fn entry(addresses: Vec<String>) -> RosterEntry {
        let (supernode, key) = (SupernodeId::of_roster_key(&[1; 32]), Jwk::ed25519([1; 32]));
        RosterEntry { supernode, key, addresses, region: String::new(), weight: 1, number: 1 }
    }

    async fn listening() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (listener, address)
    }

    /// Takes one WebSocket without TLS, and holds it.
    #[expect(clippy::result_large_err, reason = "the library's own answer")]
    async fn serve(listener: TcpListener) {
        let (stream, _) = listener.accept().await.unwrap();
        let choose = |_: &Request, mut response: Response| {
            let chosen = HeaderValue::from_static(websocket::SUBPROTOCOL);
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
            Ok(response)
        };
        let mut socket = accept_hdr_async(stream, choose).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    }

    #[tokio::test]
    async fn an_address_that_takes_a_connection_and_never_answers_holds_up_no_other() {
        let ((_silent, first), (well, second)) = (listening().await, listening().await);
        tokio::spawn(serve(well));
        let dialled = dial(&entry(vec![first, second.clone()]), true, Instant::now() + SOON).await;
        assert_eq!(dialled.ok().map(|parts| parts.socket.remote_address().to_string()), Some(second));
    }

    #[tokio::test]
    async fn only_this_very_machine_is_spoken_to_in_the_clear_and_only_where_the_network_is() {
        for (is_plain, first_byte) in [(true, b'G'), (false, 0x16)] {
            let (listener, address) = listening().await;
            tokio::spawn(async move { dial(&entry(vec![address]), is_plain, Instant::now() + SOON).await.map(drop) });
            let (stream, _) = listener.accept().await.unwrap();
            let mut byte = [0];
            stream.readable().await.unwrap();
            stream.peek(&mut byte).await.unwrap();
            // A request of HTTP, or a handshake of TLS.
            assert_eq!(byte[0], first_byte);
        }
        for host in ["localhost", "LOCALHOST", "ahoy.localhost", "127.0.0.1", "127.1.2.3", "::1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["192.168.1.2", "localhost.example.org", "127.0.0.1.example.org", "0.0.0.0", "ahoy.example.org"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
