//! What types can't say about a configuration.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ahoy_authority::{Granted, check_granted};
use ahoy_client::account::NetworkUrl;
use ahoy_proto::Name;
use anyhow::{Context as _, bail};

use super::{Config, Role, SHARDS_MAX};

impl Config {
    /// Whether the keys agree with each other and with the machine.
    ///
    /// # Errors
    /// One line: which key, what is wrong, what to do.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        self.check_roles()?;
        self.fabric()?;
        if self.is(Role::Authority) && self.network_name().is_empty() {
            bail!("`name` is missing: set it to the network's domain, such as \"ahoy.example.org\"");
        }
        let Some(first) = self.listen.first() else { bail!("`listen` is empty: there would be nothing to reach") };
        if self.listen.iter().any(|address| address.port() != first.port()) {
            bail!("`listen` has several ports: clients expect everything on one");
        }
        if self.shards > SHARDS_MAX {
            bail!("`shards` is {}: at most {SHARDS_MAX}", self.shards);
        }
        if !self.echo.is_empty() {
            Name::parse(&self.echo).with_context(|| format!("`echo` is {:?}", self.echo))?;
        }
        if self.public_addresses().is_empty() {
            bail!("`public` is empty: clients would not find this supernode");
        }
        let said =
            Granted { addresses: Some(self.public_addresses()), region: Some(self.region.clone()), weight: None };
        check_granted(&said).context("`public` or `region`")
    }

    /// Whether what this process is agrees with the keys that belong to it.
    fn check_roles(&self) -> anyhow::Result<()> {
        if self.roles.is_empty() {
            bail!("`roles` is empty: say \"authority\", \"supernode\" or both");
        }
        if self.is(Role::Authority) {
            if self.authority.is_some() || self.enrolment_token.is_some() {
                bail!(
                    "`authority` and `enrolment_token` are for a supernode alone, and `roles` says that this is the authority \
                     itself: remove them, or \"authority\" from `roles`"
                );
            }
            return Ok(());
        }
        let Some(authority) = &self.authority else {
            bail!(
                "`authority` is missing: a supernode alone has to know where its authority is, such as \"https://ahoy.example.org\""
            )
        };
        authority.parse::<NetworkUrl>().context("`authority`")?;
        if self.public.is_none() {
            bail!(
                "`public` is missing: a supernode alone has to say where clients find it, such as [\"voice.example.org:443\"]"
            );
        }
        if !self.echo.is_empty() {
            bail!("`echo` is {:?}, and an echo account runs where the authority is: set `echo = \"\"`", self.echo);
        }
        Ok(())
    }

    /// Whether there is a certificate if one is needed, and can be used. `ahoyd dev` does without, and so may a supernode alone, which
    /// has its roster key to prove; browsers don't reach it then.
    ///
    /// # Errors
    /// One line: which key, what is wrong, what to do.
    pub(crate) fn check_tls(&self) -> anyhow::Result<()> {
        match (&self.tls.certificate, &self.tls.key) {
            (Some(certificate), Some(key)) => {
                std::fs::File::open(certificate)
                    .with_context(|| format!("`tls.certificate`: can't read {}", certificate.display()))?;
                private_key(key).context("`tls.key`")
            }
            (None, None) if !self.is(Role::Authority) => Ok(()),
            (None, None) => match self.listen.iter().find(|address| !address.ip().is_loopback()) {
                None => Ok(()),
                Some(address) => bail!(
                    "`listen` has {address}, which others can reach, and there is no certificate: set `tls.certificate` \
                     and `tls.key`, or listen on 127.0.0.1 and [::1] only"
                ),
            },
            _ => bail!("`tls.certificate` and `tls.key` go together: set both"),
        }
    }

    /// Certificate and key, if this process is to speak TLS.
    pub(crate) fn certificate_files(&self) -> Option<(&Path, &Path)> {
        Some((self.tls.certificate.as_deref()?, self.tls.key.as_deref()?))
    }

    /// Where the API is served: without a certificate, on loopback only.
    pub(crate) fn api_addresses(&self) -> Vec<SocketAddr> {
        let encrypted = self.certificate_files().is_some();
        self.listen.iter().copied().filter(|address| encrypted || address.ip().is_loopback()).collect()
    }
}

/// Whether a file that holds a secret can be read by us and by nobody else but its group.
///
/// # Errors
/// Says what is wrong and how to mend it.
pub(crate) fn private_key(file: &Path) -> anyhow::Result<()> {
    let opened = std::fs::File::open(file).with_context(|| format!("can't read {}", file.display()))?;
    let mode = opened.metadata().map(|attributes| attributes.permissions()).as_ref().map_or(0, Permissions::mode);
    if mode & 0o007 != 0 {
        bail!("{} can be read by everybody: run `chmod 600 {}`", file.display(), file.display());
    }
    Ok(())
}
