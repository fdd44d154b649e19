//! One client of the crowd: signs in when it is due, answers whoever asks or calls, calls when it is its turn, and tells the figures what
//! happens to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ahoy_client::driver::{Client, ClientError, ConnectError, Event, Events};
use ahoy_client::member::{Change, ContactState, Ending, Message, MessageBody, SignInError};
use ahoy_client::profile::{Identity, LINES_MAX, Profile};
use ahoy_client::voice::Speaker;
use ahoy_proto::{AccountId, CallId};
use tokio::time::{sleep, sleep_until, timeout};

use super::crowd::Crowd;

/// Ceiling of the first wait after a sign-in that failed; it doubles up to [`WAIT_MAX`], with full jitter, as the SDK's does.
const WAIT_FIRST: Duration = Duration::from_millis(500);

const WAIT_MAX: Duration = Duration::from_secs(30);

/// All calls begin within this part of the load.
const CALLS_BEGIN_WITHIN: f64 = 0.2;

/// And within this time at most.
const CALLS_BEGIN_WITHIN_MAX: Duration = Duration::from_secs(20);

/// Between two calls of a pair.
const PAUSE: Duration = Duration::from_secs(1);

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(5);

/// The caller's side of a pair's calls.
#[derive(Debug, Clone, Copy)]
enum Calling {
    /// Not this one, or not any more.
    Never,
    Due(Instant),
    Placed {
        call: CallId,
        due: Instant,
    },
    Up {
        call: CallId,
        until: Option<Instant>,
    },
}

struct Living {
    crowd: Arc<Crowd>,
    index: usize,
    account: AccountId,
    client: Arc<Client>,
    calling: Calling,
    /// Ended by this side.
    hanging_up: bool,
    ready: bool,
    /// Since when the session is lost.
    lost: Option<Instant>,
    read_to: ReadTo,
    /// When the load ends, once it has begun.
    end: Option<Instant>,
}

/// The last change of the history that was read.
#[derive(Debug, Default)]
struct ReadTo(u64);

impl ReadTo {
    /// Whether a change comes for the first time: what was read from the history while its event was in the queue comes once more.
    fn advance(&mut self, local: u64) -> bool {
        let is_new = local > self.0;
        self.0 = self.0.max(local);
        is_new
    }
}

