//! The lists that the authority signs for everybody: roster and revocations.

use ahoy_proto::UnixTime;
use ahoy_proto::document::{self, Document, KeyLogHead, Revocations, Roster, RosterEntry};
use ahoy_proto::limits::{CLOCK_SKEW_MAX, CREDENTIAL_LIFE, ROSTER_LIFE};
use ahoy_store::{KeyLogHeadNow, PruneRevocations, SetRoster, Store, StoreError};

use crate::Keys;

/// A document and its compact JWS.
#[derive(Debug, Clone)]
pub struct Signed<D> {
    /// What it says.
    pub document: D,
    /// As it is handed out.
    pub token: String,
}

impl<D: Document> Signed<D> {
    fn new(document: D, keys: &Keys) -> Self {
        Self { token: document::sign(&document, keys.signing_key()), document }
    }
}

/// The roster of these supernodes, put into force.
pub(crate) async fn roster(
    store: &Store,
    keys: &Keys,
    supernodes: &[RosterEntry],
    now: UnixTime,
) -> Result<Signed<Roster>, StoreError> {
    let supernodes = supernodes.to_vec();
    let serial = store.call(SetRoster { supernodes: supernodes.clone() }).await?;
    let newest = store.call(KeyLogHeadNow).await?;
    let key_log = KeyLogHead { length: newest.sequence, head: newest.head };
    let network = keys.network();
    let expires = now.plus(ROSTER_LIFE);
    Ok(Signed::new(Roster { network, serial, supernodes, key_log, issued_at: now, expires }, keys))
}

/// The revocation list as it stands.
pub(crate) async fn revocations(store: &Store, keys: &Keys, now: UnixTime) -> Result<Signed<Revocations>, StoreError> {
    let lists = store.call(ahoy_store::Revocations).await?;
    let list = Revocations {
        network: keys.network(),
        serial: lists.serial,
        devices: lists.devices,
        accounts: lists.accounts,
        issued_at: now,
        expires: now.plus(ROSTER_LIFE),
    };
    Ok(Signed::new(list, keys))
}

/// Forgets what voids only credentials that have expired, on the slowest of clocks too.
pub(crate) async fn prune(store: &Store, now: UnixTime) -> Result<(), StoreError> {
    let life = CREDENTIAL_LIFE + CLOCK_SKEW_MAX;
    store.call(PruneRevocations { before: UnixTime(now.0.saturating_sub(life.as_secs())) }).await
}
