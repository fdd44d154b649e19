//! One shard's thread: turns the sockets, feeds the exchange, does what the exchange says.
//!
//! Every turn does a bounded amount of each kind of work, and the exchange is drained after every input.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ahoy_core::{Exchange, Fleet, Forward, LinkId, Node, Now, Output, Recipient, ShardId};
use ahoy_net::{LinkEvent, LostCause, QuicShard};
use ahoy_proto::{
    UnixTime,
    v1::{self, ErrorCode},
};
use ahoy_store::Store;
use bytes::Bytes;

use crate::{
    inbox::{Inbox, Packet, Post, Reply, Signal, TAKEN_A_TURN, Trunked},
    metrics::Published,
    questions,
    sockets::{SocketEvent, Sockets, is_socket},
    trunks::{self, Trunks},
    view::{At, Routes},
};

/// How long a shutdown waits for links to take what was sent to them; a little more than one link may take.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(1_500);

/// What the shell itself counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    pub(crate) links_lost: [u64; LostCause::ALL.len()],
    pub(crate) signals_sent: u64,
    pub(crate) signals_dropped: u64,
    pub(crate) voice_crossed: u64,
    pub(crate) voice_cross_dropped: u64,
    pub(crate) handover_dropped: u64,
    pub(crate) trunk_bytes_sent: u64,
    pub(crate) trunk_messages_received: u64,
    pub(crate) trunk_bytes_received: u64,
    /// Messages that were lost, each with its trunk.
    pub(crate) trunk_messages_lost: u64,
    /// Messages of trunks that were gone before they were taken.
    pub(crate) trunk_messages_late: u64,
    pub(crate) trunk_voice_sent: u64,
    pub(crate) trunk_voice_received: u64,
    pub(crate) trunk_voice_dropped: u64,
    pub(crate) trunks_lost: u64,
}

/// Where a shard has the time from, so that tests can let it pass.
pub(crate) type Clock = Arc<dyn Fn() -> Now + Send + Sync>;

/// Everything that one shard's thread owns.
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) quic: QuicShard,
    pub(crate) exchange: Exchange,
    pub(crate) inbox: Inbox,
    pub(crate) sockets: Sockets,
    pub(crate) trunks: Trunks,
    /// As the exchange has it.
    pub(crate) fleet: Arc<Fleet>,
    /// The trunks to its nodes.
    pub(crate) routes: Arc<Routes>,
    /// The posts of all shards, this one included, in their order.
    pub(crate) posts: Vec<Post>,
    pub(crate) store: Store,
    pub(crate) published: Arc<Published>,
    pub(crate) counters: Counters,
    pub(crate) clock: Clock,
    /// When the exchange wants to be woken.
    pub(crate) wake: Option<Instant>,
    /// Set by the order to end: when to wait no longer.
    pub(crate) end: Option<Instant>,
}

impl Shard {
    /// Runs until it is told to shut down.
    ///
    /// # Errors
    /// When the operating system refuses to wait for the sockets.
    pub(crate) fn run(mut self) -> io::Result<()> {
        loop {
            self.quic.turn(self.deadline())?;
            let now = (self.clock)();
            self.take_inbox(now);
            self.take_link_events(now);
            if self.wake.is_some_and(|wake| wake <= now.instant) {
                self.exchange.handle_timeout(now);
                self.act();
            }
            self.published.set(&self.quic, &self.exchange, &self.counters, &self.sockets, self.trunks.len());
            if self.end.is_some_and(|end| end <= now.instant || self.open_links() == 0) {
                // The last turn sends the closes.
                return self.quic.turn(Some(now.instant));
            }
        }
    }

    /// Links that are up or still deliver what was sent before their close.
    fn open_links(&self) -> usize {
        self.quic.open_links() + self.sockets.len()
    }

    fn deadline(&self) -> Option<Instant> {
        if self.inbox.has_more() {
            return Some(Instant::now());
        }
        self.wake.into_iter().chain(self.end).min()
    }

