//! The dialling side of a link, on quinn and tokio; by WebSocket where no UDP gets through.
//!
//! Each link has a UDP socket of its own, so that a change of network or a parallel dial never disturbs another link,
//! and so that our connection ids can be empty: eight bytes less on every packet that we receive. Only a program of very many
//! links has them share sockets ([`SharedSockets`]).

mod websocket;

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroUsize,
    sync::{Arc, Mutex as SyncMutex, PoisonError},
    time::Duration,
};

use ahoy_proto::{document::RosterEntry, frame::Deframer, limits::MESSAGE_MAX, proof::EXPORTER_LABEL, v1::ErrorCode};
use bytes::Bytes;
use ed25519_dalek::VerifyingKey;
use quinn::{ConnectionError, EndpointConfig, VarInt};
use quinn_proto::RandomConnectionIdGenerator;
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use crate::{limits, tls, transport};

/// How to dial.
#[derive(Debug, Clone)]
pub struct DialOptions {
    /// How long dialling may take altogether; [`limits::DIAL_TIMEOUT`] by default.
    pub timeout: Duration,
    /// How often QUIC sends something on an idle link, until somebody pings more often; `ahoy_proto::limits::KEEPALIVE` when `None`.
    pub keepalive: Option<Duration>,
    /// Writes the link's TLS secrets to the file that `SSLKEYLOGFILE` names.
    pub key_log: bool,
    /// Sockets that the link shares with others; `None`: one of its own.
    pub sockets: Option<SharedSockets>,
    /// Whether it may be a WebSocket.
    pub web_socket: WebSocketUse,
    /// The network was given by an `http://` address: a WebSocket to this very machine goes without TLS. To any other it never does.
    pub is_plain: bool,
}

/// When a link may be a WebSocket: over TCP, where voice waits for what is lost, and on the word of the web's certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WebSocketUse {
    /// By QUIC or not at all.
    #[default]
    Never,
    /// Dialled too when nothing has answered by QUIC for so long.
    After(Duration),
    /// By nothing else.
    Only,
}

impl Default for DialOptions {
    fn default() -> Self {
        Self {
            timeout: limits::DIAL_TIMEOUT,
            keepalive: None,
            key_log: false,
            sockets: None,
            web_socket: WebSocketUse::Never,
            is_plain: false,
        }
    }
}

/// UDP sockets that the links of one process share: for a program that is thousands of clients, so that it needs neither a port nor a
/// file descriptor for each. Clones are the same sockets.
#[derive(Debug, Clone)]
pub struct SharedSockets(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: NonZeroUsize,
    opened: SyncMutex<Opened>,
}

#[derive(Debug, Default)]
struct Opened {
    v4: Vec<quinn::Endpoint>,
    v6: Vec<quinn::Endpoint>,
    /// Of the next link: they take turns.
    turn: usize,
}

impl SharedSockets {
    /// Opens none yet: each dial opens one, until there are so many of its address' family.
    pub fn new(most: NonZeroUsize) -> Self {
        Self(Arc::new(Shared { most, opened: SyncMutex::default() }))
    }

    /// Waits until all supernodes have heard of all closes, or gives up on them after some round trips.
    pub async fn flush_closes(&self) {
        let endpoints: Vec<_> = {
            let opened = self.opened();
            opened.v4.iter().chain(&opened.v6).cloned().collect()
        };
        for endpoint in endpoints {
            endpoint.wait_idle().await;
        }
    }

    fn towards(&self, address: SocketAddr) -> io::Result<quinn::Endpoint> {
        let mut opened = self.opened();
        opened.turn = opened.turn.wrapping_add(1);
        let turn = opened.turn;
        let family = if address.is_ipv4() { &mut opened.v4 } else { &mut opened.v6 };
        if family.len() < self.0.most.get() {
            let socket = socket_towards(address)?;
            // The kernel grants what it allows; less only means that a burst is lost sooner.
            let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(limits::SOCKET_RECEIVE_BUFFER);
            family.push(endpoint(socket, SHARED_ID_BYTES)?);
        }
        Ok(family[turn % family.len()].clone())
    }

