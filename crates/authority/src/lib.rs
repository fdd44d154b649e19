//! The authority: accounts, sign-in, credentials, enrolment of supernodes, roster, as an HTTP API.
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
mod supernodes;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ahoy_proto::api::SignUpPolicy;
use ahoy_proto::document::{Revocations, Roster, SupernodeCertificate};
use ahoy_proto::{Name, UnixTime};
use ahoy_store::{
    AccountByName, AddEnrolment, AddInvite, Enrolled, ListSerials, Store, StoreError, SupernodeOf, Suspend,
};
use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

pub use ahoy_store::{Admission, Granted, Place};
pub use keys::{Keys, KeysError};
pub use lists::Signed;
pub use rate::{Rate, RateLimits};
pub use supernodes::{InvalidPlace, check_granted};

use opaque::OpaqueServer;
use rate::Limiter;
use sealed::Sealer;
use supernodes::Seldom;

/// How long an invite can be used.
pub const INVITE_LIFE: Duration = Duration::from_secs(7 * 86_400);

/// How long an enrolment token can be used: time enough to set up a machine.
pub const ENROLMENT_LIFE: Duration = Duration::from_secs(86_400);

/// How often the signed lists are renewed; each is good for [`ROSTER_LIFE`](ahoy_proto::limits::ROSTER_LIFE).
pub const RENEW_LISTS_EVERY: Duration = Duration::from_secs(3_600);

/// How often the authority looks whether another process has changed a list: `ahoyd account suspend` is to close sessions, and
/// `ahoyd supernodes revoke` trunks, within two seconds, and a look costs two rows.
pub const LOOK_FOR_CHANGES_EVERY: Duration = Duration::from_secs(1);