    fn take_inbox(&mut self, now: Now) {
        self.inbox.look();
        self.take_replies(now);
        for _ in 0..TAKEN_A_TURN {
            let Some(Signal { from, message }) = self.inbox.signal() else { break };
            self.exchange.handle_peer(from, message, now);
            self.act();
        }
        for _ in 0..TAKEN_A_TURN {
            match self.inbox.trunk() {
                Some(Trunked::Send { link, bytes }) => self.write_to_trunk(link, bytes),
                Some(Trunked::Take { from, message }) => {
                    // Whoever handed it over had been told of its node after this shard was.
                    self.take_replies(now);
                    self.take_trunk_message(from, *message, now);
                }
                None => break,
            }
        }
        for _ in 0..TAKEN_A_TURN {
            match self.inbox.packet() {
                Some(Packet::Voice { link, datagram }) => self.send_datagram(link, datagram),
                Some(Packet::Datagram { link, bytes }) => self.forward(link, &bytes, now),
                Some(Packet::Foreign(packet)) => self.quic.handle_foreign(packet),
                None => break,
            }
        }
        for _ in 0..TAKEN_A_TURN {
            let Some(event) = self.inbox.socket() else { break };
            self.take_socket_event(event, now);
        }
    }

    fn take_socket_event(&mut self, event: SocketEvent, now: Now) {
        match event {
            SocketEvent::Up { link, outbound } => {
                self.sockets.up(link, outbound);
                self.exchange.handle_link_up(link, None, now);
            }
            SocketEvent::Bytes { link, bytes, .. } => self.exchange.handle_bytes(link, &bytes, now),
            SocketEvent::Lost { link, cause } => {
                if !self.sockets.lost(link) {
                    return;
                }
                self.counters.links_lost[cause.index()] += 1;
                self.exchange.handle_link_lost(link, now);
            }
        }
        self.act();
    }

    fn send_datagram(&mut self, link: ahoy_net::LinkId, datagram: Bytes) {
        if is_socket(LinkId(link.0)) {
            self.sockets.send_datagram(LinkId(link.0), datagram);
        } else {
            self.quic.send_datagram(link, datagram);
        }
    }

    fn send(&mut self, link: LinkId, bytes: Bytes) {
        if !is_socket(link) {
            self.quic.send(ahoy_net::LinkId(link.0), bytes);
        } else if !self.sockets.send(link, bytes) {
            self.counters.links_lost[LostCause::SlowReader.index()] += 1;
            self.exchange.handle_link_lost(link, (self.clock)());
        }
    }

    fn close(&mut self, link: LinkId, code: ErrorCode) {
        if is_socket(link) {
            self.sockets.close(link, code);
        } else {
            self.quic.close(ahoy_net::LinkId(link.0), code);
        }
    }

    fn take_replies(&mut self, now: Now) {
        while let Some(reply) = self.inbox.reply() {
            self.take_reply(reply, now);
        }
    }

    fn take_reply(&mut self, reply: Reply, now: Now) {
        match reply {
            Reply::Answer { query, answer } => self.exchange.handle_answer(query, answer, now),
            Reply::Lists(lists) => {
                self.trunks.set_lists(&lists);
                self.exchange.handle_lists(lists, now);
            }
            Reply::Fleet { fleet, routes } => {
                (self.fleet, self.routes) = (Arc::clone(&fleet), routes);
                self.exchange.handle_fleet(fleet, now);
            }
            Reply::Dial(dial) => self.trunks.dial(*dial, &mut self.quic),
            Reply::GiveUp { attempt } => self.trunks.give_up(attempt, &mut self.quic),
            Reply::OpenTrunk { link, node } => {
                self.trunks.open(link, node);
                self.read_trunk(link, now);
            }
            Reply::CloseTrunk { link, code } => self.trunks.close(link, code, &mut self.quic),
            Reply::TrunkFailed { link } => self.trunks.end(link, ErrorCode::Overloaded, &mut self.quic),
            Reply::Undrain => self.exchange.undrain(),
            Reply::Drain { reconnect_in, spread } => self.exchange.drain(reconnect_in, spread),
            Reply::ShutDown { reconnect_in, spread } => {
                self.exchange.drain(reconnect_in, spread);
                self.act();
                self.quic.close_all(ErrorCode::ShuttingDown);
                self.sockets.close_all(ErrorCode::ShuttingDown);
                self.end = Some(now.instant + SHUTDOWN_GRACE);
            }
            Reply::Stop => self.end = Some(now.instant),
        }
        self.act();
    }

