//! Everything started in the right order, and ended in the opposite one.
//!
//! A restart is part of a call: nothing here waits for anything slower than a disk before the port is open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ahoy_authority::{Authority, AuthorityConfig, Keys, Rate, RateLimits, Signed, wall_clock};
use ahoy_proto::document::{Jwk, Revocations, Roster, RosterEntry};
use ahoy_proto::{Name, SupernodeId};
use ahoy_store::Store;
use ahoy_supernode::{CredentialKeys, StartError, Supernode, SupernodeConfig};
use anyhow::{Context as _, bail};
use ed25519_dalek::VerifyingKey;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin::{self, Readiness};
use crate::config::Config;
use crate::dev::Banner;
use crate::echo::Echo;
use crate::folder::{self, DataFolder};
use crate::http::{self, Certificate, Front};
use crate::log;
use crate::retention;
use crate::signals::Stop;

/// When clients may start to come back after a clean end: a restart takes a fraction of it.
const RECONNECT_IN: Duration = Duration::from_secs(1);

/// What HTTP requests that are being answered may still take.
const HTTP_GRACE: Duration = Duration::from_secs(1);

/// How often the shards are looked after.
const SOUND_INTERVAL: Duration = Duration::from_secs(1);

/// The share of new sessions that the only supernode of a roster takes; any number would do.
const WEIGHT: u32 = 100;

/// Runs until told to stop. `banner` is what a newcomer is told; with it, limits meant for strangers are off.
///
/// # Errors
/// When something can't be started, or breaks.
pub(crate) fn run(config: &Config, banner: Option<&Banner>) -> anyhow::Result<()> {
    log::start(&config.log)?;
    raise_open_files();
    folder::keep_to_ourselves();
    // The ring provider is the one for the HTTP side too; it can only be there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = DataFolder::claim(&config.data)?;
    let store = Store::open(&folder.database()).with_context(|| folder.database().display().to_string())?;
    let keys = Keys::load_or_create(&folder.keys(), wall_clock())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let mut parts = Parts::start(config, &folder, store.clone(), keys, banner).await?;
        let result = parts.serve().await;
        parts.end(config).await;
        result
    });
    // Requests that outlived their grace end with the runtime; the store's last handle writes what was promised.
    runtime.shutdown_timeout(HTTP_GRACE);
    drop(store);
    result
}

/// What the authority is to know.
pub(crate) fn authority_config(config: &Config, keys: &Keys, rate_limits: RateLimits) -> AuthorityConfig {
    let key = keys.roster_key().verifying_key().to_bytes();
    let entry = RosterEntry {
        supernode: SupernodeId::of_roster_key(&key),
        key: Jwk::ed25519(key),
        addresses: config.public_addresses(),
        region: config.region.clone(),
        weight: WEIGHT,
        number: 0,
    };
    AuthorityConfig {
        name: config.network_name().to_owned(),
        sign_up: config.sign_up,
        echo: Name::parse(&config.echo).ok(),
        supernodes: vec![entry],
        rate_limits,
        clock: Arc::new(wall_clock),
    }
}

/// All that runs.
struct Parts {
    signing_keys: Vec<VerifyingKey>,
    stop: Option<Stop>,
    supernode: Supernode,
    front: Front,
    readiness: Readiness,
    roster: watch::Receiver<Arc<Signed<Roster>>>,
    revocations: watch::Receiver<Arc<Signed<Revocations>>>,
    /// What runs beside and ends with us: renewals, retention, the certificate, metrics, the echo account.
    tasks: JoinSet<()>,
}

