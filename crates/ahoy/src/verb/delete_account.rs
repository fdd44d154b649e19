//! `ahoy delete-account`

use ahoy_client::account::delete_account;
use serde_json::json;

use crate::cli::{Common, DeleteAccount};
use crate::failure::{Exit, Failure};
use crate::tell::Tell;
use crate::{ask, place};

pub(crate) fn run(common: &Common, arguments: &DeleteAccount, tell: Tell) -> Result<(), Failure> {
    let (profile, identity) = place::signed_in(common)?;
    tell.note(&format!(
        "This deletes {} for good, on all devices. Contacts lose it, and the name is never given out again.",
        identity.full_name()
    ));
    let typed = match &arguments.confirm {
        Some(name) => name.clone(),
        None => ask::line("Type the name to go on: ", "--confirm NAME")?,
    };
    if typed.trim() != identity.name.as_str() && typed.trim() != identity.full_name() {
        return Err(Failure::new(
            Exit::Refused,
            "not-confirmed",
            "that is not the name of this account: nothing is deleted",
            format!("It is {}.", identity.name),
        ));
    }
    let password = ask::password(common.password_file.as_deref(), "Password: ")?;
    delete_account(&identity, &password)?;
    profile.forget()?;
    tell.event(
        "account-deleted",
        &json!({ "name": identity.name, "network": identity.network.name }),
        &format!("{} is deleted, and this device has forgotten it.", identity.full_name()),
    );
    Ok(())
}
