//! Everything started in the right order, and ended in the opposite one.
//!
//! A restart is part of a call: nothing here waits for anything slower than a disk before the port is open.

mod alone;
mod control;
mod fleet;
mod hosted;
mod machine;
mod port;
mod standing;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahoy_authority::{Authority, Rate, RateLimits};
use ahoy_net::Web;
use ahoy_proto::SupernodeId;
use ahoy_proto::control::{Reply, Request, State};
use ahoy_store::Store;
use ahoy_supernode::{CredentialKeys, StartError, Supernode, SupernodeConfig};
use anyhow::{Context as _, bail};
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::admin::{self, Readiness};
use crate::config::{Config, Role};
use crate::dev::Banner;
use crate::echo::Echo;
use crate::folder::{self, DataFolder};
use crate::http::{self, Front};
use crate::log;
use crate::signals::Stop;
use control::Asked;
pub(crate) use fleet::View;
use fleet::{Fleet, count};
use port::Port;
use standing::Standing;

/// When clients may start to come back after a clean end: a restart takes a fraction of it.
const RECONNECT_IN: Duration = Duration::from_secs(1);

/// What HTTP requests that are being answered may still take.
const HTTP_GRACE: Duration = Duration::from_secs(1);

/// Sessions that a drain asks to go in a second. To the others each is a sign-in and what a client asks for at its start, some 3 ms in all: a
/// third of one core.
const DRAIN_RATE: u32 = 100;

/// The longest that a drain without a deadline gives them: 100,000 then go at 170 a second.
const DRAIN_MAX: Duration = Duration::from_secs(600);

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
    asked: mpsc::Receiver<Asked>,
    /// What runs beside and ends with us: renewals, retention, certificates, metrics, the echo account.
    tasks: JoinSet<()>,
}

/// The supernode of this process.
struct Running {
    supernode: Supernode,
    fleet: Fleet,
    view: View,
    id: SupernodeId,
    keys: watch::Receiver<CredentialKeys>,
    /// How long its clients have to come back, or to go elsewhere.
    spread: Duration,
    draining: Option<Draining>,
    /// Whether the authority is elsewhere.
    alone: bool,
}