    fn take_link_events(&mut self, now: Now) {
        while let Some(event) = self.quic.poll_event() {
            match event {
                LinkEvent::Datagram { link, bytes } => {
                    if self.trunks.has(link) {
                        self.take_trunk_voice(&bytes);
                    } else {
                        self.forward(LinkId(link.0), &bytes, now);
                    }
                    continue;
                }
                LinkEvent::Foreign { shard, packet } => {
                    let refused = self.posts[usize::from(shard)].packet(Packet::Foreign(packet)).is_err();
                    self.counters.handover_dropped += u64::from(refused);
                    continue;
                }
                LinkEvent::Up { link, exporter: Some(exporter) } if self.trunks.has(link) => {
                    self.trunks.up(link, exporter)
                }
                LinkEvent::Bytes { link, bytes } if self.trunks.has(link) => {
                    self.counters.trunk_bytes_received += bytes.len() as u64;
                    self.trunks.bytes(link, &bytes, UnixTime(now.unix_ms / 1000), &mut self.quic);
                    self.read_trunk(link, now);
                }
                LinkEvent::Lost { link, cause } if self.trunks.has(link) => {
                    self.counters.trunks_lost += 1;
                    self.trunks.lost(link, cause.name());
                }
                LinkEvent::Up { link, exporter } => self.exchange.handle_link_up(LinkId(link.0), exporter, now),
                LinkEvent::Bytes { link, bytes } => self.exchange.handle_bytes(LinkId(link.0), &bytes, now),
                LinkEvent::Lost { link, cause } => {
                    self.counters.links_lost[cause.index()] += 1;
                    self.exchange.handle_link_lost(LinkId(link.0), now);
                }
            }
            self.act();
        }
    }

    /// The way of voice: from a link of this shard to links of this or another one.
    fn forward(&mut self, link: LinkId, datagram: &Bytes, now: Now) {
        let Forward::To(recipients) = self.exchange.forward(link, datagram, now) else { return };
        for Recipient { node, shard, link } in recipients {
            let (at, datagram) = if *node == Node::OWN {
                (At { shard: *shard, link: ahoy_net::LinkId(link.0) }, datagram.clone())
            } else {
                let way = self.routes.get(node).zip(trunks::wrap(*shard, *link, datagram));
                let Some((at, wrapped)) = way else {
                    self.counters.trunk_voice_dropped += 1;
                    continue;
                };
                self.counters.trunk_voice_sent += 1;
                (*at, wrapped)
            };
            let way = Way { own: self.id, quic: &mut self.quic, sockets: &mut self.sockets, posts: &self.posts };
            way.send(at, datagram, &mut self.counters);
        }
    }

    /// Voice from another supernode, for a link of this one.
    fn take_trunk_voice(&mut self, datagram: &Bytes) {
        let unwrapped = trunks::unwrap(datagram).filter(|(shard, ..)| usize::from(shard.0) < self.posts.len());
        let Some((shard, link, datagram)) = unwrapped else {
            self.counters.trunk_voice_dropped += 1;
            return;
        };
        self.counters.trunk_voice_received += 1;
        let way = Way { own: self.id, quic: &mut self.quic, sockets: &mut self.sockets, posts: &self.posts };
        way.send(At { shard, link }, datagram, &mut self.counters);
    }

    /// Takes what a trunk has brought, to the shards that it is for.
    fn read_trunk(&mut self, link: ahoy_net::LinkId, now: Now) {
        while let Some((from, message, length)) = self.trunks.next(link, &mut self.quic) {
            self.counters.trunk_messages_received += 1;
            if message.to_shard == u32::from(self.id.0) {
                self.take_trunk_message(from, message, now);
                continue;
            }
            let Some(post) = self.posts.get(message.to_shard as usize) else {
                return self.trunks.end(link, ErrorCode::Malformed, &mut self.quic);
            };
            if post.trunk(length, Trunked::Take { from, message: Box::new(message) }).is_err() {
                self.counters.trunk_messages_lost += 1;
                return self.trunks.end(link, ErrorCode::Overloaded, &mut self.quic);
            }
        }
    }

