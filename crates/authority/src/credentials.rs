//! Devices and their credentials: issue, renew, revoke.

use std::time::Duration;

use ahoy_proto::api::{
    self, AddDevice, ApiErrorCode, CredentialIssued, DeviceRequest, DeviceVerb, NewDevice, device_request_input,
};
use ahoy_proto::document::{self, Confirmation, Credential, DocumentError, Jwk};
use ahoy_proto::limits::{CLOCK_SKEW_MAX, CREDENTIAL_LIFE};
use ahoy_proto::{AccountId, DeviceId, Name, UnixTime, binding, v1};
use ahoy_store::{Account, AccountOf, Device, DeviceOf, RenameDevice, RevokeDevice, SetRequestKey, StoreError};
use axum::Json;
use axum::extract::State;
use ed25519_dalek::{Signature, VerifyingKey};
use prost::Message;

use crate::Authority;
use crate::accounts::check_request_key;
use crate::http::{Answer, Body, Done, Refusal};
use crate::sign_in::{Ticket, suspended};

/// Longest device name, in bytes.
const DEVICE_NAME_MAX: usize = 64;

/// How long after its end a credential can still be renewed.
const RENEWAL_GRACE: Duration = Duration::from_secs(30 * 86_400);

/// A device whose binding says that it belongs to this account, signed by this account key.
pub(crate) fn check_device(device: NewDevice, account: AccountId, account_key: &[u8; 32]) -> Result<Device, Refusal> {
    check_device_name(&device.name)?;
    let bound = v1::Binding::decode(&device.binding.0[..])
        .ok()
        .and_then(|binding| binding::verify(&binding).ok())
        .filter(|bound| (bound.account, bound.device, &bound.account_key) == (account, device.device, account_key))
        .filter(|bound| VerifyingKey::from_bytes(&bound.device_key).is_ok_and(|key| !key.is_weak()))
        .ok_or_else(|| Refusal::invalid("the binding is not this account's word for this device"))?;
    Ok(Device { device: device.device, name: device.name, device_key: bound.device_key, binding: device.binding.0 })
}

fn check_device_name(name: &str) -> Result<(), Refusal> {
    if name.len() > DEVICE_NAME_MAX || name.chars().any(char::is_control) {
        return Err(Refusal::invalid("a device name has at most 64 bytes and no control characters"));
    }
    Ok(())
}

pub(crate) fn issue(
    authority: &Authority,
    account: AccountId,
    name: Name,
    (device, device_key): (DeviceId, [u8; 32]),
    now: UnixTime,
) -> CredentialIssued {
    let credential = Credential {
        network: authority.0.keys.network(),
        account,
        name,
        device,
        confirmation: Confirmation { jwk: Jwk::ed25519(device_key) },
        issued_at: now,
        expires: now.plus(CREDENTIAL_LIFE),
    };
    CredentialIssued { credential: document::sign(&credential, authority.0.keys.signing_key()), time: now }
}

pub(crate) async fn add_device(
    State(authority): State<Authority>,
    Body(request): Body<AddDevice>,
) -> Answer<CredentialIssued> {
    let now = authority.now();
    let ticket: Ticket = authority.open_state(&request.ticket)?;
    let account = authority.ticket_account(&ticket).await?;
    let device = check_device(request.device, account.account, &account.account_key)?;
    let request_key = check_request_key(request.request_key, account.account, &account.account_key)?;
    let issued = issue(&authority, account.account, account.name, (device.device, device.device_key), now);
    authority.0.store.call(ahoy_store::AddDevice { account: account.account, device, at: now }).await?;
    // An account that is older than contact requests has none.
    authority.0.store.call(SetRequestKey { account: account.account, request_key }).await?;
    Ok(Json(issued))
}

pub(crate) async fn renew(
    State(authority): State<Authority>,
    Body(request): Body<DeviceRequest>,
) -> Answer<CredentialIssued> {
    let now = authority.now();
    let credential = check_request(&authority, &request, DeviceVerb::Renew, now)?;
    let account = known_device(&authority, &credential).await?;
    let device = (credential.device, *credential.confirmation.jwk.bytes());
    Ok(Json(issue(&authority, account.account, account.name, device, now)))
}

