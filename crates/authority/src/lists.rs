//! The lists that the authority signs: the roster for everybody, the revocations for supernodes. Each is published as it is made, so
//! that supernodes in other processes find it in the store.
//!
//! The roster says nothing that depends on how many accounts there are: everybody can read it.

use ahoy_proto::UnixTime;
use ahoy_proto::document::{self, Document, Revocations, Roster};
use ahoy_proto::limits::{CLOCK_SKEW_MAX, CREDENTIAL_LIFE, ROSTER_LIFE};
use ahoy_store::{Enrolled, ListSupernodes, PruneRevocations, Publish, PublishedList, Store, StoreError};

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
    pub(crate) fn new(document: D, keys: &Keys) -> Self {
        Self { token: document::sign(&document, keys.signing_key()), document }
    }
}

/// The roster of those that have enrolled and are not revoked, as it stands.
pub(crate) async fn roster(store: &Store, keys: &Keys, now: UnixTime) -> Result<Signed<Roster>, StoreError> {
    let listed = store.call(ListSupernodes).await?;
    let serial = listed.serial;
    let standing = listed.supernodes.into_iter().filter(|supernode| supernode.revoked_at.is_none());
    let supernodes = standing.map(Enrolled::roster_entry).collect();
    let network = keys.network();
    let expires = now.plus(ROSTER_LIFE);
    let roster = Signed::new(Roster { network, serial, supernodes, issued_at: now, expires }, keys);
    store.call(Publish { list: PublishedList::Roster, serial, token: roster.token.clone() }).await?;
    Ok(roster)
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
    let list = Signed::new(list, keys);
    let (serial, token) = (list.document.serial, list.token.clone());
    store.call(Publish { list: PublishedList::Revocations, serial, token }).await?;
    Ok(list)
}

/// Forgets what voids only credentials that have expired, on the slowest of clocks too.
pub(crate) async fn prune(store: &Store, now: UnixTime) -> Result<(), StoreError> {
    let life = CREDENTIAL_LIFE + CLOCK_SKEW_MAX;
    store.call(PruneRevocations { before: UnixTime(now.0.saturating_sub(life.as_secs())) }).await
}
