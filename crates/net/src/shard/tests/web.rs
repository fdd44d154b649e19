//! Browsers: sessions of WebTransport, by a client that speaks HTTP/3 by hand.

use std::time::SystemTime;

use ahoy_proto::{frame::Deframer, limits::MESSAGE_MAX, v1::Challenge};
use bytes::Buf as _;
use quinn::{ApplicationClose, ConnectionError, RecvStream, SendStream, VarInt};
use web_transport_proto::{
    Capsule, ConnectRequest, Frame, Http3CapsuleReader, Settings, StreamUni,
    http::{HeaderValue, StatusCode, header},
};

use super::*;
use crate::{Origins, SelfSigned, Web, WebCertificate};

/// One for all tests, because making it takes time.
static CERTIFICATE: std::sync::LazyLock<SelfSigned> = std::sync::LazyLock::new(|| {
    SelfSigned::new(vec!["localhost".to_owned()], SystemTime::now(), Duration::from_secs(3_600)).unwrap()
});

pub(super) fn web() -> Web {
    let certificate = WebCertificate::default();
    certificate.set_own(&CERTIFICATE).unwrap();
    Web { certificate, origins: Origins::new(["https://ahoy.example.org".to_owned()]) }
}

struct Browser {
    connection: quinn::Connection,
    _endpoint: quinn::Endpoint,
    _control: SendStream,
}

/// A session, and its stream.
struct Session {
    request: SendStream,
    response: RecvStream,
    send: SendStream,
    receive: RecvStream,
    /// The supernode's control stream: to drop it is to stop it.
    _control: RecvStream,
    deframer: Deframer,
}

async fn in_time<T>(comes: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), comes).await.expect("not within 20 s")
}

impl Browser {
    async fn connect(address: SocketAddr) -> Result<Self, ConnectionError> {
        Self::connect_as(address, h3::ALPN).await
    }

    async fn connect_as(address: SocketAddr, alpn: &[u8]) -> Result<Self, ConnectionError> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CERTIFICATE.certificate.clone().into()).unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let config = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
        let endpoint = quinn::Endpoint::client(loopback(0)).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(config));
        let connection = in_time(endpoint.connect_with(config, address, "localhost").unwrap()).await?;
        let mut control = connection.open_uni().await?;
        let mut settings = Settings::default();
        settings.enable_webtransport(1);
        settings.write(&mut control).await.unwrap();
        Ok(Self { connection, _endpoint: endpoint, _control: control })
    }

    async fn ask(&self, request: &ConnectRequest) -> (SendStream, RecvStream) {
        let (mut send, receive) = self.connection.open_bi().await.unwrap();
        request.write(&mut send).await.unwrap();
        (send, receive)
    }

    /// A session for a page of the port itself.
    async fn session(&self) -> Session {
        let (request, mut response) = self.ask(&request(self.connection.remote_address(), "/session", None)).await;
        let mut settings = in_time(self.connection.accept_uni()).await.unwrap();
        assert!(in_time(Settings::read(&mut settings)).await.unwrap().supports_webtransport() > 0);
        let answer = in_time(web_transport_proto::ConnectResponse::read(&mut response)).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
        let (send, mut receive) = in_time(self.connection.accept_bi()).await.unwrap();
        let mut header = [0; 3];
        in_time(receive.read_exact(&mut header)).await.unwrap();
        assert_eq!(header, [0x40, 0x41, 0], "a stream of the session of stream 0");
        Session { request, response, send, receive, _control: settings, deframer: Deframer::default() }
    }

    async fn closed(&self) -> u64 {
        match in_time(self.connection.closed()).await {
            ConnectionError::ApplicationClosed(ApplicationClose { error_code, .. }) => error_code.into_inner(),
            other => panic!("{other:?}"),
        }
    }
}

impl Session {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(message) = self.deframer.next(MESSAGE_MAX).unwrap() {
                return Some(message);
            }
            let chunk = in_time(self.receive.read_chunk(MESSAGE_MAX, true)).await.ok()??;
            self.deframer.push(&chunk.bytes);
        }
    }

    /// The code with which the supernode ends it.
    async fn end(&mut self) -> u32 {
        match in_time(Http3CapsuleReader::new(&mut self.response).read()).await {
            Ok(Some(Capsule::CloseWebTransportSession { code, reason })) if reason.is_empty() => code,
            other => panic!("{other:?}"),
        }
    }
}

fn request(address: SocketAddr, path: &str, origin: Option<&str>) -> ConnectRequest {
    let url = web_transport_url(address, path);
    let request = ConnectRequest::new(url);
    match origin {
        Some(origin) => request.with_header(header::ORIGIN, HeaderValue::from_str(origin).unwrap()),
        None => request,
    }
}

