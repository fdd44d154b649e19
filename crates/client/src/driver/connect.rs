//! From a roster to a session: dial, prove, be welcome.
//!
//! Supernodes are tried in the order of their placement, each with a head start over the next; the first that welcomes us is taken. One
//! proof at a time: a device has one session, and the newer of two replaces the other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ahoy_net::{ClientLink, DialError, DialOptions, LinkEnd, SharedSockets, WebSocketUse, dial};
use ahoy_proto::document::RosterEntry;
use ahoy_proto::limits::PROOF_TIMEOUT;
use ahoy_proto::{SupernodeId, UnixTime, frame, v1};
use ed25519_dalek::VerifyingKey;
use prost::Message;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::Transport;
use super::fleet::Fleet;
use crate::AGENT;
use crate::member::{Identity, SignIn, SignInError, SignInStep};

/// How an attempt goes about it.
struct Pace {
    /// Head start of one supernode over the next.
    every: Duration,
    /// How long one may take to answer at all.
    dial: Duration,
    /// How long one may take over the proof.
    proof: Duration,
}

/// Outside of a call: nearly every supernode that lives answers within a second, and then it is the only one that is dialled.
const LEISURELY: Pace = Pace { every: Duration::from_secs(1), dial: Duration::from_secs(5), proof: PROOF_TIMEOUT };

/// In a call: a new attempt every 350 ms, each for 2 s (a handshake at a round trip of 900 ms). With three of them and QUIC's own
/// repeats a first packet goes out at least every 400 ms, so a supernode that is back hears of us within that; with two dead ones
/// among the three, the third is dialled after 700 ms, or 500 where the first has fallen silent.
const IN_CALL: Pace =
    Pace { every: Duration::from_millis(350), dial: Duration::from_secs(2), proof: Duration::from_secs(2) };

/// Head start of a supernode whose link has fallen silent: it is most often dead. A round trip that is longer costs the next one a
/// handshake for nothing.
const SILENT_HEAD_START: Duration = Duration::from_millis(150);

/// Head start of QUIC over a WebSocket: where nobody knows yet whether UDP gets through, two round trips of 300 ms, and as much again for a
/// packet that was lost …
const QUIC_HEAD_START: Duration = Duration::from_millis(1_200);

/// … where the last session was by WebSocket, one handshake …
const QUIC_SECOND_CHANCE: Duration = Duration::from_millis(600);

/// … and where the last was by QUIC, the first repeats of its packets: a supernode that is dead for a moment is no reason to leave UDP.
const QUIC_HEAD_START_KNOWN: Duration = Duration::from_secs(3);

/// Dials in a call that came to nothing before UDP counts as blocked although it was not: 2 s, of the 10 s that a leg is waited for.
const DIALS_IN_VAIN: usize = 6;

/// Dials at the same time, at most.
const DIALS_MAX: usize = 3;

/// Supernodes tried in one attempt outside of a call: 8 dead ones are 11 s, and then there is a pause.
const TRIES_MAX: usize = 8;

/// Supernodes tried in a call: as many as are dialled at the same time.
pub(super) const CALL_SUPERNODES: usize = DIALS_MAX;

/// How long a survey waits for the others once the first has answered. Those that are farther by more than that are not what is sought.
const SURVEY_WAIT: Duration = Duration::from_millis(300);

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The roster lists no supernode.
    #[error("the network's roster lists no supernode")]
    NoSupernode,
    /// No link came about.
    #[error("the supernode at {addresses} can't be reached: {error}")]
    Dial {
        /// Where it was sought.
        addresses: String,
        /// Why.
        error: DialError,
    },
    /// The link ended before the welcome.
    #[error("the supernode ended the link: {0}")]
    Ended(LinkEnd),
    /// The supernode took too long over the proof.
    #[error("the supernode does not answer the proof")]
    NoWelcome,
    /// The link became no session.
    #[error(transparent)]
    SignIn(#[from] SignInError),
}

/// An authenticated link.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) link: Arc<ClientLink>,
    pub(super) entry: RosterEntry,
    pub(super) welcome: v1::Welcome,
    /// What it rests on.
    pub(super) credential: String,
    /// The supernode's clock minus ours.
    pub(super) skew_ms: i64,
}

