//! The browser client: files that the port serves beside the API, and what a browser is told to allow them.
//!
//! A release build holds what lay in `web/dist` when it was compiled; a development build reads them from there each time. Without that
//! folder (`cargo xtask` fills it) the page says so, and all else works.

use std::fmt::Write as _;
use std::sync::Arc;

use ahoy_authority::Signed;
use ahoy_proto::document::Roster;
use axum::extract::Request;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use rust_embed::{EmbeddedFile, RustEmbed};
use tokio::sync::watch;

/// Paths that are the API's; all others are the browser client's.
const API_PATHS: [&str; 3] = ["/v1/", "/.well-known/", "/session"];

/// Addresses of supernodes that the policy names one by one: 64 × 2 × 30 bytes are 4 KB of header. In larger fleets it allows every host.
const ADDRESSES_MAX: usize = 64;

/// What everything but connections is allowed; the preview of the page (web/vite.config.ts) keeps to it too.
const POLICY: &str = include_str!("../../../web/content-security-policy.txt").trim_ascii();

/// Sent with every file.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "microphone=(self), speaker-selection=(self), camera=(), geolocation=()",
    ),
];

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Bundle;

/// What the pages are to know of the network.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    /// Where a page may connect to.
    pub(crate) roster: watch::Receiver<Arc<Signed<Roster>>>,
    /// Whether the port speaks TLS.
    pub(crate) tls: bool,
}

impl Pages {
    /// Answers what is asked of the browser client, and leaves the rest to the API.
    pub(crate) async fn serve(self, request: Request, next: Next) -> Response {
        let path = request.uri().path();
        if API_PATHS.iter().any(|api| path.starts_with(api)) {
            return next.run(request).await;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
        }
        // Names without a dot are places within the page, which are the page's own business.
        let name = path.trim_start_matches('/');
        let name = if name.contains('.') { name } else { "index.html" };
        let Some(file) = Chosen::of(name, request.headers()) else { return missing(name) };
        self.answer(&file, request.headers())
    }

    fn answer(&self, chosen: &Chosen, asked: &HeaderMap) -> Response {
        let tag = chosen.tag();
        let mut headers = HeaderMap::from_iter(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(chosen.content_type));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(chosen.cache_control()));
        headers.extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
        headers.extend(chosen.encoding.map(|encoding| (header::CONTENT_ENCODING, HeaderValue::from_static(encoding))));
        headers
            .extend(HeaderValue::from_str(&self.policy()).ok().map(|policy| (header::CONTENT_SECURITY_POLICY, policy)));
        if self.tls {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
        }
        if asked.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, chosen.file.data.clone().into_owned()).into_response()
    }

    /// The policy for this roster: pages connect to their own origin and to supernodes.
    fn policy(&self) -> String {
        let roster = self.roster.borrow();
        let addresses = roster.document.supernodes.iter().flat_map(|entry| &entry.addresses);
        // An address in brackets can't stand in a policy; such a supernode is reached by its other addresses.
        let addresses: Vec<&String> = addresses.filter(|address| is_source(address)).take(ADDRESSES_MAX + 1).collect();
        let mut policy = format!("{POLICY}; connect-src 'self'");
        let socket = if self.tls { "wss" } else { "ws" };
        if addresses.len() > ADDRESSES_MAX {
            let _ = write!(policy, " https: {socket}:");
            return policy;
        }
        for address in addresses {
            let _ = write!(policy, " https://{address} {socket}://{address}");
        }
        policy
    }
}

/// Whether an address can stand in a policy as it is.
fn is_source(address: &str) -> bool {
    address.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':'))
}

/// A file of the bundle, in the shape that a browser takes.
struct Chosen {
    file: EmbeddedFile,
    content_type: &'static str,
    encoding: Option<&'static str>,
    /// Its name changes with its content.
    lasting: bool,
}

impl Chosen {
    fn of(name: &str, asked: &HeaderMap) -> Option<Self> {
        let content_type = content_type(name)?;
        let taken = asked.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let takes = |encoding: &str| taken.split(',').any(|one| one.trim().split(';').next() == Some(encoding));
        let packed = [("br", "br"), ("gzip", "gz")].into_iter().filter(|(encoding, _)| takes(encoding));
        let (file, encoding) = packed
            .filter_map(|(encoding, ending)| Some((Bundle::get(&format!("{name}.{ending}"))?, Some(encoding))))
            .next()
            .or_else(|| Some((Bundle::get(name)?, None)))?;
        Some(Self { file, content_type, encoding, lasting: name.starts_with("assets/") })
    }

    fn tag(&self) -> String {
        format!("\"{}\"", HEXLOWER.encode(&self.file.metadata.sha256_hash()[..16]))
    }

    fn cache_control(&self) -> &'static str {
        if self.lasting { "public, max-age=31536000, immutable" } else { "no-cache" }
    }
}

/// What a file is, by the end of its name; nothing else is served.
fn content_type(name: &str) -> Option<&'static str> {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending)?;
    Some(match ending {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "wasm" => "application/wasm",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        _ => return None,
    })
}

fn missing(name: &str) -> Response {
    let text = if name == "index.html" {
        "This ahoyd was built without the browser client: `cargo xtask dev` builds both. The network itself is up.\n"
    } else {
        "There is no such file.\n"
    };
    (StatusCode::NOT_FOUND, [(header::X_CONTENT_TYPE_OPTIONS, "nosniff")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kinds_of_files_that_the_page_is_made_of_are_served() {
        assert_eq!(content_type("assets/index-1.js"), Some("text/javascript; charset=utf-8"));
        for name in ["assets/index-1.js.br", ".env", "index", "key.pem", ""] {
            assert_eq!(content_type(name), None, "{name}");
        }
    }

    #[test]
    fn the_policy_fits_into_a_header_and_leaves_connections_to_the_roster() {
        assert!(HeaderValue::from_str(POLICY).is_ok());
        assert!(!POLICY.ends_with(';') && !POLICY.contains("connect-src"));
    }

    #[test]
    fn an_address_that_could_add_a_rule_to_the_policy_is_left_out() {
        assert!(is_source("voice.example.org:443"));
        for address in ["[::1]:443", "a; script-src *:443", "a b:443", "a,b:443", "*:443"] {
            assert!(!is_source(address), "{address}");
        }
    }
}