    fn take_trunk_message(&mut self, from: Node, message: v1::TrunkMessage, now: Now) {
        if self.fleet.node(from).is_none() {
            self.counters.trunk_messages_late += 1;
            return;
        }
        self.exchange.handle_trunk(from, message, now);
        self.act();
    }

    /// A message for another supernode, on its way to the shard that its trunk is on. One that is lost costs the trunk.
    fn send_on_trunk(&mut self, to: Node, bytes: Bytes) {
        let Some(At { shard, link }) = self.routes.get(&to).copied() else {
            self.counters.trunk_messages_late += 1;
            return;
        };
        if shard == self.id {
            return self.write_to_trunk(link, bytes);
        }
        let post = &self.posts[usize::from(shard.0)];
        if post.trunk(bytes.len(), Trunked::Send { link, bytes }).is_err() {
            self.counters.trunk_messages_lost += 1;
            post.reply(Reply::TrunkFailed { link });
            // Once is enough: what follows is dropped until the view has changed.
            Arc::make_mut(&mut self.routes).remove(&to);
        }
    }

    fn write_to_trunk(&mut self, link: ahoy_net::LinkId, bytes: Bytes) {
        if self.trunks.has(link) {
            self.counters.trunk_bytes_sent += bytes.len() as u64;
            // One that takes no more is lost, which is told as any loss.
            self.quic.send(link, bytes);
        } else {
            self.counters.trunk_messages_late += 1;
        }
    }

    /// Does everything that the exchange wants done.
    fn act(&mut self) {
        loop {
            match self.exchange.poll_output() {
                Output::Send { link, bytes } => self.send(link, bytes),
                Output::Close { link, code } => self.close(link, code),
                Output::Ask { query, question } => {
                    let post = self.posts[usize::from(self.id.0)].clone();
                    questions::ask(&self.store, question, move |answer| post.reply(Reply::Answer { query, answer }));
                }
                Output::Tell { shard, message } => {
                    let signal = Signal { from: self.id, message };
                    match self.posts[usize::from(shard.0)].signal(signal) {
                        Ok(()) => self.counters.signals_sent += 1,
                        Err(_) => self.counters.signals_dropped += 1,
                    }
                }
                Output::Trunk { to, bytes } => self.send_on_trunk(to.node, bytes),
                Output::Joined { link, supernode, incarnation, shards } => {
                    let link = ahoy_net::LinkId(link.0);
                    self.trunks.accept(link, supernode, incarnation, shards, &mut self.quic);
                }
                Output::Idle { wake } => {
                    if let Some((at, why)) = wake {
                        tracing::trace!(shard = self.id.0, ?why, ?at, "waiting");
                    }
                    self.wake = wake.map(|(at, _)| at);
                    return;
                }
            }
        }
    }
}

/// The ways of voice to a link, on whatever shard it is.
struct Way<'a> {
    own: ShardId,
    quic: &'a mut QuicShard,
    sockets: &'a mut Sockets,
    posts: &'a [Post],
}

impl Way<'_> {
    fn send(self, at: At, datagram: Bytes, counters: &mut Counters) {
        let At { shard, link } = at;
        if shard != self.own {
            match self.posts[usize::from(shard.0)].packet(Packet::Voice { link, datagram }) {
                Ok(()) => counters.voice_crossed += 1,
                Err(_) => counters.voice_cross_dropped += 1,
            }
        } else if is_socket(LinkId(link.0)) {
            self.sockets.send_datagram(LinkId(link.0), datagram);
        } else {
            self.quic.send_datagram(link, datagram);
        }
    }
}

/// The time of this machine.
pub(crate) fn moment() -> Now {
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    Now { instant: Instant::now(), unix_ms }
}
