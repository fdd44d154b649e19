//! What all examples begin with: an account, and this machine as its device.

use std::path::Path;
use std::time::SystemTime;

use ahoy_client::account::{AccountError, NewAccount, contact, sign_in, sign_up};
use ahoy_client::profile::Profile;
use ahoy_proto::Name;
use ahoy_proto::api::ApiErrorCode;

/// What `cargo xtask dev` serves.
const NETWORK: &str = "http://localhost:8080";

/// The profile of this name in the present folder. At the first start it signs up, or in where the account is there already;
/// later on nothing but the profile is needed. Blocks.
///
/// `AHOY_NETWORK` names another network, `AHOY_PASSWORD` the account's password.
pub(crate) fn signed_in(name: &str) -> anyhow::Result<Profile> {
    let profile = Profile::open(Path::new(&format!("{name}.profile")))?;
    if profile.identity()?.is_some() {
        return Ok(profile);
    }
    let url = std::env::var("AHOY_NETWORK").unwrap_or_else(|_| NETWORK.to_owned()).parse()?;
    let password = std::env::var("AHOY_PASSWORD").unwrap_or_else(|_| format!("the password of {name}"));
    let (name, now) = (Name::parse(name)?, SystemTime::now().into());
    let network = contact(&url, None, now)?.network;
    let new = NewAccount { name: &name, password: password.as_str().into(), invite: None, device_name: "example" };
    let identity = match sign_up(&network, new, now) {
        Ok(signed_up) => {
            println!("{name} is signed up; its recovery code is {}", signed_up.recovery_code.to_text().as_str());
            signed_up.identity
        }
        Err(AccountError::Refused(error)) if error.code == ApiErrorCode::NameTaken => {
            sign_in(&network, &name, &password, "example", now)?
        }
        Err(error) => return Err(error.into()),
    };
    profile.keep(&identity)?;
    Ok(profile)
}
