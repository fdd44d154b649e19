//! Links by WebSocket, for browsers and networks without UDP: from the HTTP side of the port to the supernode of this process.

use std::time::Duration;

use ahoy_net::{LostCause, Origins, limits::CLOSE_GRACE};
use ahoy_proto::limits::{IDLE_TIMEOUT, KEEPALIVE};
use ahoy_proto::v1::ErrorCode;
use ahoy_proto::websocket::{self, Carried};
use ahoy_supernode::{Outgoing, SocketAcceptor, SocketReceiver, SocketSender};
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::http::Slot;

/// What is read at once: little waits on a link that is idle, and a message takes a few calls.
const READ_BUFFER: usize = 4 * 1024;

/// What a link may wait for at its end: for a client that has not read its close, or ours that has not left.
const FAREWELL: Duration = CLOSE_GRACE;

/// Takes links for one supernode.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    pub(crate) sockets: SocketAcceptor,
    pub(crate) origins: Origins,
}

impl Sessions {
    /// The one path that leads here.
    pub(crate) fn router(self) -> Router {
        Router::new().route(websocket::PATH, get(open)).with_state(self)
    }
}

async fn open(
    State(sessions): State<Sessions>,
    slot: Option<Extension<Slot>>,
    headers: HeaderMap,
    uri: Uri,
    upgrade: WebSocketUpgrade,
) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| uri.authority().map(|authority| authority.as_str()));
    let origin = headers.get(header::ORIGIN).map(|origin| origin.as_bytes());
    if !sessions.origins.admit(origin, host) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let upgrade = upgrade
        .protocols([websocket::SUBPROTOCOL])
        .max_message_size(websocket::MESSAGE_MAX)
        .max_frame_size(websocket::MESSAGE_MAX)
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0);
    if upgrade.selected_protocol().is_none() {
        return StatusCode::BAD_REQUEST.into_response();
    }
    upgrade.on_upgrade(async move |socket| {
        // The exchange counts links; the port's slots are for requests.
        if let Some(Extension(slot)) = slot {
            slot.free();
        }
        carry(socket, &sessions.sockets).await;
    })
}

/// Carries a link from its first byte to its last.
async fn carry(socket: WebSocket, sockets: &SocketAcceptor) {
    let (sender, receiver) = sockets.accept();
    let (mut sink, mut stream) = socket.split();
    let cause = tokio::select! {
        cause = read(&mut stream, &sender) => cause,
        cause = write(&mut sink, &receiver) => cause,
        () = farewell(&receiver) => LostCause::Closed,
    };
    let last_words = async {
        match cause {
            LostCause::Broken => sink.send(close(ErrorCode::Malformed)).await,
            _ => sink.close().await,
        }
    };
    // Before it: the session ends now, whoever hears of it.
    sender.lost(cause);
    let _ = timeout(FAREWELL, last_words).await;
}

/// From the client, until it ends the link.
async fn read(stream: &mut SplitStream<WebSocket>, sender: &SocketSender) -> LostCause {
    loop {
        let message = match timeout(IDLE_TIMEOUT, stream.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(_)) | None) => return LostCause::ByPeer,
            Err(_) => return LostCause::TimedOut,
        };
        match message {
            Message::Binary(bytes) => match Carried::decode(bytes) {
                Some(Carried::Bytes(bytes)) => sender.bytes(bytes).await,
                Some(Carried::Datagram(bytes)) => sender.datagram(bytes),
                None => return LostCause::Broken,
            },
            Message::Text(_) => return LostCause::Broken,
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Close(_) => return LostCause::ByPeer,
        }
    }
}

/// To the client, until the supernode has done with it or the network takes no more. After a close it waits for the client to read it.
async fn write(sink: &mut SplitSink<WebSocket, Message>, receiver: &SocketReceiver) -> LostCause {
    // A page that sleeps runs no timers; its browser answers these, so that the link is not taken for lost.
    let mut keepalive = interval(KEEPALIVE);
    keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    keepalive.reset();
    loop {
        let message = tokio::select! {
            next = receiver.next() => match next {
                Some(Outgoing::Bytes(bytes)) => Message::Binary(Carried::Bytes(bytes).encode()),
                Some(Outgoing::Datagram(bytes)) => Message::Binary(Carried::Datagram(bytes).encode()),
                Some(Outgoing::Close(code)) => {
                    if sink.send(close(code)).await.is_err() {
                        return LostCause::ByPeer;
                    }
                    return std::future::pending().await;
                }
                None => return LostCause::Closed,
            },
            _ = keepalive.tick() => Message::Ping(Default::default()),
        };
        if sink.send(message).await.is_err() {
            return LostCause::ByPeer;
        }
    }
}

/// Gives up on a client that does not take the last words.
async fn farewell(receiver: &SocketReceiver) {
    receiver.ending().await;
    sleep(FAREWELL).await;
}

fn close(code: ErrorCode) -> Message {
    Message::Close(Some(CloseFrame { code: websocket::close_code(code), reason: Default::default() }))
}
