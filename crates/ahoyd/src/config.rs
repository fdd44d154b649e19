//! What the operator wishes: defaults < file < environment < command line.
//!
//! `deploy/ahoy.toml` is the one place that documents keys and holds their defaults; it is compiled in.

mod check;
mod layers;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ahoy_fabric::Fabric;
use ahoy_proto::api::SignUpPolicy;
use ahoy_store::Store;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};

pub(crate) use check::private_key;
pub(crate) use layers::{Layers, load};

/// The sample, which is also the documentation and the defaults.
pub(crate) const SAMPLE: &str = include_str!("../../../deploy/ahoy.toml");

/// All keys. `Default` is the empty value of each type, not what an operator gets: that is [`load`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) name: Option<String>,
    pub(crate) data: PathBuf,
    pub(crate) store: Option<String>,
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) public: Option<Vec<String>>,
    pub(crate) roles: Vec<Role>,
    pub(crate) authority: Option<String>,
    pub(crate) enrolment_token: Option<String>,
    pub(crate) fabric: Option<String>,
    pub(crate) sign_up: SignUpPolicy,
    pub(crate) unlimited: Vec<IpAddr>,
    pub(crate) echo: String,
    pub(crate) region: String,
    pub(crate) shards: u16,
    pub(crate) sessions_max: u32,
    pub(crate) reconnect_spread_s: u16,
    pub(crate) tls: Tls,
    pub(crate) admin: Admin,
    pub(crate) log: Log,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Admin {
    pub(crate) listen: Vec<SocketAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) level: String,
    pub(crate) format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Authority,
    Supernode,
}

/// In place of what is not to be seen over somebody's shoulder, or in a support request.
const HIDDEN: &str = "***";

impl Config {
    /// The same with passwords and tokens hidden, to be shown.
    pub(crate) fn without_secrets(mut self) -> Self {
        for address in [&mut self.store, &mut self.fabric] {
            *address = address.take().map(|address| without_password(&address));
        }
        self.enrolment_token = self.enrolment_token.map(|_| HIDDEN.to_owned());
        self
    }

    /// Whether this process is that.
    pub(crate) fn is(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// What people call the network; [`check`](Self::check) has seen to it that there is something.
    pub(crate) fn network_name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// `host:port` of this supernode as the roster shows it.
    pub(crate) fn public_addresses(&self) -> Vec<String> {
        let port = self.listen.first().map_or(443, SocketAddr::port);
        self.public.clone().unwrap_or_else(|| vec![format!("{}:{port}", self.network_name())])
    }

    /// Where supernodes find each other: nowhere but in this process, unless something is said.
    ///
    /// # Errors
    /// When it is no address.
    pub(crate) fn fabric(&self) -> anyhow::Result<Fabric> {
        let Some(address) = &self.fabric else { return Ok(Fabric::default()) };
        Ok(Fabric::Valkey(address.parse().context("`fabric`")?))
    }

    /// What crosses a network unencrypted, each in one line: by which key, and how to change that.
    pub(crate) fn in_the_clear(&self) -> Vec<&'static str> {
        let mut lines = Vec::new();
        if self.store.as_deref().is_some_and(Store::is_in_the_clear) {
            lines.push(
                "`store` leads to PostgreSQL in the clear: whoever is on the way can read and change what goes there \
                 (sslmode=require in the address encrypts it)",
            );
        }
        if matches!(self.fabric(), Ok(Fabric::Valkey(valkey)) if valkey.is_in_the_clear()) {
            lines.push(
                "`fabric` leads to Valkey in the clear: whoever is on the way can read and change what goes there \
                 (rediss in the place of redis at the head of the address encrypts it)",
            );
        }
        lines
    }

    /// How many shards to start on a machine with this many cores.
    pub(crate) fn shard_count(&self, cores: usize) -> u16 {
        match self.shards {
            0 => u16::try_from(cores).unwrap_or(u16::MAX).clamp(1, SHARDS_MAX),
            some => some,
        }
    }
}

/// The shard stands as one byte in connection ids.
pub(crate) const SHARDS_MAX: u16 = 255;

/// An address whose password, if it has one (`scheme://USER:PASSWORD@…`), is hidden.
fn without_password(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    // A password may hold an `@` that nobody has escaped.
    let Some((user, _)) = authority.rsplit_once('@') else { return address.to_owned() };
    let Some((name, _)) = user.split_once(':') else { return address.to_owned() };
    format!("{scheme}://{name}:{HIDDEN}{}", &rest[user.len()..])
}
