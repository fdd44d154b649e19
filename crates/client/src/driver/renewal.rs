//! Keeping credential and roster fresh: what a client asks of the authority while it runs.

use std::time::{Duration, Instant, SystemTime};

use ahoy_proto::UnixTime;
use ahoy_proto::api::ApiErrorCode;

use crate::account::{AccountError, contact, renew};
use crate::profile::Identity;

/// How often it is looked whether anything is due.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(600);

/// Least time between two questions for a newer roster while no supernode answers.
const ROSTER_PAUSE: Duration = Duration::from_secs(60);

/// Age from which the roster is asked for anew: a seventh of its life, so that six days are left to an authority that is away.
const ROSTER_AGE: Duration = Duration::from_secs(86_400);

/// When the authority was last asked for the roster.
#[derive(Debug, Default)]
pub(super) struct Asked(Option<Instant>);

impl Asked {
    /// Whether to ask now.
    pub(super) fn due(&mut self, now: Instant) -> bool {
        let due = self.0.is_none_or(|at| now.saturating_duration_since(at) >= ROSTER_PAUSE);
        if due {
            self.0 = Some(now);
        }
        due
    }
}

/// Whether the credential is past half of its life, or not good at all.
pub(super) fn credential_is_due(identity: &Identity, now: UnixTime) -> bool {
    identity.verified_credential(now).map_or(true, |credential| now >= credential.renew_at())
}

/// Whether the roster is older than a day, or not good at all.
pub(super) fn roster_is_due(identity: &Identity, now: UnixTime) -> bool {
    let roster = identity.network.verified_roster(now);
    roster.map_or(true, |roster| roster.issued_at.distance(now) >= ROSTER_AGE)
}

/// Renews the credential. Blocks.
pub(super) fn renewed(mut identity: Identity) -> Result<Identity, AccountError> {
    let now = SystemTime::now().into();
    // The signing key may have changed since the last contact.
    identity.network = contact(&identity.network.url, Some(&identity.network), now)?.network;
    identity.credential = renew(&identity, now)?;
    Ok(identity)
}

/// Takes over the newest signing keys and roster. Blocks.
pub(super) fn with_newest_roster(mut identity: Identity) -> Result<Identity, AccountError> {
    let network = &identity.network;
    identity.network = contact(&network.url, Some(network), SystemTime::now().into())?.network;
    Ok(identity)
}

/// Whether the authority says that this device is signed out.
pub(super) fn is_signed_out(error: &AccountError) -> bool {
    matches!(error, AccountError::Refused(refusal)
        if matches!(refusal.code, ApiErrorCode::CredentialRefused | ApiErrorCode::Suspended))
}
