//! The engine of one call's voice: a task that ticks every 20 ms.
//!
//! Each tick takes a frame from the source, seals and sends it, and gives a frame to the sink; packets are opened as they come. The
//! engine outlives links and legs: while there is none, frames go by unsent, so that time goes on evenly for both ends.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahoy_net::ClientLink;
use ahoy_proto::flow::FlowId;
use ahoy_proto::limits::LEGS_MAX;
use ahoy_proto::{CallId, DeviceId, LegId};
use ahoy_voice::codec::CodecError;
use ahoy_voice::{FRAME_SAMPLES, Receiver, Sender, level, payload};
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::seal::{Opener, Sealer};
use super::sorter::{Claims, Packets, Sorter};
use crate::audio::{Flow, Frame, Sink, SinkError, Source};
use crate::member::{OwnLeg, PeerLeg};

/// Length of a frame.
const TICK: Duration = Duration::from_millis(20);

/// Ticks made up for after a delay, at once; behind by more (a machine that slept), time jumps. Half of the burst that a relay takes.
const TICKS_BEHIND_MAX: u32 = 10;

/// A pause between packets that is worth telling.
const GAP: Duration = Duration::from_millis(200);

/// Ticks between two statements of the statistics: 200 ms, as fast as people read.
const TICKS_PER_STATEMENT: u64 = 10;

/// Commands and events under way: a handful for each change of link or leg.
const QUEUE: usize = 64;

/// Who speaks and listens on this device's side.
pub enum Speaker {
    /// Somebody, or a file.
    Person {
        /// What is said.
        source: Box<dyn Source>,
        /// What is heard.
        sink: Box<dyn Sink>,
    },
    /// Sends back what comes, as it is.
    Echo,
    /// Nobody: packets go out at the pace and in the size of voice, and what comes is counted. No codec runs, so that one process
    /// can be in hundreds of calls to put a load on a network. The other side must be the same.
    Pace,
}

impl fmt::Debug for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Person { .. } => "Person",
            Self::Echo => "Echo",
            Self::Pace => "Pace",
        })
    }
}

/// How a call's voice fares.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CallStatistics {
    /// Since the call was answered.
    pub elapsed: Duration,
    /// Voice packets sent.
    pub sent: u64,
    /// Their bytes: flow id and SFrame.
    pub sent_bytes: u64,
    /// Voice packets received and opened.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Packets that did not open: forged, replayed, or of a leg that is gone.
    pub refused: u64,
    /// Share of the other side's packets that were lost on the way, 0 to 1.
    pub loss: f64,
    /// Frames invented.
    pub concealed: u64,
    /// Playout delay at present.
    pub delay: Duration,
    /// Playout delay, mean over the call.
    pub delay_mean: Duration,
    /// Round trip to the supernode.
    pub round_trip: Duration,
    /// Level of what this device says, -dBov: 0 is the loudest, 127 silence.
    pub level_said: u8,
    /// Level of what is heard.
    pub level_heard: u8,
}

/// What the engine tells.
#[derive(Debug)]
pub(crate) enum EngineEvent {
    /// The first packet of a leg opened, or one after a pause; zero for the first of the call.
    Heard { silent: Duration },
    /// The source has no more; silence is sent.
    SourceEnded,
    /// The sink takes no more.
    SinkFailed(SinkError),
}

enum Command {
    Link(Option<Arc<ClientLink>>),
    OwnLeg(OwnLeg, Option<Arc<ClientLink>>),
    PeerLeg(PeerLeg),
    PeerLost(LegId),
}

/// How the voice of each call that is answered fares.
pub(crate) type Statements = watch::Sender<BTreeMap<CallId, CallStatistics>>;

/// What all engines of a client are connected with.
#[derive(Debug)]
pub(crate) struct Wiring {
    /// The session's link, to send on.
    pub(crate) link: Option<Arc<ClientLink>>,
    /// Where packets come from.
    pub(crate) sorter: Sorter,
    /// Where is stated how calls fare.
    pub(crate) statements: Statements,
}

/// A running engine. Dropping it ends the engine's task.
#[derive(Debug)]
pub(crate) struct EngineHandle {
    commands: mpsc::Sender<Command>,
    pub(crate) events: mpsc::Receiver<EngineEvent>,
    statement: Statement,
    task: JoinHandle<()>,
}

/// One call's place among the statements; empty again when this is dropped.
#[derive(Debug)]
struct Statement {
    call: CallId,
    statements: Statements,
}

impl Statement {
    fn last(&self) -> CallStatistics {
        self.statements.borrow().get(&self.call).copied().unwrap_or_default()
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        self.statements.send_modify(|all| {
            all.remove(&self.call);
        });
    }
}