fn web_transport_url(address: SocketAddr, path: &str) -> url::Url {
    format!("https://localhost:{}{path}", address.port()).parse().unwrap()
}

#[tokio::test]
async fn a_browser_has_a_link_without_an_exporter() {
    let rig = Rig::start(2, 0);
    let browser = Browser::connect(rig.address).await.unwrap();
    let mut session = browser.session().await;
    let challenge = Challenge::decode(session.next().await.unwrap()).unwrap();
    assert_eq!(challenge.nonce.len(), 0, "nothing was exported");
    let said = message(50_000);
    session.send.write_all(&said).await.unwrap();
    assert_eq!(session.next().await.unwrap(), said.slice(3..));
    browser.connection.send_datagram(Bytes::from_static(&[0, 9, 9])).unwrap();
    assert_eq!(in_time(browser.connection.read_datagram()).await.unwrap(), [0, 9, 9][..]);
    browser.connection.send_datagram(Bytes::from_static(&[0])).unwrap();
    assert_eq!(in_time(browser.connection.read_datagram()).await.unwrap(), [0, 0][..], "a ping");
}

#[tokio::test]
async fn datagrams_of_no_session_are_dropped() {
    let rig = Rig::start(1, 0);
    let browser = Browser::connect(rig.address).await.unwrap();
    let _session = browser.session().await;
    for other in [&[][..], &[1, 9], &[0x40]] {
        browser.connection.send_datagram(Bytes::copy_from_slice(other)).unwrap();
    }
    browser.connection.send_datagram(Bytes::from_static(&[0, 7])).unwrap();
    assert_eq!(in_time(browser.connection.read_datagram()).await.unwrap(), [0, 7][..]);
}

