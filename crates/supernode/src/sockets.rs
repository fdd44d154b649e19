//! Links by WebSocket: the seam between a shard and whoever carries a link's bytes over TCP.
//!
//! Neither side waits for the other's lock. Towards the supernode each link has so many bytes under way and no more, and whoever
//! reads from the network waits for room. Towards the client what waits is bounded as on a QUIC link: a stream that is not read costs the
//! link, and of datagrams the newest are kept.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use ahoy_core::LinkId;
use ahoy_net::LostCause;
use ahoy_proto::{limits::OUTBOUND_QUEUE_MAX, v1::ErrorCode, websocket::PIECE_MAX};
use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::inbox::{Packet, Post};

/// Bytes of one link's stream that its shard has not taken, with [`EVENT_COST`] for each piece: two of the longest, so that 4,096 links
/// that have not proven themselves hold 136 MB, as by QUIC.
const WINDOW: usize = 2 * (PIECE_MAX + EVENT_COST);

/// What a piece holds besides its bytes while it waits.
const EVENT_COST: usize = 256;

/// Datagrams that wait for a client that takes them slowly: 160 ms of one voice. What is older than that is of no use.
const DATAGRAMS_MAX: usize = 8;

/// What happens to a link, on its way to the shard.
pub(crate) enum SocketEvent {
    Up {
        link: LinkId,
        outbound: Arc<Outbound>,
    },
    Bytes {
        link: LinkId,
        bytes: Bytes,
        /// Room in the link's window, free again when this is dropped.
        _room: OwnedSemaphorePermit,
    },
    Lost {
        link: LinkId,
        cause: LostCause,
    },
}

/// Makes links of WebSockets. Clones make links of the same supernode.
#[derive(Debug, Clone)]
pub struct SocketAcceptor {
    posts: Vec<Post>,
    /// Links made so far: they take turns at the shards.
    made: Arc<AtomicU64>,
}

impl SocketAcceptor {
    pub(crate) fn new(posts: Vec<Post>) -> Self {
        Self { posts, made: Arc::default() }
    }

    /// A new link, up at once: what it says first comes by the receiver.
    pub fn accept(&self) -> (SocketSender, SocketReceiver) {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let link = id(number);
        let post = self.posts[(number % self.posts.len() as u64) as usize].clone();
        let outbound = Arc::new(Outbound::default());
        post.socket(SocketEvent::Up { link, outbound: Arc::clone(&outbound) });
        let room = Arc::new(Semaphore::new(WINDOW));
        let sender = SocketSender { link, post, room, outbound: Arc::clone(&outbound), cause: LostCause::ByPeer };
        (sender, SocketReceiver { outbound })
    }
}

/// The id of the link of this number. Where QUIC has the place in a shard's table, this has a bit that no place reaches; like theirs it is
/// below 2^62, as trunks name links.
fn id(number: u64) -> LinkId {
    LinkId((number >> 31) << 32 | SOCKET_BIT | number & (SOCKET_BIT - 1))
}

const SOCKET_BIT: u64 = 1 << 31;

/// Whether a link is one of these.
pub(crate) fn is_socket(link: LinkId) -> bool {
    link.0 & SOCKET_BIT != 0
}

/// From the client to the supernode. Dropping it says that the link is gone.
pub struct SocketSender {
    link: LinkId,
    post: Post,
    room: Arc<Semaphore>,
    outbound: Arc<Outbound>,
    cause: LostCause,
}

impl std::fmt::Debug for SocketSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SocketSender").finish_non_exhaustive()
    }
}

impl SocketSender {
    /// The next bytes of the stream, at most [`PIECE_MAX`]; waits until the supernode has taken earlier ones.
    pub async fn bytes(&self, bytes: Bytes) {
        let cost = u32::try_from(bytes.len() + EVENT_COST).unwrap_or(u32::MAX).min(WINDOW as u32);
        let room = Arc::clone(&self.room).acquire_many_owned(cost).await;
        let room = room.expect("nobody closes the semaphore");
        self.post.socket(SocketEvent::Bytes { link: self.link, bytes, _room: room });
    }

    /// A datagram. An empty one is a ping, and goes back.
    pub fn datagram(&self, bytes: Bytes) {
        if bytes.is_empty() {
            self.outbound.echo();
        } else if self.post.packet(Packet::Datagram { link: self.link, bytes }).is_err() {
            self.outbound.state().refused += 1;
        }
    }

    /// The link is gone, for this reason; without a word, the client has ended it.
    pub fn lost(mut self, cause: LostCause) {
        self.cause = cause;
    }
}

impl Drop for SocketSender {
    fn drop(&mut self) {
        self.post.socket(SocketEvent::Lost { link: self.link, cause: self.cause });
    }
}

/// What is to be sent to the client next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// Bytes of the stream, at most [`PIECE_MAX`].
    Bytes(Bytes),
    /// A datagram.
    Datagram(Bytes),
    /// The last word.
    Close(ErrorCode),
}

/// From the supernode to the client.
#[derive(Debug)]
pub struct SocketReceiver {
    outbound: Arc<Outbound>,
}

impl SocketReceiver {
    /// What comes next; `None` when the supernode is no more. Cancel-safe.
    pub async fn next(&self) -> Option<Outgoing> {
        loop {
            if let Some(next) = self.outbound.next() {
                return next;
            }
            self.outbound.changed.notified().await;
        }
    }

