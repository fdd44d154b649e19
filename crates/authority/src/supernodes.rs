//! How a machine becomes a supernode, and stays one: by a one-time token of the operator's, and then by its key.
//!
//! There is no other way. No request of an account leads here, and no certificate is made for a key that has not enrolled.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ahoy_proto::api::{ApiErrorCode, Base64Url, EnrolSupernode, RenewSupernode, SupernodeEnrolled};
use ahoy_proto::document::{self, Confirmation, DocumentError, Jwk, SupernodeCertificate, SupernodePolicy};
use ahoy_proto::enrolment::{Particulars, enrol_input, renew_input, seal_call_token_key};
use ahoy_proto::limits::{
    CERTIFICATE_GRACE, CLOCK_SKEW_MAX, REGION_MAX, ROSTER_LIFE, SUPERNODE_ADDRESS_MAX, SUPERNODE_ADDRESSES_MAX,
};
use ahoy_proto::{SupernodeId, UnixTime};
use ahoy_store::{Enrol, EnrolOwn, Enrolled, Enrolling, Granted, Place, Store, StoreError, SupernodeOf};
use axum::Json;
use axum::extract::State;
use ed25519_dalek::{Signature, VerifyingKey};

use crate::http::{Answer, Body, Refusal, Sender};
use crate::{Authority, Keys, Signed, token_hash};

/// How often the log tells of requests that were refused, whoever sends how many.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Why a supernode can't be listed so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPlace {
    /// None, or more than the roster takes.
    #[error("a supernode has 1 to {SUPERNODE_ADDRESSES_MAX} addresses")]
    Addresses,
    /// Not `host:port`.
    #[error("{0:?} is no address of a supernode; it looks like voice.example.org:443")]
    Address(String),
    /// Too long, or not for people's eyes.
    #[error("a region has at most {REGION_MAX} bytes and no control characters")]
    Region,
}

/// Whether an operator may say so of a supernode.
///
/// # Errors
/// Says what is wrong.
pub fn check_granted(granted: &Granted) -> Result<(), InvalidPlace> {
    granted.addresses.as_deref().map_or(Ok(()), check_addresses)?;
    granted.region.as_deref().map_or(Ok(()), check_region)
}