    fn opened(&self) -> std::sync::MutexGuard<'_, Opened> {
        // Every change is one push: a panic elsewhere leaves nothing half done.
        self.0.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Length of our connection ids on shared sockets, by which links are told apart: of 100,000 two are the same once in 10^9 times.
const SHARED_ID_BYTES: usize = 8;

fn endpoint(socket: std::net::UdpSocket, id_bytes: usize) -> io::Result<quinn::Endpoint> {
    let mut config = EndpointConfig::default();
    config.cid_generator(move || Box::new(RandomConnectionIdGenerator::new(id_bytes)));
    quinn::Endpoint::new(config, None, socket, Arc::new(quinn::TokioRuntime))
}

/// Why no link came about.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The roster entry has a key that is none, or no address.
    #[error("the roster entry is not usable: {0}")]
    Entry(&'static str),
    /// No address could be resolved.
    #[error("no address of the supernode can be resolved")]
    Resolve(#[source] io::Error),
    /// Something answered that does not hold the roster key.
    #[error("what answers at this address is not the supernode of the roster")]
    NotTheSupernode,
    /// Nothing answered in time.
    #[error("the supernode does not answer")]
    NoAnswer,
    /// It answered and ended the link at once.
    #[error("the supernode ended the link: {0}")]
    Ended(LinkEnd),
    /// No socket, or no TLS configuration, on this side.
    #[error("cannot open a socket: {0}")]
    Local(String),
}

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEnd {
    /// The supernode closed it with this code.
    Closed(ErrorCode),
    /// Nothing was heard for `ahoy_proto::limits::IDLE_TIMEOUT`.
    TimedOut,
    /// The supernode does not know the link any more: it was restarted.
    Reset,
    /// We closed it.
    Local,
    /// It broke a rule of QUIC or of the framing, or refused.
    Broken(String),
}

impl fmt::Display for LinkEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(code) => write!(f, "closed by the supernode ({})", code.as_str_name()),
            Self::TimedOut => f.write_str("timed out"),
            Self::Reset => f.write_str("the supernode was restarted"),
            Self::Local => f.write_str("closed"),
            Self::Broken(why) => write!(f, "broken: {why}"),
        }
    }
}

impl From<ConnectionError> for LinkEnd {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => Self::Closed(code_of(close.error_code)),
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::Reset => Self::Reset,
            ConnectionError::LocallyClosed => Self::Local,
            other => Self::Broken(other.to_string()),
        }
    }
}

fn code_of(code: VarInt) -> ErrorCode {
    i32::try_from(code.into_inner()).ok().and_then(|code| ErrorCode::try_from(code).ok()).unwrap_or_default()
}

/// Why a message or datagram was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// [`limits::CLIENT_QUEUE_MAX`] messages wait already.
    #[error("too many messages wait to be written")]
    Full,
    /// Longer than the path carries.
    #[error("the datagram is too long for this path")]
    TooLong,
    /// The link has ended; [`ClientLink::ended`] says why.
    #[error("the link has ended")]
    Ended,
}

/// Figures of a link since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// UDP packets sent.
    pub packets_sent: u64,
    /// Of those, packets that QUIC counts as lost.
    pub packets_lost: u64,
    /// UDP payload sent, in bytes.
    pub bytes_sent: u64,
    /// UDP packets received.
    pub packets_received: u64,
    /// UDP payload received, in bytes.
    pub bytes_received: u64,
}

/// A link to a supernode. All methods take `&self` and all that wait are cancel-safe, so that they can stand side by side in
/// one `select!`. Dropping it closes the link.
pub struct ClientLink {
    carrier: Carrier,
    outbound: mpsc::Sender<Bytes>,
    inbound: Mutex<Inbound>,
}

