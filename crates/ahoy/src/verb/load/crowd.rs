//! Everybody who takes part in a load, in pairs: client 0 with client 1, 2 with 3, and so on. Calls are between the first pairs, messages
//! between the last ones, so that both meet in the same clients only where there are too few.

use std::collections::BTreeMap;
use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ahoy_client::driver::{Client, ClientOptions, SharedSockets};
use ahoy_client::member::{ContactState, Kind};
use ahoy_client::profile::Identity;
use ahoy_proto::{AccountId, CallId, ConversationId, Name};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::accounts::Ledger;
use super::agenda::Letters;
use super::figures::{Figures, Outcome, Second};
use super::person;
use crate::cli::Load;
use crate::failure::{Exit, Failure};

/// Clients on one UDP socket: a few hundred packets a second each way when half of them are in calls, and enough sockets for the kernel
/// to spread them over the shards of a supernode.
const CLIENTS_A_SOCKET: usize = 50;

/// Pairs that become contacts at the same time: a few requests each, of some milliseconds.
const MEET_AT_ONCE: usize = 16;

/// How long a pair may take to become contacts, with a conversation.
const MEET_WITHIN: Duration = Duration::from_secs(60);

/// How long everybody may take to say goodbye.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// How long the closes of their links may take to be heard. They leave at once; what takes longer is to hear nothing more.
const LAST_WORD: Duration = Duration::from_millis(300);

/// How often is looked whether calls are over.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long a moment of noticing is kept for voice that comes back: a leg is kept for 10 s, so it is back by then or never.
const NOTICES_KEPT: Duration = Duration::from_secs(30);

/// All clients, and what is counted about them.
#[derive(Debug)]
pub(super) struct Crowd {
    pub(super) people: Vec<Person>,
    pub(super) calls: Calls,
    pub(super) letters: Letters,
    pub(super) options: ClientOptions,
    figures: Mutex<Figures>,
    /// Those whose session is up.
    signed_in: AtomicUsize,
    complete: watch::Sender<usize>,
    /// When the load begins and ends.
    span: watch::Sender<Option<(Instant, Instant)>>,
    stopped: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
    writers: usize,
    struck: OnceLock<Instant>,
    strike_error: OnceLock<String>,
}

/// What calls are to be like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calls {
    pub(super) count: usize,
    /// Each; until the end when `None`.
    pub(super) length: Option<Duration>,
}

/// A client, as others see it.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) name: Name,
    account: OnceLock<AccountId>,
    client: Mutex<Option<Arc<Client>>>,
    /// Counts whatever may be waited for: contacts and conversations.
    changes: watch::Sender<u64>,
    /// With the other one of the pair.
    conversation: OnceLock<ConversationId>,
    /// The call that it is in.
    call: Mutex<Option<CallId>>,
    /// When it noticed that the way to the other side is broken.
    notices: Mutex<Vec<Instant>>,
}

impl Crowd {
    pub(super) fn new(ledger: &Ledger, arguments: &Load, options: ClientOptions) -> Self {
        let person = |index| Person {
            name: ledger.name(index),
            account: OnceLock::new(),
            client: Mutex::default(),
            changes: watch::Sender::new(0),
            conversation: OnceLock::new(),
            call: Mutex::default(),
            notices: Mutex::default(),
        };
        let sockets = NonZeroUsize::MIN.saturating_add(arguments.clients / CLIENTS_A_SOCKET);
        // One message a second for each pair, as far as there are pairs.
        let wished = if arguments.messages > 0.0 { (arguments.messages.ceil() as usize).max(1) } else { 0 };
        Self {
            people: (0..arguments.clients).map(person).collect(),
            calls: Calls { count: arguments.calls, length: arguments.call_length },
            letters: Letters::new(),
            options: ClientOptions { sockets: Some(SharedSockets::new(sockets)), ..options },
            figures: Mutex::new(Figures::new(arguments.clients, arguments.calls)),
            signed_in: AtomicUsize::new(0),
            complete: watch::Sender::new(0),
            span: watch::Sender::new(None),
            stopped: watch::Sender::new(false),
            tasks: Mutex::default(),
            writers: wished.min(arguments.clients / 2),
            struck: OnceLock::new(),
            strike_error: OnceLock::new(),
        }
    }

