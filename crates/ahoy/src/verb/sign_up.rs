//! `ahoy sign-up NAME`

use ahoy_client::account::{NewAccount, sign_up};
use ahoy_proto::api::SignUpPolicy;
use ahoy_proto::sealing::RecoveryCode;
use serde_json::json;

use crate::cli::{Common, SignUp};
use crate::failure::{Exit, Failure};
use crate::tell::Tell;
use crate::{ask, place};

pub(crate) fn run(common: &Common, arguments: &SignUp, tell: Tell) -> Result<(), Failure> {
    let profile = place::vacant(common)?;
    let contact = place::network(common)?;
    let name = place::name(&arguments.name, &contact.network.name)?;
    check_policy(contact.sign_up, arguments.invite.as_deref())?;
    let password = ask::new_password(common.password_file.as_deref(), "--password-file FILE")?;
    let device_name = place::device_name();
    let new = NewAccount {
        name: &name,
        password: password.as_str().into(),
        invite: arguments.invite.as_deref(),
        device_name: &device_name,
    };
    let made = sign_up(&contact.network, new, place::now())?;
    profile.keep(&made.identity)?;
    let full_name = made.identity.full_name();
    let next = contact
        .echo
        .map_or_else(|| "Try next:  ahoy listen".to_owned(), |echo| format!("Try next:  ahoy call {echo} --for 10s"));
    tell.event(
        "signed-up",
        &json!({
            "name": name,
            "network": contact.network.name,
            "account": made.identity.account,
            "device": made.identity.device,
            "recovery_code": made.recovery_code.to_text().as_str(),
        }),
        &format!("{full_name} is yours, and signed in on this device.\n\n{}\n\n{next}", code_text(&made.recovery_code)),
    );
    Ok(())
}

/// The recovery code, so that nobody overlooks it.
pub(crate) fn code_text(code: &RecoveryCode) -> String {
    format!(
        "Write this recovery code down and keep it away from this computer. It is the only way back in\n\
         when the password is lost; nobody else has it, and it is not shown again:\n\n    {}",
        code.to_text().as_str()
    )
}

fn check_policy(policy: SignUpPolicy, invite: Option<&str>) -> Result<(), Failure> {
    match (policy, invite) {
        (SignUpPolicy::Open, _) | (SignUpPolicy::Invite, Some(_)) => Ok(()),
        (SignUpPolicy::Invite, None) => Err(Failure::new(
            Exit::Refused,
            "sign-up-refused",
            "this network takes new accounts by invite only",
            "Ask the operator for an invite, and give it with --invite CODE.",
        )),
        (SignUpPolicy::Closed, _) => Err(Failure::new(
            Exit::Refused,
            "sign-up-refused",
            "this network takes no new accounts",
            "Ask the operator, or use another network with --network URL.",
        )),
    }
}