enum Carrier {
    Quic(Quic),
    WebSocket(Box<websocket::Socket>),
}

struct Quic {
    connection: quinn::Connection,
    /// The link's own; `None` where sockets are shared.
    endpoint: Option<quinn::Endpoint>,
    exporter: [u8; 32],
}

struct Inbound {
    stream: Stream,
    deframer: Deframer,
}

enum Stream {
    Quic(quinn::RecvStream),
    WebSocket(mpsc::Receiver<Bytes>),
}

impl Stream {
    /// The next bytes; `None` when it ended.
    async fn next(&mut self) -> Option<Bytes> {
        match self {
            Self::Quic(stream) => Some(stream.read_chunk(MESSAGE_MAX, true).await.ok()??.bytes),
            Self::WebSocket(pieces) => pieces.recv().await,
        }
    }
}

impl fmt::Debug for ClientLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match &self.carrier {
            Carrier::Quic(quic) => quic.connection.close_reason().map(LinkEnd::from),
            Carrier::WebSocket(socket) => socket.end(),
        };
        f.debug_struct("ClientLink").field("end", &end).finish_non_exhaustive()
    }
}

impl ClientLink {
    /// 32 bytes that only the two ends of this link know, for the proof of sign-in; a WebSocket has none.
    pub fn exporter(&self) -> Option<&[u8; 32]> {
        match &self.carrier {
            Carrier::Quic(quic) => Some(&quic.exporter),
            Carrier::WebSocket(_) => None,
        }
    }

    /// Whether it is a WebSocket.
    pub fn is_web_socket(&self) -> bool {
        matches!(self.carrier, Carrier::WebSocket(_))
    }

    /// The next message of the ordered stream, without its length prefix.
    ///
    /// # Errors
    /// When the link has ended.
    pub async fn next_message(&self) -> Result<Bytes, LinkEnd> {
        let mut inbound = self.inbound.lock().await;
        loop {
            match inbound.deframer.next(MESSAGE_MAX) {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => {}
                Err(too_long) => {
                    self.close(ErrorCode::MessageTooLong);
                    return Err(LinkEnd::Broken(too_long.to_string()));
                }
            }
            match inbound.stream.next().await {
                Some(bytes) => inbound.deframer.push(&bytes),
                // The supernode ends the stream a moment before it closes the link with the code that says why.
                None => return Err(self.ended_soon().await),
            }
        }
    }

