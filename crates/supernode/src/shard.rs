//! One shard's thread: turns the sockets, feeds the exchange, does what the exchange says.
//!
//! Every turn does a bounded amount of each kind of work, and the exchange is drained after every input.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ahoy_core::{Exchange, Forward, LinkId, Now, Output, Recipient, ShardId};
use ahoy_net::{LinkEvent, LostCause, QuicShard};
use ahoy_proto::v1::ErrorCode;
use ahoy_store::Store;
use bytes::Bytes;

use crate::{
    inbox::{Inbox, Packet, Post, Reply, Signal, TAKEN_A_TURN},
    metrics::Published,
    questions,
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
}

/// Where a shard has the time from, so that tests can let it pass.
pub(crate) type Clock = Arc<dyn Fn() -> Now + Send + Sync>;

/// Everything that one shard's thread owns.
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) quic: QuicShard,
    pub(crate) exchange: Exchange,
    pub(crate) inbox: Inbox,
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
            self.published.set(&self.quic, &self.exchange, &self.counters);
            if self.end.is_some_and(|end| end <= now.instant || self.quic.open_links() == 0) {
                // The last turn sends the closes.
                return self.quic.turn(Some(now.instant));
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if self.inbox.has_more() {
            return Some(Instant::now());
        }
        self.wake.into_iter().chain(self.end).min()
    }

    fn take_inbox(&mut self, now: Now) {
        self.inbox.look();
        while let Some(reply) = self.inbox.reply() {
            self.take_reply(reply, now);
        }
        for _ in 0..TAKEN_A_TURN {
            let Some(Signal { from, message }) = self.inbox.signal() else { break };
            self.exchange.handle_peer(from, message, now);
            self.act();
        }
        for _ in 0..TAKEN_A_TURN {
            match self.inbox.packet() {
                Some(Packet::Voice { link, datagram }) => self.quic.send_datagram(link, datagram),
                Some(Packet::Foreign(packet)) => self.quic.handle_foreign(packet),
                None => break,
            }
        }
    }

    fn take_reply(&mut self, reply: Reply, now: Now) {
        match reply {
            Reply::Answer { query, answer } => self.exchange.handle_answer(query, answer, now),
            Reply::Lists(lists) => self.exchange.handle_lists(lists, now),
            Reply::Drain { reconnect_in, spread } => self.exchange.drain(reconnect_in, spread),
            Reply::ShutDown { reconnect_in, spread } => {
                self.exchange.drain(reconnect_in, spread);
                self.act();
                self.quic.close_all(ErrorCode::ShuttingDown);
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
                    self.forward(LinkId(link.0), &bytes, now);
                    continue;
                }
                LinkEvent::Foreign { shard, packet } => {
                    let refused = self.posts[usize::from(shard)].packet(Packet::Foreign(packet)).is_err();
                    self.counters.handover_dropped += u64::from(refused);
                    continue;
                }
                LinkEvent::Up { link, exporter } => self.exchange.handle_link_up(LinkId(link.0), Some(exporter), now),
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
        for Recipient { shard, link, .. } in recipients {
            let (link, datagram) = (ahoy_net::LinkId(link.0), datagram.clone());
            if *shard == self.id {
                self.quic.send_datagram(link, datagram);
                continue;
            }
            match self.posts[usize::from(shard.0)].packet(Packet::Voice { link, datagram }) {
                Ok(()) => self.counters.voice_crossed += 1,
                Err(_) => self.counters.voice_cross_dropped += 1,
            }
        }
    }

    /// Does everything that the exchange wants done.
    fn act(&mut self) {
        loop {
            match self.exchange.poll_output() {
                Output::Send { link, bytes } => self.quic.send(ahoy_net::LinkId(link.0), bytes),
                Output::Close { link, code } => self.quic.close(ahoy_net::LinkId(link.0), code),
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
                // Without a fleet there is nobody to tell.
                Output::Trunk { .. } => {}
                Output::Joined { link, .. } => self.quic.close(ahoy_net::LinkId(link.0), ErrorCode::ShuttingDown),
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

/// The time of this machine.
pub(crate) fn moment() -> Now {
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    Now { instant: Instant::now(), unix_ms }
}