impl Parts {
    async fn start(
        config: &Config,
        folder: &DataFolder,
        store: Store,
        keys: Keys,
        banner: Option<&Banner>,
    ) -> anyhow::Result<Self> {
        let stop = Stop::new()?;
        // On loopback everybody shares one address, and tests sign up many people.
        let rate_limits = if banner.is_some() { generous() } else { RateLimits::default() };
        let authority_config = authority_config(config, &keys, rate_limits);
        let signing_keys = keys.signing_keys();
        let supernode_config = supernode_config(config, &keys, store.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(retention::run(store.clone(), authority_config.clock.clone()));
        let authority = Authority::new(store, keys, authority_config).await?;
        let certificate = certificate(config, &mut tasks).await?;
        let listeners = http::bind(&config.api_addresses())?;
        let admin = http::bind(&config.admin.listen).context("`admin.listen`")?;

        let (roster, revocations) = (authority.roster(), authority.revocations());
        let credential_keys = credential_keys(&signing_keys, &roster, &revocations);
        let supernode =
            Supernode::start(supernode_config, credential_keys).map_err(|error| unstarted(config, error))?;
        let front = http::serve(listeners, &authority.router(), certificate.as_ref())?;
        let readiness = Readiness::default();
        serve_admin(&mut tasks, admin, &supernode, readiness.clone())?;
        announce(config, banner);
        let ready = readiness.clone();
        match Echo::of(config, own_url(config), folder, &authority) {
            None => ready.set(true),
            Some(echo) => _ = tasks.spawn(echo.run(move || ready.set(true))),
        }
        tasks.spawn(async move { authority.run().await });
        Ok(Self { signing_keys, stop: Some(stop), supernode, front, readiness, roster, revocations, tasks })
    }

    /// Hands on what changes until told to stop.
    async fn serve(&mut self) -> anyhow::Result<()> {
        let Some(stop) = self.stop.take() else { return Ok(()) };
        let mut stopped = std::pin::pin!(stop.asked());
        let mut sound = tokio::time::interval(SOUND_INTERVAL);
        loop {
            tokio::select! {
                () = &mut stopped => return Ok(()),
                Ok(()) = self.roster.changed() => {}
                Ok(()) = self.revocations.changed() => {}
                _ = sound.tick() => {
                    if !self.supernode.is_sound() {
                        bail!("a shard has stopped: see the log above");
                    }
                    continue;
                }
            }
            self.supernode.update_keys(credential_keys(&self.signing_keys, &self.roster, &self.revocations));
        }
    }

    async fn end(mut self, config: &Config) {
        tracing::info!("ending");
        self.readiness.set(false);
        let spread = Duration::from_secs(config.reconnect_spread_s.into());
        let supernode = self.supernode;
        let links = tokio::task::spawn_blocking(move || supernode.shut_down(RECONNECT_IN, spread));
        self.front.close(HTTP_GRACE).await;
        if links.await.is_err() {
            tracing::error!("the supernode did not end cleanly");
        }
        self.tasks.shutdown().await;
    }
}

/// Rates that no person and no test reaches.
fn generous() -> RateLimits {
    let rate = Rate { burst: 1_000_000, every: Duration::from_millis(1) };
    RateLimits {
        requests: rate,
        sign_ups: rate,
        sign_ins: rate,
        sign_ins_of_name_at_address: rate,
        sign_ins_of_name: rate,
    }
}

fn supernode_config(config: &Config, keys: &Keys, store: Store) -> SupernodeConfig {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let shards = config.shard_count(cores);
    SupernodeConfig {
        network: keys.network(),
        roster_key: keys.roster_key().clone(),
        number: 0,
        listen: config.listen.iter().copied().map(Into::into).collect(),
        shards: Some(shards),
        call_token_key: keys.call_token_key().clone(),
        reset_key: *keys.stateless_reset_key(),
        minimum_version: ahoy_proto::VERSION,
        shard_links_max: usize::try_from(config.sessions_max.div_ceil(shards.into())).unwrap_or(usize::MAX),
        key_log: false,
        store,
    }
}

fn unstarted(config: &Config, error: StartError) -> anyhow::Error {
    match (error, config.listen.first()) {
        (StartError::Listen(error), Some(&first)) => anyhow::Error::new(error).context(http::refusal(first, "UDP")),
        (error, _) => error.into(),
    }
}

/// The newest of what the authority has signed.
fn credential_keys(
    signing_keys: &[VerifyingKey],
    roster: &watch::Receiver<Arc<Signed<Roster>>>,
    revocations: &watch::Receiver<Arc<Signed<Revocations>>>,
) -> CredentialKeys {
    CredentialKeys {
        signing_keys: signing_keys.to_vec(),
        revocations: Arc::new(revocations.borrow().document.clone()),
        roster: Arc::new(roster.borrow().document.clone()),
        certificate: String::new(),
    }
}

/// Reads the certificate, if there is to be one, and follows it.
async fn certificate(config: &Config, tasks: &mut JoinSet<()>) -> anyhow::Result<Option<Certificate>> {
    let Some((certificate, key)) = config.certificate_files() else { return Ok(None) };
    let read = Certificate::read(certificate, key).await?;
    let (following, certificate, key) = (read.clone(), certificate.to_owned(), key.to_owned());
    tasks.spawn(async move { following.follow(&certificate, &key).await });
    Ok(Some(read))
}

fn serve_admin(
    tasks: &mut JoinSet<()>,
    listeners: Vec<std::net::TcpListener>,
    supernode: &Supernode,
    readiness: Readiness,
) -> anyhow::Result<()> {
    let mut registry = Registry::default();
    supernode.register(&mut registry);
    let router = admin::router(Arc::new(registry), readiness);
    for listener in listeners {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let router = router.clone();
        tasks.spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "metrics and health are no longer served");
            }
        });
    }
    Ok(())
}

fn announce(config: &Config, banner: Option<&Banner>) {
    for address in admin::exposed(&config.admin.listen) {
        tracing::warn!(%address, "metrics are open to whoever reaches this address");
    }
    match banner {
        Some(banner) => banner.print(),
        None => tracing::info!(listen = ?config.listen, admin = ?config.admin.listen, "listening"),
    }
}

/// As many open files as the system lets us have. QUIC needs none a session; the HTTP side needs one a connection.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays where it is");
    }
}

/// Where a client in this very process finds the authority.
fn own_url(config: &Config) -> String {
    match config.certificate_files() {
        Some(_) => format!("https://{}:{}", config.network_name(), port(config)),
        None => {
            let loopback = config.api_addresses().first().copied();
            format!("http://{}", loopback.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port(config)))))
        }
    }
}

fn port(config: &Config) -> u16 {
    config.listen.first().map_or(443, SocketAddr::port)
}
