//! What a test's client has to its supernode: a QUIC link, or the end of one that somebody else carries.

use std::{collections::VecDeque, io};

use ahoy_net::{ClientLink, LinkEnd, client::SendError};
use ahoy_proto::{frame::Deframer, limits::MESSAGE_MAX, v1::ErrorCode};
use bytes::Bytes;
use tokio::sync::Mutex;

use crate::{Outgoing, SocketReceiver, SocketSender};

pub(super) enum Link {
    Quic(ClientLink),
    Socket(Socket),
}

pub(super) struct Socket {
    sender: SocketSender,
    receiver: SocketReceiver,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    deframer: Deframer,
    datagrams: VecDeque<Bytes>,
    end: Option<LinkEnd>,
}

impl Socket {
    pub(super) fn new((sender, receiver): (SocketSender, SocketReceiver)) -> Self {
        Self { sender, receiver, heard: Mutex::default() }
    }

    async fn hear<T>(&self, mut wanted: impl FnMut(&mut Heard) -> Option<T>) -> Result<T, LinkEnd> {
        let mut heard = self.heard.lock().await;
        loop {
            if let Some(found) = wanted(&mut heard) {
                return Ok(found);
            }
            if let Some(end) = &heard.end {
                return Err(end.clone());
            }
            match self.receiver.next().await {
                Some(Outgoing::Bytes(bytes)) => heard.deframer.push(&bytes),
                Some(Outgoing::Datagram(datagram)) => heard.datagrams.push_back(datagram),
                Some(Outgoing::Close(code)) => heard.end = Some(LinkEnd::Closed(code)),
                None => heard.end = Some(LinkEnd::Local),
            }
        }
    }
}

impl Link {
    /// For what only QUIC has.
    pub(super) fn quic(&self) -> &ClientLink {
        let Self::Quic(link) = self else { panic!("not a QUIC link") };
        link
    }

    pub(super) fn socket(&self) -> &SocketSender {
        let Self::Socket(socket) = self else { panic!("not a WebSocket") };
        &socket.sender
    }

    pub(super) fn exporter(&self) -> Option<&[u8; 32]> {
        match self {
            Self::Quic(link) => link.exporter(),
            Self::Socket(_) => None,
        }
    }

    pub(super) async fn next_message(&self) -> Result<Bytes, LinkEnd> {
        match self {
            Self::Quic(link) => link.next_message().await,
            Self::Socket(socket) => socket.hear(|heard| heard.deframer.next(MESSAGE_MAX).unwrap()).await,
        }
    }

    pub(super) async fn next_datagram(&self) -> Result<Bytes, LinkEnd> {
        match self {
            Self::Quic(link) => link.next_datagram().await,
            Self::Socket(socket) => socket.hear(|heard| heard.datagrams.pop_front()).await,
        }
    }

    pub(super) fn send(&self, bytes: Bytes) -> Result<(), SendError> {
        match self {
            Self::Quic(link) => link.send(bytes),
            // A test's client never has more under way than the window.
            Self::Socket(socket) => {
                let sent = futures_util::FutureExt::now_or_never(socket.sender.bytes(bytes));
                sent.ok_or(SendError::Full)
            }
        }
    }

    pub(super) fn send_datagram(&self, datagram: Bytes) -> Result<(), SendError> {
        match self {
            Self::Quic(link) => link.send_datagram(datagram),
            Self::Socket(socket) => {
                socket.sender.datagram(datagram);
                Ok(())
            }
        }
    }

    pub(super) fn close(&self, code: ErrorCode) {
        self.quic().close(code);
    }

    pub(super) async fn flush_close(&self) {
        self.quic().flush_close().await;
    }

    pub(super) fn rebind(&self) -> io::Result<()> {
        self.quic().rebind()
    }

    pub(super) async fn ended(&self) -> LinkEnd {
        self.quic().ended().await
    }
}
