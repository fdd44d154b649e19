//! Links by WebSocket, at the port where the authority answers too.

use std::time::Duration;

use ahoy_proto::frame::Deframer;
use ahoy_proto::limits::MESSAGE_MAX;
use ahoy_proto::v1::{ErrorCode, SupernodeMessage, supernode_message::Body};
use ahoy_proto::websocket::{self, Carried};
use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, StatusCode};
use tokio_tungstenite::tungstenite::{Error, Message, protocol::CloseFrame};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::harness::{Daemon, PATIENCE};

type Socket = WebSocketStream<TcpStream>;

/// Opens `/session` with these headers.
async fn open(port: u16, headers: &[(&'static str, &str)]) -> Result<Socket, Error> {
    let mut request = format!("ws://localhost:{port}{}", websocket::PATH).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(HeaderName::from_static(name), value.parse().unwrap());
    }
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    Ok(client_async(request, stream).await?.0)
}

const OURS: (&str, &str) = ("sec-websocket-protocol", websocket::SUBPROTOCOL);

fn refusal(opened: Result<Socket, Error>) -> StatusCode {
    match opened {
        Err(Error::Http(response)) => response.status(),
        other => panic!("{other:?}"),
    }
}

/// The next message that is not a keepalive's.
async fn next(socket: &mut Socket) -> Message {
    loop {
        let next = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
        let Some(Ok(message)) = next else { panic!("{next:?}") };
        if !message.is_ping() && !message.is_pong() {
            return message;
        }
    }
}

async fn next_carried(socket: &mut Socket) -> Carried {
    let Message::Binary(bytes) = next(socket).await else { panic!("no binary message") };
    Carried::decode(bytes).unwrap()
}

async fn challenged(socket: &mut Socket) -> SupernodeMessage {
    let mut deframer = Deframer::default();
    loop {
        if let Some(message) = deframer.next(MESSAGE_MAX).unwrap() {
            return SupernodeMessage::decode(message).unwrap();
        }
        let Carried::Bytes(bytes) = next_carried(socket).await else { panic!("a datagram") };
        deframer.push(&bytes);
    }
}

fn code(message: &Message) -> Option<ErrorCode> {
    let Message::Close(Some(CloseFrame { code, .. })) = message else { return None };
    websocket::error_code((*code).into())
}

#[tokio::test]
async fn a_web_socket_is_challenged_and_its_ping_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let daemon = Daemon::dev(home.path(), &[]);
    let mut socket = open(daemon.port, &[OURS]).await.unwrap();
    assert!(matches!(challenged(&mut socket).await.body, Some(Body::Challenge(_))));
    let ping = Carried::Datagram(Default::default());
    socket.send(Message::Binary(ping.encode())).await.unwrap();
    assert_eq!(next_carried(&mut socket).await, ping);
    let (_, metrics) = daemon.admin("/metrics");
    assert!(metrics.contains("ahoy_links_by_transport_total{transport=\"websocket\"} 1"), "{metrics}");
}

#[test]
fn a_network_of_one_machine_tells_browsers_what_to_trust_and_keeps_to_it() {
    let home = tempfile::tempdir().unwrap();
    let hashes = |daemon: &Daemon| {
        let known: ahoy_proto::api::WellKnown = serde_json::from_str(&daemon.api("/.well-known/ahoy").1).unwrap();
        known.certificate_hashes
    };
    let mut daemon = Daemon::dev(home.path(), &[]);
    let before = hashes(&daemon);
    assert_eq!(before.iter().map(|hash| hash.0.len()).collect::<Vec<_>>(), [32, 32]);
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
    let again = Daemon::dev(home.path(), &[]);
    assert_eq!(hashes(&again), before, "a page that was loaded before a restart finds the supernode after it");
}

#[tokio::test]
async fn pages_of_elsewhere_and_other_subprotocols_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let daemon = Daemon::dev(home.path(), &[]);
    let own = format!("http://localhost:{}", daemon.port);
    assert!(open(daemon.port, &[OURS, ("origin", &own)]).await.is_ok());
    assert_eq!(
        refusal(open(daemon.port, &[OURS, ("origin", "https://elsewhere.example")]).await),
        StatusCode::FORBIDDEN
    );
    assert_eq!(refusal(open(daemon.port, &[OURS, ("origin", "null")]).await), StatusCode::FORBIDDEN);
    assert_eq!(refusal(open(daemon.port, &[]).await), StatusCode::BAD_REQUEST);
    assert_eq!(refusal(open(daemon.port, &[("sec-websocket-protocol", "ahoy.9")]).await), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_no_link_says_ends_it_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let daemon = Daemon::dev(home.path(), &[]);
    let mut witness = open(daemon.port, &[OURS]).await.unwrap();
    challenged(&mut witness).await;
    for (nonsense, expected) in [
        (Message::text("hello"), Some(ErrorCode::Malformed)),
        (Message::binary(vec![2, 0]), Some(ErrorCode::Malformed)),
        (Message::binary(vec![]), Some(ErrorCode::Malformed)),
        // A message longer than any of a client before its proof: a length prefix of a megabyte.
        (Message::binary(vec![0, 0x80, 0x80, 0x40, 1]), Some(ErrorCode::MessageTooLong)),
        // A datagram without a session is dropped; then a request that is none.
        (Message::binary(vec![1, 1, 2, 3]), None),
    ] {
        let mut socket = open(daemon.port, &[OURS]).await.unwrap();
        challenged(&mut socket).await;
        socket.send(nonsense).await.unwrap();
        let Some(expected) = expected else { continue };
        let last = loop {
            let message = next(&mut socket).await;
            if message.is_close() {
                break message;
            }
        };
        assert_eq!(code(&last), Some(expected));
    }
    let mut socket = open(daemon.port, &[OURS]).await.unwrap();
    challenged(&mut socket).await;
    // What is longer than a piece is not even read to its end.
    let _ = socket.send(Message::binary(vec![0; 1 << 20])).await;
    assert!(tokio::time::timeout(PATIENCE, async { while let Some(Ok(_)) = socket.next().await {} }).await.is_ok());
    witness.send(Message::Binary(Carried::Datagram(Default::default()).encode())).await.unwrap();
    assert_eq!(next_carried(&mut witness).await, Carried::Datagram(Default::default()));
}

#[tokio::test]
async fn a_daemon_that_ends_says_so_by_web_socket() {
    let home = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::dev(home.path(), &[]);
    let mut socket = open(daemon.port, &[OURS]).await.unwrap();
    challenged(&mut socket).await;
    let end = tokio::task::spawn_blocking(move || daemon.end(Signal::TERM));
    let last = loop {
        let message = next(&mut socket).await;
        if message.is_close() {
            break message;
        }
    };
    assert_eq!(code(&last), Some(ErrorCode::ShuttingDown));
    drop(socket);
    let (code, said) = tokio::time::timeout(Duration::from_secs(30), end).await.unwrap().unwrap();
    assert_eq!(code, Some(0), "{said}");
}
