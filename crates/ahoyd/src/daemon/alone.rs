//! A supernode whose authority is elsewhere: it starts from what lies on its disk, reads the lists that the authority publishes in the
//! store, and asks it for a new certificate now and then. Either may be away for as long as the lists live.

use std::sync::Arc;
use std::time::Duration;

use ahoy_authority::{Signed, wall_clock};
use ahoy_proto::document::{Revocations, Roster};
use ahoy_store::{Publication, Published, Store, StoreError};
use ahoy_supernode::CredentialKeys;
use anyhow::{Context as _, bail};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::standing::{Standing, lists};
use crate::config::Config;
use crate::folder::DataFolder;
use crate::join;
use crate::membership::{List, Membership, OwnKeys};

/// How often the store is asked for newer lists: two look-ups by key. What is revoked is to be out within two seconds.
const LOOK_FOR_LISTS_EVERY: Duration = Duration::from_secs(1);

/// How often a new certificate is asked for. It lives a week, so that 167 failures in a row do no harm.
const RENEW_CERTIFICATE_EVERY: Duration = Duration::from_secs(3_600);

/// What this machine is by the authority's word, verified.
///
/// # Errors
/// When it has not enrolled, its certificate can't be used or renewed, or the roster has it no more: one sentence each.
pub(super) async fn start(
    config: &Config,
    folder: &DataFolder,
    store: Store,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<Standing> {
    let own = Arc::new(OwnKeys::load_or_create(&folder.keys())?);
    let membership = membership(config, &own).await?;
    let mut follower = Follower::new(membership, store);
    // Only who has been away for long, or was never heard of, waits for the store.
    if !follower.is_listed(&own) {
        follower.look().await.context("the lists on this machine's disk are of no use, and the store has none")?;
    }
    let keys =
        follower.keys().context("there is no roster and revocation list that is good now: is the authority up?")?;
    if !lists(&keys, own.id()) {
        bail!(
            "the operator has revoked this supernode: the roster has it no more (to enrol this machine as a new one, remove {})",
            folder.keys().display()
        );
    }
    let (sender, receiver) = watch::channel(keys);
    let (renewed, renewals) = mpsc::channel(1);
    let standing = Standing {
        network: follower.membership.network(),
        roster_key: own.roster.clone(),
        stateless_reset_key: own.stateless_reset,
        call_token_key: follower.membership.call_token_key.clone(),
        number: follower.membership.certificate.document.number,
        keys: receiver.clone(),
    };
    tasks.spawn(renew(config.clone(), own, standing.network, receiver, renewed));
    tasks.spawn(follower.run(sender, renewals));
    Ok(standing)
}

/// From the disk; else by the token, if there is one.
async fn membership(config: &Config, own: &Arc<OwnKeys>) -> anyhow::Result<Membership> {
    let now = wall_clock();
    let (config, own) = (config.clone(), Arc::clone(own));
    let Some(known) = Membership::load(&own, now)? else {
        if config.enrolment_token.is_none() {
            bail!(
                "this machine has not enrolled: run `ahoyd enrol` where the authority is, and here the `ahoyd join` that it prints"
            );
        }
        let membership = tokio::task::spawn_blocking(move || join::enrol(&config, &own)).await??;
        tracing::info!(number = membership.certificate.document.number, "this machine has enrolled as a supernode");
        return Ok(membership);
    };
    if known.is_current(now) {
        return Ok(known);
    }
    let present = (known.network(), known.certificate.token);
    tokio::task::spawn_blocking(move || join::renew(&config, &own, present, now))
        .await?
        .context("this supernode's certificate has expired, and the authority gives it no other")
}

/// The newest lists, wherever they came from.
struct Follower {
    membership: Membership,
    store: Store,
    roster: Seen<Roster>,
    revocations: Seen<Revocations>,
}

/// A list, and its version in the store.
struct Seen<L> {
    list: Option<Signed<L>>,
    version: u64,
}

impl Follower {
    fn new(membership: Membership, store: Store) -> Self {
        let now = wall_clock();
        let (roster, revocations) = (membership.last_seen(now), membership.last_seen(now));
        Self {
            membership,
            store,
            roster: Seen { list: roster, version: 0 },
            revocations: Seen { list: revocations, version: 0 },
        }
    }

    /// What a supernode goes by, if there are both lists.
    fn keys(&self) -> Option<CredentialKeys> {
        Some(CredentialKeys {
            signing_keys: self.membership.signing_keys.clone(),
            revocations: Arc::new(self.revocations.list.as_ref()?.document.clone()),
            roster: Arc::new(self.roster.list.as_ref()?.document.clone()),
            certificate: self.membership.certificate.token.clone(),
        })
    }

    fn is_listed(&self, own: &OwnKeys) -> bool {
        self.keys().is_some_and(|keys| lists(&keys, own.id()))
    }

    /// Takes over what the authority has published since the last look; says whether there was anything.
    async fn look(&mut self) -> Result<bool, StoreError> {
        let asked = Published { revocations: self.revocations.version, roster: self.roster.version };
        let published = self.store.call(asked).await?;
        let roster = take(&self.membership, &mut self.roster, published.roster);
        let revocations = take(&self.membership, &mut self.revocations, published.revocations);
        Ok(roster || revocations)
    }

    /// Hands on what is new, for ever.
    async fn run(mut self, keys: watch::Sender<CredentialKeys>, mut renewals: mpsc::Receiver<Membership>) {
        let mut look = tokio::time::interval(LOOK_FOR_LISTS_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failed = false;
        loop {
            tokio::select! {
                _ = look.tick() => {
                    let result = self.look().await;
                    // Every second is too often to say the same thing.
                    if let (Err(error), false) = (&result, failed) {
                        tracing::warn!(%error, "the store has no news of the network; going on with what is known");
                    }
                    failed = result.is_err();
                    if result != Ok(true) {
                        continue;
                    }
                }
                Some(membership) = renewals.recv() => {
                    self.membership = membership;
                    // With newer signing keys, what did not verify may.
                    (self.roster.version, self.revocations.version) = (0, 0);
                }
            }
            if let Some(newest) = self.keys() {
                keys.send_replace(newest);
            }
        }
    }
}

/// Takes a list that verifies and is not older than the one that is known, and keeps a copy.
fn take<L: List + Clone>(membership: &Membership, seen: &mut Seen<L>, published: Option<Publication>) -> bool {
    let Some(Publication { version, token }) = published else { return false };
    // What is wrong now is wrong in a second.
    seen.version = version;
    let list: Signed<L> = match membership.verify(token, wall_clock()) {
        Ok(list) => list,
        Err(error) => {
            tracing::error!(%error, list = L::TYPE, "the store has a list that does not verify; the old one stays");
            return false;
        }
    };
    let order = |list: &Signed<L>| (list.document.serial(), list.document.validity().0);
    if seen.list.as_ref().is_some_and(|known| order(&list) < order(known)) {
        tracing::error!(list = L::TYPE, "the store has a list that is older than the one known; that one stays");
        return false;
    }
    if let Err(error) = membership.keep_list(&list) {
        tracing::warn!(error = format!("{error:#}"), "a signed list is not on the disk; a restart needs the store");
    }
    seen.list = Some(list);
    true
}

/// Asks for a new certificate every hour, each machine at another time of it.
async fn renew(
    config: Config,
    own: Arc<OwnKeys>,
    network: ahoy_proto::NetworkId,
    keys: watch::Receiver<CredentialKeys>,
    renewed: mpsc::Sender<Membership>,
) {
    let first = RENEW_CERTIFICATE_EVERY.mul_f64(rand::random_range(0.0..1.0));
    let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + first, RENEW_CERTIFICATE_EVERY);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let present = (network, keys.borrow().certificate.clone());
        let (config, own) = (config.clone(), Arc::clone(&own));
        let asked = tokio::task::spawn_blocking(move || join::renew(&config, &own, present, wall_clock())).await;
        match asked.map_err(anyhow::Error::from).and_then(|answer| answer) {
            Ok(membership) => _ = renewed.send(membership).await,
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the certificate could not be renewed; trying again in an hour"
                );
            }
        }
    }
}
