//! Messages: processor time by message that a supernode takes, keeps and hands over, beside SQLite alone with the same rows.
//!
//! Accounts in pairs: one sends, the other receives. As a session may send 20 messages at once and ten a second after that, all senders
//! send 20 in a wave; while a wave lasts the supernode has as much to do as it can, and only then its time counts.

use std::sync::Arc;
use std::time::Duration;

use ahoy_proto::{ConversationId, v1};
use anyhow::{bail, ensure};

use super::sessions::sign_in_all;
use super::{bare, filled, micros};
use crate::harness::{Daemon, DaemonOptions, Trial, cpu_time, metric};
use crate::wire::{Identity, NetworkKeys, Request, Response, Session, noise};

/// What one round gives, in microseconds of processor time by message.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// Senders have one message under way, receivers are online.
    pub online: f64,
    /// Senders have 20 messages under way, receivers are online.
    pub online_at_once: f64,
    /// Senders have one message under way, nobody receives.
    pub mailbox: f64,
    /// Senders have 20 messages under way, nobody receives.
    pub mailbox_at_once: f64,
    /// Receivers come back, fetch and acknowledge.
    pub drained: f64,
    /// SQLite alone.
    pub bare: bare::Costs,
}

/// How much load.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Pairs of accounts.
    pub pairs: usize,
    /// Waves, each time that something is measured.
    pub waves: usize,
}

/// Bytes of a sealed message.
pub const SEALED: usize = 400;

/// Messages of a sender in a wave: as many as a session may send at once. Receivers acknowledge as often.
const WAVE: usize = 20;

/// Time for the last acknowledgements of a wave to pass.
const SETTLE: Duration = Duration::from_millis(300);

/// Time until a session may send 20 messages at once again.
const REFILL: Duration = Duration::from_secs(2);

/// Whether a sender waits for each response.
#[derive(Debug, Clone, Copy)]
enum Pace {
    OneByOne,
    AtOnce,
}

/// Measures all of it.
///
/// # Errors
/// When something is refused, lost, or comes in the wrong order.
pub fn round(trial: &Trial, load: Load) -> anyhow::Result<Round> {
    let data = trial.folder().join(format!("messages-{}", rand::random::<u32>()));
    let daemon = Daemon::start(trial, DaemonOptions { data: Some(data), ..DaemonOptions::default() })?;
    let keys = NetworkKeys::read(daemon.data())?;
    let pairs: Vec<_> = (0..load.pairs).map(|_| Pair::made(&keys)).collect();
    filled::fill(daemon.data(), |filling| pairs.iter().try_for_each(|pair| pair.fill(filling)))?;
    let rows = bare::Load { conversations: load.pairs, rows: 2 * load.waves * WAVE };
    let bare = bare::round(trial.folder(), rows)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let ([senders, receivers], none) = (people(&pairs), Vec::new());
        let senders = sign_in_all(daemon.address(), senders).await?;
        let mut here = Waves {
            senders: pairs.iter().zip(senders).map(|(pair, session)| Sender::new(pair, session)).collect(),
            receivers: sign_in_all(daemon.address(), receivers.clone())
                .await?
                .into_iter()
                .zip(&pairs)
                .map(|(session, pair)| Receiver { session, conversation: pair.conversation, taken: 0 })
                .collect(),
        };
        let online = here.measure(&daemon, load.waves, Pace::OneByOne).await?;
        let online_at_once = here.measure(&daemon, load.waves, Pace::AtOnce).await?;
        let mut alone = Waves { senders: here.senders, receivers: none };
        drop(here.receivers);
        only_so_many_are_there(&daemon, load.pairs).await?;
        let mailbox = alone.measure(&daemon, load.waves, Pace::OneByOne).await?;
        let mailbox_at_once = alone.measure(&daemon, load.waves, Pace::AtOnce).await?;
        let drained = drain(&daemon, &pairs, receivers, 2 * load.waves * WAVE).await?;
        Ok(Round { online, online_at_once, mailbox, mailbox_at_once, drained, bare })
    })
}

/// Who talks to whom, and where.
struct Pair {
    sender: Identity,
    receiver: Identity,
    conversation: ConversationId,
}

impl Pair {
    fn made(keys: &NetworkKeys) -> Self {
        Self { sender: keys.identity(), receiver: keys.identity(), conversation: ConversationId(rand::random()) }
    }

    fn fill(&self, filling: &filled::Filling<'_>) -> rusqlite::Result<()> {
        filling.account(&self.sender)?;
        filling.account(&self.receiver)?;
        filling.contacts(self.sender.account, self.receiver.account)?;
        filling.conversation(self.conversation, [&self.sender, &self.receiver])
    }
}

/// All senders, and all receivers.
fn people(pairs: &[Pair]) -> [Arc<[Identity]>; 2] {
    let of = |side: fn(&Pair) -> &Identity| pairs.iter().map(side).cloned().collect();
    [of(|pair| &pair.sender), of(|pair| &pair.receiver)]
}

/// Waits until all others' sessions are over: what is sent to them then stays.
async fn only_so_many_are_there(daemon: &Daemon, sessions: usize) -> anyhow::Result<()> {
    tokio::time::sleep(SETTLE).await;
    let counted = metric(&daemon.metrics()?, "ahoy_sessions", "") as usize;
    // The echo account has a session too.
    ensure!(counted <= sessions + 1, "{counted} sessions are there, and {sessions} send");
    Ok(())
}

struct Waves {
    senders: Vec<Sender>,
    receivers: Vec<Receiver>,
}

