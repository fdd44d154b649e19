//! An account's dealings with the authority: sign-up, sign-in, password, recovery, credentials.
//!
//! The authority never sees a password, a recovery code or the secret of an account key; the latter is opened here for
//! as long as one verb takes, to sign a device binding or to be sealed anew. All verbs block; run them off the reactor.

mod authority;
mod network;
mod opaque;
mod url;

use ahoy_proto::api::{
    AccountOpened, AccountStarted, AddDevice, ApiError, Base64Url, CredentialIssued, DeleteAccount, DeviceRequest,
    DeviceVerb, FinishAccount, FinishPassword, NewDevice, PasswordStarted, Recover, Recovery, RenameDevice,
    RevokeDevice, StartAccount, StartPassword, device_request_input,
};
use ahoy_proto::document::{self, Credential, DocumentError, Jwk};
use ahoy_proto::opaque::{key_stretching, no_key_stretching};
use ahoy_proto::request_key::{RequestSecret, publish};
use ahoy_proto::sealing::{RecoveryCode, SealingKey, open_account_key, seal_account_key};
use ahoy_proto::{AccountId, DeviceId, Name, UnixTime, binding};
use ed25519_dalek::{Signer, SigningKey};
use prost::Message;
use serde::Deserialize;

pub use authority::Authority;
pub use network::{Contact, Network, contact};
pub use url::{InvalidUrl, NetworkUrl};

use crate::profile::{DeviceKey, Identity};

/// Shortest password, in characters. Whoever steals the authority's records *and* its OPAQUE key can try guesses at the cost of
/// one Argon2id run each; eight characters keep that from being trivial.
pub const PASSWORD_MIN: usize = 8;

/// Longest password, in bytes.
pub const PASSWORD_MAX: usize = 1024;

/// Longest device name, in bytes.
const DEVICE_NAME_MAX: usize = 64;

/// Why a verb did not succeed. Nothing has changed unless the variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// Nothing answers at the address.
    #[error("{url} can't be reached: {cause}")]
    Unreachable {
        /// Where.
        url: NetworkUrl,
        /// One phrase.
        cause: String,
    },
    /// The address has no machine behind it.
    #[error("{0} can't be reached: there is no such host")]
    HostNotFound(NetworkUrl),
    /// The authority could not prove that it is the one addressed.
    #[error("{url} did not prove its identity: {cause}")]
    Tls {
        /// Where.
        url: NetworkUrl,
        /// One phrase.
        cause: String,
    },
    /// Something answers, but not in the language of an authority.
    #[error("{0} answers, but is not an Ahoy network")]
    NotAhoy(NetworkUrl),
    /// The root key is not the one pinned at first contact.
    #[error("{0} is not the network that it was: its root key has changed")]
    NetworkChanged(NetworkUrl),
    /// The network serves newer programs only.
    #[error("this program is too old for the network, which asks for protocol version {minimum}")]
    VersionTooOld {
        /// Least protocol version served.
        minimum: u32,
    },
    /// What the network signed does not verify.
    #[error("the network's {what} is not valid: {error}")]
    Document {
        /// Which document.
        what: &'static str,
        /// Why.
        error: DocumentError,
    },
    /// The authority said no.
    #[error("{}", .0.text)]
    Refused(ApiError),
    /// Wrong password or unknown name: nobody learns which.
    #[error("wrong name or password")]
    WrongPassword,
    /// Shorter than [`PASSWORD_MIN`] characters or longer than [`PASSWORD_MAX`] bytes.
    #[error("a password has at least {PASSWORD_MIN} characters")]
    PasswordLength,
    /// The authority gave back an account key other than the one this account had, or one that does not open.
    #[error("the network gave back an account key that is not this account's")]
    AccountKey,
    /// The authority broke the rules of its own protocol.
    #[error("the network's answer makes no sense: {0}")]
    Nonsense(&'static str),
}

/// An account that was just made, and the code that its owner must write down now.
#[derive(Debug)]
pub struct SignedUp {
    /// To be kept.
    pub identity: Identity,
    /// Shown once; the network does not know it.
    pub recovery_code: RecoveryCode,
}

/// A password, and how it came about. An account is opened in the way in which it was made.
#[derive(Clone, Copy)]
pub enum Password<'a> {
    /// A person chose it, so guesses must cost time: Argon2id takes a quarter of a second and 64 MiB for each use.
    Chosen(&'a str),
    /// A program drew it, with 128 random bits or more, which nobody guesses: each use takes next to nothing.
    Drawn(&'a str),
}

impl std::fmt::Debug for Password<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

impl<'a> From<&'a str> for Password<'a> {
    fn from(text: &'a str) -> Self {
        Self::Chosen(text)
    }
}

