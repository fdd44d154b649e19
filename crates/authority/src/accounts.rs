//! The two ends of an account: sign-up, with its key and its first device, and deletion.

use std::time::Duration;

use ahoy_proto::api::{
    AccountStarted, ApiErrorCode, Base64Url, CredentialIssued, FinishAccount, SignUpPolicy, StartAccount,
};
use ahoy_proto::sealing::SEALED_ACCOUNT_KEY_LENGTH;
use ahoy_proto::{AccountId, Name, api, request_key};
use ahoy_store::{AddAccount, Admission, CheckAdmission, DeleteAccount, NewAccount, Recovery, StoreError};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::http::{Answer, Body, Done, Refusal, Sender};
use crate::opaque::OpaqueServer;
use crate::sealed::Sealable;
use crate::sign_in::Ticket;
use crate::{Authority, credentials, token_hash};

/// A sign-up between its two steps.
#[derive(Serialize, Deserialize)]
struct SignUp {
    account: AccountId,
    name: Name,
    invite: Option<[u8; 32]>,
}

impl Sealable for SignUp {
    const PURPOSE: &'static [u8] = b"sign-up";
    const LIFE: Duration = Duration::from_secs(60);
}

pub(crate) async fn start(
    State(authority): State<Authority>,
    sender: Sender,
    Body(request): Body<StartAccount>,
) -> Answer<AccountStarted> {
    let now = authority.now();
    authority.0.limiter.sign_up(sender.0, now)?;
    let name = Name::parse(&request.name).map_err(|error| Refusal::of(ApiErrorCode::NameInvalid, error.to_string()))?;
    let invite = request.invite.as_deref().map(token_hash);
    let admission = admission(&authority, &name);
    authority.0.store.call(CheckAdmission { name: name.clone(), admission, invite, at: now }).await.map_err(
        |error| {
            // Without an operator's invite, a reserved name is no different from one that can't be.
            let reserved = error == StoreError::InviteRefused && name.is_reserved();
            if reserved {
                Refusal::of(ApiErrorCode::NameInvalid, "this name is reserved")
            } else {
                refusal(&authority, error)
            }
        },
    )?;
    let account = AccountId(rand::random());
    let registration_response = authority.0.opaque.register(account, &request.registration_request)?;
    let state = authority.0.sealer.seal(&SignUp { account, name, invite }, now);
    Ok(Json(AccountStarted { state, account, registration_response }))
}

pub(crate) async fn finish(
    State(authority): State<Authority>,
    Body(request): Body<FinishAccount>,
) -> Answer<CredentialIssued> {
    let now = authority.now();
    let SignUp { account, name, invite } = authority.open_state(&request.state)?;
    let opaque_record = OpaqueServer::record(&request.registration_upload)?;
    let account_key = *request.account_key.bytes();
    let device = credentials::check_device(request.device, account, &account_key)?;
    let issued = credentials::issue(&authority, account, name.clone(), (device.device, device.device_key), now);
    let admission = admission(&authority, &name);
    let request_key = check_request_key(request.request_key, account, &account_key)?;
    let sealed_account_key = check_sealed(request.sealed_account_key)?;
    let recovery = check_recovery(request.recovery)?;
    let account = NewAccount {
        account,
        name,
        account_key,
        opaque_record,
        sealed_account_key,
        recovery,
        request_key: Some(request_key),
    };
    let add = AddAccount { account, device, admission, invite, at: now };
    authority.0.store.call(add).await.map_err(|error| refusal(&authority, error))?;
    Ok(Json(issued))
}

/// For good. The ticket is of no use afterwards: there is no account that it opens.
pub(crate) async fn delete(
    State(authority): State<Authority>,
    Body(request): Body<api::DeleteAccount>,
) -> Answer<Done> {
    let ticket: Ticket = authority.open_state(&request.ticket)?;
    let account = authority.ticket_account(&ticket).await?;
    ticket.check_record(&account)?;
    if account.name.is_reserved() || authority.0.config.echo.as_ref() == Some(&account.name) {
        return Err(Refusal::invalid("this account is a part of the network"));
    }
    authority.0.store.call(DeleteAccount { account: account.account, at: authority.now() }).await?;
    authority.publish_revocations().await?;
    Ok(Json(Done {}))
}

/// What it takes to sign up with a name.
fn admission(authority: &Authority, name: &Name) -> Admission {
    match authority.0.config.sign_up {
        _ if name.is_reserved() => Admission::Operator,
        SignUpPolicy::Open => Admission::Anyone,
        SignUpPolicy::Invite => Admission::Invited,
        SignUpPolicy::Closed => Admission::Operator,
    }
}

fn refusal(authority: &Authority, error: StoreError) -> Refusal {
    let closed = authority.0.config.sign_up == SignUpPolicy::Closed;
    match error {
        StoreError::InviteRefused if closed => {
            Refusal::of(ApiErrorCode::SignUpRefused, "this network takes no sign-ups")
        }
        error => error.into(),
    }
}

/// A sealed account key has one length; what is in it, only its owner knows.
pub(crate) fn check_sealed(sealed: Base64Url) -> Result<Vec<u8>, Refusal> {
    if sealed.0.len() == SEALED_ACCOUNT_KEY_LENGTH {
        Ok(sealed.0)
    } else {
        Err(Refusal::invalid("a sealed account key has 72 bytes"))
    }
}

/// A published request key, signed by the account key.
pub(crate) fn check_request_key(
    published: Base64Url,
    account: AccountId,
    account_key: &[u8; 32],
) -> Result<Vec<u8>, Refusal> {
    request_key::verify(&published.0, account, account_key).map_err(|error| Refusal::invalid(error.to_string()))?;
    Ok(published.0)
}

pub(crate) fn check_recovery(recovery: api::Recovery) -> Result<Recovery, Refusal> {
    let verifier = recovery.verifier.0.try_into().map_err(|_| Refusal::invalid("a recovery verifier has 32 bytes"))?;
    Ok(Recovery { verifier, sealed_account_key: check_sealed(recovery.sealed_account_key)? })
}
