//! The authority's HTTP API: JSON bodies of `/.well-known/ahoy` and `/v1/*`.
//!
//! Bytes are unpadded base64url, ids are 32 hexadecimal digits, times are Unix seconds. Every error is an [`ApiError`]
//! with a status to match its code.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::document::{Jwk, RosterEntry};
use crate::hex::{base64url, unbase64url};
use crate::{AccountId, DeviceId, Name, NetworkId, UnixTime};

/// Bytes in JSON: unpadded base64url. Its `Debug` shows only the length.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Base64Url(pub Vec<u8>);

impl fmt::Debug for Base64Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl TryFrom<String> for Base64Url {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        unbase64url(&text).map(Self).ok_or("not unpadded base64url")
    }
}

impl From<Base64Url> for String {
    fn from(bytes: Base64Url) -> Self {
        base64url(&bytes.0)
    }
}

impl From<&[u8]> for Base64Url {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

/// `GET /.well-known/ahoy`: what a client needs to know before it knows anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WellKnown {
    /// What people call the network, usually its domain; the part after @ in a full name.
    pub name: String,
    /// Made from `root_key`.
    pub network: NetworkId,
    /// Clients pin it at first contact.
    pub root_key: Jwk,
    /// `ahoy-signing-key+jwt` documents, newest first.
    pub signing_keys: Vec<String>,
    /// Least protocol version served.
    pub minimum_version: u32,
    /// Who may sign up.
    pub sign_up: SignUpPolicy,
    /// The account that answers every call with the caller's own voice, if there is one.
    pub echo: Option<Name>,
    /// Unsigned hint of where to dial before a roster is known; the roster decides.
    pub supernodes: Vec<RosterEntry>,
    /// X25519, public, 32 bytes: [reports](crate::report) are sealed to it.
    pub report_key: Base64Url,
    /// SHA-256 of each certificate of the supernode beside this authority that browsers are to take although nobody else vouches for it: the
    /// present one and the next. None where it has one of the web.
    #[serde(default)]
    pub certificate_hashes: Vec<Base64Url>,
}

/// Who may sign up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignUpPolicy {
    /// Everybody.
    Open,
    /// Whoever holds an unused invite.
    Invite,
    /// Nobody.
    #[default]
    Closed,
}

/// Any response with a status of 400 or above.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// For programs.
    pub code: ApiErrorCode,
    /// One sentence for a person.
    pub text: String,
    /// Milliseconds to wait before trying again, where that helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// Why the authority refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApiErrorCode {
    /// 400: not the JSON expected, or a field out of range.
    Invalid,
    /// 400: the name breaks a rule of [`Name`].
    NameInvalid,
    /// 409.
    NameTaken,
    /// 403: sign-up is closed, or the invite is missing, used or unknown.
    SignUpRefused,
    /// 401: wrong password, unknown name or wrong recovery code; nobody learns which.
    SignInRefused,
    /// 401: the step's state or the ticket is too old or not ours.
    StateRefused,
    /// 401: the credential or its signature is not accepted.
    CredentialRefused,
    /// 403: the operator has suspended the account.
    Suspended,
    /// 403: the enrolment token is unknown, used or expired, and nobody learns which; or the key is no supernode of this network
    /// (any more).
    SupernodeRefused,
    /// 409: the account has as many devices as it may.
    TooManyDevices,
    /// 404.
    NotFound,
    /// 413.
    TooLarge,
    /// 429.
    RateLimited,
    /// 503: the store can't be reached or its disk is full.
    Unavailable,
}

/// `POST /v1/accounts/start`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StartAccount {
    /// The name wished for, as typed.
    pub name: String,
    /// OPAQUE RegistrationRequest.
    pub registration_request: Base64Url,
    /// Where sign-up is by invite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invite: Option<String>,
}

/// Response to [`StartAccount`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccountStarted {
    /// To be returned within 60 s.
    pub state: Base64Url,
    /// The id that the account will have.
    pub account: AccountId,
    /// OPAQUE RegistrationResponse.
    pub registration_response: Base64Url,
}

/// `POST /v1/accounts/finish`, answered with [`CredentialIssued`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FinishAccount {
    /// From [`AccountStarted`].
    pub state: Base64Url,
    /// OPAQUE RegistrationUpload.
    pub registration_upload: Base64Url,
    /// Ed25519, public.
    pub account_key: Jwk,
    /// As [`publish`](crate::request_key::publish) makes it: 96 bytes.
    pub request_key: Base64Url,
    /// The account key's secret, sealed under the export key.
    pub sealed_account_key: Base64Url,
    /// The way back in without the password.
    pub recovery: Recovery,
    /// The first device.
    pub device: NewDevice,
}

