//! From a roster to a session: dial, prove, be welcome.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ahoy_net::{ClientLink, DialError, DialOptions, LinkEnd, dial};
use ahoy_proto::document::RosterEntry;
use ahoy_proto::limits::PROOF_TIMEOUT;
use ahoy_proto::{frame, v1};
use prost::Message;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::AGENT;
use crate::member::{Identity, SignIn, SignInError, SignInStep};

/// How long one supernode may take to answer at all, outside of a call.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// In a call: a new attempt this often, …
const CALL_DIAL_EVERY: Duration = Duration::from_millis(350);

/// … each for this long (a handshake at a round trip of 900 ms), …
const CALL_DIAL_TIMEOUT: Duration = Duration::from_secs(2);

/// … at most this many at the same time. With QUIC's own repeats a first packet goes out at least every 400 ms, so a supernode
/// that is back hears of us within that.
const CALL_DIALS_MAX: usize = 3;

/// Supernodes tried in a call: the same and the next.
const CALL_SUPERNODES: usize = 2;

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
    pub(super) key_log: bool,
}

impl Route {
    /// Signs in on the first supernode of the route that takes us.
    pub(super) async fn connect(self) -> Result<Session, ConnectError> {
        let mut failure = ConnectError::NoSupernode;
        for entry in &self.entries {
            let options = DialOptions { timeout: DIAL_TIMEOUT, key_log: self.key_log, ..DialOptions::default() };
            let attempt = match dialled(entry.clone(), options).await {
                Ok((link, entry)) => self.prove(link, entry).await,
                Err(error) => Err(error),
            };
            match attempt {
                Ok(session) => return Ok(session),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Signs in anew in the middle of a call: dials the same and the next supernode in parallel until one is there. Ends only
    /// with a session, or when a supernode says no.
    pub(super) async fn reconnect(self) -> Result<Session, ConnectError> {
        let targets = &self.entries[..self.entries.len().min(CALL_SUPERNODES)];
        if targets.is_empty() {
            return Err(ConnectError::NoSupernode);
        }
        let options = DialOptions { timeout: CALL_DIAL_TIMEOUT, key_log: self.key_log, ..DialOptions::default() };
        let mut dials = JoinSet::new();
        let mut started = 0;
        let mut start_next = Instant::now();
        loop {
            tokio::select! {
                () = sleep_until(start_next), if dials.len() < CALL_DIALS_MAX => {
                    dials.spawn(dialled(targets[started % targets.len()].clone(), options.clone()));
                    started += 1;
                    start_next = Instant::now() + CALL_DIAL_EVERY;
                }
                Some(ended) = dials.join_next() => {
                    let Ok(Ok((link, entry))) = ended else { continue };
                    // One proof at a time: a second session would replace the first.
                    match self.prove(link, entry).await {
                        Ok(session) => return Ok(session),
                        Err(ConnectError::SignIn(error)) if is_final(&error) => return Err(error.into()),
                        Err(error) => tracing::debug!(%error, "no session on a link that was dialled in a call"),
                    }
                }
            }
        }
    }

    async fn prove(&self, link: ClientLink, entry: RosterEntry) -> Result<Session, ConnectError> {
        match timeout(PROOF_TIMEOUT, self.prove_on(&link, &entry)).await {
            Ok(Ok((welcome, skew_ms))) => {
                let credential = self.credential.clone();
                Ok(Session { link: Arc::new(link), entry, welcome, credential, skew_ms })
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ConnectError::NoWelcome),
        }
    }

    async fn prove_on(&self, link: &ClientLink, entry: &RosterEntry) -> Result<(v1::Welcome, i64), ConnectError> {
        let exporter = Some(*link.exporter());
        let credential = self.credential.clone();
        let mut sign_in = SignIn::new(&self.identity, credential, entry.supernode, exporter, AGENT.to_owned());
        let mut skew_ms = 0;
        loop {
            let bytes = link.next_message().await.map_err(ConnectError::Ended)?;
            let message = v1::SupernodeMessage::decode(bytes).map_err(|_| SignInError::OutOfOrder)?;
            let clock_ms = unix_ms();
            if let Some(v1::supernode_message::Body::Challenge(challenge)) = &message.body {
                skew_ms = challenge.time_ms.wrapping_sub(clock_ms).cast_signed();
            }
            match sign_in.handle_message(&message, clock_ms)? {
                SignInStep::Send(message) => {
                    link.send(frame::encode(&message)).map_err(|_| ConnectError::Ended(LinkEnd::Local))?;
                }
                SignInStep::SignedIn(welcome) => return Ok((welcome, skew_ms)),
            }
        }
    }
}

async fn dialled(entry: RosterEntry, options: DialOptions) -> Result<(ClientLink, RosterEntry), ConnectError> {
    match dial(&entry, &options).await {
        Ok(link) => Ok((link, entry)),
        Err(error) => Err(ConnectError::Dial { addresses: entry.addresses.join(", "), error }),
    }
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
        SignInError::WrongSupernode | SignInError::OutOfOrder => false,
    }
}

/// This device's clock.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