    /// Queues a message that stands as `ahoy_proto::frame::encode` made it.
    ///
    /// # Errors
    /// When the queue is full or the link has ended.
    pub fn send(&self, framed: Bytes) -> Result<(), SendError> {
        self.outbound.try_send(framed).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SendError::Full,
            mpsc::error::TrySendError::Closed(_) => SendError::Ended,
        })
    }

    /// The next datagram.
    ///
    /// # Errors
    /// When the link has ended.
    pub async fn next_datagram(&self) -> Result<Bytes, LinkEnd> {
        match &self.carrier {
            Carrier::Quic(quic) => Ok(quic.connection.read_datagram().await?),
            Carrier::WebSocket(socket) => socket.next_datagram().await,
        }
    }

    /// Sends a datagram, or queues it and drops older ones that wait.
    ///
    /// # Errors
    /// When it is too long or the link has ended.
    pub fn send_datagram(&self, datagram: Bytes) -> Result<(), SendError> {
        use quinn::SendDatagramError as E;
        let quic = match &self.carrier {
            Carrier::Quic(quic) => quic,
            Carrier::WebSocket(socket) => return socket.send_datagram(datagram),
        };
        quic.connection.send_datagram(datagram).map_err(|error| match error {
            E::ConnectionLost(_) => SendError::Ended,
            E::TooLarge | E::Disabled | E::UnsupportedByPeer => SendError::TooLong,
        })
    }

    /// Sends an empty datagram, which the supernode returns: whether it still lives shows in [`LinkStats::packets_received`].
    pub fn ping(&self) {
        // Nothing else could be said of a link that has ended than what [`Self::ended`] says.
        let _ = self.send_datagram(Bytes::new());
    }

    /// Closes the link; what was sent and not yet acknowledged may be lost.
    pub fn close(&self, code: ErrorCode) {
        match &self.carrier {
            Carrier::Quic(quic) => quic.connection.close(VarInt::from_u32(code as u32), b""),
            Carrier::WebSocket(socket) => socket.close(code),
        }
    }

    /// Waits until the link has ended, and says why.
    pub async fn ended(&self) -> LinkEnd {
        match &self.carrier {
            Carrier::Quic(quic) => quic.connection.closed().await.into(),
            Carrier::WebSocket(socket) => socket.ended().await,
        }
    }

    /// Waits until the supernode has heard of the close, or gives up after some round trips. Without it, a process that
    /// exits at once leaves the supernode to find out by a timeout. Does not wait where sockets are shared: there,
    /// [`SharedSockets::flush_closes`] does, for all links.
    pub async fn flush_close(&self) {
        match &self.carrier {
            Carrier::Quic(Quic { endpoint: Some(endpoint), .. }) => endpoint.wait_idle().await,
            Carrier::Quic(_) => {}
            Carrier::WebSocket(socket) => _ = socket.ended().await,
        }
    }

    /// Smoothed round-trip time.
    pub fn rtt(&self) -> Duration {
        match &self.carrier {
            Carrier::Quic(quic) => quic.connection.rtt(),
            Carrier::WebSocket(socket) => socket.stats().rtt,
        }
    }

    /// The address that was reached.
    pub fn remote_address(&self) -> SocketAddr {
        match &self.carrier {
            Carrier::Quic(quic) => quic.connection.remote_address(),
            Carrier::WebSocket(socket) => socket.remote_address(),
        }
    }

    /// Goes on from another socket, after a change of network. The supernode follows with the next packet.
    ///
    /// # Errors
    /// When no socket can be opened, or the link shares its socket with others or is a WebSocket.
    pub fn rebind(&self) -> io::Result<()> {
        let Carrier::Quic(Quic { endpoint: Some(endpoint), connection, .. }) = &self.carrier else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        endpoint.rebind(socket_towards(connection.remote_address())?)
    }

    /// Figures since the link was opened.
    pub fn stats(&self) -> LinkStats {
        let stats = match &self.carrier {
            Carrier::Quic(quic) => quic.connection.stats(),
            Carrier::WebSocket(socket) => return socket.stats(),
        };
        LinkStats {
            rtt: stats.path.rtt,
            packets_sent: stats.udp_tx.datagrams,
            packets_lost: stats.path.lost_packets,
            bytes_sent: stats.udp_tx.bytes,
            packets_received: stats.udp_rx.datagrams,
            bytes_received: stats.udp_rx.bytes,
        }
    }

    #[cfg(test)]
    pub(crate) fn connection(&self) -> &quinn::Connection {
        let Carrier::Quic(quic) = &self.carrier else { panic!("not by QUIC") };
        &quic.connection
    }

    fn by_socket(parts: websocket::Parts) -> Self {
        let websocket::Parts { socket, pieces, outbound } = parts;
        let inbound = Mutex::new(Inbound { stream: Stream::WebSocket(pieces), deframer: Deframer::default() });
        Self { carrier: Carrier::WebSocket(Box::new(socket)), outbound, inbound }
    }

    async fn ended_soon(&self) -> LinkEnd {
        match tokio::time::timeout(2 * limits::CLOSE_GRACE, self.ended()).await {
            Ok(end) => end,
            Err(_) => {
                self.close(ErrorCode::Unspecified);
                LinkEnd::Broken("the stream ended and the link did not".to_owned())
            }
        }
    }
}

