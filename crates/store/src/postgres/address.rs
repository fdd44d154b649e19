//! Where the database is, and whether the way there is encrypted.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection::describe;
use crate::OpenError;

/// What PostgreSQL is called where both ends agree on a protocol: no server of something else is taken for one.
const PROTOCOL: &[u8] = b"postgresql";

/// Where the database is, and how it is reached.
pub(crate) struct Address {
    pub(super) config: Config,
    /// With `sslmode=require`. Never for whoever answers: that would keep nobody out who can get in between.
    pub(super) tls: Option<MakeRustlsConnect>,
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, OpenError> {
        let mut config: Config = text.parse().map_err(|error| OpenError::Address(describe(&error)))?;
        if config.get_application_name().is_none() {
            config.application_name("ahoy");
        }
        let tls = (config.get_ssl_mode() == SslMode::Require).then(tls).transpose();
        Ok(Self { config, tls: tls.map_err(|error| OpenError::Trust(error.to_string()))? })
    }
}

/// Certificates are verified as the system does it, or `SSL_CERT_FILE` says; read once, for all connections.
fn tls() -> Result<MakeRustlsConnect, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?
        .with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(MakeRustlsConnect::new(config))
}

/// Whether connections to this address cross a network unencrypted. What is no address goes nowhere.
pub(crate) fn is_in_the_clear(text: &str) -> bool {
    let Ok(config) = text.parse::<Config>() else { return false };
    // Where there are both, the names are only to be proven.
    let leaves = if config.get_hostaddrs().is_empty() {
        config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if !is_loopback(name)))
    } else {
        config.get_hostaddrs().iter().any(|address| !address.is_loopback())
    };
    leaves && config.get_ssl_mode() != SslMode::Require
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_on_the_way_can_read_is_known() {
        for address in [
            "postgres://ahoy:secret@10.0.0.1/ahoy",
            "postgres://ahoy@db.internal/ahoy?sslmode=prefer",
            "postgres://ahoy@localhost,db2/ahoy",
            "postgres://ahoy@localhost/ahoy?hostaddr=10.0.0.1",
        ] {
            assert!(is_in_the_clear(address), "{address}");
        }
        for address in [
            "postgres://ahoy@db.internal/ahoy?sslmode=require",
            "postgres://ahoy@127.0.0.1,[::1],localhost/ahoy",
            "postgres://ahoy@db.internal/ahoy?hostaddr=127.0.0.1",
            "postgres:///ahoy?host=/run/postgresql",
            "no address",
        ] {
            assert!(!is_in_the_clear(address), "{address}");
        }
    }
}
