//! The tokio driver around a [`Member`](crate::member::Member): links, timers, storage, voice.
//!
//! [`Client::start`] signs in and leaves one task that owns the member, the profile and the session; the [`Client`] sends it commands,
//! [`Events`] tell what happens. The task reconnects by itself. All queues are bounded; every method may be cancelled.

mod backoff;
mod connect;
mod renewal;
mod run;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use ahoy_proto::{CallId, Name, v1};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::account::AccountError;
use crate::audio::SinkError;
use crate::member::{CommandError, Ending, Person, Refusal, SignInError};
use crate::profile::{Profile, ProfileError};
use crate::voice::{CallStatistics, Speaker};

pub use connect::ConnectError;

/// Commands under way; a person gives one at a time.
const COMMANDS: usize = 16;

/// Events not yet taken. A call has about ten, and there may be 64; whoever leaves this many lying has stopped listening, and loses the newest.
const EVENTS: usize = 1024;

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Dial here (`host:port`) in place of the roster's addresses; the key stays the roster's.
    pub supernode: Option<String>,
    /// Write TLS secrets to the file that `SSLKEYLOGFILE` names.
    pub key_log: bool,
    /// Calls that this device takes at once, at most; whoever calls beyond that is told BUSY.
    pub calls_max: NonZeroUsize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { supernode: None, key_log: false, calls_max: NonZeroUsize::MIN }
    }
}

/// Why a client can't be started, or has stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody is signed in with this profile.
    #[error("nobody is signed in with this profile")]
    NotSignedIn,
    /// The authority is not there or refuses.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// No session with a supernode.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The profile can't be read or written.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A command was not taken up.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// What was asked did not come about.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The client's task has ended; the last event said why.
    #[error("the client has stopped")]
    Stopped,
}

/// Where the session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Online {
    /// The address that was reached.
    pub address: String,
    /// The operator's word for where the supernode stands.
    pub region: String,
    /// Smoothed round-trip time.
    pub round_trip: Duration,
    /// The supernode's clock minus ours.
    pub skew_ms: i64,
}

/// Something happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A session is up, for the first time or again.
    LinkUp(Online),
    /// The session is lost, or nothing is heard of it; the client is reconnecting.
    LinkLost,
    /// Everything waiting is taken in: this device can be called.
    Ready,
    /// A device of the person called rings.
    Ringing(CallId),
    /// Somebody calls.
    Incoming {
        /// The call.
        call: CallId,
        /// Who calls, proven.
        from: Person,
    },
    /// The call is answered.
    Connected {
        /// The call.
        call: CallId,
        /// The other side.
        peer: Person,
    },
    /// A voice packet opened: the first of the call (zero), the first since the other side attached anew, or one after a pause of
    /// 200 ms or more.
    Voice {
        /// The call.
        call: CallId,
        /// How long nothing came.
        silent: Duration,
    },
    /// Everything that was to be played is played; silence follows.
    SourceEnded {
        /// The call.
        call: CallId,
    },
    /// Nothing more is recorded or played here; the call goes on.
    SinkFailed {
        /// The call.
        call: CallId,
        /// Why.
        error: SinkError,
    },
    /// The other side lost its link; it may return within 10 s.
    PeerLost {
        /// The call.
        call: CallId,
    },
    /// The call is over, or never came about.
    Ended {
        /// The call.
        call: CallId,
        /// Why.
        ending: Ending,
        /// How it was, if it was answered.
        statistics: Option<CallStatistics>,
    },
    /// The account key of a name is not the pinned one; see [`Client::accept_key`].
    AccountKeyChanged(Name),
    /// The client has stopped and can't go on.
    Stopped(ClientError),
}

enum Command {
    Call { name: Name, speaker: Speaker, reply: oneshot::Sender<Result<CallId, CommandError>> },
    Answer { call: CallId, speaker: Speaker, reply: oneshot::Sender<Result<(), CommandError>> },
    Decline { call: CallId, cause: v1::Cause, reply: oneshot::Sender<Result<(), CommandError>> },
    HangUp { call: CallId, reply: oneshot::Sender<Result<(), CommandError>> },
    Verify { name: Name, reply: oneshot::Sender<Result<String, ClientError>> },
    AcceptKey { name: Name, reply: oneshot::Sender<Result<(), CommandError>> },
    SetCallsFrom { calls_from: v1::CallsFrom, reply: oneshot::Sender<Result<(), ClientError>> },
}

