//! A network's supernodes as anybody sees them: dialled by the roster, asked who they are, and left before anything is proven.
//!
//! Nobody signs in for it, and there is no more to be had without.

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ahoy_net::{ClientLink, DialError, DialOptions, LinkEnd, dial};
use ahoy_proto::document::{Roster, RosterEntry, SupernodeCertificate};
use ahoy_proto::v1::{self, ErrorCode, supernode_message::Body};
use ahoy_proto::{NetworkId, frame};
use ed25519_dalek::VerifyingKey;
use prost::Message as _;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::account::{AccountError, Network};
use crate::member::{CertificateError, check_certificate};

/// How long a supernode may take to answer, and then to introduce itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How long a link may take to close, so that the supernode does not keep it for a proof that never comes.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);

/// Supernodes dialled at the same time, at most: a socket and a handshake each. 10,000 of them take a minute where all answer, and a
/// quarter of an hour where none does.
const DIALS_MAX: usize = 64;

/// One supernode of the roster, and how it answered.
#[derive(Debug)]
pub struct Sighting {
    /// What the roster says.
    pub entry: RosterEntry,
    /// What it says itself.
    pub seen: Result<Seen, Unseen>,
}

/// What a supernode shows to whoever dials.
#[derive(Debug)]
pub struct Seen {
    /// Where it answered; its TLS handshake has shown the roster's key.
    pub address: SocketAddr,
    /// From here to there and back.
    pub round_trip: Duration,
    /// What it says before anything is proven to it.
    pub says: Result<Introduction, Refusal>,
}

/// A challenge, but for its nonce.
#[derive(Debug)]
pub struct Introduction {
    /// Name and version of its program; empty where it does not say.
    pub agent: String,
    /// The least protocol version that it serves.
    pub minimum_version: u32,
    /// Its clock minus ours, in milliseconds.
    pub skew_ms: i64,
    /// The authority's word that it is a supernode, if it is good.
    pub certificate: Result<SupernodeCertificate, CertificateError>,
}

/// It answers, and takes nobody now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Such as `OVERLOADED` or `SHUTTING_DOWN`.
    pub code: ErrorCode,
    /// In its own words.
    pub text: String,
}

/// Why there is nothing to be seen.
#[derive(Debug, thiserror::Error)]
pub enum Unseen {
    /// No link came about.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The link ended before the supernode said anything.
    #[error("the link ended: {0}")]
    Ended(LinkEnd),
    /// It says nothing, or nothing of the protocol.
    #[error("it does not introduce itself")]
    Silent,
    /// Our own fault.
    #[error("the look at it has failed")]
    Failed,
}

/// How a supernode that was seen is: those that are not [`Up`](State::Up) take nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It answers, with a certificate that is good.
    Up,
    /// It has as many links as it takes.
    Full,
    /// It goes down, or hands over what it has.
    GoingDown,
    /// Something else in its own words.
    Refuses,
    /// Clients leave it alone.
    NotCertified,
    /// Nobody answers.
    NoAnswer,
}

impl Sighting {
    /// In one word.
    pub fn state(&self) -> State {
        let refusing = |code| match code {
            ErrorCode::Overloaded => State::Full,
            ErrorCode::ShuttingDown => State::GoingDown,
            _ => State::Refuses,
        };
        match &self.seen {
            Ok(Seen { says: Ok(Introduction { certificate: Ok(_), .. }), .. }) => State::Up,
            Ok(Seen { says: Ok(_), .. }) => State::NotCertified,
            Ok(Seen { says: Err(refusal), .. }) => refusing(refusal.code),
            // It may close before its words have arrived.
            Err(Unseen::Ended(LinkEnd::Closed(code)) | Unseen::Dial(DialError::Ended(LinkEnd::Closed(code)))) => {
                refusing(*code)
            }
            Err(_) => State::NoAnswer,
        }
    }
}

/// Dials every supernode of a roster once; `at` is where to dial in place of the roster's addresses. Gives them in the order of the
/// roster.
///
/// # Errors
/// When the network's own signing keys are not good.
pub async fn look(network: &Network, roster: &Roster, at: Option<&str>) -> Result<Vec<Sighting>, AccountError> {
    let signing_keys = network.verified_signing_keys(SystemTime::now().into())?;
    let at = at.map(str::to_owned);
    let visit_one = |mut entry: RosterEntry| {
        if let Some(at) = &at {
            entry.addresses = vec![at.clone()];
        }
        let (signing_keys, network) = (signing_keys.clone(), network.network);
        async move { visit(&entry, &signing_keys, network).await }
    };
    Ok(visit_all(&roster.supernodes, visit_one).await)
}