/// Takes part until everybody is to go.
pub(super) async fn live(crowd: Arc<Crowd>, index: usize, identity: Identity, due: Instant) {
    let mut stopped = crowd.stopped();
    let account = identity.account;
    let signed_in = tokio::select! {
        signed_in = sign_in(&crowd, identity, due) => signed_in,
        _ = stopped.wait_for(|stopped| *stopped) => None,
    };
    let Some((client, mut events)) = signed_in else { return };
    let client = Arc::new(client);
    crowd.people[index].set_client(Some(Arc::clone(&client)));
    let mut living = Living {
        crowd: Arc::clone(&crowd),
        index,
        account,
        client,
        calling: Calling::Never,
        hanging_up: false,
        ready: false,
        lost: None,
        read_to: ReadTo::default(),
        end: None,
    };
    tokio::select! {
        () = living.run(&mut events) => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    if living.lost.is_none() {
        crowd.count_session(false);
    }
    crowd.people[index].set_client(None);
    drop(living);
    // It ends with its last owner, and its events end with it.
    let _ = timeout(GOODBYE, async { while events.next().await.is_some() {} }).await;
}

/// Signs in, again and again until it succeeds; `None` where it never will.
async fn sign_in(crowd: &Crowd, identity: Identity, due: Instant) -> Option<(Client, Events)> {
    sleep_until(due.into()).await;
    let mut ceiling = WAIT_FIRST;
    loop {
        let profile = Profile::in_memory();
        profile.keep(&identity).ok()?;
        match Client::start(profile, crowd.options.clone()).await {
            Ok(started) => {
                crowd.count_session(true);
                crowd.figures().sign_in.record(due.elapsed());
                return Some(started);
            }
            Err(error) => {
                tracing::debug!(%error, "a client of the load is not signed in");
                crowd.figures().count_failed_sign_in(&error);
                sleep(retry_after(&error) + ceiling.mul_f64(rand::random())).await;
                ceiling = (2 * ceiling).min(WAIT_MAX);
            }
        }
    }
}

fn retry_after(error: &ClientError) -> Duration {
    match error {
        ClientError::Connect(ConnectError::SignIn(SignInError::Refused { retry_after_ms, .. })) => {
            Duration::from_millis((*retry_after_ms).into()).min(10 * WAIT_MAX)
        }
        _ => Duration::ZERO,
    }
}

impl Living {
    async fn run(&mut self, events: &mut Events) {
        let mut span = self.crowd.span();
        loop {
            let next = match self.calling {
                Calling::Due(at) | Calling::Up { until: Some(at), .. } => Some(at),
                Calling::Never | Calling::Placed { .. } | Calling::Up { until: None, .. } => None,
            };
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.handle(event).await,
                    None => return,
                },
                () = reached(next) => self.act().await,
                _ = span.changed(), if self.end.is_none() => {
                    let Some((begin, last)) = *span.borrow_and_update() else { continue };
                    self.end = Some(last);
                    self.take_turn(begin, last);
                }
            }
        }
    }

    /// The first of each pair that calls is its caller.
    fn take_turn(&mut self, begin: Instant, end: Instant) {
        let calls = self.crowd.calls.count;
        let pair = self.index / 2;
        if self.index.is_multiple_of(2) && pair < calls && self.crowd.people[self.index].conversation().is_some() {
            let within = (end - begin).mul_f64(CALLS_BEGIN_WITHIN).min(CALLS_BEGIN_WITHIN_MAX);
            self.calling = Calling::Due(begin + within.mul_f64(pair as f64 / calls as f64));
        }
    }

    /// A call is to be placed, or to end.
    async fn act(&mut self) {
        match self.calling {
            Calling::Due(due) if self.end.is_some_and(|end| due >= end) => self.calling = Calling::Never,
            Calling::Due(due) => {
                let peer = self.crowd.people[self.index ^ 1].name.clone();
                self.crowd.figures().calls_due += 1;
                self.calling = match self.client.call(peer, Speaker::Pace).await {
                    Ok(call) => Calling::Placed { call, due },
                    Err(error) => {
                        tracing::debug!(%error, "a call of the load was not placed");
                        self.crowd.figures().calls_failed += 1;
                        Calling::Due(Instant::now() + PAUSE)
                    }
                };
            }
            Calling::Up { call, .. } => {
                self.hanging_up = true;
                self.calling = Calling::Up { call, until: None };
                // It may have ended this very moment, which is told.
                let _ = self.client.hang_up(call).await;
            }
            Calling::Never | Calling::Placed { .. } => {}
        }
    }

    async fn handle(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Ready if !std::mem::replace(&mut self.ready, true) => self.crowd.count_ready(),
            Event::LinkLost => self.handle_lost(now),
            Event::LinkUp(_) => self.handle_up(now),
            Event::Contact(contact) => {
                if contact.state == ContactState::Asks {
                    // Whoever can't be answered asks in vain, and the pair is told apart.
                    let _ = self.client.answer_contact(&contact.person.name, true).await;
                }
                self.crowd.people[self.index].has_changed();
            }
            Event::Conversation(_) => self.crowd.people[self.index].has_changed(),
            Event::Incoming { call, .. } => {
                // It may have ended this very moment.
                let _ = self.client.answer(call, Speaker::Pace).await;
            }
            Event::Connected { call, .. } => self.handle_connected(call, now),
            Event::Voice { silent, .. } => self.handle_voice(silent, now),
            Event::PeerLost { .. } => self.crowd.people[self.index].notices(now),
            Event::Ended { call, ending, statistics } => {
                if let Some(statistics) = statistics {
                    self.crowd.figures().count_voice(&statistics);
                }
                self.handle_ended(call, ending, now);
            }
            Event::History { change, local, .. } => {
                if self.read_to.advance(local)
                    && let Change::Put(message) = change
                {
                    self.read(&message, now);
                }
            }
            Event::Behind => {
                self.catch_up(now).await;
                self.crowd.people[self.index].has_changed();
            }
            Event::Stopped(error) => {
                tracing::warn!(%error, "a client of the load has stopped");
                self.crowd.figures().stopped += 1;
            }
            _ => {}
        }
    }

    fn handle_lost(&mut self, now: Instant) {
        self.lost = Some(now);
        self.crowd.count_session(false);
        self.crowd.people[self.index].notices(now);
        let mut figures = self.crowd.figures();
        figures.lost += 1;
        if let Some(struck) = self.crowd.struck() {
            figures.notice_after_strike.record(now - struck);
        }
    }

    fn handle_up(&mut self, now: Instant) {
        let mut figures = self.crowd.figures();
        let Some(lost) = self.lost.take() else {
            figures.moved += 1;
            return;
        };
        self.crowd.count_session(true);
        figures.back.record(now - lost);
        if let Some(struck) = self.crowd.struck() {
            figures.back_after_strike.record(now - struck);
        }
    }

    fn handle_connected(&mut self, call: CallId, now: Instant) {
        self.crowd.people[self.index].set_call(Some(call));
        if let Calling::Placed { call: placed, due } = self.calling
            && placed == call
        {
            let until = self.crowd.calls.length.map(|length| now + length);
            self.calling = Calling::Up { call, until: until.into_iter().chain(self.end).min() };
            let mut figures = self.crowd.figures();
            figures.call_setup.record(now - due);
            figures.calls_up += 1;
        }
    }

    /// Zero is the first packet of a call; others come after a pause, or on a new leg.
    fn handle_voice(&self, silent: Duration, now: Instant) {
        if silent.is_zero() {
            return;
        }
        let since = now.checked_sub(silent).unwrap_or(now);
        let noticed = self.crowd.noticed(self.index, since);
        let mut figures = self.crowd.figures();
        figures.voice_gap.record(silent);
        if let Some(noticed) = noticed {
            figures.voice_notice.record(noticed - since);
            figures.voice_gap_from_notice.record(now - noticed);
        }
    }

    fn handle_ended(&mut self, call: CallId, ending: Ending, now: Instant) {
        let person = &self.crowd.people[self.index];
        if person.call() == Some(call) {
            person.set_call(None);
        }
        let wished = std::mem::take(&mut self.hanging_up);
        let mut figures = self.crowd.figures();
        self.calling = match self.calling {
            Calling::Up { call: up, .. } if up == call => {
                figures.calls_up -= 1;
                if !wished {
                    tracing::debug!(?ending, "a call of the load has ended by itself");
                    figures.calls_dropped += 1;
                }
                Calling::Due(now + PAUSE)
            }
            Calling::Placed { call: placed, .. } if placed == call => {
                tracing::debug!(?ending, "a call of the load was not answered");
                figures.calls_failed += 1;
                Calling::Due(now + PAUSE)
            }
            other => other,
        };
    }

    fn read(&self, message: &Message, now: Instant) {
        if message.account == self.account {
            return;
        }
        if let MessageBody::Text { text, .. } = &message.body
            && let Some(took) = self.crowd.letters.received(text, now)
        {
            self.crowd.figures().record_message(took);
        }
    }

    /// Reads what was left out of the events.
    async fn catch_up(&mut self, now: Instant) {
        let seen = self.read_to.0;
        while let Ok(lines) = self.client.lines_after(self.read_to.0, LINES_MAX).await {
            let Some((_, last)) = lines.last() else { return };
            self.read_to.advance(last.local);
            for (_, line) in lines.iter().filter(|(_, line)| line.arrived() > seen) {
                self.read(&line.message, now);
            }
        }
    }
}

async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_while_catching_up_is_not_taken_again_from_its_event() {
        let mut read_to = ReadTo::default();
        assert!(read_to.advance(1));
        // Read from the history, up to here.
        assert!(read_to.advance(4));
        // These were in the queue meanwhile.
        assert!(!read_to.advance(3) && !read_to.advance(4));
        assert!(read_to.advance(5));
    }
}
