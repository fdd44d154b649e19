//! The HTTP side: paths, bodies in and out, and the one shape of every error.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ahoy_proto::api::{ApiError, ApiErrorCode, Base64Url, WellKnown};
use ahoy_proto::document::Jwk;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequest, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use serde::de::DeserializeOwned;

use ahoy_store::StoreError;

use crate::rate::TooMany;
use crate::{Authority, accounts, credentials, opaque, sign_in, supernodes};

/// Longest body, in bytes. The largest request is `accounts/finish` at about 2 KiB.
const BODY_MAX: usize = 64 * 1024;

/// How long a body may take to arrive, so that a client that dawdles can't hold a connection for ever.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Supernodes that are shown to whoever has no roster yet.
const HINTS_MAX: usize = 16;

/// What to wait when the store is full or behind.
const RETRY_AFTER: Duration = Duration::from_secs(1);

pub(crate) fn router(authority: Authority) -> Router {
    Router::new()
        .route("/.well-known/ahoy", get(well_known))
        .route("/v1/roster", get(roster))
        .route("/v1/accounts/start", post(accounts::start))
        .route("/v1/accounts/finish", post(accounts::finish))
        .route("/v1/accounts/delete", post(accounts::delete))
        .route("/v1/sign-in/start", post(sign_in::start))
        .route("/v1/sign-in/finish", post(sign_in::finish))
        .route("/v1/recovery", post(sign_in::recover))
        .route("/v1/password/start", post(sign_in::start_password))
        .route("/v1/password/finish", post(sign_in::finish_password))
        .route("/v1/devices", post(credentials::add_device))
        .route("/v1/devices/revoke", post(credentials::revoke_device))
        .route("/v1/devices/rename", post(credentials::rename_device))
        .route("/v1/credentials/renew", post(credentials::renew))
        .route("/v1/credentials/revoke", post(credentials::revoke))
        .route("/v1/supernodes/enrol", post(supernodes::enrol))
        .route("/v1/supernodes/renew", post(supernodes::renew))
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, ApiErrorCode::Invalid, "this path has another method")
        })
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, ApiErrorCode::NotFound, "there is no such path"))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(authority)
}

async fn well_known(State(authority): State<Authority>) -> Json<WellKnown> {
    let (keys, config) = (&authority.0.keys, &authority.0.config);
    Json(WellKnown {
        name: config.name.clone(),
        network: keys.network(),
        root_key: Jwk::ed25519(*keys.root_key().as_bytes()),
        signing_keys: vec![keys.signing_key_certificate().to_owned()],
        minimum_version: ahoy_proto::VERSION,
        sign_up: config.sign_up,
        echo: config.echo.clone(),
        supernodes: authority.0.roster.borrow().document.supernodes.iter().take(HINTS_MAX).cloned().collect(),
        report_key: Base64Url(keys.report_secret().report_key().to_vec()),
        certificate_hashes: config.certificate_hashes.borrow().iter().map(|hash| Base64Url(hash.to_vec())).collect(),
    })
}

async fn roster(State(authority): State<Authority>) -> Response {
    let token = authority.0.roster.borrow().token.clone();
    ([(header::CONTENT_TYPE, "application/jwt"), (header::CACHE_CONTROL, "no-cache")], token).into_response()
}

/// The body of a request, with its sender's request counted against the limits.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Authority> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, authority: &Authority) -> Result<Self, Refusal> {
        let sender = Sender::of(request.extensions().get());
        authority.0.limiter.request(sender.0, authority.now())?;
        let read = tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, authority)).await;
        let Ok(read) = read else {
            return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, ApiErrorCode::Invalid, "the body did not arrive"));
        };
        let bytes = read.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Refusal::of(ApiErrorCode::TooLarge, "a body has at most 64 KiB"),
            _ => Refusal::invalid("the body can't be read"),
        })?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Refusal::invalid(format!("not the JSON expected: {error}")))
    }
}