/// What the authority keeps so that a recovery code works.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recovery {
    /// SHA-256 of the recovery secret that [`Recover`] will show.
    pub verifier: Base64Url,
    /// The account key's secret, sealed under the recovery code.
    pub sealed_account_key: Base64Url,
}

/// A device that asks for its first credential.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewDevice {
    /// Random, made by the device.
    pub device: DeviceId,
    /// For the owner's eyes, at most 64 bytes.
    pub name: String,
    /// `ahoy.v1.Binding`, signed by the account key.
    pub binding: Base64Url,
}

/// A credential, as a compact JWS.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CredentialIssued {
    /// `ahoy-credential+jwt`
    pub credential: String,
    /// The authority's clock.
    pub time: UnixTime,
}

/// `POST /v1/sign-in/start`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StartSignIn {
    /// As typed.
    pub name: String,
    /// OPAQUE KE1.
    pub credential_request: Base64Url,
}

/// Response to [`StartSignIn`], for known and unknown names alike.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignInStarted {
    /// To be returned within 60 s.
    pub state: Base64Url,
    /// OPAQUE KE2.
    pub credential_response: Base64Url,
}

/// `POST /v1/sign-in/finish`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FinishSignIn {
    /// From [`SignInStarted`].
    pub state: Base64Url,
    /// OPAQUE KE3.
    pub credential_finalization: Base64Url,
}

/// Response to [`FinishSignIn`] and [`Recover`]: the account is open to whoever sent them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccountOpened {
    /// The account.
    pub account: AccountId,
    /// Its name.
    pub name: Name,
    /// Ed25519, public.
    pub account_key: Jwk,
    /// Sealed under the export key, or under the recovery code in a response to [`Recover`].
    pub sealed_account_key: Base64Url,
    /// Good for 10 minutes and for [`AddDevice`], [`StartPassword`], [`FinishPassword`] and [`DeleteAccount`]; the last
    /// two only until the password changes.
    pub ticket: Base64Url,
}

/// `POST /v1/devices`, answered with [`CredentialIssued`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AddDevice {
    /// From [`AccountOpened`].
    pub ticket: Base64Url,
    /// As [`publish`](crate::request_key::publish) makes it: 96 bytes, the same from every device.
    pub request_key: Base64Url,
    /// The device.
    pub device: NewDevice,
}

/// `POST /v1/accounts/delete`, answered with `{}`: the account is gone for good.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeleteAccount {
    /// From [`AccountOpened`].
    pub ticket: Base64Url,
}

/// `POST /v1/password/start`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StartPassword {
    /// From [`AccountOpened`].
    pub ticket: Base64Url,
    /// OPAQUE RegistrationRequest.
    pub registration_request: Base64Url,
}

/// Response to [`StartPassword`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PasswordStarted {
    /// OPAQUE RegistrationResponse.
    pub registration_response: Base64Url,
}

/// `POST /v1/password/finish`, answered with `{}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FinishPassword {
    /// From [`AccountOpened`].
    pub ticket: Base64Url,
    /// OPAQUE RegistrationUpload.
    pub registration_upload: Base64Url,
    /// The account key's secret, sealed under the new export key.
    pub sealed_account_key: Base64Url,
    /// A new recovery code voids the old one; absent: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
}

/// `POST /v1/recovery`, answered with [`AccountOpened`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recover {
    /// As typed.
    pub name: String,
    /// Derived from the recovery code; see docs/protocol.md.
    pub recovery_secret: Base64Url,
}

/// `POST /v1/credentials/renew`, answered with [`CredentialIssued`]; and `POST /v1/credentials/revoke`, answered with `{}`,
/// which voids the credential and forgets the device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceRequest {
    /// The present credential. Renewal accepts one that expired at most 30 days ago.
    pub credential: String,
    /// The device's clock; must be within [`CLOCK_SKEW_MAX`](crate::limits::CLOCK_SKEW_MAX) of the authority's.
    pub time: UnixTime,
    /// Ed25519 by the device key over [`device_request_input`] with the verb of the path.
    pub signature: Base64Url,
}