fn check_addresses(addresses: &[String]) -> Result<(), InvalidPlace> {
    if addresses.is_empty() || addresses.len() > SUPERNODE_ADDRESSES_MAX {
        return Err(InvalidPlace::Addresses);
    }
    let is_address = |address: &str| {
        let Some((host, port)) = address.rsplit_once(':') else { return false };
        let plain = |c: char| c.is_ascii_graphic();
        !host.is_empty() && host.chars().all(plain) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    match addresses.iter().find(|address| address.len() > SUPERNODE_ADDRESS_MAX || !is_address(address)) {
        Some(address) => Err(InvalidPlace::Address(address.chars().take(SUPERNODE_ADDRESS_MAX).collect())),
        None => Ok(()),
    }
}

fn check_region(region: &str) -> Result<(), InvalidPlace> {
    if region.len() > REGION_MAX || region.chars().any(char::is_control) { Err(InvalidPlace::Region) } else { Ok(()) }
}

/// Enters this process's own supernode.
pub(crate) async fn enrol_own(store: &Store, keys: &Keys, place: Place, now: UnixTime) -> Result<Enrolled, StoreError> {
    let key = keys.roster_key().verifying_key().to_bytes();
    let who = Enrolling { supernode: SupernodeId::of_roster_key(&key), key, place };
    store.call(EnrolOwn { who, at: now }).await
}

/// The authority's word for a supernode that has enrolled, as of now.
pub(crate) fn certify(keys: &Keys, enrolled: &Enrolled, now: UnixTime) -> Signed<SupernodeCertificate> {
    let certificate = SupernodeCertificate {
        network: keys.network(),
        supernode: enrolled.supernode,
        confirmation: Confirmation { jwk: Jwk::ed25519(enrolled.key) },
        number: enrolled.number,
        policy: SupernodePolicy::Hosted,
        issued_at: now,
        expires: now.plus(ROSTER_LIFE),
    };
    Signed::new(certificate, keys)
}

pub(crate) async fn enrol(
    State(authority): State<Authority>,
    sender: Sender,
    Body(request): Body<EnrolSupernode>,
) -> Answer<SupernodeEnrolled> {
    let now = authority.now();
    authority.0.limiter.supernode(sender.0, now)?;
    let enrolled = admit(&authority, request, now).await;
    enrolled.inspect_err(|refusal| authority.0.enrolments_refused.tell(refusal, "an enrolment was refused", now))
}

async fn admit(authority: &Authority, request: EnrolSupernode, now: UnixTime) -> Answer<SupernodeEnrolled> {
    let EnrolSupernode { token, key, addresses, region, weight, reply_key, signature } = request;
    let invalid = |error: InvalidPlace| Refusal::invalid(error.to_string());
    check_addresses(&addresses).map_err(invalid)?;
    check_region(&region).map_err(invalid)?;
    let reply_key = read_reply_key(&reply_key)?;
    let input = enrol_input(&token, &reply_key, Particulars { addresses: &addresses, region: &region, weight })
        .ok_or_else(|| Refusal::invalid("a field is too long"))?;
    check_signature(&key, &input, &signature)?;
    let supernode = SupernodeId::of_roster_key(key.bytes());
    // Before the token is used up.
    let sealed = seal(&authority.0.keys, supernode, &reply_key)?;
    let who = Enrolling { supernode, key: *key.bytes(), place: Place { addresses, region, weight } };
    let enrolled = authority.0.store.call(Enrol { hash: token_hash(&token), who, at: now }).await.map_err(refusal)?;
    tracing::info!(supernode = %enrolled.supernode, number = enrolled.number, "a supernode has enrolled");
    if let Err(error) = authority.publish_roster().await {
        // The token is used, so this must not fail now; whoever looks for changes each second tries again.
        tracing::warn!(%error, "the new roster could not be published yet");
    }
    // Not in the answer to a renewal, which a recorded request gets again.
    let revocations = Some(authority.0.revocations.borrow().token.clone());
    Ok(Json(SupernodeEnrolled { revocations, ..answer(&authority.0.keys, &enrolled, sealed, now) }))
}

/// Of all ways in which a token is none, nobody learns which.
fn refusal(error: StoreError) -> Refusal {
    let text = match error {
        StoreError::EnrolmentRefused | StoreError::AlreadyExists => {
            "it takes an unused enrolment token of this network's operator"
        }
        StoreError::Forbidden => "this key was revoked: remove this supernode's keys and enrol it with a new one",
        StoreError::LimitReached => "the network has as many supernodes as a roster holds",
        error => return error.into(),
    };
    Refusal::of(ApiErrorCode::SupernodeRefused, text)
}

pub(crate) async fn renew(
    State(authority): State<Authority>,
    sender: Sender,
    Body(request): Body<RenewSupernode>,
) -> Answer<SupernodeEnrolled> {
    let now = authority.now();
    authority.0.limiter.supernode(sender.0, now)?;
    let renewed = certify_anew(&authority, request, now).await;
    renewed.inspect_err(|refusal| authority.0.renewals_refused.tell(refusal, "a supernode was refused", now))
}

async fn certify_anew(authority: &Authority, request: RenewSupernode, now: UnixTime) -> Answer<SupernodeEnrolled> {
    let keys = &authority.0.keys;
    let network = keys.network();
    let RenewSupernode { certificate, time, reply_key, signature } = request;
    let reply_key = read_reply_key(&reply_key)?;
    let certificate: SupernodeCertificate =
        document::verify_late(&certificate, &keys.signing_keys(), network, now, CERTIFICATE_GRACE).map_err(
            |error| match error {
                DocumentError::Expired => unproven("the certificate expired too long ago: enrol anew"),
                error => unproven(&error.to_string()),
            },
        )?;
    if time.distance(now) > CLOCK_SKEW_MAX {
        return Err(unproven("the clock of this supernode is wrong by more than five minutes"));
    }
    let key = &certificate.confirmation.jwk;
    check_signature(key, &renew_input(network, certificate.supernode, time, &reply_key), &signature)?;
    let refused = |text| Refusal::of(ApiErrorCode::SupernodeRefused, text);
    let enrolled = match authority.0.store.call(SupernodeOf { supernode: certificate.supernode }).await {
        Err(StoreError::NotFound) => return Err(refused("this supernode is not enrolled: enrol it anew")),
        found => found?,
    };
    if (&enrolled.key, enrolled.number) != (key.bytes(), certificate.number) {
        return Err(refused("this supernode is enrolled otherwise: enrol it anew"));
    }
    if enrolled.revoked_at.is_some() {
        return Err(refused("the operator has revoked this supernode"));
    }
    let sealed = seal(keys, enrolled.supernode, &reply_key)?;
    Ok(Json(answer(keys, &enrolled, sealed, now)))
}

fn answer(keys: &Keys, enrolled: &Enrolled, sealed_call_token_key: Vec<u8>, now: UnixTime) -> SupernodeEnrolled {
    SupernodeEnrolled {
        certificate: certify(keys, enrolled, now).token,
        root_key: Jwk::ed25519(*keys.root_key().as_bytes()),
        signing_keys: vec![keys.signing_key_certificate().to_owned()],
        sealed_call_token_key: Base64Url(sealed_call_token_key),
        revocations: None,
        time: now,
    }
}

fn seal(keys: &Keys, supernode: SupernodeId, reply_key: &[u8; 32]) -> Result<Vec<u8>, Refusal> {
    seal_call_token_key(keys.call_token_key().as_bytes(), supernode, reply_key, rand::random())
        .ok_or_else(|| Refusal::invalid("the reply key is of no use"))
}

fn read_reply_key(bytes: &Base64Url) -> Result<[u8; 32], Refusal> {
    bytes.0.as_slice().try_into().map_err(|_| Refusal::invalid("a reply key has 32 bytes"))
}

fn check_signature(key: &Jwk, input: &[u8], signature: &Base64Url) -> Result<(), Refusal> {
    let strong = |key: &VerifyingKey| !key.is_weak();
    let verified = key
        .verifying_key()
        .filter(strong)
        .zip(Signature::from_slice(&signature.0).ok())
        .is_some_and(|(key, signature)| key.verify_strict(input, &signature).is_ok());
    if verified { Ok(()) } else { Err(unproven("the request is not signed by the supernode's key")) }
}

fn unproven(text: &str) -> Refusal {
    Refusal::of(ApiErrorCode::CredentialRefused, text)
}

/// Tells the log of what strangers can cause as often as they like, once in [`LOG_EVERY`], and how often it was silent.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<(Option<UnixTime>, u64)>);

impl Seldom {
    fn tell(&self, refusal: &Refusal, what: &str, now: UnixTime) {
        if let Some(unsaid) = self.due(now) {
            tracing::warn!(reason = refusal.text(), unsaid, "{what}");
        }
    }

    /// If it is time to say something: how often it was not.
    fn due(&self, now: UnixTime) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, unsaid) = &mut *state;
        if last.is_some_and(|last| last.distance(now) < LOG_EVERY) {
            *unsaid += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_of_refusals_once_a_minute() {
        let seldom = Seldom::default();
        let said = [0, 1, 59, 60, 61, 200].map(|second| seldom.due(UnixTime(1_000 + second)));
        assert_eq!(said, [Some(0), None, None, Some(2), None, Some(1)]);
    }

    #[test]
    fn what_people_dial_is_an_address() {
        let check = |addresses: &[&str]| check_addresses(&addresses.iter().map(|&a| a.to_owned()).collect::<Vec<_>>());
        assert_eq!(check(&["voice.example.org:443", "[2001:db8::1]:443"]), Ok(()));
        for address in ["", ":443", "host", "host:0", "host:65536", "ho st:1", "h\u{1b}:1"] {
            assert_eq!(check(&[address]), Err(InvalidPlace::Address(address.to_owned())));
        }
        assert!(check(&[&format!("{}:443", "x".repeat(SUPERNODE_ADDRESS_MAX))]).is_err());
        assert_eq!(check(&[]), Err(InvalidPlace::Addresses));
        assert_eq!(check(&["a:1"; SUPERNODE_ADDRESSES_MAX + 1]), Err(InvalidPlace::Addresses));
        assert_eq!(check_region("a\nb"), Err(InvalidPlace::Region));
        assert_eq!(check_region(&"x".repeat(REGION_MAX + 1)), Err(InvalidPlace::Region));
    }
}