/// Visits all, some at the same time. Every one of them is told of, also where a visit panics.
async fn visit_all<V>(entries: &[RosterEntry], visit: impl Fn(RosterEntry) -> V) -> Vec<Sighting>
where
    V: Future<Output = Result<Seen, Unseen>> + Send + 'static,
{
    let unseen = |entry: &RosterEntry| Sighting { entry: entry.clone(), seen: Err(Unseen::Failed) };
    let mut sightings: Vec<_> = entries.iter().map(unseen).collect();
    let mut left = entries.iter().cloned().enumerate();
    let mut visits = JoinSet::new();
    loop {
        for (place, entry) in left.by_ref().take(DIALS_MAX - visits.len()) {
            let visit = visit(entry);
            visits.spawn(async move { (place, visit.await) });
        }
        match visits.join_next().await {
            Some(Ok((place, seen))) => sightings[place].seen = seen,
            Some(Err(error)) => tracing::error!(%error, "a look at a supernode has failed"),
            None => return sightings,
        }
    }
}

pub(crate) async fn visit(
    entry: &RosterEntry,
    signing_keys: &[VerifyingKey],
    network: NetworkId,
) -> Result<Seen, Unseen> {
    let link = dial(entry, &DialOptions { timeout: ANSWER_WITHIN, ..DialOptions::default() }).await?;
    let said = timeout(ANSWER_WITHIN, hear(&link)).await.unwrap_or(Err(Unseen::Silent));
    let says = match said {
        Ok(Ok(challenge)) => {
            let introduction = introduction(challenge, entry, signing_keys, network, SystemTime::now());
            let refusal = timeout(ANSWER_WITHIN, turned_away(&link)).await.ok().flatten();
            Ok(refusal.map_or(Ok(introduction), Err))
        }
        Ok(Err(refusal)) => Ok(Err(refusal)),
        Err(unseen) => Err(unseen),
    };
    let (address, round_trip) = (link.remote_address(), link.rtt());
    link.close(ErrorCode::Unspecified);
    // Whether it has heard of that or not, we have seen it.
    let _ = timeout(CLOSE_WITHIN, link.flush_close()).await;
    Ok(Seen { address, round_trip, says: says? })
}

/// The supernode's first words, or the next.
async fn hear(link: &ClientLink) -> Result<Result<v1::Challenge, Refusal>, Unseen> {
    // A full one says first who has room, then that it is full.
    for _ in 0..2 {
        let bytes = link.next_message().await.map_err(Unseen::Ended)?;
        match v1::SupernodeMessage::decode(bytes).map_err(|_| Unseen::Silent)?.body {
            Some(Body::Challenge(challenge)) => return Ok(Ok(challenge)),
            Some(Body::Error(error)) => return Ok(Err(Refusal { code: error.code(), text: error.text })),
            Some(Body::GoAway(_)) => {}
            _ => return Err(Unseen::Silent),
        }
    }
    Err(Unseen::Silent)
}

/// Whether it takes nobody now: it says so to whoever signs in, before it looks at what they prove. An empty proof is enough to ask.
async fn turned_away(link: &ClientLink) -> Option<Refusal> {
    let ask = v1::ClientMessage { request: 1, body: Some(v1::client_message::Body::Prove(v1::Prove::default())) };
    link.send(frame::encode(&ask)).ok()?;
    match hear(link).await {
        Ok(Err(refusal)) if matches!(refusal.code, ErrorCode::Overloaded | ErrorCode::ShuttingDown) => Some(refusal),
        _ => None,
    }
}

fn introduction(
    challenge: v1::Challenge,
    entry: &RosterEntry,
    signing_keys: &[VerifyingKey],
    network: NetworkId,
    now: SystemTime,
) -> Introduction {
    let who = (entry.supernode, &entry.key);
    let clock_ms =
        now.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    Introduction {
        skew_ms: challenge.time_ms.wrapping_sub(clock_ms).cast_signed(),
        certificate: check_certificate(&challenge.certificate, signing_keys, network, who, now.into()),
        minimum_version: challenge.minimum_version,
        agent: challenge.agent,
    }
}

#[cfg(test)]
mod tests {
    use ahoy_proto::SupernodeId;
    use ahoy_proto::document::Jwk;

    use super::*;

    #[tokio::test]
    async fn a_supernode_is_told_of_whatever_becomes_of_the_look_at_it() {
        let entry = |number: u8| RosterEntry {
            supernode: SupernodeId([number; 16]),
            key: Jwk::ed25519([number; 32]),
            addresses: Vec::new(),
            region: String::new(),
            weight: 1,
            number: number.into(),
        };
        let entries: Vec<_> = (0..DIALS_MAX as u8 + 3).map(entry).collect();
        let sightings = visit_all(&entries, |entry| async move {
            assert_ne!(entry.supernode.0[0], 1);
            Err(Unseen::Silent)
        })
        .await;
        assert!(sightings.iter().map(|sighting| &sighting.entry).eq(&entries), "in the order of the roster");
        for (place, sighting) in sightings.iter().enumerate() {
            assert_eq!(matches!(sighting.seen, Err(Unseen::Failed)), place == 1, "{sighting:?}");
        }
    }
}
