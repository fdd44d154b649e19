//! The authority: accounts, sign-in, credentials, roster, as an HTTP API.
//!
//! It never sees a password, a recovery code or the secret of an account key. It holds no state but the store's: what
//! must be remembered between two steps travels with the client, sealed (`sealed`). It keeps and logs no address.

mod accounts;
mod credentials;
mod http;
mod keys;
mod lists;
mod opaque;
mod rate;
mod sealed;
mod sign_in;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ahoy_proto::api::SignUpPolicy;
use ahoy_proto::document::{Revocations, Roster, RosterEntry};
use ahoy_proto::{Name, UnixTime};
use ahoy_store::{AccountByName, AddInvite, RevocationSerial, Store, StoreError, Suspend};
use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

pub use ahoy_store::Admission;
pub use keys::{Keys, KeysError};
pub use lists::Signed;
pub use rate::{Rate, RateLimits};

use opaque::OpaqueServer;
use rate::Limiter;
use sealed::Sealer;

/// How long an invite can be used.
pub const INVITE_LIFE: Duration = Duration::from_secs(7 * 86_400);

/// How often the signed lists are renewed; each is good for [`ROSTER_LIFE`](ahoy_proto::limits::ROSTER_LIFE).
pub const RENEW_LISTS_EVERY: Duration = Duration::from_secs(3_600);

/// How often the authority looks whether another process has revoked something: `ahoyd account suspend` is to close sessions
/// within seconds, and a look costs one row.
pub const LOOK_FOR_REVOCATIONS_EVERY: Duration = Duration::from_secs(1);

/// What the operator decides.
#[derive(Clone)]
pub struct AuthorityConfig {
    /// What people call the network, usually its domain.
    pub name: String,
    /// Who may sign up.
    pub sign_up: SignUpPolicy,
    /// The account that answers every call, if there is one.
    pub echo: Option<Name>,
    /// The roster.
    pub supernodes: Vec<RosterEntry>,
    /// How often whom may ask what.
    pub rate_limits: RateLimits,
    /// [`wall_clock`] but for tests.
    pub clock: Clock,
}

impl std::fmt::Debug for AuthorityConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthorityConfig").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> UnixTime + Send + Sync>;

/// The time of the machine.
pub fn wall_clock() -> UnixTime {
    std::time::SystemTime::now().into()
}

/// Makes a token that admits one sign-up within [`INVITE_LIFE`]. With [`Admission::Operator`] it is good for reserved
/// names and under every policy.
///
/// # Errors
/// When the store fails.
pub async fn make_invite(store: &Store, admission: Admission, now: UnixTime) -> Result<String, StoreError> {
    let token = BASE64URL_NOPAD.encode(&rand::random::<[u8; 16]>());
    let hash = invite_hash(&token);
    store.call(AddInvite { hash, admission, expires: now.plus(INVITE_LIFE), at: now }).await?;
    Ok(token)
}

/// The login server of a network; clones share it.
#[derive(Clone)]
pub struct Authority(Arc<Inner>);

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("network", &self.0.keys.network()).finish_non_exhaustive()
    }
}

struct Inner {
    store: Store,
    keys: Keys,
    config: AuthorityConfig,
    opaque: OpaqueServer,
    sealer: Sealer,
    limiter: Limiter,
    roster: watch::Sender<Arc<Signed<Roster>>>,
    revocations: watch::Sender<Arc<Signed<Revocations>>>,
}

impl Authority {
    /// An authority over the accounts of `store`; puts the roster into force.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn new(store: Store, keys: Keys, config: AuthorityConfig) -> Result<Self, StoreError> {
        let now = (config.clock)();
        let roster = lists::roster(&store, &keys, &config.supernodes, now).await?;
        let revocations = lists::revocations(&store, &keys, now).await?;
        Ok(Self(Arc::new(Inner {
            opaque: OpaqueServer::new(&keys),
            sealer: Sealer::new(&keys),
            limiter: Limiter::new(config.rate_limits),
            roster: watch::Sender::new(Arc::new(roster)),
            revocations: watch::Sender::new(Arc::new(revocations)),
            store,
            keys,
            config,
        })))
    }

    /// The HTTP API. Serve it with connection info (`into_make_service_with_connect_info::<SocketAddr>()`): without it
    /// all clients share the rate limits of one address.
    pub fn router(&self) -> axum::Router {
        http::router(self.clone())
    }

    /// The roster in force, and every later one.
    pub fn roster(&self) -> watch::Receiver<Arc<Signed<Roster>>> {
        self.0.roster.subscribe()
    }

    /// The revocation list in force, and every later one as soon as it is.
    pub fn revocations(&self) -> watch::Receiver<Arc<Signed<Revocations>>> {
        self.0.revocations.subscribe()
    }

    /// See [`make_invite`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn make_invite(&self, admission: Admission) -> Result<String, StoreError> {
        make_invite(&self.0.store, admission, self.now()).await
    }

    /// Shuts an account out and voids its credentials, or lets it in again.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such account, or when the store fails.
    pub async fn suspend(&self, name: &Name, suspended: bool) -> Result<(), StoreError> {
        let found = self.0.store.call(AccountByName { name: name.clone() }).await?;
        let account = found.ok_or(StoreError::NotFound)?.account;
        self.0.store.call(Suspend { account, suspended, at: self.now() }).await?;
        self.publish_revocations().await
    }

    /// Signs roster and revocation list anew, so that their time does not run out, and forgets revocations that have
    /// outlived every credential they could void.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn renew_lists(&self) -> Result<(), StoreError> {
        lists::prune(&self.0.store, self.now()).await?;
        let roster = lists::roster(&self.0.store, &self.0.keys, &self.0.config.supernodes, self.now()).await?;
        self.0.roster.send_replace(Arc::new(roster));
        self.publish_revocations().await
    }

    /// Renews the lists every [`RENEW_LISTS_EVERY`], and follows what others revoke, for ever.
    pub async fn run(&self) {
        let mut renewal = interval(RENEW_LISTS_EVERY);
        let mut look = interval(LOOK_FOR_REVOCATIONS_EVERY);
        let mut failed = false;
        loop {
            tokio::select! {
                _ = renewal.tick() => {
                    if let Err(error) = self.renew_lists().await {
                        tracing::warn!(%error, "the signed lists could not be renewed; trying again in an hour");
                    }
                }
                _ = look.tick() => {
                    let result = self.follow_revocations().await;
                    // Every second is too often to say the same thing.
                    if let (Err(error), false) = (&result, failed) {
                        tracing::warn!(%error, "what other processes revoke is not seen; looking again");
                    }
                    failed = result.is_err();
                }
            }
        }
    }

    /// Publishes what another process has put on the revocation list, if it has.
    async fn follow_revocations(&self) -> Result<(), StoreError> {
        let serial = self.0.store.call(RevocationSerial).await?;
        if serial == self.0.revocations.borrow().document.serial {
            return Ok(());
        }
        tracing::info!("another process has changed the revocation list");
        self.publish_revocations().await
    }

    async fn publish_revocations(&self) -> Result<(), StoreError> {
        let list = lists::revocations(&self.0.store, &self.0.keys, self.now()).await?;
        self.0.revocations.send_if_modified(|current| {
            // Of two lists made at the same time the older may come last.
            let newer = list.document.serial >= current.document.serial;
            if newer {
                *current = Arc::new(list);
            }
            newer
        });
        Ok(())
    }

    fn now(&self) -> UnixTime {
        (self.0.config.clock)()
    }
}

/// Ticks that fall due while the store is slow are not made up for.
fn interval(every: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(every);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
}

fn invite_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}
