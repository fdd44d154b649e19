//! Everything started in the right order, and ended in the opposite one.
//!
//! A restart is part of a call: nothing here waits for anything slower than a disk before the port is open.

mod alone;
mod hosted;
mod standing;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ahoy_authority::{Authority, Rate, RateLimits};
use ahoy_proto::SupernodeId;
use ahoy_store::Store;
use ahoy_supernode::{CredentialKeys, StartError, Supernode, SupernodeConfig};
use anyhow::{Context as _, bail};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin::{self, Readiness};
use crate::config::{Config, Role};
use crate::dev::Banner;
use crate::echo::Echo;
use crate::folder::{self, DataFolder};
use crate::http::{self, Front};
use crate::log;
use crate::signals::Stop;
use hosted::Hosted;
use standing::Standing;

/// When clients may start to come back after a clean end: a restart takes a fraction of it.
const RECONNECT_IN: Duration = Duration::from_secs(1);

/// What HTTP requests that are being answered may still take.
const HTTP_GRACE: Duration = Duration::from_secs(1);

/// How often the shards are looked after.
const SOUND_INTERVAL: Duration = Duration::from_secs(1);

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
    let store = crate::store::open(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let mut parts = Parts::start(config, &folder, store.clone(), banner).await?;
        let result = parts.serve().await;
        parts.end(config).await;
        result
    });
    // Requests that outlived their grace end with the runtime; the store's last handle writes what was promised.
    runtime.shutdown_timeout(HTTP_GRACE);
    drop(store);
    result
}

/// All that runs.
struct Parts {
    stop: Option<Stop>,
    supernode: Option<Running>,
    front: Option<Front>,
    readiness: Readiness,
    /// What runs beside and ends with us: renewals, retention, certificates, metrics, the echo account.
    tasks: JoinSet<()>,
}

/// The supernode of this process.
struct Running {
    supernode: Supernode,
    id: SupernodeId,
    keys: watch::Receiver<CredentialKeys>,
}

impl Parts {
    async fn start(
        config: &Config,
        folder: &DataFolder,
        store: Store,
        banner: Option<&Banner>,
    ) -> anyhow::Result<Self> {
        let stop = Stop::new()?;
        let mut tasks = JoinSet::new();
        let (hosted, standing) = if config.is(Role::Authority) {
            // On loopback everybody shares one address, and tests sign up many people.
            let rate_limits = if banner.is_some() { generous() } else { RateLimits::default() };
            let (hosted, own) = Hosted::start(config, folder, store.clone(), rate_limits, &mut tasks).await?;
            (Some(hosted), own)
        } else {
            (None, Some(alone::start(config, folder, store.clone(), &mut tasks).await?))
        };
        let admin = http::bind(&config.admin.listen).context("`admin.listen`")?;
        let supernode = standing.map(|standing| Running::start(config, standing, store)).transpose()?;
        let (front, authority) = hosted.map(Hosted::open).transpose()?.unzip();
        let readiness = Readiness::default();
        let supernode_metrics = supernode.as_ref().map(|running| &running.supernode);
        serve_admin(&mut tasks, admin, supernode_metrics, readiness.clone())?;
        announce(config, banner);
        match authority {
            Some(authority) => run_authority(config, folder, authority, &readiness, &mut tasks),
            None => readiness.set(true),
        }
        Ok(Self { stop: Some(stop), supernode, front, readiness, tasks })
    }

    /// Hands on what changes until told to stop.
    async fn serve(&mut self) -> anyhow::Result<()> {
        let Some(stop) = self.stop.take() else { return Ok(()) };
        let mut stopped = std::pin::pin!(stop.asked());
        let Some(running) = &mut self.supernode else {
            stopped.await;
            return Ok(());
        };
        let alone = self.front.is_none();
        let mut sound = tokio::time::interval(SOUND_INTERVAL);
        loop {
            tokio::select! {
                () = &mut stopped => return Ok(()),
                Ok(()) = running.keys.changed() => running.take_keys(alone)?,
                _ = sound.tick() => {
                    if !running.supernode.is_sound() {
                        bail!("a shard has stopped: see the log above");
                    }
                }
            }
        }
    }

    async fn end(mut self, config: &Config) {
        tracing::info!("ending");
        self.readiness.set(false);
        let spread = Duration::from_secs(config.reconnect_spread_s.into());
        let supernode = self.supernode.map(|running| running.supernode);
        let links = tokio::task::spawn_blocking(move || {
            if let Some(supernode) = supernode {
                supernode.shut_down(RECONNECT_IN, spread);
            }
        });
        if let Some(front) = self.front {
            front.close(HTTP_GRACE).await;
        }
        if links.await.is_err() {
            tracing::error!("the supernode did not end cleanly");
        }
        self.tasks.shutdown().await;
    }
}

impl Running {
    fn start(config: &Config, standing: Standing, store: Store) -> anyhow::Result<Self> {
        let (id, keys) = (standing.id(), standing.keys.clone());
        let newest = keys.borrow().clone();
        let started = Supernode::start(supernode_config(config, standing, store), newest);
        Ok(Self { supernode: started.map_err(|error| unstarted(config, error))?, id, keys })
    }

    /// Hands on the newest lists. A supernode alone that is in them no more ends: it has no clients to expect.
    fn take_keys(&mut self, alone: bool) -> anyhow::Result<()> {
        let keys = self.keys.borrow_and_update().clone();
        let listed = standing::lists(&keys, self.id);
        self.supernode.update_keys(keys);
        match (listed, alone) {
            (true, _) => Ok(()),
            (false, true) => bail!("the operator has revoked this supernode"),
            (false, false) => {
                tracing::error!("the operator has revoked the supernode of this very process: clients leave it");
                Ok(())
            }
        }
    }
}

/// What the authority does beside answering, and the echo account, which settles whether we are ready.
fn run_authority(
    config: &Config,
    folder: &DataFolder,
    authority: Authority,
    readiness: &Readiness,
    tasks: &mut JoinSet<()>,
) {
    let ready = readiness.clone();
    match Echo::of(config, own_url(config), folder, &authority) {
        None => ready.set(true),
        Some(echo) => _ = tasks.spawn(echo.run(move || ready.set(true))),
    }
    tasks.spawn(async move { authority.run().await });
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
        supernodes: rate,
    }
}

fn supernode_config(config: &Config, standing: Standing, store: Store) -> SupernodeConfig {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let shards = config.shard_count(cores);
    SupernodeConfig {
        network: standing.network,
        roster_key: standing.roster_key,
        number: standing.number,
        listen: config.listen.iter().copied().map(Into::into).collect(),
        shards: Some(shards),
        call_token_key: standing.call_token_key,
        reset_key: standing.stateless_reset_key,
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

fn serve_admin(
    tasks: &mut JoinSet<()>,
    listeners: Vec<std::net::TcpListener>,
    supernode: Option<&Supernode>,
    readiness: Readiness,
) -> anyhow::Result<()> {
    let mut registry = Registry::default();
    if let Some(supernode) = supernode {
        supernode.register(&mut registry);
    }
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

/// Where the authority of this configuration is found: by clients in this very process, and by further supernodes.
pub(crate) fn own_url(config: &Config) -> String {
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
