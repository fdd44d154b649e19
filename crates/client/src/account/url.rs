//! Where a network is found: the address that people type.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The address of a network's authority, without a slash at its end. HTTPS, or HTTP on the machine's own loopback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkUrl(String);

/// Why a text is not the address of a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// Neither https nor http, no host, or something after the host.
    #[error("{0:?} is not the address of a network; it looks like https://example.org or http://localhost:8080")]
    Shape(String),
    /// HTTP to another machine.
    #[error("{0:?} is not protected: http works on this machine only, use https")]
    NotProtected(String),
}

impl NetworkUrl {
    /// Reads an address; without a scheme, `https://` is meant.
    ///
    /// # Errors
    /// Says why it can't be used.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let shape = || InvalidUrl::Shape(text.to_owned());
        let (scheme, rest) = text.trim().split_once("://").unwrap_or_else(|| ("https", text.trim()));
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let host = host_of(authority).ok_or_else(shape)?;
        match scheme.to_ascii_lowercase().as_str() {
            "https" => Ok(Self(format!("https://{authority}"))),
            "http" if is_loopback(host) => Ok(Self(format!("http://{authority}"))),
            "http" => Err(InvalidUrl::NotProtected(text.to_owned())),
            _ => Err(shape()),
        }
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it goes without TLS, which it does on this very machine only.
    pub fn is_plain(&self) -> bool {
        self.0.starts_with("http://")
    }

    /// Whether it is this very machine.
    pub fn is_local(&self) -> bool {
        self.0.split_once("://").and_then(|(_, authority)| host_of(authority)).is_some_and(is_loopback)
    }
}

/// The host of `host`, `host:port` or `[v6]:port`, without brackets.
fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, port.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
    let fits = !host.is_empty() && host.chars().all(allowed) && port.is_none_or(|port| port.parse::<u16>().is_ok());
    fits.then_some(host)
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for NetworkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for NetworkUrl {
    type Err = InvalidUrl;
    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        Self::parse(text)
    }
}

impl TryFrom<String> for NetworkUrl {
    type Error = InvalidUrl;
    fn try_from(text: String) -> Result<Self, InvalidUrl> {
        Self::parse(&text)
    }
}

impl From<NetworkUrl> for String {
    fn from(url: NetworkUrl) -> Self {
        url.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn https_goes_anywhere_and_http_only_to_this_machine() {
        for text in ["https://example.org", "http://localhost:8080", "http://127.0.0.1:1", "http://[::1]:8080"] {
            assert_eq!(NetworkUrl::parse(text).unwrap().as_str(), text);
        }
        assert_eq!(NetworkUrl::parse("example.org/").unwrap().as_str(), "https://example.org");
        assert!(matches!(NetworkUrl::parse("http://example.org"), Err(InvalidUrl::NotProtected(_))));
        assert!(matches!(NetworkUrl::parse("http://localhost.example.org"), Err(InvalidUrl::NotProtected(_))));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in
            ["", "ftp://example.org", "https://", "https://a b", "https://a:99999", "https://a/path", "https://x@a"]
        {
            assert!(matches!(NetworkUrl::parse(text), Err(InvalidUrl::Shape(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String) {
            let _ = NetworkUrl::parse(&text);
        }
    }
}