/// What all attempts have in common.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) identity: Identity,
    pub(super) credential: String,
    /// In the order to try.
    pub(super) entries: Vec<RosterEntry>,
    /// The first of them is the one whose link has fallen silent.
    pub(super) silent: bool,
    /// Of those, the ones to be measured first: not empty at a first sign-in where there are several regions.
    pub(super) survey: Vec<RosterEntry>,
    /// The network's, for the certificates of supernodes.
    pub(super) signing_keys: Vec<VerifyingKey>,
    pub(super) fleet: Fleet,
    pub(super) urgency: v1::Urgency,
    pub(super) key_log: bool,
    pub(super) sockets: Option<SharedSockets>,
    pub(super) transport: Transport,
    /// The network was given by an `http://` address.
    pub(super) is_plain: bool,
}

/// A supernode that did not become a session.
struct Failed {
    error: ConnectError,
    /// Where it sent us.
    elsewhere: Option<SupernodeId>,
}

type Dialled = (RosterEntry, Result<ClientLink, ConnectError>);

impl Route {
    /// Signs in on the first supernode of the route that takes us.
    pub(super) async fn connect(mut self) -> Result<Session, ConnectError> {
        let mut up = self.look_around().await;
        let mut next: VecDeque<RosterEntry> = self.entries.iter().take(TRIES_MAX).cloned().collect();
        let mut dials = JoinSet::new();
        let mut started = 0;
        let mut start_next = Instant::now();
        let mut failure = ConnectError::NoSupernode;
        while !next.is_empty() || !dials.is_empty() {
            tokio::select! {
                () = sleep_until(start_next), if !next.is_empty() && dials.len() < DIALS_MAX => {
                    let Some(entry) = next.pop_front() else { continue };
                    match up.remove(&entry.supernode) {
                        Some(link) => drop(dials.spawn(async { (entry, Ok(link)) })),
                        None => drop(dials.spawn(dialled(entry, self.leisurely()))),
                    }
                    started += 1;
                    start_next = Instant::now() + self.head_start(started, &LEISURELY);
                }
                Some(ended) = dials.join_next() => {
                    let Ok(dialled) = ended else { continue };
                    match self.take_up(dialled, &LEISURELY).await {
                        Ok(session) => return Ok(session),
                        Err(Failed { error, elsewhere }) => {
                            if let Some(at) = next.iter().position(|entry| Some(entry.supernode) == elsewhere) {
                                next.swap(0, at);
                            }
                            failure = error.or_more_telling(failure);
                        }
                    }
                    start_next = Instant::now();
                }
            }
        }
        Err(failure)
    }

    /// Signs in anew in the middle of a call: dials the first supernodes of the route in parallel, again and again, until one is there.
    /// Ends only with a session, or when all of them say no.
    pub(super) async fn reconnect(self) -> Result<Session, ConnectError> {
        let mut targets: Vec<RosterEntry> = self.entries.iter().take(CALL_SUPERNODES).cloned().collect();
        let mut dials = JoinSet::new();
        let mut started = 0;
        let mut start_next = Instant::now();
        let mut failure = ConnectError::NoSupernode;
        while !targets.is_empty() {
            tokio::select! {
                () = sleep_until(start_next), if dials.len() < DIALS_MAX => {
                    dials.spawn(dialled(targets[started % targets.len()].clone(), self.in_call(started)));
                    started += 1;
                    start_next = Instant::now() + self.head_start(started, &IN_CALL);
                }
                Some(ended) = dials.join_next() => {
                    let Ok(dialled) = ended else { continue };
                    let supernode = dialled.0.supernode;
                    match self.take_up(dialled, &IN_CALL).await {
                        Ok(session) => return Ok(session),
                        Err(Failed { error: ConnectError::SignIn(error), .. }) if is_final(&error) => {
                            targets.retain(|target| target.supernode != supernode);
                            failure = error.into();
                        }
                        Err(Failed { error, .. }) => tracing::debug!(%error, "no session on a link that was dialled in a call"),
                    }
                }
            }
        }
        Err(failure)
    }

