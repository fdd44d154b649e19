//! `ahoy sign-in NAME`

use ahoy_client::account::sign_in;
use serde_json::json;

use crate::cli::{Common, Name};
use crate::failure::Failure;
use crate::tell::Tell;
use crate::{ask, place};

pub(crate) fn run(common: &Common, arguments: &Name, tell: Tell) -> Result<(), Failure> {
    let profile = place::vacant(common)?;
    let network = place::network(common)?.network;
    let name = place::name(&arguments.name, &network.name)?;
    let password = ask::password(common.password_file.as_deref(), "Password: ")?;
    let identity = sign_in(&network, &name, &password, &place::device_name(), place::now())?;
    profile.keep(&identity)?;
    tell.event(
        "signed-in",
        &json!({
            "name": identity.name,
            "network": network.name,
            "account": identity.account,
            "device": identity.device,
        }),
        &format!("{} is signed in on this device.", identity.full_name()),
    );
    Ok(())
}
