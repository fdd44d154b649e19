//! The authority in this process, and what it gives to a supernode beside it.

use std::sync::Arc;

use ahoy_authority::{Authority, AuthorityConfig, Keys, Place, RateLimits, Signed, wall_clock};
use ahoy_proto::Name;
use ahoy_proto::document::{Revocations, Roster, SupernodeCertificate};
use ahoy_store::{Store, StoreError};
use ahoy_supernode::CredentialKeys;
use anyhow::Context as _;
use ed25519_dalek::VerifyingKey;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::standing::Standing;
use crate::certificate::Hashes;
use crate::config::{Config, Role};
use crate::folder::DataFolder;
use crate::join::WEIGHT;
use crate::retention;

/// Makes or reads the keys and puts the lists into force. The standing is that of the own supernode, if this process runs one.
///
/// # Errors
/// When keys or store can't be had, or the own supernode was revoked.
pub(super) async fn start(
    config: &Config,
    folder: &DataFolder,
    store: Store,
    rate_limits: RateLimits,
    certificate_hashes: watch::Receiver<Hashes>,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<(Authority, Option<Standing>)> {
    let keys = Keys::load_or_create(&folder.keys(), wall_clock())?;
    let authority_config = authority_config(config, rate_limits, certificate_hashes);
    tasks.spawn(retention::run(store.clone(), authority_config.clock.clone()));
    let signing_keys = keys.signing_keys();
    let (network, roster_key) = (keys.network(), keys.roster_key().clone());
    let (stateless_reset_key, call_token_key) = (*keys.stateless_reset_key(), keys.call_token_key().clone());
    let authority = match Authority::new(store, keys, authority_config).await {
        Err(error @ StoreError::Forbidden) => {
            Err(error).context("the operator has revoked this machine's supernode: set `roles = [\"authority\"]`")?
        }
        authority => authority?,
    };
    let standing = authority.certificate().map(|certificate| {
        let number = certificate.borrow().document.number;
        let keys = follow(&authority, signing_keys, certificate, tasks);
        Standing { network, roster_key, stateless_reset_key, call_token_key, number, keys }
    });
    Ok((authority, standing))
}

/// What the authority is to know.
fn authority_config(
    config: &Config,
    rate_limits: RateLimits,
    certificate_hashes: watch::Receiver<Hashes>,
) -> AuthorityConfig {
    let own = Place { addresses: config.public_addresses(), region: config.region.clone(), weight: WEIGHT };
    AuthorityConfig {
        name: config.network_name().to_owned(),
        sign_up: config.sign_up,
        echo: Name::parse(&config.echo).ok(),
        own: Some(own).filter(|_| config.is(Role::Supernode)),
        rate_limits,
        unlimited: config.unlimited.clone(),
        certificate_hashes,
        clock: Arc::new(wall_clock),
    }
}

/// What the authority has signed, each time that any of it is new.
fn follow(
    authority: &Authority,
    signing_keys: Vec<VerifyingKey>,
    mut certificate: watch::Receiver<Arc<Signed<SupernodeCertificate>>>,
    tasks: &mut JoinSet<()>,
) -> watch::Receiver<CredentialKeys> {
    let (mut roster, mut revocations) = (authority.roster(), authority.revocations());
    let newest = move |roster: &mut watch::Receiver<Arc<Signed<Roster>>>,
                       revocations: &mut watch::Receiver<Arc<Signed<Revocations>>>,
                       certificate: &mut watch::Receiver<Arc<Signed<SupernodeCertificate>>>| {
        CredentialKeys {
            signing_keys: signing_keys.clone(),
            revocations: Arc::new(revocations.borrow_and_update().document.clone()),
            roster: Arc::new(roster.borrow_and_update().document.clone()),
            certificate: certificate.borrow_and_update().token.clone(),
        }
    };
    let (sender, receiver) = watch::channel(newest(&mut roster, &mut revocations, &mut certificate));
    tasks.spawn(async move {
        loop {
            let changed = tokio::select! {
                changed = roster.changed() => changed,
                changed = revocations.changed() => changed,
                changed = certificate.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
            sender.send_replace(newest(&mut roster, &mut revocations, &mut certificate));
        }
    });
    receiver
}
