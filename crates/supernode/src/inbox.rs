//! The ways into a shard from other threads: five queues and one waker.
//!
//! Signalling, messages of trunks and packets have a bound each, so that a flood of voice can't push out signalling; what exceeds
//! it is dropped and counted by whoever sends. Replies need none: each answers a question of the shard itself or comes from the operator.
//! Nor do links by WebSocket: each has as many bytes there as its window allows.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use ahoy_core::{Answer, Fleet, Lists, Node, PeerMessage, QueryId, ShardId, StoreError};
use ahoy_net::{ForeignPacket, LinkId};
use ahoy_proto::v1::{self, ErrorCode};
use bytes::Bytes;
use mio::Waker;

use crate::{
    sockets::SocketEvent,
    view::{Dial, Routes},
};

/// Messages of other shards that wait. Starting a call takes about ten, so this is the start of 6,000 calls in one
/// moment; at about 200 bytes each, 13 MB a shard. One that names all contacts or members of somebody holds some KB more, and
/// stands for as many messages.
pub(crate) const SIGNALLING_MAX: usize = 65_536;

/// Packets of other shards that wait: at 50 a second and leg, 80 ms of 1,000 legs; later they would be stale. At most 6 MB.
pub(crate) const PACKETS_MAX: usize = 4_096;

/// Bytes of trunks' messages that wait, with [`TRUNK_MESSAGE_COST`] for each: as much as a trunk's own queue takes, for the same
/// burst.
pub(crate) const TRUNKS_MAX: usize = ahoy_net::limits::TRUNK_OUTBOUND_QUEUE_MAX;

/// What a message holds besides its bytes, decoded and in the queue.
const TRUNK_MESSAGE_COST: usize = 256;

/// What is taken from each queue in one turn, so that sockets and timers get theirs.
pub(crate) const TAKEN_A_TURN: usize = 1_024;

/// A message for the exchange of a shard.
pub(crate) struct Signal {
    pub(crate) from: ShardId,
    pub(crate) message: PeerMessage,
}

/// A message on its way to or from another supernode, whose trunk is on one shard and whose other end on another.
pub(crate) enum Trunked {
    /// To be sent on a trunk of this shard.
    Send { link: LinkId, bytes: Bytes },
    /// For the exchange of this shard.
    Take { from: Node, message: Box<v1::TrunkMessage> },
}

/// A packet that another shard received.
pub(crate) enum Packet {
    /// Voice for a link of this shard, or, wrapped, for a trunk.
    Voice { link: LinkId, datagram: Bytes },
    /// A datagram of a client whose link is a WebSocket.
    Datagram { link: ahoy_core::LinkId, bytes: Bytes },
    /// A packet of a connection of this shard.
    Foreign(ForeignPacket),
}

/// An answer of the store, or an order.
#[expect(clippy::large_enum_variant, reason = "nearly every reply is an answer")]
pub(crate) enum Reply {
    Answer {
        query: QueryId,
        answer: Result<Answer, StoreError>,
    },
    Lists(Lists),
    Fleet {
        fleet: Arc<Fleet>,
        routes: Arc<Routes>,
    },
    Dial(Box<Dial>),
    GiveUp {
        attempt: u64,
    },
    OpenTrunk {
        link: LinkId,
        node: Node,
    },
    CloseTrunk {
        link: LinkId,
        code: ErrorCode,
    },
    /// A message for this trunk was lost.
    TrunkFailed {
        link: LinkId,
    },
    Drain {
        reconnect_in: Duration,
        spread: Duration,
    },
    Undrain,
    ShutDown {
        reconnect_in: Duration,
        spread: Duration,
    },
    Stop,
}

/// The queue was full, or its shard is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

/// The sending side of one bounded queue.
struct Queue<T> {
    sender: mpsc::Sender<(usize, T)>,
    depth: Arc<AtomicUsize>,
    max: usize,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), depth: Arc::clone(&self.depth), max: self.max }
    }
}

impl<T> Queue<T> {
    fn push(&self, item: T) -> Result<(), Refused> {
        self.push_weighing(1, item)
    }

    fn push_weighing(&self, weight: usize, item: T) -> Result<(), Refused> {
        let depth = self.depth.fetch_add(weight, Ordering::Relaxed);
        if depth + weight > self.max || self.sender.send((weight, item)).is_err() {
            self.depth.fetch_sub(weight, Ordering::Relaxed);
            return Err(Refused);
        }
        Ok(())
    }
}

/// The receiving side of one bounded queue.
struct Receiver<T> {
    receiver: mpsc::Receiver<(usize, T)>,
    depth: Arc<AtomicUsize>,
}

impl<T> Receiver<T> {
    fn pop(&self) -> Option<T> {
        let (weight, item) = self.receiver.try_recv().ok()?;
        self.depth.fetch_sub(weight, Ordering::Relaxed);
        Some(item)
    }
}