impl EngineHandle {
    /// Ends the engine, waits until the sink is closed, and gives the last word on how it was.
    pub(crate) async fn stop(self) -> CallStatistics {
        drop(self.commands);
        // A panic in it has been reported already.
        let _ = self.task.await;
        self.statement.last()
    }

    /// From now on voice goes out over this link; `None`: over none.
    pub(crate) fn set_link(&self, link: Option<Arc<ClientLink>>) {
        self.send(Command::Link(link));
    }

    /// From now on voice goes out for this leg, over the link that it is attached to.
    pub(crate) fn set_own_leg(&self, leg: OwnLeg, link: Option<Arc<ClientLink>>) {
        self.send(Command::OwnLeg(leg, link));
    }

    pub(crate) fn set_peer_leg(&self, leg: PeerLeg) {
        self.send(Command::PeerLeg(leg));
    }

    pub(crate) fn peer_lost(&self, leg: LegId) {
        self.send(Command::PeerLost(leg));
    }

    fn send(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            // It ticks every 20 ms and takes all commands each time: 64 at once do not happen.
            tracing::error!("the voice engine does not take commands");
        }
    }
}

/// One call's voice.
pub(crate) struct Engine {
    started: Instant,
    speaker: Speaker,
    sender: Sender,
    sealer: Option<Sealer>,
    peers: Vec<Peer>,
    link: Option<Arc<ClientLink>>,
    claims: Claims,
    events: mpsc::Sender<EngineEvent>,
    call: CallId,
    statements: Statements,
    heard_at: Option<Instant>,
    source_ended: bool,
    sink_failed: bool,
    counts: CallStatistics,
}

struct Peer {
    device: DeviceId,
    leg: LegId,
    flow: FlowId,
    /// Whether a packet of this leg has opened.
    heard: bool,
    opener: Opener,
    receiver: Receiver,
}