impl Password<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Chosen(text) | Self::Drawn(text) => text,
        }
    }

    fn stretching(&self) -> ahoy_proto::opaque::KeyStretching<'static> {
        match self {
            Self::Chosen(_) => key_stretching(),
            Self::Drawn(_) => no_key_stretching(),
        }
    }
}

/// What [`sign_up`] needs beside the network.
#[derive(Debug, Clone, Copy)]
pub struct NewAccount<'a> {
    /// The name wished for.
    pub name: &'a Name,
    /// Its password.
    pub password: Password<'a>,
    /// Where sign-up is by invite.
    pub invite: Option<&'a str>,
    /// What this device is called; for the owner's eyes.
    pub device_name: &'a str,
}

/// Makes an account, with this device as its first.
///
/// # Errors
/// When the name is taken, sign-up is not for everybody, or the network is not there.
pub fn sign_up(network: &Network, new: NewAccount<'_>, now: UnixTime) -> Result<SignedUp, AccountError> {
    check_password(new.password.text())?;
    let authority = Authority::new(network.url.clone());
    let (registration, registration_request) = opaque::Registration::start(new.password)?;
    let started: AccountStarted = authority.post(
        "/v1/accounts/start",
        &StartAccount {
            name: new.name.as_str().to_owned(),
            registration_request,
            invite: new.invite.map(str::to_owned),
        },
    )?;
    let registered = registration.finish(&started.registration_response)?;
    let account_key = SigningKey::from_bytes(&rand::random());
    let recovery_code = RecoveryCode::new(rand::random());
    let device = OwnDevice::new(started.account, &account_key, new.device_name, now);
    let issued: CredentialIssued = authority.post(
        "/v1/accounts/finish",
        &FinishAccount {
            state: started.state,
            registration_upload: registered.upload,
            account_key: jwk(&account_key),
            request_key: request_key(&account_key, started.account),
            sealed_account_key: sealed(&account_key, started.account, &registered.sealing_key),
            recovery: recovery(&account_key, started.account, &recovery_code),
            device: device.announced.clone(),
        },
    )?;
    let identity = device.identity(network, new.name.clone(), &account_key, issued, now)?;
    Ok(SignedUp { identity, recovery_code })
}

/// Opens an account with its password and adds this device to it.
///
/// # Errors
/// When name or password is wrong, the account is suspended or has too many devices, or the network is not there.
pub fn sign_in(
    network: &Network,
    name: &Name,
    password: &str,
    device_name: &str,
    now: UnixTime,
) -> Result<Identity, AccountError> {
    let authority = Authority::new(network.url.clone());
    let opened = open(&authority, name, password.into())?;
    add_device(network, &authority, &opened, device_name, now)
}

/// Voids this device's credential and has the authority forget the device.
///
/// # Errors
/// When the network is not there, or does not know the credential (then there is nothing to void).
pub fn sign_out(identity: &Identity, now: UnixTime) -> Result<(), AccountError> {
    let authority = Authority::new(identity.network.url.clone());
    let Nothing {} = authority.post("/v1/credentials/revoke", &device_request(identity, DeviceVerb::Revoke, now))?;
    Ok(())
}

/// The next credential of this device.
///
/// # Errors
/// When the present one is revoked or long expired, or the network is not there.
pub fn renew(identity: &Identity, now: UnixTime) -> Result<String, AccountError> {
    let authority = Authority::new(identity.network.url.clone());
    let request = device_request(identity, DeviceVerb::Renew, now);
    let issued: CredentialIssued = authority.post("/v1/credentials/renew", &request)?;
    let credential = verified(&issued, &identity.network, now)?;
    if credential.device != identity.device || credential.account != identity.account {
        return Err(AccountError::Nonsense("a credential for another device"));
    }
    Ok(issued.credential)
}

/// Signs another device of the account out: its credential is void and its session closed.
///
/// # Errors
/// When the network is not there, or the account has no such device.
pub fn revoke_device(identity: &Identity, target: DeviceId, now: UnixTime) -> Result<(), AccountError> {
    let authority = Authority::new(identity.network.url.clone());
    let by = device_request(identity, DeviceVerb::RevokeDevice { target }, now);
    let Nothing {} = authority.post("/v1/devices/revoke", &RevokeDevice { by, target })?;
    Ok(())
}

/// Calls a device of the account otherwise: this one or another. A name is for the owner's eyes; it is cut to 64 bytes, without control characters.
///
/// # Errors
/// When the network is not there, or the account has no such device.
pub fn rename_device(identity: &Identity, target: DeviceId, name: &str, now: UnixTime) -> Result<(), AccountError> {
    let authority = Authority::new(identity.network.url.clone());
    let name = device_name(name);
    let by = device_request(identity, DeviceVerb::RenameDevice { target, name: &name }, now);
    let Nothing {} = authority.post("/v1/devices/rename", &RenameDevice { by, target, name })?;
    Ok(())
}