    /// Somebody takes part from now on, and is to sign in at this moment.
    pub(super) fn enter(self: &Arc<Self>, index: usize, identity: Identity, due: Instant) {
        // Each index enters once.
        let _ = self.people[index].account.set(identity.account);
        lock(&self.tasks).spawn(person::live(Arc::clone(self), index, identity, due));
    }

    /// What is counted.
    pub(super) fn figures(&self) -> MutexGuard<'_, Figures> {
        lock(&self.figures)
    }

    pub(super) fn phase(&self, phase: &'static str) {
        self.figures().phase = phase;
    }

    /// A session is up, or no longer.
    pub(super) fn count_session(&self, up: bool) {
        if up {
            self.signed_in.fetch_add(1, Ordering::Relaxed);
        } else {
            self.signed_in.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn signed_in(&self) -> usize {
        self.signed_in.load(Ordering::Relaxed)
    }

    /// Somebody is there and has taken in what was waiting, for the first time.
    pub(super) fn count_ready(&self) {
        self.complete.send_modify(|ready| *ready += 1);
    }

    /// Waits until everybody is there.
    pub(super) async fn complete(&self) {
        let mut ready = self.complete.subscribe();
        // The sender lives as long as this.
        let _ = ready.wait_for(|ready| *ready >= self.people.len()).await;
    }

    /// Pairs that call or write.
    fn busy(&self) -> impl Iterator<Item = usize> + use<> {
        let pairs = self.people.len() / 2;
        let (calls, idle) = (self.calls.count, pairs - self.writers);
        (0..calls).chain(idle.max(calls)..pairs)
    }

    /// Pairs that write.
    pub(super) fn writing(&self) -> Vec<usize> {
        let pairs = self.people.len() / 2;
        (pairs - self.writers..pairs).filter(|pair| self.people[2 * pair].conversation.get().is_some()).collect()
    }

    /// Pairs that met.
    pub(super) fn pairs(&self) -> usize {
        self.people.iter().step_by(2).filter(|person| person.conversation.get().is_some()).count()
    }

    /// Those that are to call or write become contacts, with a conversation.
    pub(super) async fn meet(self: &Arc<Self>) -> Result<(), Failure> {
        let at_once = Arc::new(Semaphore::new(MEET_AT_ONCE));
        let mut meetings = JoinSet::new();
        for pair in self.busy() {
            let (crowd, at_once) = (Arc::clone(self), Arc::clone(&at_once));
            meetings.spawn(async move {
                let _permit = at_once.acquire().await;
                match timeout(MEET_WITHIN, crowd.meet_pair(pair)).await {
                    Ok(result) => result.map_err(|error| error.to_string()),
                    Err(_) => Err("they have not become contacts within a minute".to_owned()),
                }
            });
        }
        let (mut met, mut last) = (0, None);
        while let Some(result) = meetings.join_next().await {
            match result {
                Ok(Ok(())) => met += 1,
                Ok(Err(error)) => last = Some(error),
                Err(panic) => last = Some(panic.to_string()),
            }
        }
        match last {
            Some(why) if met == 0 => {
                let text = format!("no two clients can speak to each other: {why}");
                Err(Failure::new(Exit::Other, "load", text, "Try with --clients 2, and look at `ahoyd`'s log."))
            }
            _ => Ok(()),
        }
    }

    async fn meet_pair(&self, pair: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
        let [one, other] = [2 * pair, 2 * pair + 1].map(|index| &self.people[index]);
        let signed_in = |person: &Person| person.client().ok_or_else(|| format!("{} is not signed in", person.name));
        let (client, invited) = (signed_in(one)?, signed_in(other)?);
        client.request_contact(&other.name, "").await?;
        let mut changes = one.changes.subscribe();
        while client.contact(&other.name).await?.is_none_or(|contact| contact.state != ContactState::Accepted) {
            // The sender lives as long as the crowd.
            let _ = changes.changed().await;
        }
        let conversation = client.conversation_with(&other.name).await?;
        let mut changes = other.changes.subscribe();
        loop {
            let known = invited.conversations().await?;
            let is_there = |kind: &Kind| matches!(kind, Kind::Pair(account, _) if Some(account) == one.account.get());
            if known.iter().any(|entry| is_there(&entry.summary.kind)) {
                break;
            }
            let _ = changes.changed().await;
        }
        // A pair meets once.
        let _ = (one.conversation.set(conversation), other.conversation.set(conversation));
        Ok(())
    }

    /// From now on there are calls.
    pub(super) fn begin(&self, begin: Instant, end: Instant) {
        self.span.send_replace(Some((begin, end)));
    }

    /// When the load begins and ends, once that is known.
    pub(super) fn span(&self) -> watch::Receiver<Option<(Instant, Instant)>> {
        self.span.subscribe()
    }

    /// Everybody is to go.
    pub(super) fn stop(&self) {
        self.stopped.send_replace(true);
    }

    pub(super) fn stopped(&self) -> watch::Receiver<bool> {
        self.stopped.subscribe()
    }

    /// Waits until everybody has said goodbye.
    pub(super) async fn gone(&self) {
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        // Whoever can't say it is found out by the supernode.
        let _ = timeout(GONE_WITHIN, async { while tasks.join_next().await.is_some() {} }).await;
        if let Some(sockets) = &self.options.sockets {
            let _ = timeout(LAST_WORD, sockets.flush_closes()).await;
        }
    }

    /// Waits until all messages have come that are on their way, and all calls are over.
    pub(super) async fn settled(&self) {
        self.letters.settled().await;
        while self.people.iter().any(|person| person.call().is_some()) {
            sleep(LOOK_EVERY).await;
        }
    }

    /// Something was done to the network at this moment.
    pub(super) fn struck_now(&self) {
        let _ = self.struck.set(Instant::now());
    }

    /// What was to be done has failed.
    pub(super) fn strike_failed(&self, why: String) {
        let _ = self.strike_error.set(why);
    }

    pub(super) fn struck(&self) -> Option<Instant> {
        self.struck.get().copied()
    }

    /// When one of the two of a pair noticed that something is wrong, first of all times since then.
    pub(super) fn noticed(&self, index: usize, since: Instant) -> Option<Instant> {
        let notices = [index, index ^ 1].map(|index| {
            let notices = lock(&self.people[index].notices);
            notices.iter().copied().filter(|at| *at >= since).min()
        });
        notices.into_iter().flatten().min()
    }

    /// What has happened since this was asked last.
    pub(super) fn second(&self) -> Second {
        let (mut sent, mut received) = (BTreeMap::new(), BTreeMap::new());
        for (index, person) in self.people.iter().enumerate().take(2 * self.calls.count) {
            let (Some(call), Some(client)) = (person.call(), person.client()) else { continue };
            if let Some(statistics) = client.statistics(call) {
                sent.insert(index, statistics.sent);
                received.insert(index, statistics.received);
            }
        }
        let (signed_in, letters) = (self.signed_in(), self.letters.counts());
        self.figures().second(signed_in, letters, sent.values().sum(), received.values().sum())
    }

    /// All that was counted.
    pub(super) fn result(&self, interrupted: bool) -> Outcome {
        Outcome {
            interrupted,
            signed_in: *self.complete.borrow(),
            letters: self.letters.counts(),
            figures: self.figures().clone(),
            struck: self.struck().is_some(),
            strike_error: self.strike_error.get().cloned(),
        }
    }
}

impl Person {
    pub(super) fn client(&self) -> Option<Arc<Client>> {
        lock(&self.client).clone()
    }

    /// It is signed in with this, or with nothing any more.
    pub(super) fn set_client(&self, client: Option<Arc<Client>>) {
        *lock(&self.client) = client;
    }

    pub(super) fn conversation(&self) -> Option<ConversationId> {
        self.conversation.get().copied()
    }

    pub(super) fn has_changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn call(&self) -> Option<CallId> {
        *lock(&self.call)
    }

    pub(super) fn set_call(&self, call: Option<CallId>) {
        *lock(&self.call) = call;
    }

    /// It noticed now that something is wrong.
    pub(super) fn notices(&self, now: Instant) {
        let mut notices = lock(&self.notices);
        notices.retain(|at| now.saturating_duration_since(*at) < NOTICES_KEPT);
        notices.push(now);
    }
}

/// Whoever panics leaves whole values behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