impl Engine {
    /// Starts the voice of a call that was answered.
    ///
    /// # Errors
    /// When memory for the codec is out.
    pub(crate) fn start(
        call: CallId,
        speaker: Speaker,
        own: &OwnLeg,
        legs: Vec<PeerLeg>,
        wiring: Wiring,
    ) -> Result<EngineHandle, CodecError> {
        let Wiring { link, sorter, statements } = wiring;
        let (commands, inbox) = mpsc::channel(QUEUE);
        let (events, told) = mpsc::channel(QUEUE);
        let (claims, packets) = sorter.claims();
        let statement = Statement { call, statements: statements.clone() };
        let mut engine = Self {
            started: Instant::now(),
            speaker,
            sender: Sender::new()?,
            sealer: Some(Sealer::new(&own.key, own.flow)),
            peers: Vec::new(),
            link,
            claims,
            events,
            call,
            statements,
            heard_at: None,
            source_ended: false,
            sink_failed: false,
            counts: CallStatistics { level_said: level::SILENCE_DBOV, ..CallStatistics::default() },
        };
        for leg in legs {
            engine.set_peer(leg)?;
        }
        engine.state_statistics();
        let task = tokio::spawn(engine.run(inbox, packets));
        Ok(EngineHandle { commands, events: told, statement, task })
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<Command>, mut packets: Packets) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut count = 0_u64;
        loop {
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => self.handle(command),
                    None => return self.state_statistics(),
                },
                Some(datagram) = packets.recv() => self.handle_datagram(&datagram, Instant::now()),
                at = ticks.tick() => {
                    skip_ahead(&mut ticks, at);
                    self.tick(at.into_std());
                    count += 1;
                    if count.is_multiple_of(TICKS_PER_STATEMENT) {
                        self.state_statistics();
                    }
                }
            }
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            // The old leg is not attached to a new link: its flow would go nowhere.
            Command::Link(link) => (self.link, self.sealer) = (link, None),
            Command::OwnLeg(own, link) => {
                (self.link, self.sealer) = (link, Some(Sealer::new(&own.key, own.flow)));
            }
            Command::PeerLeg(leg) => {
                if let Err(error) = self.set_peer(leg) {
                    tracing::error!(%error, "no decoder for another leg");
                }
            }
            // What is under way may still come, so the leg is kept until it is replaced.
            Command::PeerLost(leg) => tracing::debug!(%leg, "a leg is lost"),
        }
    }

    /// Takes up a leg. One that returns goes on where it was: its time has not stopped meanwhile.
    fn set_peer(&mut self, leg: PeerLeg) -> Result<(), CodecError> {
        let opener = Opener::new(&leg.key, leg.flow);
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.device == leg.device) {
            peer.heard &= peer.leg == leg.leg;
            let old = Some(peer.flow).filter(|old| *old != leg.flow);
            (peer.leg, peer.flow, peer.opener) = (leg.leg, leg.flow, opener);
            self.claims.claim(leg.flow, old);
        } else if self.peers.len() < LEGS_MAX {
            let receiver = Receiver::new()?;
            let PeerLeg { device, leg, flow, .. } = leg;
            self.peers.push(Peer { device, leg, flow, heard: false, opener, receiver });
            self.claims.claim(flow, None);
        }
        Ok(())
    }

    fn handle_datagram(&mut self, datagram: &[u8], now: Instant) {
        let opened = self.peers.iter_mut().find_map(|peer| Some((peer.opener.open(datagram).ok()?, peer)));
        let Some((payload, peer)) = opened else {
            self.counts.refused += 1;
            return;
        };
        self.counts.received += 1;
        self.counts.received_bytes += datagram.len() as u64;
        let silent = self.heard_at.map(|at| now.saturating_duration_since(at));
        self.heard_at = Some(now);
        let report = match self.speaker {
            Speaker::Pace => Ok(None),
            Speaker::Person { .. } | Speaker::Echo => peer.receiver.handle_payload(&payload, now),
        };
        let heard_before = std::mem::replace(&mut peer.heard, true);
        if !heard_before || silent.is_none_or(|silent| silent >= GAP) {
            self.tell(EngineEvent::Heard { silent: silent.unwrap_or_default() });
        }
        match report {
            Ok(Some(report)) => self.sender.handle_report(&report),
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "a packet that opens and can't be read"),
        }
        if let Speaker::Echo = self.speaker
            && let Ok(payload) = payload::reflect(&payload)
        {
            self.send(&payload);
        }
    }

    fn tick(&mut self, now: Instant) {
        self.counts.elapsed = now.saturating_duration_since(self.started);
        if let Speaker::Pace = self.speaker {
            return self.send(&[0; payload::PAYLOAD_BYTES]);
        }
        let heard = self.pull(now);
        let mut said = [0.0; FRAME_SAMPLES];
        let Speaker::Person { source, sink } = &mut self.speaker else { return };
        if !self.sink_failed
            && let Err(error) = sink.take_frame(&heard)
        {
            self.sink_failed = true;
            let _ = self.events.try_send(EngineEvent::SinkFailed(error));
        }
        if source.next_frame(&mut said) == Flow::Ended && !self.source_ended {
            self.source_ended = true;
            let _ = self.events.try_send(EngineEvent::SourceEnded);
        }
        self.counts.level_said = level::level(&said);
        self.counts.level_heard = level::level(&heard);
        self.say(&said, now);
    }

    fn say(&mut self, frame: &Frame, now: Instant) {
        let report = self.peers.iter_mut().find_map(|peer| peer.receiver.poll_report(now));
        match self.sender.push_frame(frame, report) {
            Ok(payload) => self.send(&payload),
            Err(error) => tracing::error!(%error, "a frame can't be encoded"),
        }
    }

    /// What all others say at this moment, mixed.
    fn pull(&mut self, now: Instant) -> Frame {
        let mut mixed = [0.0; FRAME_SAMPLES];
        for peer in &mut self.peers {
            let frame = peer.receiver.pull_frame(now);
            mixed.iter_mut().zip(&frame.samples).for_each(|(sum, sample)| *sum += sample);
        }
        mixed
    }

    fn send(&mut self, payload: &[u8]) {
        let (Some(link), Some(sealer)) = (&self.link, &mut self.sealer) else { return };
        let Some(datagram) = sealer.seal(payload) else { return };
        let length = datagram.len() as u64;
        if link.send_datagram(Bytes::from(datagram)).is_ok() {
            self.counts.sent += 1;
            self.counts.sent_bytes += length;
        }
    }

    /// Brings the statistics up to date for whoever looks.
    fn state_statistics(&mut self) {
        if let Some(peer) = self.peers.first() {
            let statistics = peer.receiver.statistics();
            self.counts.loss = f64::from(statistics.loss_basis_points) / 10_000.0;
            self.counts.concealed = statistics.concealed;
            self.counts.delay = statistics.delay;
            self.counts.delay_mean = statistics.delay_mean;
        }
        if let Some(link) = &self.link {
            self.counts.round_trip = link.rtt();
        }
        self.statements.send_modify(|all| {
            all.insert(self.call, self.counts);
        });
    }

    fn tell(&self, event: EngineEvent) {
        // Whoever does not listen any more has hung up.
        let _ = self.events.try_send(event);
    }
}

/// After a long sleep of the machine, goes on from now in place of making up for it.
fn skip_ahead(ticks: &mut Interval, at: tokio::time::Instant) {
    if at.elapsed() > TICK * TICKS_BEHIND_MAX {
        ticks.reset();
    }
}