    /// Measures supernodes of regions that are not known yet: dials them all, waits a little longer than the first takes, and puts the
    /// route in order by what it has learnt. Gives the links that are up.
    async fn look_around(&mut self) -> BTreeMap<SupernodeId, ClientLink> {
        let mut up = BTreeMap::new();
        let survey = std::mem::take(&mut self.survey);
        let mut dials: JoinSet<Dialled> = survey.into_iter().map(|entry| dialled(entry, self.leisurely())).collect();
        let mut until = Instant::now() + LEISURELY.dial;
        loop {
            tokio::select! {
                ended = dials.join_next() => match ended {
                    Some(Ok((entry, Ok(link)))) => {
                        self.fleet.measured(entry.supernode, link.rtt(), wall_clock());
                        up.insert(entry.supernode, link);
                        until = until.min(Instant::now() + SURVEY_WAIT);
                    }
                    Some(Ok((entry, Err(_)))) => self.fleet.shelve(entry.supernode, Duration::ZERO, Instant::now().into()),
                    Some(Err(_)) => {}
                    None => break,
                },
                () = sleep_until(until) => break,
            }
        }
        if !up.is_empty() {
            self.entries = self.fleet.order(self.identity.account, &self.entries, wall_clock(), Instant::now().into());
        }
        up
    }

    /// Of the dial that was started last over the next one, after so many in all.
    fn head_start(&self, started: usize, pace: &Pace) -> Duration {
        if started == 1 && self.silent { SILENT_HEAD_START } else { pace.every }
    }

    fn leisurely(&self) -> DialOptions {
        self.options(&LEISURELY, QUIC_HEAD_START_KNOWN)
    }

    /// After so many dials.
    fn in_call(&self, started: usize) -> DialOptions {
        // As long as a dial takes is never.
        let known = if started < DIALS_IN_VAIN { IN_CALL.dial } else { QUIC_SECOND_CHANCE };
        self.options(&IN_CALL, known)
    }

    /// `known`: QUIC's head start where it got through before.
    fn options(&self, pace: &Pace, known: Duration) -> DialOptions {
        let web_socket = match self.transport {
            Transport::WebSocket => WebSocketUse::Only,
            // Who shares sockets is many clients at once, of which each would need a connection.
            Transport::Auto if self.sockets.is_none() => WebSocketUse::After(match self.fleet.reached_by_quic() {
                Some(true) => known,
                Some(false) => QUIC_SECOND_CHANCE,
                None => QUIC_HEAD_START,
            }),
            Transport::Auto | Transport::Quic => WebSocketUse::Never,
        };
        let sockets = self.sockets.clone();
        let (timeout, key_log, is_plain) = (pace.dial, self.key_log, self.is_plain);
        DialOptions { timeout, key_log, sockets, web_socket, is_plain, ..DialOptions::default() }
    }

    /// From a dial that has ended to a session; remembers how it went.
    async fn take_up(&self, (entry, link): Dialled, pace: &Pace) -> Result<Session, Failed> {
        let supernode = entry.supernode;
        let result = match link {
            Ok(link) => self.prove(link, entry, pace.proof).await,
            Err(error) => Err(Failed { error, elsewhere: None }),
        };
        match &result {
            Ok(session) => {
                self.fleet.reached(!session.link.is_web_socket());
                self.fleet.measured(supernode, session.link.rtt(), wall_clock());
            }
            Err(failed) => {
                tracing::debug!(%supernode, error = %failed.error, "no session");
                match &failed.error {
                    // It is us that it would not have, and others will not have us either.
                    ConnectError::SignIn(error) if is_final(error) => {}
                    error => self.fleet.shelve(supernode, error.retry_after(), Instant::now().into()),
                }
                if failed.error.speaks_against_roster() {
                    self.fleet.doubt_roster();
                }
            }
        }
        result
    }

    async fn prove(&self, link: ClientLink, entry: RosterEntry, within: Duration) -> Result<Session, Failed> {
        let mut elsewhere = None;
        let proven = timeout(within, self.prove_on(&link, &entry, &mut elsewhere)).await;
        match proven.unwrap_or(Err(ConnectError::NoWelcome)) {
            Ok((welcome, skew_ms)) => {
                let credential = self.credential.clone();
                Ok(Session { link: Arc::new(link), entry, welcome, credential, skew_ms })
            }
            Err(error) => Err(Failed { error, elsewhere }),
        }
    }