/// Dials a supernode by QUIC, and by WebSocket as far as the options allow it. Whatever answers by QUIC settles the matter: what does not hold
/// the roster key is no reason to ask without it.
///
/// # Errors
/// Says why no attempt succeeded; where attempts differ, the most telling reason.
pub async fn dial(entry: &RosterEntry, options: &DialOptions) -> Result<ClientLink, DialError> {
    let deadline = Instant::now() + options.timeout;
    let mut by_quic = Box::pin(dial_quic(entry, options));
    let mut by_socket =
        Box::pin(async { websocket::dial(entry, options.is_plain, deadline).await.map(ClientLink::by_socket) });
    let head_start = match options.web_socket {
        WebSocketUse::Never => return by_quic.await,
        WebSocketUse::Only => return by_socket.await,
        WebSocketUse::After(head_start) => head_start,
    };
    // Where neither gets through, what QUIC has to say is the matter.
    tokio::select! {
        dialled = &mut by_quic => match dialled {
            Err(silence @ (DialError::NoAnswer | DialError::Local(_))) => return by_socket.await.map_err(|_| silence),
            settled => return settled,
        },
        () = sleep(head_start) => {}
    }
    tokio::select! {
        dialled = &mut by_quic => match dialled {
            Err(silence @ (DialError::NoAnswer | DialError::Local(_))) => by_socket.await.map_err(|_| silence),
            settled => settled,
        },
        dialled = &mut by_socket => match dialled {
            Err(_) => by_quic.await,
            linked => linked,
        },
    }
}

/// Dials a supernode by QUIC: its addresses in their order, each with a head start of [`limits::ADDRESS_HEAD_START`] over the next;
/// the first link that is up is taken and the other attempts are dropped.
///
/// # Errors
/// Says why no attempt succeeded; where attempts differ, the most telling reason.
async fn dial_quic(entry: &RosterEntry, options: &DialOptions) -> Result<ClientLink, DialError> {
    let deadline = Instant::now() + options.timeout;
    let key = entry.key.verifying_key().ok_or(DialError::Entry("its key is no Ed25519 key"))?;
    let config = config(&key, options)?;
    let targets = timeout_at(deadline, resolve(&entry.addresses)).await.map_err(|_| DialError::NoAnswer)??;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for Target { address, .. } in targets {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    race(addresses, deadline, |address| attempt(address, config.clone(), options.sockets.clone())).await
}

/// Tries targets in their order, each with a head start of [`limits::ADDRESS_HEAD_START`] over the next: one that takes what is sent to it and
/// never answers holds up no other. The first link is taken, and the other attempts are dropped.
async fn race<T, L, F>(targets: Vec<T>, deadline: Instant, attempt: impl Fn(T) -> F) -> Result<L, DialError>
where
    L: Send + 'static,
    F: Future<Output = Result<L, DialError>> + Send + 'static,
{
    let mut attempts = JoinSet::new();
    let mut failure = DialError::NoAnswer;
    let mut next = targets.into_iter().take(limits::ATTEMPTS_MAX).peekable();
    let mut start_next = Instant::now();
    loop {
        if next.peek().is_none() && attempts.is_empty() {
            return Err(failure);
        }
        tokio::select! {
            () = sleep_until(deadline) => return Err(failure),
            () = sleep_until(start_next), if next.peek().is_some() => {
                if let Some(target) = next.next() {
                    attempts.spawn(attempt(target));
                }
                start_next = Instant::now() + limits::ADDRESS_HEAD_START;
            }
            Some(ended) = attempts.join_next() => match ended {
                Ok(Ok(link)) => return Ok(link),
                Ok(Err(error)) => {
                    failure = more_telling(failure, error);
                    start_next = Instant::now();
                }
                Err(panic) => failure = more_telling(failure, DialError::Local(panic.to_string())),
            },
        }
    }
}

fn more_telling(old: DialError, new: DialError) -> DialError {
    let rank = |error: &DialError| match error {
        DialError::NoAnswer => 0,
        DialError::Local(_) => 1,
        DialError::Entry(_) | DialError::Resolve(_) => 2,
        DialError::NotTheSupernode => 3,
        DialError::Ended(_) => 4,
    };
    if rank(&new) > rank(&old) { new } else { old }
}

fn config(key: &VerifyingKey, options: &DialOptions) -> Result<quinn::ClientConfig, DialError> {
    let crypto = tls::client(key, options.key_log).map_err(|error| DialError::Local(error.to_string()))?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport::client(options.keepalive));
    Ok(config)
}