    /// Waits until the supernode has no more to say to this client than what already waits.
    pub async fn ending(&self) {
        self.outbound.ending.notified().await;
    }
}

/// What waits for a client.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    state: Mutex<State>,
    changed: Notify,
    ending: Notify,
}

#[derive(Debug, Default)]
struct State {
    stream: VecDeque<Bytes>,
    /// Bytes in `stream`.
    queued: usize,
    datagrams: VecDeque<Bytes>,
    end: Option<End>,
    /// Datagrams of the client for which the shard's inbox had no room.
    refused: u64,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Close(ErrorCode),
    /// The code has been taken, or there is nobody to give one.
    Silent,
}

impl State {
    fn next(&mut self) -> Option<Option<Outgoing>> {
        if let Some(datagram) = self.datagrams.pop_front() {
            return Some(Some(Outgoing::Datagram(datagram)));
        }
        if let Some(mut bytes) = self.stream.pop_front() {
            if bytes.len() > PIECE_MAX {
                self.stream.push_front(bytes.split_off(PIECE_MAX));
            }
            self.queued -= bytes.len();
            return Some(Some(Outgoing::Bytes(bytes)));
        }
        match self.end? {
            End::Close(code) => {
                self.end = Some(End::Silent);
                Some(Some(Outgoing::Close(code)))
            }
            End::Silent => Some(None),
        }
    }

    fn drop_all(&mut self) {
        (self.stream, self.datagrams, self.queued) = Default::default();
    }
}

impl Outbound {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change leaves the state whole: a panic elsewhere spoils nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outer `None` is to wait.
    pub(crate) fn next(&self) -> Option<Option<Outgoing>> {
        self.state().next()
    }

    /// `false` when the client does not read.
    pub(crate) fn send(&self, bytes: Bytes) -> bool {
        let mut state = self.state();
        if state.queued + bytes.len() > OUTBOUND_QUEUE_MAX {
            return false;
        }
        state.queued += bytes.len();
        state.stream.push_back(bytes);
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Says whether an older datagram made way.
    fn datagram(&self, bytes: Bytes) -> bool {
        let mut state = self.state();
        state.datagrams.push_back(bytes);
        let displaces = state.datagrams.len() > DATAGRAMS_MAX;
        if displaces {
            state.datagrams.pop_front();
        }
        drop(state);
        self.changed.notify_one();
        displaces
    }

    /// Answers a ping, unless something waits that says as much.
    fn echo(&self) {
        let mut state = self.state();
        if state.datagrams.is_empty() && state.end.is_none() {
            state.datagrams.push_back(Bytes::new());
            drop(state);
            self.changed.notify_one();
        }
    }

    fn end(&self, end: End, at_once: bool) {
        let mut state = self.state();
        state.end = Some(end);
        if at_once {
            state.drop_all();
        }
        drop(state);
        self.changed.notify_one();
        self.ending.notify_one();
    }
}

/// What the links of a shard have counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    pub(crate) links: u64,
    pub(crate) datagrams_sent: u64,
    pub(crate) datagrams_displaced: u64,
    /// Datagrams of clients for which the inbox had no room, of links that are gone.
    pub(crate) datagrams_refused: u64,
}

/// The links of one shard, from their first word to their last.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    links: BTreeMap<LinkId, Socket>,
    pub(crate) counters: Counters,
}

#[derive(Debug)]
struct Socket {
    outbound: Arc<Outbound>,
    /// The exchange has done with it.
    closing: bool,
}

impl Sockets {
    /// Links that are there, closing ones included.
    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    pub(crate) fn up(&mut self, link: LinkId, outbound: Arc<Outbound>) {
        self.counters.links += 1;
        self.links.insert(link, Socket { outbound, closing: false });
    }

    /// Sends bytes on the stream. `false` when this cost the link, which is then closed.
    pub(crate) fn send(&mut self, link: LinkId, bytes: Bytes) -> bool {
        let Some(socket) = self.links.get_mut(&link).filter(|socket| !socket.closing) else { return true };
        if socket.outbound.send(bytes) {
            return true;
        }
        socket.closing = true;
        socket.outbound.end(End::Close(ErrorCode::SlowReader), true);
        false
    }

    pub(crate) fn send_datagram(&mut self, link: LinkId, bytes: Bytes) {
        let Some(socket) = self.links.get(&link).filter(|socket| !socket.closing) else { return };
        self.counters.datagrams_sent += 1;
        self.counters.datagrams_displaced += u64::from(socket.outbound.datagram(bytes));
    }

    /// Delivers what was sent, then closes.
    pub(crate) fn close(&mut self, link: LinkId, code: ErrorCode) {
        if let Some(socket) = self.links.get_mut(&link).filter(|socket| !socket.closing) {
            socket.closing = true;
            socket.outbound.end(End::Close(code), false);
        }
    }

    pub(crate) fn close_all(&mut self, code: ErrorCode) {
        let links: Vec<_> = self.links.keys().copied().collect();
        for link in links {
            self.close(link, code);
        }
    }

    /// Forgets a link. Says whether the exchange has yet to hear of it.
    pub(crate) fn lost(&mut self, link: LinkId) -> bool {
        let Some(socket) = self.links.remove(&link) else { return false };
        self.counters.datagrams_refused += socket.outbound.state().refused;
        !socket.closing
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        for socket in self.links.values() {
            socket.outbound.end(End::Silent, true);
        }
    }
}
