//! Which profile and which network a verb works on.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use ahoy_client::account::{Contact, NetworkUrl, contact};
use ahoy_client::profile::{Identity, Profile, read_identity};
use ahoy_proto::{Name, UnixTime};

use crate::cli::{Common, DEFAULT_NETWORK};
use crate::failure::{Exit, Failure};

/// The folder of the profile.
pub(crate) fn folder(common: &Common) -> Result<PathBuf, Failure> {
    if let Some(folder) = &common.profile {
        return Ok(folder.clone());
    }
    let data = env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let data = data.or_else(|| env::home_dir().map(|home| home.join(".local/share")));
    data.map(|data| data.join("ahoy/default")).ok_or_else(|| {
        Failure::new(
            Exit::Other,
            "profile",
            "there is no home folder to keep a profile in",
            "Name one with --profile DIR.",
        )
    })
}

/// The profile, taken by this process, and who is signed in with it.
pub(crate) fn signed_in(common: &Common) -> Result<(Profile, Identity), Failure> {
    let folder = folder(common)?;
    // Looked at first, so that asking changes nothing.
    if read_identity(&folder)?.is_none() {
        return Err(Failure::not_signed_in());
    }
    let profile = Profile::open(&folder)?;
    let identity = profile.identity()?.ok_or_else(Failure::not_signed_in)?;
    check_network(common, &identity)?;
    Ok((profile, identity))
}

/// Who is signed in, without taking the profile.
pub(crate) fn who(common: &Common) -> Result<Option<Identity>, Failure> {
    let identity = read_identity(&folder(common)?)?;
    if let Some(identity) = &identity {
        check_network(common, identity)?;
    }
    Ok(identity)
}

/// A profile that nobody is signed in with yet, taken by this process.
pub(crate) fn vacant(common: &Common) -> Result<Profile, Failure> {
    let folder = folder(common)?;
    let profile = Profile::open(&folder)?;
    match profile.identity()? {
        None => Ok(profile),
        Some(identity) => Err(Failure::new(
            Exit::Refused,
            "signed-in-already",
            format!("{} is signed in with this profile already", identity.full_name()),
            "Use another folder for another account (--profile DIR), or `ahoy sign-out` first.",
        )),
    }
}

/// First contact with the network named, or the one that a newcomer means.
pub(crate) fn network(common: &Common) -> Result<Contact, Failure> {
    let default = || NetworkUrl::parse(DEFAULT_NETWORK).expect("the default is an address");
    let url = common.network.clone().unwrap_or_else(default);
    Ok(contact(&url, None, now())?)
}

/// This machine's clock.
pub(crate) fn now() -> UnixTime {
    SystemTime::now().into()
}

/// A name as typed: `alice`, or `alice@network` if that is the network at hand.
pub(crate) fn name(text: &str, network: &str) -> Result<Name, Failure> {
    let name = match text.split_once('@') {
        Some((name, place)) if place.eq_ignore_ascii_case(network) => name,
        Some((_, place)) => {
            return Err(Failure::new(
                Exit::Refused,
                "other-network",
                format!("{place} is not the network at hand, which is {network}"),
                "Networks are separate: use an account of that network, with --network URL and --profile DIR.",
            ));
        }
        None => text,
    };
    Ok(Name::parse(name)?)
}

/// What this device is called in the account's list of devices.
pub(crate) fn device_name() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| fs::read_to_string("/etc/hostname"));
    host.ok().map(|host| host.trim().to_owned()).filter(|host| !host.is_empty()).unwrap_or_else(|| "ahoy".to_owned())
}

fn check_network(common: &Common, identity: &Identity) -> Result<(), Failure> {
    match &common.network {
        Some(url) if *url != identity.network.url => Err(Failure::new(
            Exit::Refused,
            "other-network",
            format!("this profile belongs to {}, not to {url}", identity.network.url),
            "Leave --network (and AHOY_NETWORK) away, or use another identity with --profile DIR.",
        )),
        _ => Ok(()),
    }
}