/// The operator wants it empty.
#[derive(Debug, Clone, Copy)]
struct Draining {
    /// When all sessions have been asked to be gone.
    empty: Instant,
    /// When the process ends, whoever is still there; `None`: it stays.
    ends: Option<Instant>,
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
        let (hashes, published) = watch::channel(Vec::new());
        let (authority, standing) = if config.is(Role::Authority) {
            // On loopback everybody shares one address, and tests sign up many people.
            let rate_limits = if banner.is_some() { generous() } else { RateLimits::default() };
            let (authority, own) =
                hosted::start(config, folder, store.clone(), rate_limits, published, &mut tasks).await?;
            (Some(authority), own)
        } else {
            (None, Some(alone::start(config, folder, store.clone(), &mut tasks).await?))
        };
        let port = Port::bind(config, folder, hashes, &mut tasks).await?;
        let admin = http::bind(&config.admin.listen).context("`admin.listen`")?;
        let supernode = standing.map(|standing| Running::start(config, standing, store, port.web())).transpose()?;
        let front = port.open(authority.as_ref(), supernode.as_ref().map(|running| running.supernode.sockets()))?;
        let readiness = Readiness::default();
        serve_admin(&mut tasks, admin, supernode.as_ref(), readiness.clone())?;
        let asked = control::open(folder, &mut tasks)?;
        announce(config, banner);
        match authority {
            Some(authority) => run_authority(config, folder, authority, &readiness, &mut tasks),
            None => readiness.set_up(),
        }
        Ok(Self { stop: Some(stop), supernode, front, readiness, asked, tasks })
    }

    /// Hands on what changes until told to stop.
    async fn serve(&mut self) -> anyhow::Result<()> {
        let Some(stop) = self.stop.take() else { return Ok(()) };
        let mut stopped = std::pin::pin!(stop.asked());
        let Some(running) = &mut self.supernode else {
            loop {
                tokio::select! {
                    () = &mut stopped => return Ok(()),
                    Some(asked) = self.asked.recv() => asked.reply(no_supernode()),
                }
            }
        };
        let mut sound = tokio::time::interval(SOUND_INTERVAL);
        loop {
            tokio::select! {
                () = &mut stopped => return Ok(()),
                Ok(()) = running.keys.changed() => running.take_keys()?,
                () = running.fleet.changed() => running.fleet.update(&running.supernode),
                Some(asked) = self.asked.recv() => running.answer(asked, &self.readiness),
                due = sound.tick() => {
                    running.fleet.tell_figures(&running.supernode, due.elapsed());
                    if !running.supernode.is_sound() {
                        bail!("a shard has stopped: see the log above");
                    }
                    if running.has_drained() {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn end(mut self, config: &Config) {
        tracing::info!("ending");
        self.readiness.set_closed(true);
        let spread = Duration::from_secs(config.reconnect_spread_s.into());
        let (supernode, fleet) = self.supernode.map(|running| (running.supernode, running.fleet)).unzip();
        if let Some(fleet) = &fleet {
            fleet.set_draining(true);
        }
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
        // Not before: who has no lease does not drain.
        if let Some(fleet) = fleet {
            fleet.leave().await;
        }
        self.tasks.shutdown().await;
    }
}

impl Running {
    fn start(config: &Config, standing: Standing, store: Store, web: Option<Web>) -> anyhow::Result<Self> {
        let (id, keys) = (standing.id(), standing.keys.clone());
        let (newest, network) = (keys.borrow().clone(), standing.network);
        let roster = Arc::clone(&newest.roster);
        let started = Supernode::start(supernode_config(config, standing, store, web), newest);
        let supernode = started.map_err(|error| unstarted(config, error))?;
        let fleet = Fleet::join(config, network, id, &roster)?;
        let spread = Duration::from_secs(config.reconnect_spread_s.into());
        let view = fleet.view(config.network_name(), id, &keys);
        let alone = !config.is(Role::Authority);
        Ok(Self { supernode, fleet, view, id, keys, spread, draining: None, alone })
    }

    /// Does what the operator asks.
    fn answer(&mut self, asked: Asked, readiness: &Readiness) {
        match asked.request {
            Request::Drain { end_within_s } => {
                let now = Instant::now();
                let end = |seconds: u32| now + Duration::from_secs(seconds.into());
                let spread = drain_spread(self.spread, count(self.supernode.figures().sessions), end_within_s);
                let asked = self.draining.map(|draining| draining.empty);
                if asked.is_none() {
                    tracing::info!(end_within_s, "draining: the operator has asked for it");
                    self.fleet.set_draining(true);
                }
                // Of several that a client is told, the soonest counts.
                if asked.is_none_or(|empty| now + spread < empty) {
                    self.supernode.drain(Duration::ZERO, spread);
                }
                let empty = asked.unwrap_or(now + spread).min(now + spread);
                self.draining = Some(Draining { empty, ends: end_within_s.map(end) });
                readiness.set_closed(true);
            }
            Request::Undrain => {
                if self.draining.take().is_some() {
                    tracing::info!("the drain is called off");
                    self.supernode.undrain();
                    self.fleet.set_draining(false);
                    readiness.set_closed(false);
                }
            }
            Request::Fleet => return asked.reply(Reply::Fleet(self.view.told())),
            Request::State => {}
        }
        let reply = Reply::State(self.state());
        asked.reply(reply);
    }

    fn state(&self) -> State {
        let figures = self.supernode.figures();
        let left = |ends: Instant| ends.saturating_duration_since(Instant::now()).as_secs();
        State {
            draining: self.draining.is_some(),
            ends_in_s: self.draining.and_then(|draining| draining.ends).map(left),
            sessions: count(figures.sessions),
            calls: count(figures.calls),
            supernodes: count(figures.supernodes),
        }
    }

    /// Whether the process is to end: nobody is left, or the time is over.
    fn has_drained(&self) -> bool {
        let Some(Draining { ends: Some(ends), .. }) = self.draining else { return false };
        let figures = self.supernode.figures();
        (figures.sessions == 0 && figures.calls == 0) || ends <= Instant::now()
    }

    /// Hands on the newest lists. A supernode alone that is in them no more ends: it has no clients to expect.
    fn take_keys(&mut self) -> anyhow::Result<()> {
        let keys = self.keys.borrow_and_update().clone();
        let listed = standing::lists(&keys, self.id);
        self.fleet.set_roster(&keys.roster);
        self.supernode.update_keys(keys);
        match (listed, self.alone) {
            (true, _) => Ok(()),
            (false, true) => bail!("the operator has revoked this supernode"),
            (false, false) => {
                tracing::error!("the operator has revoked the supernode of this very process: clients leave it");
                Ok(())
            }
        }
    }
}

/// How long the sessions of a supernode that drains are given to go elsewhere: as many a second as the others hardly notice, but by half of
/// the time at the latest, so that stragglers have the other half. `least`: as configured.
fn drain_spread(least: Duration, sessions: u32, end_within_s: Option<u32>) -> Duration {
    let unhurried = Duration::from_secs((sessions / DRAIN_RATE).into());
    let most = end_within_s.map_or(DRAIN_MAX, |seconds| Duration::from_secs(seconds.into()) / 2);
    least.max(unhurried.min(most))
}

/// What a daemon without a supernode replies.
fn no_supernode() -> Reply {
    Reply::Refused { why: "this daemon is an authority alone: ask where a supernode runs".to_owned() }
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
        None => ready.set_up(),
        Some(echo) => _ = tasks.spawn(echo.run(move || ready.set_up())),
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

fn supernode_config(config: &Config, standing: Standing, store: Store, web: Option<Web>) -> SupernodeConfig {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let shards = config.shard_count(cores);
    SupernodeConfig {
        network: standing.network,
        roster_key: standing.roster_key,
        number: standing.number,
        listen: config.listen.iter().copied().map(Into::into).collect(),
        web,
        shards: Some(shards),
        call_token_key: standing.call_token_key,
        reset_key: standing.stateless_reset_key,
        minimum_version: ahoy_proto::VERSION,
        shard_sessions_max: usize::try_from(config.sessions_max.div_ceil(shards.into())).unwrap_or(usize::MAX),
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
    supernode: Option<&Running>,
    readiness: Readiness,
) -> anyhow::Result<()> {
    let mut registry = Registry::default();
    if let Some(running) = supernode {
        running.supernode.register(&mut registry);
        running.fleet.register(&mut registry);
    }
    let view = supernode.map(|running| running.view.clone());
    let router = admin::router(Arc::new(registry), readiness, view);
    for listener in listeners {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let router = router.clone();
        tasks.spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "metrics, health and the page of the fleet are no longer served");
            }
        });
    }
    Ok(())
}

fn announce(config: &Config, banner: Option<&Banner>) {
    for address in admin::exposed(&config.admin.listen) {
        tracing::warn!(%address, "metrics and the page of the fleet are open to whoever reaches this address");
    }
    for line in config.in_the_clear() {
        tracing::warn!("{line}");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_hurries_nobody_more_than_its_deadline_wants() {
        let least = Duration::from_secs(5);
        let spread = |sessions, end_within_s| drain_spread(least, sessions, end_within_s).as_secs();
        assert_eq!(spread(20, Some(60)), 5, "as configured");
        assert_eq!(spread(1_000, Some(60)), 10);
        assert_eq!(spread(100_000, Some(60)), 30, "half of the time");
        assert_eq!(spread(100_000, None), 600);
        assert_eq!(spread(1_000, Some(4)), 5);
    }
}
