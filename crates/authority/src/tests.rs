//! The whole API over loopback HTTP, with OPAQUE's client half and a clock that the test turns.

mod abuse;
mod account;
mod devices;
mod person;
mod supernodes;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ahoy_proto::api::ApiError;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::*;

/// When every test begins.
const START: UnixTime = UnixTime(1_800_000_000);

/// A running authority.
struct World {
    runtime: Runtime,
    authority: Authority,
    at: SocketAddr,
    agent: ureq::Agent,
    now: Arc<AtomicU64>,
    folder: TempDir,
}

/// A response: status and body.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    status: u16,
    body: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The error's code, once sure that the whole is an error.
    fn code(&self) -> String {
        let error: ApiError = serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no error: {self:?}"));
        assert!(!error.text.is_empty());
        self.json()["code"].as_str().unwrap().to_owned()
    }
}

impl World {
    fn new(sign_up: SignUpPolicy) -> Self {
        Self::with(sign_up, RateLimits::default())
    }

    fn with(sign_up: SignUpPolicy, rate_limits: RateLimits) -> Self {
        Self::within(TempDir::new().unwrap(), sign_up, rate_limits)
    }

    fn within(folder: TempDir, sign_up: SignUpPolicy, rate_limits: RateLimits) -> Self {
        let now = Arc::new(AtomicU64::new(START.0));
        let keys = Keys::load_or_create(&folder.path().join("keys"), START).unwrap();
        let store = Store::open(&folder.path().join("ahoy.db")).unwrap();
        let clock = {
            let now = now.clone();
            Arc::new(move || UnixTime(now.load(Ordering::Relaxed)))
        };
        let (name, unlimited) = ("example.org".to_owned(), Vec::new());
        let certificate_hashes = watch::channel(Vec::new()).1;
        let config =
            AuthorityConfig { name, sign_up, echo: None, own: None, rate_limits, unlimited, certificate_hashes, clock };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (authority, listener) = runtime.block_on(async {
            let authority = Authority::new(store, keys, config).await.unwrap();
            (authority, TcpListener::bind("127.0.0.1:0").await.unwrap())
        });
        let at = listener.local_addr().unwrap();
        let service = authority.router().into_make_service_with_connect_info::<SocketAddr>();
        runtime.spawn(async move { axum::serve(listener, service).await });
        let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent();
        Self { runtime, authority, at, agent, now, folder }
    }

    fn now(&self) -> UnixTime {
        UnixTime(self.now.load(Ordering::Relaxed))
    }

    fn pass(&self, time: Duration) {
        self.now.fetch_add(time.as_secs(), Ordering::Relaxed);
    }

    fn read(sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Said {
        let mut response = sent.unwrap();
        Said { status: response.status().as_u16(), body: response.body_mut().read_to_string().unwrap() }
    }

    fn fetch(&self, path: &str) -> Said {
        Self::read(self.agent.get(format!("http://{}{path}", self.at)).call())
    }

    fn post_bytes(&self, path: &str, body: &[u8]) -> Said {
        Self::read(self.agent.post(format!("http://{}{path}", self.at)).send(body))
    }

    fn post(&self, path: &str, body: &impl serde::Serialize) -> Said {
        self.post_bytes(path, &serde_json::to_vec(body).unwrap())
    }

    fn invite(&self, admission: Admission) -> String {
        self.runtime.block_on(self.authority.make_invite(admission)).unwrap()
    }

    fn suspend(&self, name: &str, suspended: bool) {
        self.runtime.block_on(self.authority.suspend(&Name::parse(name).unwrap(), suspended)).unwrap();
    }

    fn revoked(&self) -> Revocations {
        self.authority.revocations().borrow().document.clone()
    }
}
