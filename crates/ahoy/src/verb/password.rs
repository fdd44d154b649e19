//! `ahoy password`

use ahoy_client::account::change_password;
use serde_json::json;

use crate::cli::{Common, Password};
use crate::failure::Failure;
use crate::tell::Tell;
use crate::{ask, place};

pub(crate) fn run(common: &Common, arguments: &Password, tell: Tell) -> Result<(), Failure> {
    let (_profile, identity) = place::signed_in(common)?;
    let old = ask::password(common.password_file.as_deref(), "Present password: ")?;
    let new = ask::new_password(arguments.new_password_file.as_deref(), "--new-password-file FILE")?;
    change_password(&identity, &old, &new)?;
    tell.event(
        "password-changed",
        &json!({ "name": identity.name }),
        &format!(
            "The password of {} is changed. Devices that are signed in stay so, and the recovery code stays good.",
            identity.full_name()
        ),
    );
    Ok(())
}