/// What the operator decides.
#[derive(Clone)]
pub struct AuthorityConfig {
    /// What people call the network, usually its domain.
    pub name: String,
    /// Who may sign up.
    pub sign_up: SignUpPolicy,
    /// The account that answers every call, if there is one.
    pub echo: Option<Name>,
    /// What the roster is to say of the supernode that this process runs with the roster key of its [`Keys`], if it runs one.
    pub own: Option<Place>,
    /// How often whom may ask what.
    pub rate_limits: RateLimits,
    /// Addresses from which it may be asked without limit, but for guesses at one name.
    pub unlimited: Vec<IpAddr>,
    /// SHA-256 of the certificates by which browsers find the own supernode, where nobody else vouches for them.
    pub certificate_hashes: watch::Receiver<Vec<[u8; 32]>>,
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

/// 16 random bytes for people to hand on. None begins with a hyphen: as an argument it would look like an option.
fn token() -> String {
    loop {
        let token = BASE64URL_NOPAD.encode(&rand::random::<[u8; 16]>());
        if !token.starts_with('-') {
            return token;
        }
    }
}

/// Makes a token that admits one sign-up within [`INVITE_LIFE`]. With [`Admission::Operator`] it is good for reserved
/// names and under every policy.
///
/// # Errors
/// When the store fails.
pub async fn make_invite(store: &Store, admission: Admission, now: UnixTime) -> Result<String, StoreError> {
    let token = token();
    let hash = token_hash(&token);
    store.call(AddInvite { hash, admission, expires: now.plus(INVITE_LIFE), at: now }).await?;
    Ok(token)
}

/// Makes a token that lets one supernode enrol within [`ENROLMENT_LIFE`]; see [`check_granted`].
///
/// # Errors
/// When the store fails.
pub async fn make_enrolment(store: &Store, granted: Granted, now: UnixTime) -> Result<String, StoreError> {
    let token = token();
    let hash = token_hash(&token);
    store.call(AddEnrolment { hash, granted, expires: now.plus(ENROLMENT_LIFE), at: now }).await?;
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
    /// Of this process's own supernode.
    certificate: Option<watch::Sender<Arc<Signed<SupernodeCertificate>>>>,
    enrolments_refused: Seldom,
    renewals_refused: Seldom,
}

impl Authority {
    /// An authority over the accounts of `store`; enters its own supernode, and puts the lists into force.
    ///
    /// # Errors
    /// [`StoreError::Forbidden`] when its own supernode was revoked, or when the store fails.
    pub async fn new(store: Store, keys: Keys, config: AuthorityConfig) -> Result<Self, StoreError> {
        let now = (config.clock)();
        let own: Option<Enrolled> = match config.own.clone() {
            Some(place) => Some(supernodes::enrol_own(&store, &keys, place, now).await?),
            None => None,
        };
        let roster = lists::roster(&store, &keys, now).await?;
        let revocations = lists::revocations(&store, &keys, now).await?;
        Ok(Self(Arc::new(Inner {
            opaque: OpaqueServer::new(&keys),
            sealer: Sealer::new(&keys),
            limiter: Limiter::new(config.rate_limits, config.unlimited.clone()),
            roster: watch::Sender::new(Arc::new(roster)),
            revocations: watch::Sender::new(Arc::new(revocations)),
            certificate: own.map(|own| watch::Sender::new(Arc::new(supernodes::certify(&keys, &own, now)))),
            enrolments_refused: Seldom::default(),
            renewals_refused: Seldom::default(),
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

    /// The certificate of this process's own supernode, and every later one. `None` when it runs none.
    pub fn certificate(&self) -> Option<watch::Receiver<Arc<Signed<SupernodeCertificate>>>> {
        self.0.certificate.as_ref().map(watch::Sender::subscribe)
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

    /// Signs the lists and the own supernode's certificate anew, so that their time does not run out, and forgets revocations that have
    /// outlived every credential they could void.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn renew_lists(&self) -> Result<(), StoreError> {
        lists::prune(&self.0.store, self.now()).await?;
        self.publish_roster().await?;
        self.publish_revocations().await?;
        self.renew_certificate().await
    }

    async fn renew_certificate(&self) -> Result<(), StoreError> {
        let Some(certificate) = &self.0.certificate else { return Ok(()) };
        let supernode = certificate.borrow().document.supernode;
        let enrolled = self.0.store.call(SupernodeOf { supernode }).await?;
        if enrolled.revoked_at.is_some() {
            tracing::error!("the supernode of this very process has been revoked, and clients leave it");
            return Ok(());
        }
        certificate.send_replace(Arc::new(supernodes::certify(&self.0.keys, &enrolled, self.now())));
        Ok(())
    }

    /// Renews the lists every [`RENEW_LISTS_EVERY`], and follows what others change in them, for ever.
    pub async fn run(&self) {
        let mut renewal = interval(RENEW_LISTS_EVERY);
        let mut look = interval(LOOK_FOR_CHANGES_EVERY);
        let mut failed = false;
        loop {
            tokio::select! {
                _ = renewal.tick() => {
                    if let Err(error) = self.renew_lists().await {
                        tracing::warn!(%error, "the signed lists could not be renewed; trying again in an hour");
                    }
                }
                _ = look.tick() => {
                    let result = self.follow_changes().await;
                    // Every second is too often to say the same thing.
                    if let (Err(error), false) = (&result, failed) {
                        tracing::warn!(%error, "what other processes change is not seen; looking again");
                    }
                    failed = result.is_err();
                }
            }
        }
    }

    /// Publishes what another process has changed, if it has.
    async fn follow_changes(&self) -> Result<(), StoreError> {
        let serials = self.0.store.call(ListSerials).await?;
        if serials.revocations != self.0.revocations.borrow().document.serial {
            tracing::info!("another process has changed the revocation list");
            self.publish_revocations().await?;
        }
        if serials.roster != self.0.roster.borrow().document.serial {
            tracing::info!("another process has changed the roster");
            self.publish_roster().await?;
        }
        Ok(())
    }

    async fn publish_roster(&self) -> Result<(), StoreError> {
        let list = lists::roster(&self.0.store, &self.0.keys, self.now()).await?;
        replace(&self.0.roster, list, |list| list.serial);
        Ok(())
    }

    async fn publish_revocations(&self) -> Result<(), StoreError> {
        let list = lists::revocations(&self.0.store, &self.0.keys, self.now()).await?;
        replace(&self.0.revocations, list, |list| list.serial);
        Ok(())
    }

    fn now(&self) -> UnixTime {
        (self.0.config.clock)()
    }
}

/// Puts a list in the place of an older one. Of two that are made at the same time the older may come last.
fn replace<D>(watch: &watch::Sender<Arc<Signed<D>>>, list: Signed<D>, serial: fn(&D) -> u64) {
    watch.send_if_modified(|current| {
        let newer = serial(&list.document) >= serial(&current.document);
        if newer {
            *current = Arc::new(list);
        }
        newer
    });
}

/// Ticks that fall due while the store is slow are not made up for.
fn interval(every: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(every);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
}

fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}
