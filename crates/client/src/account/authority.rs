//! The authority's HTTP API from the client's side: one request, one answer, no state. Calls block.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ahoy_proto::api::{ApiError, ApiErrorCode};
use ahoy_proto::limits::ROSTER_BYTES_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::tls::{RootCerts, TlsConfig};

use super::{AccountError, NetworkUrl};

/// Longest wait for one answer. A busy authority needs milliseconds; five round trips at 1 s and a slow name server fit.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Longest answer but the roster, in bytes. The largest is that to an enrolment, which holds the revocation list: 40,000 devices at 75 bytes, as
/// base64.
const ANSWER_MAX: usize = 4 * 1024 * 1024;

/// A network's authority, reached at its address.
#[derive(Debug, Clone)]
pub struct Authority {
    agent: ureq::Agent,
    url: NetworkUrl,
}

impl Authority {
    /// The authority at this address. Nothing is asked yet.
    pub fn new(url: NetworkUrl) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(if url.is_local() { None } else { ureq::Proxy::try_from_env() })
            .user_agent(crate::AGENT)
            .build()
            .new_agent();
        Self { agent, url }
    }

    /// `GET path`, the answer as JSON.
    ///
    /// # Errors
    /// When it can't be reached, refuses, or is no authority.
    pub fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<T, AccountError> {
        self.parse(&self.answer(self.agent.get(self.at(path)).call(), ANSWER_MAX)?)
    }

    /// The newest roster, as it is signed.
    ///
    /// # Errors
    /// When it can't be reached, refuses, or is no authority.
    pub fn roster(&self) -> Result<String, AccountError> {
        let text = self.answer(self.agent.get(self.at("/v1/roster")).call(), ROSTER_BYTES_MAX)?;
        Ok(text.trim().to_owned())
    }

    /// `POST path`, JSON both ways.
    ///
    /// # Errors
    /// When it can't be reached, refuses, or is no authority.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, AccountError> {
        self.parse(&self.answer(self.agent.post(self.at(path)).send_json(body), ANSWER_MAX)?)
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn parse<T: DeserializeOwned>(&self, text: &str) -> Result<T, AccountError> {
        serde_json::from_str(text).map_err(|_| self.not_ahoy())
    }

    fn answer(
        &self,
        sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
        bytes_max: usize,
    ) -> Result<String, AccountError> {
        let mut response = sent.map_err(|error| self.failure(error))?;
        let status = response.status();
        let text = response
            .body_mut()
            .with_config()
            .limit(bytes_max as u64)
            .read_to_string()
            .map_err(|error| self.failure(error))?;
        if status.is_success() {
            return Ok(text);
        }
        match serde_json::from_str::<ApiError>(&text) {
            Ok(error) => Err(AccountError::Refused(error)),
            Err(_) if matches!(status.as_u16(), 502..=504) => Err(AccountError::Refused(ApiError {
                code: ApiErrorCode::Unavailable,
                text: "the network is overloaded or being restarted".to_owned(),
                retry_after_ms: None,
            })),
            Err(_) => Err(self.not_ahoy()),
        }
    }

    fn not_ahoy(&self) -> AccountError {
        AccountError::NotAhoy(self.url.clone())
    }

    fn failure(&self, error: ureq::Error) -> AccountError {
        let url = self.url.clone();
        match error {
            ureq::Error::HostNotFound => AccountError::HostNotFound(url),
            ureq::Error::Rustls(error) => AccountError::Tls { url, cause: error.to_string() },
            ureq::Error::Tls(cause) => AccountError::Tls { url, cause: cause.to_owned() },
            ureq::Error::Io(error) => match tls_cause(&error) {
                Some(cause) => AccountError::Tls { url, cause },
                None => AccountError::Unreachable { url, cause: io_cause(&error) },
            },
            ureq::Error::Timeout(_) => AccountError::Unreachable { url, cause: "no answer in time".to_owned() },
            ureq::Error::BodyExceedsLimit(_) | ureq::Error::Json(_) | ureq::Error::Protocol(_) => {
                AccountError::NotAhoy(url)
            }
            error => AccountError::Unreachable { url, cause: error.to_string() },
        }
    }
}

/// A failed TLS handshake arrives as an I/O error that wraps it.
fn tls_cause(error: &io::Error) -> Option<String> {
    error.get_ref()?.downcast_ref::<rustls::Error>().map(ToString::to_string)
}

fn io_cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nothing listens there".to_owned(),
        _ => error.to_string(),
    }
}
