//! The ways into an account, by password or recovery code, and changing the password once inside.

use std::time::Duration;

use ahoy_proto::api::{
    AccountOpened, ApiErrorCode, Base64Url, FinishPassword, FinishSignIn, PasswordStarted, Recover, SignInStarted,
    StartPassword, StartSignIn,
};
use ahoy_proto::document::Jwk;
use ahoy_proto::sealing::RecoverySecret;
use ahoy_proto::{AccountId, Name};
use ahoy_store::{Account, AccountByName, AccountOf, ChangePassword, StoreError};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::Authority;
use crate::accounts::{check_recovery, check_sealed};
use crate::http::{Answer, Body, Done, Refusal, Sender};
use crate::opaque::OpaqueServer;
use crate::sealed::Sealable;

/// A sign-in between its two steps. Its account may be one that does not exist; then the second step can't succeed.
#[derive(Serialize, Deserialize)]
struct SignIn {
    account: AccountId,
    login: Base64Url,
}

impl Sealable for SignIn {
    const PURPOSE: &'static [u8] = b"sign-in";
    const LIFE: Duration = Duration::from_secs(60);
}

/// Its holder has opened the account.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ticket {
    pub(crate) account: AccountId,
    /// SHA-256 of the OPAQUE record: a ticket from before a change of password changes it no more, nor ends the account.
    record: [u8; 32],
}

impl Ticket {
    /// Whether the account has the password that it had when the ticket was made.
    pub(crate) fn check_record(&self, account: &Account) -> Result<(), Refusal> {
        if self.record == <[u8; 32]>::from(Sha256::digest(&account.opaque_record)) {
            Ok(())
        } else {
            Err(changed_meanwhile())
        }
    }
}

fn changed_meanwhile() -> Refusal {
    Refusal::of(ApiErrorCode::StateRefused, "the password was changed meanwhile; sign in again")
}

impl Sealable for Ticket {
    const PURPOSE: &'static [u8] = b"ticket";
    const LIFE: Duration = Duration::from_secs(600);
}

impl Authority {
    /// What a client carried between two requests.
    pub(crate) fn open_state<T: Sealable>(&self, sealed: &Base64Url) -> Result<T, Refusal> {
        let refused =
            || Refusal::of(ApiErrorCode::StateRefused, "this took too long, or is not of this network; start again");
        self.0.sealer.open(sealed, self.now()).ok_or_else(refused)
    }

    /// The account that a ticket opens, unless it is suspended.
    pub(crate) async fn ticket_account(&self, ticket: &Ticket) -> Result<Account, Refusal> {
        let account = self.0.store.call(AccountOf { account: ticket.account }).await.map_err(|error| match error {
            // It has been deleted since.
            StoreError::NotFound => Refusal::of(ApiErrorCode::StateRefused, "this account is gone"),
            error => error.into(),
        })?;
        if account.suspended { Err(suspended()) } else { Ok(account) }
    }

    fn opened(&self, account: Account, sealed_account_key: Vec<u8>) -> Answer<AccountOpened> {
        if account.suspended {
            return Err(suspended());
        }
        let ticket = Ticket { account: account.account, record: Sha256::digest(&account.opaque_record).into() };
        Ok(Json(AccountOpened {
            account: account.account,
            name: account.name,
            account_key: Jwk::ed25519(account.account_key),
            sealed_account_key: Base64Url(sealed_account_key),
            ticket: self.0.sealer.seal(&ticket, self.now()),
        }))
    }
}

pub(crate) fn suspended() -> Refusal {
    Refusal::of(ApiErrorCode::Suspended, "the operator of this network has suspended the account")
}

/// Word for word the same for every way to be wrong.
fn refused() -> Refusal {
    Refusal::of(ApiErrorCode::SignInRefused, "wrong name, password or recovery code")
}

/// The account of a name as typed. `None`, not an error, for one that nobody has: what can't be a name is refused before anything is asked.
async fn find(authority: &Authority, sender: &Sender, name: &str) -> Result<(Option<Account>, Name), Refusal> {
    let name = Name::parse(name).map_err(|error| Refusal::of(ApiErrorCode::NameInvalid, error.to_string()))?;
    authority.0.limiter.sign_in(sender.0, &name, authority.now())?;
    Ok((authority.0.store.call(AccountByName { name: name.clone() }).await?, name))
}

pub(crate) async fn start(
    State(authority): State<Authority>,
    sender: Sender,
    Body(request): Body<StartSignIn>,
) -> Answer<SignInStarted> {
    let (found, name) = find(&authority, &sender, &request.name).await?;
    let unknown = authority.0.opaque.unknown(&name);
    let account = found.as_ref().map_or(unknown, |found| found.account);
    let record = found.as_ref().map(|found| found.opaque_record.as_slice());
    let (credential_response, login) =
        authority.0.opaque.start_sign_in(account, record, &request.credential_request)?;
    let state = authority.0.sealer.seal(&SignIn { account, login }, authority.now());
    Ok(Json(SignInStarted { state, credential_response }))
}

pub(crate) async fn finish(
    State(authority): State<Authority>,
    Body(request): Body<FinishSignIn>,
) -> Answer<AccountOpened> {
    let SignIn { account, login } = authority.open_state(&request.state)?;
    if !OpaqueServer::finish_sign_in(&login, &request.credential_finalization) {
        return Err(refused());
    }
    let account = authority.0.store.call(AccountOf { account }).await.map_err(|error| match error {
        // It has been deleted since the first step.
        StoreError::NotFound => refused(),
        error => error.into(),
    })?;
    let sealed_account_key = account.sealed_account_key.clone();
    authority.opened(account, sealed_account_key)
}

pub(crate) async fn recover(
    State(authority): State<Authority>,
    sender: Sender,
    Body(request): Body<Recover>,
) -> Answer<AccountOpened> {
    let (found, _) = find(&authority, &sender, &request.name).await?;
    let secret =
        request.recovery_secret.0.try_into().map_err(|_| Refusal::invalid("a recovery secret has 32 bytes"))?;
    let shown = RecoverySecret::new(secret).verifier();
    let known = found.as_ref().map_or([0; 32], |found| found.recovery.verifier);
    let matches = bool::from(shown.ct_eq(&known));
    let account = found.filter(|_| matches).ok_or_else(refused)?;
    let sealed_account_key = account.recovery.sealed_account_key.clone();
    authority.opened(account, sealed_account_key)
}

pub(crate) async fn start_password(
    State(authority): State<Authority>,
    Body(request): Body<StartPassword>,
) -> Answer<PasswordStarted> {
    let ticket: Ticket = authority.open_state(&request.ticket)?;
    let account = authority.ticket_account(&ticket).await?;
    let registration_response = authority.0.opaque.register(account.account, &request.registration_request)?;
    Ok(Json(PasswordStarted { registration_response }))
}

pub(crate) async fn finish_password(
    State(authority): State<Authority>,
    Body(request): Body<FinishPassword>,
) -> Answer<Done> {
    let ticket: Ticket = authority.open_state(&request.ticket)?;
    let account = authority.ticket_account(&ticket).await?;
    ticket.check_record(&account)?;
    let change = ChangePassword {
        account: account.account,
        old_record: account.opaque_record,
        opaque_record: OpaqueServer::record(&request.registration_upload)?,
        sealed_account_key: check_sealed(request.sealed_account_key)?,
        recovery: request.recovery.map(check_recovery).transpose()?,
    };
    authority.0.store.call(change).await.map_err(|error| match error {
        StoreError::Conflict => changed_meanwhile(),
        error => error.into(),
    })?;
    Ok(Json(Done {}))
}
