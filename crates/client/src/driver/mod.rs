//! The tokio driver around a [`Member`]: links, timers, storage, voice.
//!
//! [`Client::start`] signs in and leaves one task that owns the member, the profile and the session; the [`Client`] sends it commands,
//! [`Events`] tell what happens. The task reconnects by itself, after random waits, unless another process has signed in with a copy of the
//! profile. All queues are bounded; every method may be cancelled: what it asked for is then done all the same, and nobody hears what came of
//! it.
//!
//! What is known at one moment (contacts, conversations, history) is read by methods such as [`Client::conversations`]; what changes after
//! that moment comes as events. Whoever takes events too slowly gets [`Event::Behind`] in place of those changes, and reads again.

mod backoff;
mod connect;
mod devices;
mod events;
mod fleet;
mod order;
mod people;
mod renewal;
mod run;
mod talk;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use ahoy_proto::{AccountId, CallId, ConversationId, DeviceId, Name, SupernodeId, v1};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::account::AccountError;
use crate::audio::SinkError;
use crate::member::{
    Answer, Change, CommandError, Contact, Ending, Member, Person, Presence, Refusal, Settings, SignInError, Summary,
    Ticket,
};
use crate::profile::{Profile, ProfileError};
use crate::voice::{CallStatistics, Speaker};

use order::{Order, View};

pub use ahoy_net::SharedSockets;
pub use connect::ConnectError;
pub use devices::Device;
pub use events::Events;
pub use talk::{Conversation, Draft, Receipt, Sent};

/// Commands under way; a person gives one at a time.
const COMMANDS: usize = 16;

/// Events not yet taken. A call has about ten, and there may be 64; whoever leaves three quarters of them lying reads again what can be
/// read again, and whoever leaves this many lying has stopped listening, and loses the newest.
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
    /// UDP sockets that this client shares with others of the process; `None`: a socket for each of its links.
    pub sockets: Option<SharedSockets>,
    /// What links travel by.
    pub transport: Transport,
}

/// What links travel by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// QUIC, and WebSocket where no UDP gets through; QUIC is looked for again with each link.
    #[default]
    Auto,
    /// QUIC.
    Quic,
    /// WebSocket: TCP, where voice waits for what is lost, and without the supernode's own key.
    WebSocket,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            supernode: None,
            key_log: false,
            calls_max: NonZeroUsize::MIN,
            sockets: None,
            transport: Transport::Auto,
        }
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
    /// More commands wait for their answers than are kept.
    #[error("too many commands wait for their answers: try again later")]
    Busy,
    /// This profile is a copy, or comes from a backup: its keys must not be used any more. Sign in anew, on a fresh profile.
    #[error("this profile is a copy or comes from a backup, and can't be used any more: sign in anew")]
    StateTooOld,
    /// Another process has signed in with this device's keys, from a copy of the profile: this one does not take the session back.
    #[error("another process has signed in as this device, with a copy of this profile")]
    Replaced,
    /// The client's task has ended; the last event said why.
    #[error("the client has stopped")]
    Stopped,
}

/// Where the session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Online {
    /// The address that was reached.
    pub address: String,
    /// Whether the link is a WebSocket, because no UDP gets through or it was asked for.
    pub by_web_socket: bool,
    /// Whose it is.
    pub supernode: SupernodeId,
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
    /// A session is up, for the first time, again, or elsewhere: the network moves sessions between supernodes, and nothing is lost then.
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
        /// The owner does not want to be disturbed: show it, without ringing aloud.
        quiet: bool,
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
    /// A contact is there, or is otherwise than before; with [`ContactState::None`](crate::member::ContactState::None) it is gone.
    Contact(Contact),
    /// The presence of a contact.
    Presence {
        /// Whose.
        account: AccountId,
        /// What others are to see.
        presence: Presence,
    },
    /// The account's settings, as they are from now on.
    Settings(Settings),
    /// A conversation is there, or is otherwise than before: its title, members, standing.
    Conversation(Summary),
    /// This account is not in a conversation any more.
    ConversationLeft {
        /// Which.
        conversation: ConversationId,
        /// By whom: `None`, by this account itself, or the group is gone.
        by: Option<AccountId>,
    },
    /// What was said in a conversation has changed, durably.
    History {
        /// Which.
        conversation: ConversationId,
        /// How. Changes that have no effect, such as an edit by somebody else, are not told.
        change: Change,
        /// The change's number; see [`Client::lines_after`].
        local: u64,
    },
    /// How far another device has received and read.
    Receipt {
        /// Which conversation.
        conversation: ConversationId,
        /// Whose.
        account: AccountId,
        /// Received up to this sequence number; 0: not told.
        delivered: u64,
        /// Read up to this sequence number; 0: not told.
        read: u64,
    },
    /// Somebody types, or no longer.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// Who.
        account: AccountId,
        /// Or no longer.
        typing: bool,
    },
    /// A device of this account that was not known here stands in a conversation. If its owner did not sign it in, the password is known to
    /// somebody else.
    NewOwnDevice {
        /// Which.
        device: DeviceId,
    },
    /// Too many events were waiting: changes of contacts, settings, conversations, history and receipts were left out. Read them again
    /// (see [`Client::lines_after`] for the history); what happens after this event was taken is told again.
    Behind,
    /// The client has stopped and can't go on.
    Stopped(ClientError),
}