/// Where to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    /// `host:port`, as the roster has it.
    text: String,
    address: SocketAddr,
}

/// All addresses behind all `host:port` texts, in order and without repetition.
async fn resolve(texts: &[String]) -> Result<Vec<Target>, DialError> {
    let mut targets = Vec::new();
    let mut failure = None;
    for text in texts {
        match tokio::net::lookup_host(text).await {
            Ok(found) => {
                for target in found.map(|address| Target { text: text.clone(), address }) {
                    if !targets.contains(&target) {
                        targets.push(target);
                    }
                }
            }
            Err(error) => failure = Some(error),
        }
    }
    match (targets.is_empty(), failure) {
        (false, _) => Ok(targets),
        (true, Some(error)) => Err(DialError::Resolve(error)),
        (true, None) => Err(DialError::Entry("it has no address")),
    }
}

async fn attempt(
    address: SocketAddr,
    config: quinn::ClientConfig,
    sockets: Option<SharedSockets>,
) -> Result<ClientLink, DialError> {
    let is_shared = sockets.is_some();
    let endpoint = match sockets {
        Some(sockets) => sockets.towards(address),
        None => socket_towards(address).and_then(|socket| endpoint(socket, 0)),
    };
    let endpoint = endpoint.map_err(|error| DialError::Local(error.to_string()))?;
    let connecting =
        endpoint.connect_with(config, address, tls::NAME).map_err(|error| DialError::Local(error.to_string()))?;
    let connection = connecting.await.map_err(dial_error)?;
    let (stream, inbound) = connection.accept_bi().await.map_err(dial_error)?;
    let mut exporter = [0; 32];
    connection
        .export_keying_material(&mut exporter, EXPORTER_LABEL, b"")
        .expect("32 bytes are within the exporter's bounds");
    let (outbound, queue) = mpsc::channel(limits::CLIENT_QUEUE_MAX);
    tokio::spawn(write(stream, queue));
    let inbound = Mutex::new(Inbound { stream: Stream::Quic(inbound), deframer: Deframer::default() });
    let endpoint = Some(endpoint).filter(|_| !is_shared);
    Ok(ClientLink { carrier: Carrier::Quic(Quic { connection, endpoint, exporter }), outbound, inbound })
}

impl Drop for ClientLink {
    fn drop(&mut self) {
        // The writing task holds the connection too, so quinn would not close it by itself.
        self.close(ErrorCode::Unspecified);
    }
}

/// Writes queued messages until the link ends or its owner drops it.
async fn write(mut stream: quinn::SendStream, mut queue: mpsc::Receiver<Bytes>) {
    while let Some(message) = queue.recv().await {
        if stream.write_chunk(message).await.is_err() {
            return;
        }
    }
}

fn dial_error(error: ConnectionError) -> DialError {
    match error {
        ConnectionError::TimedOut => DialError::NoAnswer,
        ConnectionError::TransportError(error) if tls::is_alert(error.code) => DialError::NotTheSupernode,
        other => DialError::Ended(other.into()),
    }
}

/// A socket of the address' own family, on any port.
fn socket_towards(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    std::net::UdpSocket::bind(any)
}