/// Deletes the account for good, with all its devices, contacts and one-to-one conversations. What this device keeps is for
/// [`Profile::forget`](crate::profile::Profile::forget).
///
/// # Errors
/// When the password is wrong, or the network is not there.
pub fn delete_account(identity: &Identity, password: &str) -> Result<(), AccountError> {
    let authority = Authority::new(identity.network.url.clone());
    let opened = open_own(&authority, identity, password)?;
    delete_opened(&authority, opened)
}

/// The same for whoever has no device of the account, only its name and password.
///
/// # Errors
/// When name or password is wrong, or the network is not there.
pub fn delete_by_password(network: &Network, name: &Name, password: Password<'_>) -> Result<(), AccountError> {
    let authority = Authority::new(network.url.clone());
    let opened = open(&authority, name, password)?;
    delete_opened(&authority, opened)
}

fn delete_opened(authority: &Authority, opened: Opened) -> Result<(), AccountError> {
    let Nothing {} = authority.post("/v1/accounts/delete", &DeleteAccount { ticket: opened.ticket })?;
    Ok(())
}

/// Replaces the password. The recovery code stays good.
///
/// # Errors
/// When the old password is wrong, or the network is not there.
pub fn change_password(identity: &Identity, old: &str, new: &str) -> Result<(), AccountError> {
    check_password(new)?;
    let authority = Authority::new(identity.network.url.clone());
    let opened = open_own(&authority, identity, old)?;
    set_password(&authority, &opened, new, None)
}

/// An account that was opened by its recovery code: it has a new password and a new code, and this device.
#[derive(Debug)]
pub struct Recovered {
    /// To be kept.
    pub identity: Identity,
    /// Shown once; the old one is void.
    pub recovery_code: RecoveryCode,
}

/// What [`recover`] needs beside the network.
#[derive(Debug, Clone, Copy)]
pub struct LostAccount<'a> {
    /// Its name.
    pub name: &'a Name,
    /// What was written down at sign-up.
    pub code: &'a RecoveryCode,
    /// The password from now on.
    pub new_password: &'a str,
    /// What this device is called.
    pub device_name: &'a str,
}

/// Opens an account by its recovery code, gives it a new password and a new code, and adds this device to it.
///
/// # Errors
/// When name or code is wrong, or the network is not there.
pub fn recover(network: &Network, lost: LostAccount<'_>, now: UnixTime) -> Result<Recovered, AccountError> {
    check_password(lost.new_password)?;
    let authority = Authority::new(network.url.clone());
    let said: AccountOpened = authority.post(
        "/v1/recovery",
        &Recover {
            name: lost.name.as_str().to_owned(),
            recovery_secret: lost.code.secret().as_bytes().as_slice().into(),
        },
    )?;
    let opened = Opened::by(&lost.code.sealing_key(), said)?;
    let recovery_code = RecoveryCode::new(rand::random());
    set_password(&authority, &opened, lost.new_password, Some(&recovery_code))?;
    let identity = add_device(network, &authority, &opened, lost.device_name, now)?;
    Ok(Recovered { identity, recovery_code })
}

/// An empty JSON object.
#[derive(Deserialize)]
struct Nothing {}

/// An account whose key lies open.
struct Opened {
    account: AccountId,
    name: Name,
    account_key: SigningKey,
    ticket: Base64Url,
}

impl Opened {
    fn by(key: &SealingKey, said: AccountOpened) -> Result<Self, AccountError> {
        let account_key =
            open_account_key(&said.sealed_account_key.0, said.account, key).map_err(|_| AccountError::AccountKey)?;
        if account_key.verifying_key().as_bytes() != said.account_key.bytes() {
            return Err(AccountError::AccountKey);
        }
        Ok(Self { account: said.account, name: said.name, account_key, ticket: said.ticket })
    }
}

fn open(authority: &Authority, name: &Name, password: Password<'_>) -> Result<Opened, AccountError> {
    let (said, sealing_key) = opaque::sign_in(authority, name, password)?;
    Opened::by(&sealing_key, said)
}

/// Opens the account of this device, and no other.
fn open_own(authority: &Authority, identity: &Identity, password: &str) -> Result<Opened, AccountError> {
    let opened = open(authority, &identity.name, password.into())?;
    if opened.account != identity.account || jwk(&opened.account_key) != identity.account_key {
        return Err(AccountError::AccountKey);
    }
    Ok(opened)
}