enum Command {
    Call { name: Name, speaker: Speaker, reply: oneshot::Sender<Result<CallId, CommandError>> },
    Answer { call: CallId, speaker: Speaker, reply: oneshot::Sender<Result<(), CommandError>> },
    Decline { call: CallId, cause: v1::Cause, reply: oneshot::Sender<Result<(), CommandError>> },
    HangUp { call: CallId, reply: oneshot::Sender<Result<(), CommandError>> },
    Order(Order),
}

/// A signed-in device. Dropping it hangs up and closes the session without waiting; [`close`](Self::close) waits.
pub struct Client {
    commands: mpsc::Sender<Command>,
    statistics: watch::Receiver<BTreeMap<CallId, CallStatistics>>,
    own: Person,
    online: Online,
    task: JoinHandle<()>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("online", &self.online).finish_non_exhaustive()
    }
}

impl Client {
    /// Signs in to a supernode and goes on from what the profile keeps.
    ///
    /// # Errors
    /// When nobody is signed in with the profile, or no session comes about.
    pub async fn start(profile: Profile, options: ClientOptions) -> Result<(Self, Events), ClientError> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (events, told) = events::queue();
        let (statements, statistics) = watch::channel(BTreeMap::new());
        let driver = run::Driver::start(profile, options, events, statements).await?;
        let (own, online) = (driver.own(), driver.online());
        let task = tokio::spawn(driver.run(inbox));
        Ok((Self { commands, statistics, own, online, task }, told))
    }

    /// Whose device this is.
    pub fn own(&self) -> &Person {
        &self.own
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
        match self.order(move |member, ticket, now| member.verify(&name, ticket, now)).await? {
            Answer::Comparison(code) => Ok(code),
            other => unreachable!("it is answered by a comparison code, not by {other:?}"),
        }
    }

    /// Accepts the changed account key that [`Event::AccountKeyChanged`] announced.
    ///
    /// # Errors
    /// When no change was announced for this name.
    pub async fn accept_key(&self, name: Name) -> Result<(), ClientError> {
        Ok(self.act(move |member, now| member.accept_key(&name, now)).await??)
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

    /// Gives the member a command, and waits for what comes of it.
    async fn order(
        &self,
        give: impl FnOnce(&mut Member, Ticket, Instant) -> Result<(), CommandError> + Send + 'static,
    ) -> Result<Answer, ClientError> {
        self.ask(|reply| Command::Order(Order::Give(Box::new(give), reply))).await?
    }

    /// Gives the member a command that has a result at once, and waits until what it changed is durable.
    async fn act<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Member, Instant) -> T + Send + 'static,
    ) -> Result<T, ClientError> {
        self.ask(|reply| {
            Command::Order(Order::Act(Box::new(move |member, now| {
                let result = act(member, now);
                // Whoever asked may have gone meanwhile.
                Box::new(move || drop(reply.send(result)))
            })))
        })
        .await
    }

    /// Reads what is known at this moment.
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View<'_>) -> T + Send + 'static,
    ) -> Result<T, ClientError> {
        self.ask(|reply| Command::Order(Order::Look(Box::new(move |view| drop(reply.send(look(view))))))).await
    }
}

impl From<SignInError> for ClientError {
    fn from(error: SignInError) -> Self {
        Self::Connect(error.into())
    }
}