impl Waves {
    /// Sends so many waves and divides the server's time by their messages.
    async fn measure(&mut self, daemon: &Daemon, waves: usize, pace: Pace) -> anyhow::Result<f64> {
        let mut spent = Duration::ZERO;
        for _ in 0..waves {
            let before = cpu_time(daemon.id())?;
            self.wave(pace).await?;
            tokio::time::sleep(SETTLE).await;
            spent += cpu_time(daemon.id())? - before;
            tokio::time::sleep(REFILL).await;
        }
        Ok(micros(spent, waves * WAVE * self.senders.len()))
    }

    async fn wave(&mut self, pace: Pace) -> anyhow::Result<()> {
        let receivers: Vec<_> = std::mem::take(&mut self.receivers)
            .into_iter()
            .map(|mut receiver| {
                tokio::spawn(async move {
                    receiver.receive().await?;
                    anyhow::Ok(receiver)
                })
            })
            .collect();
        let senders: Vec<_> = std::mem::take(&mut self.senders)
            .into_iter()
            .map(|mut sender| {
                tokio::spawn(async move {
                    sender.send(pace).await?;
                    anyhow::Ok(sender)
                })
            })
            .collect();
        for sender in senders {
            self.senders.push(sender.await??);
        }
        for receiver in receivers {
            self.receivers.push(receiver.await??);
        }
        Ok(())
    }
}

struct Sender {
    session: Session,
    conversation: ConversationId,
    sent: u64,
}

impl Sender {
    fn new(pair: &Pair, session: Session) -> Self {
        Self { session, conversation: pair.conversation, sent: 0 }
    }

    /// One wave, of which each message is accepted.
    async fn send(&mut self, pace: Pace) -> anyhow::Result<()> {
        let messages: Vec<_> = (0..WAVE).map(|_| self.message()).collect();
        match pace {
            Pace::AtOnce => self.session.requests(messages).await?.iter().try_for_each(accepted),
            Pace::OneByOne => {
                for message in messages {
                    accepted(&self.session.request(message).await?)?;
                }
                Ok(())
            }
        }
    }

    fn message(&mut self) -> Request {
        self.sent += 1;
        Request::SendMessage(v1::SendMessage {
            conversation: self.conversation.to_bytes(),
            number: self.sent,
            generation: filled::GENERATION,
            epoch: filled::EPOCH,
            sealed: noise(SEALED),
        })
    }
}

fn accepted(response: &Response) -> anyhow::Result<()> {
    match response {
        Response::MessageAccepted(_) => Ok(()),
        other => bail!("a message was answered with {other:?}"),
    }
}

struct Receiver {
    session: Session,
    conversation: ConversationId,
    taken: u64,
}

impl Receiver {
    /// One wave, complete and in order, and its acknowledgement.
    async fn receive(&mut self) -> anyhow::Result<()> {
        for _ in 0..WAVE {
            let sequence = |event: &Response| match event {
                Response::LogEntry(entry) => Some(entry.sequence),
                _ => None,
            };
            let sequence = self.session.event(sequence).await?;
            self.take(sequence)?;
        }
        self.acknowledge().await
    }

    fn take(&mut self, sequence: u64) -> anyhow::Result<()> {
        ensure!(sequence == self.taken + 1, "entry {sequence} came after {}", self.taken);
        self.taken = sequence;
        Ok(())
    }

    async fn acknowledge(&mut self) -> anyhow::Result<()> {
        let mark = v1::LogMark { conversation: self.conversation.to_bytes(), sequence: self.taken };
        self.session.granted(Request::Acknowledge(v1::Acknowledge { inbox: 0, logs: vec![mark] })).await?;
        Ok(())
    }

    /// All pages, and their acknowledgement. Gives the number of entries.
    async fn drain(&mut self) -> anyhow::Result<usize> {
        let mut count = 0;
        loop {
            let fetch = v1::FetchLog { conversation: self.conversation.to_bytes(), after: self.taken };
            let Response::LogEntries(page) = self.session.granted(Request::FetchLog(fetch)).await? else {
                bail!("FetchLog was answered with something else");
            };
            for entry in &page.entries {
                self.take(entry.sequence)?;
            }
            count += page.entries.len();
            if !page.more {
                self.acknowledge().await?;
                return Ok(count);
            }
        }
    }
}

/// Receivers sign in, which does not count, and take what waits for them, all at once.
async fn drain(daemon: &Daemon, pairs: &[Pair], people: Arc<[Identity]>, each: usize) -> anyhow::Result<f64> {
    let sessions = sign_in_all(daemon.address(), people).await?;
    tokio::time::sleep(SETTLE).await;
    let before = cpu_time(daemon.id())?;
    let draining: Vec<_> = sessions
        .into_iter()
        .zip(pairs)
        .map(|(session, pair)| {
            // As much has been taken and acknowledged before.
            let mut receiver = Receiver { session, conversation: pair.conversation, taken: each as u64 };
            tokio::spawn(async move {
                let count = receiver.drain().await?;
                ensure!(count == each, "{count} entries waited in place of {each}");
                anyhow::Ok(receiver)
            })
        })
        .collect();
    // Kept until all is counted: the end of a session has its cost too.
    let mut receivers = Vec::with_capacity(draining.len());
    for receiver in draining {
        receivers.push(receiver.await??);
    }
    tokio::time::sleep(SETTLE).await;
    Ok(micros(cpu_time(daemon.id())? - before, each * receivers.len()))
}
