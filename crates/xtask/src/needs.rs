//! What has to be on the machine beside Rust, for which purpose, and how it gets there.
//!
//! The table is the whole truth: docs and scripts point here. Nothing is installed that is there already.

use std::path::Path;
use std::process::Command;

use anyhow::bail;

use crate::{node, python, shell};

/// Why something is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Compiling Ahoy.
    Build,
    /// Knowing which files belong to the repository.
    Repository,
    /// Compiling with the feature `audio`.
    Audio,
    /// Trying the feature `keyring`.
    Keyring,
    /// Scoring speech in the trials.
    Score,
    /// Network namespaces, captures and wrong clocks in the trials.
    Capture,
    /// Building the browser client.
    Web,
    /// Trying the browser client.
    Browser,
    /// The engines of a fleet, for the tests of `store` and `fabric` and the trials.
    Databases,
}

struct Need {
    what: &'static str,
    /// Of Debian and its descendants.
    package: &'static str,
    purpose: Purpose,
    present: fn() -> bool,
}

#[rustfmt::skip]
const NEEDS: &[Need] = &[
    Need { what: "a C compiler", package: "gcc", purpose: Purpose::Build, present: || shell::find("cc").is_some() },
    Need { what: "the C library's headers", package: "libc6-dev", purpose: Purpose::Build, present: c_headers },
    Need { what: "make", package: "make", purpose: Purpose::Build, present: || shell::find("make").is_some() },
    Need { what: "cmake", package: "cmake", purpose: Purpose::Build, present: || shell::find("cmake").is_some() },
    Need { what: "git", package: "git", purpose: Purpose::Repository, present: || shell::find("git").is_some() },
    Need { what: "pkg-config", package: "pkg-config", purpose: Purpose::Audio, present: || shell::find("pkg-config").is_some() },
    Need { what: "ALSA's headers", package: "libasound2-dev", purpose: Purpose::Audio, present: alsa_headers },
    Need { what: "a session bus", package: "dbus-daemon", purpose: Purpose::Keyring, present: || shell::find("dbus-run-session").is_some() },
    Need { what: "a keyring", package: "gnome-keyring", purpose: Purpose::Keyring, present: || shell::find("gnome-keyring-daemon").is_some() },
    Need { what: "Node.js, or Python with venv to fetch it", package: "python3-venv", purpose: Purpose::Web, present: || node::is_present() || python::has_venv() },
    Need { what: "Chromium", package: "chromium", purpose: Purpose::Browser, present: || shell::find("chromium").is_some() },
    Need { what: "Firefox", package: "firefox-esr", purpose: Purpose::Browser, present: || shell::find("firefox-esr").is_some() },
    Need { what: "Python with venv", package: "python3-venv", purpose: Purpose::Score, present: python::has_venv },
    Need { what: "Python's headers", package: "python3-dev", purpose: Purpose::Score, present: python::has_headers },
    Need { what: "ip", package: "iproute2", purpose: Purpose::Capture, present: || shell::find("ip").is_some() },
    Need { what: "nft", package: "nftables", purpose: Purpose::Capture, present: || shell::find("nft").is_some() },
    Need { what: "faketime", package: "faketime", purpose: Purpose::Capture, present: || shell::find("faketime").is_some() },
    Need { what: "tcpdump", package: "tcpdump", purpose: Purpose::Capture, present: || shell::find("tcpdump").is_some() },
    Need { what: "tshark", package: "tshark", purpose: Purpose::Capture, present: || shell::find("tshark").is_some() },
    Need { what: "PostgreSQL", package: "postgresql", purpose: Purpose::Databases, present: postgresql },
    Need { what: "Redis", package: "redis-server", purpose: Purpose::Databases, present: || shell::find("redis-server").is_some() },
];

/// Makes sure that everything for these purposes is there: through apt where we are root, else by naming the line to run.
pub(crate) fn meet(purposes: &[Purpose]) -> anyhow::Result<()> {
    let wanted: Vec<&Need> = NEEDS.iter().filter(|need| purposes.contains(&need.purpose)).collect();
    let missing = missing(&wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let what = missing.iter().map(|need| need.what).collect::<Vec<_>>().join(", ");
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let line = format!("apt-get update && apt-get install -y --no-install-recommends {}", packages.join(" "));
    if shell::find("apt-get").is_none() {
        bail!("missing: {what}. Install them with your package manager (on Debian: {line}) and run this again.");
    }
    if !is_root() {
        bail!("missing: {what}. Run this line, then try again:\n\n    sudo sh -c '{line}'\n");
    }
    shell::step(&format!("install {}", packages.join(" ")), || install(&packages))?;
    match self::missing(&wanted).first() {
        None => Ok(()),
        Some(need) => bail!("{} is installed, but {} still can't be found", need.package, need.what),
    }
}

fn missing<'a>(needs: &[&'a Need]) -> Vec<&'a Need> {
    needs.iter().filter(|need| !(need.present)()).copied().collect()
}

fn install(packages: &[&str]) -> anyhow::Result<()> {
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(["-qq", "-o", "Dpkg::Use-Pty=0"]);
        command
    };
    shell::run(apt().arg("update"))?;
    shell::run(apt().args(["install", "--yes", "--no-install-recommends"]).args(packages))
}

fn is_root() -> bool {
    shell::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn c_headers() -> bool {
    Path::new("/usr/include/stdio.h").exists()
}

fn alsa_headers() -> bool {
    Path::new("/usr/include/alsa/asoundlib.h").exists()
}

/// Debian keeps its servers by version, out of the path.
fn postgresql() -> bool {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions.into_iter().any(|version| version.path().join("bin/initdb").exists())
}