/// The account of a device that has not been signed out, unless it is suspended.
async fn known_device(authority: &Authority, credential: &Credential) -> Result<Account, Refusal> {
    let known = authority.0.store.call(DeviceOf { device: credential.device }).await.map_err(forgotten)?;
    if known != (credential.account, *credential.confirmation.jwk.bytes()) {
        return Err(forgotten(StoreError::NotFound));
    }
    let account = authority.0.store.call(AccountOf { account: credential.account }).await.map_err(forgotten)?;
    if account.suspended { Err(suspended()) } else { Ok(account) }
}

pub(crate) async fn revoke(State(authority): State<Authority>, Body(request): Body<DeviceRequest>) -> Answer<Done> {
    let now = authority.now();
    let credential = check_request(&authority, &request, DeviceVerb::Revoke, now)?;
    let revoke = RevokeDevice { account: credential.account, device: credential.device, at: now };
    authority.0.store.call(revoke).await.map_err(forgotten)?;
    authority.publish_revocations().await?;
    Ok(Json(Done {}))
}

pub(crate) async fn revoke_device(
    State(authority): State<Authority>,
    Body(request): Body<api::RevokeDevice>,
) -> Answer<Done> {
    let now = authority.now();
    let verb = DeviceVerb::RevokeDevice { target: request.target };
    let credential = check_request(&authority, &request.by, verb, now)?;
    let account = known_device(&authority, &credential).await?.account;
    let revoke = RevokeDevice { account, device: request.target, at: now };
    authority.0.store.call(revoke).await.map_err(no_such_device)?;
    authority.publish_revocations().await?;
    Ok(Json(Done {}))
}

pub(crate) async fn rename_device(
    State(authority): State<Authority>,
    Body(request): Body<api::RenameDevice>,
) -> Answer<Done> {
    let verb = DeviceVerb::RenameDevice { target: request.target, name: &request.name };
    let credential = check_request(&authority, &request.by, verb, authority.now())?;
    check_device_name(&request.name)?;
    let account = known_device(&authority, &credential).await?.account;
    let rename = RenameDevice { account, device: request.target, name: request.name };
    authority.0.store.call(rename).await.map_err(no_such_device)?;
    Ok(Json(Done {}))
}

fn no_such_device(error: StoreError) -> Refusal {
    match error {
        StoreError::NotFound => Refusal::of(ApiErrorCode::NotFound, "this account has no such device"),
        error => error.into(),
    }
}

fn forgotten(error: StoreError) -> Refusal {
    match error {
        StoreError::NotFound => refused("this device has been signed out; sign in again"),
        error => error.into(),
    }
}

fn refused(text: &str) -> Refusal {
    Refusal::of(ApiErrorCode::CredentialRefused, text)
}

/// The credential of a request that its device has signed, now.
fn check_request(
    authority: &Authority,
    request: &DeviceRequest,
    verb: DeviceVerb<'_>,
    now: UnixTime,
) -> Result<Credential, Refusal> {
    let keys = &authority.0.keys;
    let network = keys.network();
    let credential: Credential =
        document::verify_late(&request.credential, &keys.signing_keys(), network, now, RENEWAL_GRACE).map_err(
            |error| match error {
                DocumentError::Expired => refused("the credential expired too long ago; sign in again"),
                error => refused(&error.to_string()),
            },
        )?;
    if request.time.distance(now) > CLOCK_SKEW_MAX {
        return Err(refused("the clock of this device is wrong by more than five minutes"));
    }
    let input = device_request_input(verb, network, credential.device, request.time);
    let verified = credential
        .confirmation
        .jwk
        .verifying_key()
        .zip(Signature::from_slice(&request.signature.0).ok())
        .is_some_and(|(key, signature)| key.verify_strict(&input, &signature).is_ok());
    if verified { Ok(credential) } else { Err(refused("the request is not signed by the credential's device")) }
}