    async fn prove_on(
        &self,
        link: &ClientLink,
        entry: &RosterEntry,
        elsewhere: &mut Option<SupernodeId>,
    ) -> Result<(v1::Welcome, i64), ConnectError> {
        let exporter = link.exporter().copied();
        let credential = self.credential.clone();
        let mut sign_in = SignIn::new(&self.identity, credential, entry.supernode, exporter, AGENT.to_owned())
            .urgent(self.urgency)
            .checking(self.signing_keys.clone(), entry.key.clone());
        let mut skew_ms = 0;
        let mut proof = None;
        loop {
            let bytes = link.next_message().await.map_err(ConnectError::Ended)?;
            let message = v1::SupernodeMessage::decode(bytes).map_err(|_| SignInError::OutOfOrder)?;
            let clock_ms = unix_ms();
            match &message.body {
                Some(v1::supernode_message::Body::Challenge(challenge)) => {
                    skew_ms = challenge.time_ms.wrapping_sub(clock_ms).cast_signed();
                }
                // It is full, and says who is not; the refusal follows.
                Some(v1::supernode_message::Body::GoAway(go_away)) => {
                    *elsewhere = SupernodeId::try_from(&go_away.supernode[..]).ok();
                    continue;
                }
                _ => {}
            }
            match sign_in.handle_message(&message, clock_ms) {
                Ok(SignInStep::Send(message)) => {
                    link.send(frame::encode(&message)).map_err(|_| ConnectError::Ended(LinkEnd::Local))?;
                    proof = Some(Proof { fleet: &self.fleet, answered: false });
                }
                answer => {
                    if let Some(proof) = &mut proof {
                        proof.answered = true;
                    }
                    if let SignInStep::SignedIn(welcome) = answer? {
                        return Ok((welcome, skew_ms));
                    }
                }
            }
        }
    }
}

/// A proof that is on its way. Dropped unanswered, as when whoever waits gives up, it is remembered.
struct Proof<'a> {
    fleet: &'a Fleet,
    answered: bool,
}

impl Drop for Proof<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.fleet.abandon_session(Instant::now().into());
        }
    }
}

impl ConnectError {
    /// How long the supernode asks to be left alone.
    pub(super) fn retry_after(&self) -> Duration {
        match self {
            Self::SignIn(SignInError::Refused { retry_after_ms, .. }) => {
                Duration::from_millis((*retry_after_ms).into())
            }
            _ => Duration::ZERO,
        }
    }

    fn speaks_against_roster(&self) -> bool {
        matches!(
            self,
            Self::Dial { error: DialError::NotTheSupernode, .. }
                | Self::SignIn(SignInError::NotCertified { .. } | SignInError::WrongSupernode)
        )
    }

    /// What a supernode says is worth more than that another one says nothing.
    fn or_more_telling(self, earlier: Self) -> Self {
        match (&self, &earlier) {
            (Self::Dial { .. }, Self::SignIn(_)) => earlier,
            _ => self,
        }
    }
}

async fn dialled(entry: RosterEntry, options: DialOptions) -> Dialled {
    let link = dial(&entry, &options).await;
    let link = link.map_err(|error| ConnectError::Dial { addresses: entry.addresses.join(", "), error });
    (entry, link)
}

/// Whether trying again with the same credential, program and clock can't help.
pub(super) fn is_final(error: &SignInError) -> bool {
    match error {
        SignInError::ClockSkewed { .. } | SignInError::VersionTooOld { .. } => true,
        SignInError::Refused { code, .. } => matches!(
            code,
            v1::ErrorCode::CredentialForged
                | v1::ErrorCode::CredentialExpired
                | v1::ErrorCode::CredentialRevoked
                | v1::ErrorCode::WrongNetwork
                | v1::ErrorCode::ProofInvalid
                | v1::ErrorCode::VersionTooOld
        ),
        SignInError::NotCertified { .. } | SignInError::WrongSupernode | SignInError::OutOfOrder => false,
    }
}

/// This device's clock.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The same, as documents have it.
pub(super) fn wall_clock() -> UnixTime {
    SystemTime::now().into()
}
