//! `ahoy whoami`

use serde_json::json;

use crate::cli::Common;
use crate::failure::Failure;
use crate::place;
use crate::tell::Tell;

pub(crate) fn run(common: &Common, tell: Tell) -> Result<(), Failure> {
    let identity = place::who(common)?.ok_or_else(Failure::not_signed_in)?;
    tell.event(
        "whoami",
        &json!({
            "name": identity.name,
            "network": identity.network.name,
            "url": identity.network.url,
            "account": identity.account,
            "device": identity.device,
        }),
        &format!("{} ({})", identity.full_name(), identity.network.url),
    );
    Ok(())
}