/// A signed-in device. Dropping it hangs up and closes the session without waiting; [`close`](Self::close) waits.
pub struct Client {
    commands: mpsc::Sender<Command>,
    statistics: watch::Receiver<BTreeMap<CallId, CallStatistics>>,
    online: Online,
    task: JoinHandle<()>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("online", &self.online).finish_non_exhaustive()
    }
}

/// What happens to a client, in order.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Event>);

impl Events {
    /// The next event; `None` when the client has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}

impl Client {
    /// Signs in to a supernode and goes on from what the profile keeps.
    ///
    /// # Errors
    /// When nobody is signed in with the profile, or no session comes about.
    pub async fn start(profile: Profile, options: ClientOptions) -> Result<(Self, Events), ClientError> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (events, told) = mpsc::channel(EVENTS);
        let (statements, statistics) = watch::channel(BTreeMap::new());
        let driver = run::Driver::start(profile, options, events, statements).await?;
        let online = driver.online();
        let task = tokio::spawn(driver.run(inbox));
        Ok((Self { commands, statistics, online, task }, Events(told)))
    }

    /// Where the first session was.
    pub fn online(&self) -> &Online {
        &self.online
    }

    /// How the voice of a call fares that is answered; stated every 200 ms.
    pub fn statistics(&self, call: CallId) -> Option<CallStatistics> {
        self.statistics.borrow().get(&call).copied()
    }

    /// Calls somebody. What comes of it is told by events.
    ///
    /// # Errors
    /// When there is no session, this device takes no more calls, or the name is one's own.
    pub async fn call(&self, name: Name, speaker: Speaker) -> Result<CallId, ClientError> {
        Ok(self.ask(|reply| Command::Call { name, speaker, reply }).await??)
    }

    /// Answers an incoming call.
    ///
    /// # Errors
    /// When it does not ring any more, or there is no session.
    pub async fn answer(&self, call: CallId, speaker: Speaker) -> Result<(), ClientError> {
        Ok(self.ask(|reply| Command::Answer { call, speaker, reply }).await??)
    }

    /// Declines an incoming call, on behalf of all devices of the account.
    ///
    /// # Errors
    /// When it does not ring any more, or there is no session.
    pub async fn decline(&self, call: CallId, cause: v1::Cause) -> Result<(), ClientError> {
        Ok(self.ask(|reply| Command::Decline { call, cause, reply }).await??)
    }

    /// Ends a call, answered or not.
    ///
    /// # Errors
    /// When there is no such call.
    pub async fn hang_up(&self, call: CallId) -> Result<(), ClientError> {
        Ok(self.ask(|reply| Command::HangUp { call, reply }).await??)
    }

    /// The comparison code with somebody: 12 groups of 5 digits.
    ///
    /// # Errors
    /// When nobody has this name, its key has changed, or there is no session.
    pub async fn verify(&self, name: Name) -> Result<String, ClientError> {
        self.ask(|reply| Command::Verify { name, reply }).await?
    }

    /// Accepts the changed account key that [`Event::AccountKeyChanged`] announced.
    ///
    /// # Errors
    /// When no change was announced for this name.
    pub async fn accept_key(&self, name: Name) -> Result<(), ClientError> {
        Ok(self.ask(|reply| Command::AcceptKey { name, reply }).await??)
    }

    /// Says who may ring this account.
    ///
    /// # Errors
    /// When there is no session, or the supernode refuses.
    pub async fn set_calls_from(&self, calls_from: v1::CallsFrom) -> Result<(), ClientError> {
        self.ask(|reply| Command::SetCallsFrom { calls_from, reply }).await?
    }

    /// Hangs up all calls, waits until the supernode knows (for a second at most), and closes the session.
    pub async fn close(self) {
        drop(self.commands);
        // The task ends by itself; a panic in it has been reported already.
        let _ = self.task.await;
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, ClientError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| ClientError::Stopped)?;
        answer.await.map_err(|_| ClientError::Stopped)
    }
}

impl From<SignInError> for ClientError {
    fn from(error: SignInError) -> Self {
        Self::Connect(error.into())
    }
}