#[tokio::test]
async fn other_paths_and_pages_of_elsewhere_are_refused() {
    let rig = Rig::start(1, 0);
    let own = format!("https://localhost:{}", rig.address.port());
    for (path, origin, expected) in [
        ("/session", own.as_str(), StatusCode::OK),
        ("/session?x=1", "https://ahoy.example.org", StatusCode::OK),
        ("/session", "https://elsewhere.example", StatusCode::FORBIDDEN),
        ("/session", "null", StatusCode::FORBIDDEN),
        ("/sessions", own.as_str(), StatusCode::NOT_FOUND),
        ("/", own.as_str(), StatusCode::NOT_FOUND),
    ] {
        let browser = Browser::connect(rig.address).await.unwrap();
        let (_send, mut response) = browser.ask(&request(rig.address, path, Some(origin))).await;
        let status = match in_time(web_transport_proto::ConnectResponse::read(&mut response)).await {
            Ok(answer) => answer.status,
            Err(web_transport_proto::ConnectError::WrongStatus(Some(status))) => status,
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(status, expected, "{path} {origin}");
        if status != StatusCode::OK {
            assert_eq!(in_time(response.read_chunk(1, true)).await, Ok(None), "no more of it");
            assert_eq!(browser.closed().await, 0x100);
        }
    }
}

#[tokio::test]
async fn what_was_sent_before_a_close_arrives_and_then_its_code() {
    let rig = Rig::start(1, 0);
    let browser = Browser::connect(rig.address).await.unwrap();
    let mut session = browser.session().await;
    session.next().await.unwrap();
    browser.connection.send_datagram(Bytes::from_static(&[0, FLUSH_AND_CLOSE])).unwrap();
    for _ in 0..10 {
        assert_eq!(session.next().await.unwrap().len(), message(60_000).len() - 3);
    }
    assert_eq!(session.next().await, None);
    assert_eq!(session.end().await, ErrorCode::SessionReplaced as u32);
    assert_eq!(browser.closed().await, 0x100);
    assert_eq!(rig.kill().1, [], "whoever closes is told nothing");
}

#[tokio::test]
async fn a_browser_that_does_not_read_is_told_why_it_loses_its_link() {
    let rig = Rig::start(1, 0);
    let browser = Browser::connect(rig.address).await.unwrap();
    let mut session = browser.session().await;
    session.next().await.unwrap();
    browser.connection.send_datagram(Bytes::from_static(&[0, FLOOD])).unwrap();
    assert_eq!(session.end().await, ErrorCode::SlowReader as u32);
    assert_eq!(browser.closed().await, 0x100);
    assert_eq!(rig.kill().1, [LostCause::SlowReader]);
}

#[tokio::test]
async fn a_browser_that_ends_its_session_has_ended_its_link() {
    for way in 0..3 {
        let rig = Rig::start(1, 0);
        let browser = Browser::connect(rig.address).await.unwrap();
        let mut session = browser.session().await;
        session.next().await.unwrap();
        match way {
            0 => session.request.finish().unwrap(),
            1 => session.request.reset(VarInt::from_u32(0)).unwrap(),
            _ => session.send.finish().unwrap(),
        }
        browser.closed().await;
        assert_eq!(rig.kill().1, [LostCause::ByPeer], "way {way}");
    }
}

#[tokio::test]
async fn what_is_no_http_ends_the_connection_and_no_other() {
    let rig = Rig::start(1, 0);
    let witness = Browser::connect(rig.address).await.unwrap();
    let mut witness_session = witness.session().await;
    witness_session.next().await.unwrap();
    let mut second_control = Vec::new();
    StreamUni::CONTROL.encode(&mut second_control);
    let mut settings = Vec::new();
    Settings::default().encode(&mut settings);
    let mut push = Vec::new();
    StreamUni::PUSH.encode(&mut push);
    let mut of_a_session = Vec::new();
    StreamUni::WEBTRANSPORT.encode(&mut of_a_session);
    for uni in [settings, push, of_a_session] {
        let browser = Browser::connect(rig.address).await.unwrap();
        let mut stream = browser.connection.open_uni().await.unwrap();
        stream.write_all(&uni).await.unwrap();
        assert_eq!(browser.closed().await, 0x101);
    }
    let mut endless = Vec::new();
    Frame::HEADERS.encode(&mut endless);
    endless.extend_from_slice(&[0x80, 0, 0x30, 0]);
    endless.resize(10_000, 0);
    for request in [&[0xff; 100][..], &endless, &[1, 4, 0, 0, 0x80, 0x80]] {
        let browser = Browser::connect(rig.address).await.unwrap();
        let (mut send, _receive) = browser.connection.open_bi().await.unwrap();
        let _ = send.write_all(request).await;
        assert_eq!(browser.closed().await, 0x101, "{request:x?}");
    }
    witness.connection.send_datagram(Bytes::from_static(&[0])).unwrap();
    assert_eq!(in_time(witness.connection.read_datagram()).await.unwrap(), [0, 0][..]);
}

#[tokio::test]
async fn a_browser_may_open_no_stream_but_those_of_http() {
    let rig = Rig::start(1, 0);
    let browser = Browser::connect(rig.address).await.unwrap();
    let _session = browser.session().await;
    let mut more = Vec::new();
    for kind in [StreamUni::QPACK_ENCODER, StreamUni::QPACK_DECODER] {
        let mut bytes = Vec::new();
        kind.encode(&mut bytes);
        let mut stream = in_time(browser.connection.open_uni()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        // What they say is read and thrown away.
        stream.write_all(&[0; 50_000]).await.unwrap();
        more.push(stream);
    }
    let a_while = Duration::from_millis(200);
    assert!(tokio::time::timeout(a_while, browser.connection.open_uni()).await.is_err());
    assert!(tokio::time::timeout(a_while, browser.connection.open_bi()).await.is_err());
}

#[tokio::test]
async fn a_browser_that_asks_for_no_session_is_dropped_in_time() {
    let rig = Rig::start(1, 0);
    let browser = Browser::connect(rig.address).await.unwrap();
    let started = Instant::now();
    assert_eq!(browser.closed().await, 0x100);
    assert!(started.elapsed() >= PROOF_TIMEOUT - Duration::from_secs(1));
}

#[tokio::test]
async fn a_supernode_without_a_certificate_of_the_web_refuses_browsers_only() {
    let rig = Rig::of(ServerTls::new(&roster_key(), None, false).unwrap(), 1, 0);
    assert!(Browser::connect(rig.address).await.is_err());
    assert!(dial(&entry(rig.address), &DialOptions::default()).await.is_ok());
}

#[tokio::test]
async fn who_asks_for_our_own_protocol_is_shown_the_roster_key() {
    let rig = Rig::start(1, 0);
    // The roster key's certificate is none that a browser's store has.
    assert!(Browser::connect_as(rig.address, ahoy_proto::ALPN).await.is_err());
}

#[test]
fn a_chunk_of_the_stream_begins_with_what_names_its_session() {
    let mut header = h3::stream_header();
    assert_eq!(Frame::decode(&mut header), Ok(Frame::WEBTRANSPORT));
    assert_eq!(header.get_u8(), 0);
    assert_eq!(h3::unwrap(h3::wrap(b"voice")).unwrap(), b"voice"[..]);
}
