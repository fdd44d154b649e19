//! Whose pages may open links: those that came from the supernode's own port, or from the network's.
//!
//! A link carries no cookie and no other right of a page's visitor, so a page from elsewhere could do nothing in his name. It is refused so
//! that nobody's visitors can be made to load a supernode.

use std::sync::Arc;

/// Origins besides a supernode's own.
#[derive(Debug, Clone, Default)]
pub struct Origins(Arc<[String]>);

impl Origins {
    /// Origins as browsers write them, `https://ahoy.example.org`.
    pub fn new(others: impl IntoIterator<Item = String>) -> Self {
        Self(others.into_iter().filter_map(|origin| authority(&origin)).collect())
    }

    /// Whether a request may open a link: `origin` is its header, `host` the `Host` or `:authority` that it came to. What is no browser sends
    /// no origin.
    pub fn admit(&self, origin: Option<&[u8]>, host: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        let Some(page) = std::str::from_utf8(origin).ok().and_then(authority) else { return false };
        host.is_some_and(|host| canonical(host) == page) || self.0.contains(&page)
    }
}

/// What stands between the scheme and the path.
fn authority(origin: &str) -> Option<String> {
    let origin = origin.to_ascii_lowercase();
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"))?;
    let authority = authority.trim_end_matches('/');
    (!authority.is_empty()).then(|| canonical(authority))
}

/// In lower case, without the port that goes without saying (pages come by TLS, but on loopback), and with one name for all that is this
/// machine: a page that came from `localhost` finds its supernode at 127.0.0.1.
fn canonical(authority: &str) -> String {
    let authority = authority.to_ascii_lowercase();
    let authority = authority.strip_suffix(":443").unwrap_or(&authority);
    for loopback in ["127.0.0.1", "[::1]"] {
        if let Some(port) = authority.strip_prefix(loopback)
            && (port.is_empty() || port.starts_with(':'))
        {
            return format!("localhost{port}");
        }
    }
    authority.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_the_port_itself_and_of_the_network_may_and_no_others() {
        let origins = Origins::new(["https://ahoy.example.org".to_owned()]);
        let admits = |origin: &str, host: &str| origins.admit(Some(origin.as_bytes()), Some(host));
        assert!(admits("https://voice.example.org:8443", "Voice.example.org:8443"));
        assert!(admits("https://voice.example.org", "voice.example.org:443"));
        assert!(admits("http://[::1]:8080", "[::1]:8080"));
        assert!(
            admits("https://ahoy.example.org", "voice.example.org:8443"),
            "the network's page, at another supernode"
        );
        assert!(admits("http://localhost:8080", "127.0.0.1:8080"), "one machine, three names");
        assert!(!admits("http://localhost:8081", "127.0.0.1:8080"));
        assert!(!admits("http://127.0.0.1.example:8080", "127.0.0.1:8080"));
        assert!(!admits("https://voice.example.org:8444", "voice.example.org:8443"));
        assert!(!admits("https://elsewhere.example", "voice.example.org"));
        assert!(!admits("null", "null"));
        assert!(!origins.admit(Some(b"https://\xff"), Some("\u{fffd}")));
        assert!(!origins.admit(Some(b"https://a"), None));
    }

    #[test]
    fn what_is_no_page_may() {
        assert!(Origins::default().admit(None, None));
    }
}
