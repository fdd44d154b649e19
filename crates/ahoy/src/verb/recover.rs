//! `ahoy recover NAME`

use ahoy_client::account::{LostAccount, recover};
use serde_json::json;

use crate::cli::{Common, Recover};
use crate::failure::Failure;
use crate::tell::Tell;
use crate::verb::sign_up::code_text;
use crate::{ask, place};

pub(crate) fn run(common: &Common, arguments: &Recover, tell: Tell) -> Result<(), Failure> {
    let profile = place::vacant(common)?;
    let network = place::network(common)?.network;
    let name = place::name(&arguments.name, &network.name)?;
    let code = ask::recovery_code(arguments.code_file.as_deref())?;
    let new_password = ask::new_password(common.password_file.as_deref(), "--password-file FILE")?;
    let device_name = place::device_name();
    let lost = LostAccount { name: &name, code: &code, new_password: &new_password, device_name: &device_name };
    let recovered = recover(&network, lost, place::now())?;
    profile.keep(&recovered.identity)?;
    tell.event(
        "recovered",
        &json!({
            "name": name,
            "network": network.name,
            "account": recovered.identity.account,
            "device": recovered.identity.device,
            "recovery_code": recovered.recovery_code.to_text().as_str(),
        }),
        &format!(
            "{} is yours again, with the new password, and signed in on this device. The old recovery code is void.\n\n{}",
            recovered.identity.full_name(),
            code_text(&recovered.recovery_code)
        ),
    );
    Ok(())
}