fn set_password(
    authority: &Authority,
    opened: &Opened,
    password: &str,
    new_code: Option<&RecoveryCode>,
) -> Result<(), AccountError> {
    let (registration, registration_request) = opaque::Registration::start(password.into())?;
    let started: PasswordStarted =
        authority.post("/v1/password/start", &StartPassword { ticket: opened.ticket.clone(), registration_request })?;
    let registered = registration.finish(&started.registration_response)?;
    let Nothing {} = authority.post(
        "/v1/password/finish",
        &FinishPassword {
            ticket: opened.ticket.clone(),
            registration_upload: registered.upload,
            sealed_account_key: sealed(&opened.account_key, opened.account, &registered.sealing_key),
            recovery: new_code.map(|code| recovery(&opened.account_key, opened.account, code)),
        },
    )?;
    Ok(())
}

fn add_device(
    network: &Network,
    authority: &Authority,
    opened: &Opened,
    device_name: &str,
    now: UnixTime,
) -> Result<Identity, AccountError> {
    let device = OwnDevice::new(opened.account, &opened.account_key, device_name, now);
    let issued: CredentialIssued = authority.post(
        "/v1/devices",
        &AddDevice {
            ticket: opened.ticket.clone(),
            request_key: request_key(&opened.account_key, opened.account),
            device: device.announced.clone(),
        },
    )?;
    device.identity(network, opened.name.clone(), &opened.account_key, issued, now)
}

/// This device, before the authority knows it.
struct OwnDevice {
    account: AccountId,
    key: SigningKey,
    announced: NewDevice,
}

impl OwnDevice {
    fn new(account: AccountId, account_key: &SigningKey, name: &str, now: UnixTime) -> Self {
        let key = SigningKey::from_bytes(&rand::random());
        let device = DeviceId(rand::random());
        let binding = binding::make(account, device, &key.verifying_key(), account_key, now).encode_to_vec();
        let name = device_name(name);
        Self { account, key, announced: NewDevice { device, name, binding: binding.as_slice().into() } }
    }

    fn identity(
        self,
        network: &Network,
        name: Name,
        account_key: &SigningKey,
        issued: CredentialIssued,
        now: UnixTime,
    ) -> Result<Identity, AccountError> {
        let credential = verified(&issued, network, now)?;
        let ours = credential.account == self.account
            && credential.device == self.announced.device
            && credential.confirmation.jwk.bytes() == self.key.verifying_key().as_bytes();
        if !ours {
            return Err(AccountError::Nonsense("a credential for another device"));
        }
        Ok(Identity {
            network: network.clone(),
            account: self.account,
            name,
            account_key: jwk(account_key),
            device: self.announced.device,
            device_key: DeviceKey::new(self.key),
            binding: self.announced.binding,
            credential: issued.credential,
            request_secret: Some(RequestSecret::of_account_key(account_key)),
        })
    }
}

/// As the authority takes it.
fn device_name(name: &str) -> String {
    let mut name: String = name.chars().filter(|letter| !letter.is_control()).collect();
    name.truncate(name.floor_char_boundary(DEVICE_NAME_MAX));
    name
}

fn verified(issued: &CredentialIssued, network: &Network, now: UnixTime) -> Result<Credential, AccountError> {
    let keys = network.verified_signing_keys(now)?;
    document::verify(&issued.credential, &keys, network.network, now)
        .map_err(|error| AccountError::Document { what: "credential", error })
}

fn device_request(identity: &Identity, verb: DeviceVerb<'_>, now: UnixTime) -> DeviceRequest {
    let input = device_request_input(verb, identity.network.network, identity.device, now);
    let signature = identity.device_key.signing_key().sign(&input).to_bytes();
    DeviceRequest { credential: identity.credential.clone(), time: now, signature: signature.as_slice().into() }
}

fn request_key(account_key: &SigningKey, account: AccountId) -> Base64Url {
    publish(account, account_key).as_slice().into()
}

fn sealed(account_key: &SigningKey, account: AccountId, key: &SealingKey) -> Base64Url {
    seal_account_key(account_key, account, key, rand::random()).as_slice().into()
}

fn recovery(account_key: &SigningKey, account: AccountId, code: &RecoveryCode) -> Recovery {
    Recovery {
        verifier: code.secret().verifier().as_slice().into(),
        sealed_account_key: sealed(account_key, account, &code.sealing_key()),
    }
}

fn check_password(password: &str) -> Result<(), AccountError> {
    let fits = password.chars().count() >= PASSWORD_MIN && password.len() <= PASSWORD_MAX;
    if fits { Ok(()) } else { Err(AccountError::PasswordLength) }
}

fn jwk(key: &SigningKey) -> Jwk {
    Jwk::ed25519(*key.verifying_key().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_devices_name_is_cut_to_what_the_authority_takes() {
        assert_eq!(device_name("Alice\u{7} laptop\n"), "Alice laptop");
        assert_eq!(device_name(&"\u{1f30a}".repeat(20)), "\u{1f30a}".repeat(16));
        assert_eq!(device_name(&format!("\n{}", "a".repeat(70))), "a".repeat(DEVICE_NAME_MAX));
    }
}