/// `POST /v1/devices/revoke`, answered with `{}`: a device of the same account, or this one, is signed out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RevokeDevice {
    /// Credential and signature of the device that asks.
    #[serde(flatten)]
    pub by: DeviceRequest,
    /// The device to be signed out.
    pub target: DeviceId,
}

/// `POST /v1/devices/rename`, answered with `{}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RenameDevice {
    /// Credential and signature of the device that asks.
    #[serde(flatten)]
    pub by: DeviceRequest,
    /// The device to be renamed: of the same account, or this one.
    pub target: DeviceId,
    /// For the owner's eyes, at most 64 bytes.
    pub name: String,
}

/// What a device may ask of the authority with its key alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceVerb<'a> {
    /// A new credential for the same device.
    Renew,
    /// Sign out.
    Revoke,
    /// Sign a device of the account out.
    RevokeDevice {
        /// Which.
        target: DeviceId,
    },
    /// Call a device of the account otherwise.
    RenameDevice {
        /// Which.
        target: DeviceId,
        /// As in [`RenameDevice`].
        name: &'a str,
    },
}

/// The input of the signature in [`DeviceRequest`]: label, 0, verb (1 byte), network, device, time (8 bytes, big-endian); then
/// the target and the name, where the verb has them.
pub fn device_request_input(verb: DeviceVerb<'_>, network: NetworkId, device: DeviceId, time: UnixTime) -> Vec<u8> {
    let (verb, target, name) = match verb {
        DeviceVerb::Renew => (1, None, ""),
        DeviceVerb::Revoke => (2, None, ""),
        DeviceVerb::RevokeDevice { target } => (3, Some(target), ""),
        DeviceVerb::RenameDevice { target, name } => (4, Some(target), name),
    };
    let target = target.as_ref().map_or(&[][..], |target| &target.0);
    let head = [b"ahoy/1 device request" as &[u8], &[0, verb]].concat();
    [&head[..], &network.0, &device.0, &time.0.to_be_bytes(), target, name.as_bytes()].concat()
}

/// `POST /v1/supernodes/enrol`, answered with [`SupernodeEnrolled`]: the machine that holds the key becomes a supernode.
#[derive(Clone, Serialize, Deserialize)]
pub struct EnrolSupernode {
    /// From the operator; good for one enrolment.
    pub token: String,
    /// The supernode's key, Ed25519, public.
    pub key: Jwk,
    /// `host:port`, best first. What the operator has said with the token goes before this and the next two.
    pub addresses: Vec<String>,
    /// Where it stands.
    pub region: String,
    /// Its share of new sessions, relative to the others.
    pub weight: u32,
    /// X25519, public, 32 bytes: the call-token key comes sealed to it.
    pub reply_key: Base64Url,
    /// Ed25519 by the supernode's key over [`enrol_input`](crate::enrolment::enrol_input).
    pub signature: Base64Url,
}

impl fmt::Debug for EnrolSupernode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolSupernode").field("region", &self.region).finish_non_exhaustive()
    }
}

/// `POST /v1/supernodes/renew`, answered with [`SupernodeEnrolled`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RenewSupernode {
    /// The present certificate; one that expired at most [`CERTIFICATE_GRACE`](crate::limits::CERTIFICATE_GRACE) ago will do.
    pub certificate: String,
    /// The supernode's clock; must be within [`CLOCK_SKEW_MAX`](crate::limits::CLOCK_SKEW_MAX) of the authority's.
    pub time: UnixTime,
    /// X25519, public, 32 bytes: the call-token key comes sealed to it.
    pub reply_key: Base64Url,
    /// Ed25519 by the certificate's key over [`renew_input`](crate::enrolment::renew_input).
    pub signature: Base64Url,
}

/// Response to [`EnrolSupernode`] and [`RenewSupernode`]: all that a supernode needs beside the roster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SupernodeEnrolled {
    /// `ahoy-supernode+jwt`
    pub certificate: String,
    /// The network's root key.
    pub root_key: Jwk,
    /// `ahoy-signing-key+jwt` documents, newest first.
    pub signing_keys: Vec<String>,
    /// What call tokens are sealed with; see [`ReplySecret::open`](crate::enrolment::ReplySecret::open).
    pub sealed_call_token_key: Base64Url,
    /// `ahoy-revocations+jwt`, at enrolment only: later ones stand in the store. Nobody else is given the list, because it names accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocations: Option<String>,
    /// The authority's clock.
    pub time: UnixTime,
}
