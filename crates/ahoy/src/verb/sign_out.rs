//! `ahoy sign-out`

use ahoy_client::account::{AccountError, sign_out};
use ahoy_proto::api::ApiErrorCode;
use serde_json::json;

use crate::cli::{Common, SignOut};
use crate::failure::Failure;
use crate::place;
use crate::tell::Tell;

pub(crate) fn run(common: &Common, arguments: &SignOut, tell: Tell) -> Result<(), Failure> {
    let (profile, identity) = place::signed_in(common)?;
    let told = match sign_out(&identity, place::now()) {
        Ok(()) => true,
        // The network has forgotten this device already: what is left to do is here.
        Err(AccountError::Refused(refusal)) if refusal.code == ApiErrorCode::CredentialRefused => true,
        Err(_) if arguments.force => false,
        Err(error) => {
            let mut failure = Failure::from(error);
            failure.advice.push_str(" Or forget this device's keys all the same, with --force.");
            return Err(failure);
        }
    };
    profile.forget()?;
    let text = if told {
        format!("{} is signed out on this device.", identity.full_name())
    } else {
        format!(
            "{} is forgotten on this device. The network was not told: it lists the device until you remove it there.",
            identity.full_name()
        )
    };
    tell.event("signed-out", &json!({ "name": identity.name, "network_told": told }), &text);
    Ok(())
}