fn queue<T>(max: usize) -> (Queue<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel();
    let depth = Arc::new(AtomicUsize::new(0));
    (Queue { sender, depth: Arc::clone(&depth), max }, Receiver { receiver, depth })
}

/// Where others put what is for a shard. Clones share it.
#[derive(Clone)]
pub(crate) struct Post {
    signalling: Queue<Signal>,
    trunks: Queue<Trunked>,
    packets: Queue<Packet>,
    sockets: Queue<SocketEvent>,
    replies: mpsc::Sender<Reply>,
    called: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Post").field("depths", &self.depths()).finish_non_exhaustive()
    }
}

impl Post {
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Refused> {
        self.signalling.push(signal)?;
        self.call();
        Ok(())
    }

    /// `length` is that of the encoded message.
    pub(crate) fn trunk(&self, length: usize, message: Trunked) -> Result<(), Refused> {
        self.trunks.push_weighing(length + TRUNK_MESSAGE_COST, message)?;
        self.call();
        Ok(())
    }

    pub(crate) fn packet(&self, packet: Packet) -> Result<(), Refused> {
        self.packets.push(packet)?;
        self.call();
        Ok(())
    }

    /// Does nothing when the shard is gone.
    pub(crate) fn socket(&self, event: SocketEvent) {
        if self.sockets.push(event).is_ok() {
            self.call();
        }
    }

    /// Does nothing when the shard is gone.
    pub(crate) fn reply(&self, reply: Reply) {
        if self.replies.send(reply).is_ok() {
            self.call();
        }
    }

    /// Messages and packets that wait now; of trunks' messages the bytes.
    pub(crate) fn depths(&self) -> [(&'static str, usize); 3] {
        let depth = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        let trunks = ("trunk_bytes", depth(&self.trunks.depth));
        [("signalling", depth(&self.signalling.depth)), trunks, ("packets", depth(&self.packets.depth))]
    }

    /// Wakes the shard unless somebody has done so since it last looked.
    fn call(&self) {
        if !self.called.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "a shard can't be woken");
        }
    }
}

/// The shard's own side.
pub(crate) struct Inbox {
    signalling: Receiver<Signal>,
    trunks: Receiver<Trunked>,
    packets: Receiver<Packet>,
    sockets: Receiver<SocketEvent>,
    replies: mpsc::Receiver<Reply>,
    called: Arc<AtomicBool>,
}

impl Inbox {
    pub(crate) fn new(waker: Arc<Waker>) -> (Post, Self) {
        let (signalling, signalling_in) = queue(SIGNALLING_MAX);
        let (trunks, trunks_in) = queue(TRUNKS_MAX);
        let (packets, packets_in) = queue(PACKETS_MAX);
        let (sockets, sockets_in) = queue(usize::MAX);
        let (replies, replies_in) = mpsc::channel();
        let called = Arc::new(AtomicBool::new(false));
        let post = Post { signalling, trunks, packets, sockets, replies, called: Arc::clone(&called), waker };
        let inbox = Self {
            signalling: signalling_in,
            trunks: trunks_in,
            packets: packets_in,
            sockets: sockets_in,
            replies: replies_in,
            called,
        };
        (post, inbox)
    }

    /// To be called before looking into the queues: whoever puts something in after this wakes the shard.
    pub(crate) fn look(&self) {
        self.called.swap(false, Ordering::AcqRel);
    }

    /// Whether something waits that was left behind.
    pub(crate) fn has_more(&self) -> bool {
        let some = |depth: &AtomicUsize| depth.load(Ordering::Relaxed) > 0;
        some(&self.signalling.depth)
            || some(&self.trunks.depth)
            || some(&self.packets.depth)
            || some(&self.sockets.depth)
    }

    pub(crate) fn signal(&self) -> Option<Signal> {
        self.signalling.pop()
    }

    pub(crate) fn trunk(&self) -> Option<Trunked> {
        self.trunks.pop()
    }

    pub(crate) fn packet(&self) -> Option<Packet> {
        self.packets.pop()
    }

    pub(crate) fn socket(&self) -> Option<SocketEvent> {
        self.sockets.pop()
    }

    pub(crate) fn reply(&self) -> Option<Reply> {
        self.replies.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_refuses_and_takes_again_once_there_is_room() {
        let (queue, receiver) = queue(2);
        assert_eq!([queue.push(1), queue.push(2), queue.push(3)], [Ok(()), Ok(()), Err(Refused)]);
        assert_eq!(receiver.pop(), Some(1));
        assert_eq!(queue.push(4), Ok(()));
        assert_eq!([receiver.pop(), receiver.pop(), receiver.pop()], [Some(2), Some(4), None]);
    }
}
