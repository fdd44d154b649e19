//! `ahoy devices`

use ahoy_client::driver::{Client, Device};
use serde_json::json;

use super::contacts::last_seen_code;
use crate::cli::{Common, DeviceDeed, Devices};
use crate::failure::{Exit, Failure};
use crate::said::ID_DIGITS;
use crate::tell::Tell;
use crate::text::{clean_line, columns};
use crate::when::Clock;
use crate::{online, place};

pub(crate) fn run(common: &Common, arguments: &Devices, tell: Tell) -> Result<(), Failure> {
    let (profile, _identity) = place::signed_in(common)?;
    let deed = arguments.deed.as_ref().unwrap_or(&DeviceDeed::List);
    online::run(async {
        let (client, _events) = online::ready(common, profile).await?;
        let result = act(&client, deed, tell).await;
        client.close().await;
        result
    })
}

async fn act(client: &Client, deed: &DeviceDeed, tell: Tell) -> Result<(), Failure> {
    let devices = client.devices().await?;
    match deed {
        DeviceDeed::List => list(&devices, tell),
        DeviceDeed::Rename { device, name } => {
            let device = meant(&devices, device)?;
            client.rename_device(device.device, name).await?;
            let fields = json!({ "device": device.device.to_hex(), "name": name });
            tell.event("device-renamed", &fields, &format!("The device is called {} now.", clean_line(name)));
        }
        DeviceDeed::Revoke { device } => {
            let device = meant(&devices, device)?;
            if device.is_own {
                return Err(Failure::new(
                    Exit::Refused,
                    "own-device",
                    "this is the device that you sit at",
                    "`ahoy sign-out` signs it out.",
                ));
            }
            client.revoke_device(device.device).await?;
            let fields = json!({ "device": device.device.to_hex(), "name": device.name });
            tell.event("device-revoked", &fields, &format!("{} is signed out for good.", clean_line(&device.name)));
        }
    }
    Ok(())
}

/// A device by its name or the first digits of its id.
fn meant<'a>(devices: &'a [Device], text: &str) -> Result<&'a Device, Failure> {
    let called: Vec<&Device> = devices.iter().filter(|device| clean_line(&device.name) == clean_line(text)).collect();
    let digits = text.to_ascii_lowercase();
    let by_id = || devices.iter().filter(|device| device.device.to_hex().starts_with(&digits)).collect();
    let found: Vec<&Device> = if called.is_empty() && text.len() >= 4 { by_id() } else { called };
    match found[..] {
        [device] => Ok(device),
        [] => Err(Failure::new(
            Exit::Refused,
            "no-such-device",
            format!("there is no device called {}", clean_line(text)),
            "`ahoy devices` shows them.",
        )),
        _ => Err(Failure::new(
            Exit::Refused,
            "ambiguous",
            format!("more than one device is called {}", clean_line(text)),
            "Use the first digits of its id, as `ahoy devices` shows them.",
        )),
    }
}

fn list(devices: &[Device], tell: Tell) {
    let clock = Clock::here();
    let mut rows = Vec::new();
    for device in devices {
        let fields = json!({
            "device": device.device.to_hex(),
            "name": device.name,
            "made_at": device.made_at,
            "last_seen": last_seen_code(device.last_seen),
            "own": device.is_own,
        });
        tell.event("device", &fields, "");
        let here = if device.is_own { "this one" } else { crate::tui::last_seen_words(device.last_seen) };
        let made = clock.short(device.made_at.0.saturating_mul(1_000));
        rows.push(vec![
            device.device.to_hex()[..ID_DIGITS].to_owned(),
            clean_line(&device.name),
            format!("signed in {made}"),
            here.to_owned(),
        ]);
    }
    if !tell.is_json() {
        tell.event("", &json!({}), &columns(&rows));
    }
}

#[cfg(test)]
mod tests {
    use ahoy_proto::v1::LastSeen;
    use ahoy_proto::{DeviceId, UnixTime};

    use super::*;

    #[test]
    fn a_device_is_meant_by_its_name_or_the_first_digits_of_its_id() {
        let device = |id: u8, name: &str| Device {
            device: DeviceId([id; 16]),
            name: name.to_owned(),
            made_at: UnixTime(0),
            last_seen: LastSeen::Today,
            is_own: false,
        };
        let all = [device(0xa1, "laptop"), device(0xb2, "phone"), device(0xb3, "phone")];
        assert_eq!(meant(&all, "laptop").unwrap(), &all[0]);
        assert_eq!(meant(&all, "B2B2").unwrap(), &all[1]);
        assert_eq!(meant(&all, "phone").unwrap_err().code, "ambiguous");
        assert_eq!(meant(&all, "b").unwrap_err().code, "no-such-device");
    }
}