/// Where a request comes from; for rate limits only, never kept or logged.
pub(crate) struct Sender(pub(crate) Option<IpAddr>);

impl Sender {
    fn of(connection: Option<&ConnectInfo<SocketAddr>>) -> Self {
        Self(connection.map(|ConnectInfo(address)| address.ip()))
    }
}

impl<S: Sync> FromRequestParts<S> for Sender {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts.extensions.get()))
    }
}

/// What a handler gives: JSON, or a refusal.
pub(crate) type Answer<T> = Result<Json<T>, Refusal>;

/// The answer that says nothing but that it was done.
#[derive(Serialize)]
pub(crate) struct Done {}

/// An [`ApiError`] with its status.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    error: ApiError,
}

impl Refusal {
    fn new(status: StatusCode, code: ApiErrorCode, text: impl Into<String>) -> Self {
        Self { status, error: ApiError { code, text: text.into(), retry_after_ms: None } }
    }

    /// With the status that goes with the code.
    pub(crate) fn of(code: ApiErrorCode, text: impl Into<String>) -> Self {
        Self::new(status(code), code, text)
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::of(ApiErrorCode::Invalid, text)
    }

    /// The sentence.
    pub(crate) fn text(&self) -> &str {
        &self.error.text
    }

    fn retry_after(mut self, wait: Duration) -> Self {
        self.error.retry_after_ms = Some(wait.as_millis().try_into().unwrap_or(u64::MAX));
        self
    }
}

fn status(code: ApiErrorCode) -> StatusCode {
    match code {
        ApiErrorCode::Invalid | ApiErrorCode::NameInvalid => StatusCode::BAD_REQUEST,
        ApiErrorCode::SignInRefused | ApiErrorCode::StateRefused | ApiErrorCode::CredentialRefused => {
            StatusCode::UNAUTHORIZED
        }
        ApiErrorCode::SignUpRefused | ApiErrorCode::Suspended | ApiErrorCode::SupernodeRefused => StatusCode::FORBIDDEN,
        ApiErrorCode::NotFound => StatusCode::NOT_FOUND,
        ApiErrorCode::NameTaken | ApiErrorCode::TooManyDevices => StatusCode::CONFLICT,
        ApiErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ApiErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ApiErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(&self.error)).into_response();
        if let Some(wait) = self.error.retry_after_ms {
            response.headers_mut().insert(header::RETRY_AFTER, wait.div_ceil(1000).into());
        }
        response
    }
}

impl From<TooMany> for Refusal {
    fn from(refused: TooMany) -> Self {
        Self::of(ApiErrorCode::RateLimited, "too many tries; wait a little").retry_after(refused.retry_after)
    }
}

impl From<opaque::Malformed> for Refusal {
    fn from(_: opaque::Malformed) -> Self {
        Self::invalid("not a message of OPAQUE")
    }
}

/// Errors that every handler answers alike; those with a meaning of their own are told apart before.
impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NameTaken => Self::of(ApiErrorCode::NameTaken, "this name is taken"),
            StoreError::InviteRefused => Self::of(ApiErrorCode::SignUpRefused, "it takes an unused invite to sign up"),
            StoreError::AlreadyExists => Self::invalid("this device id is in use"),
            StoreError::LimitReached => Self::of(
                ApiErrorCode::TooManyDevices,
                format!(
                    "an account has at most {} devices: sign out on another first",
                    ahoy_proto::limits::DEVICES_MAX
                ),
            ),
            error => {
                tracing::warn!(%error, "the store failed");
                Self::of(ApiErrorCode::Unavailable, "the network can't take this up now").retry_after(RETRY_AFTER)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_full_or_behind_is_unavailable_for_a_second() {
        for error in [StoreError::Full, StoreError::Busy, StoreError::Unavailable] {
            let refusal = Refusal::from(error);
            assert_eq!((refusal.error.code, refusal.error.retry_after_ms), (ApiErrorCode::Unavailable, Some(1000)));
            let response = refusal.into_response();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        }
    }
}
