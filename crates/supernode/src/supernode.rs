//! Starting, steering and stopping the shards of a supernode.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use ahoy_core::{Exchange, ExchangeConfig, Fleet, Lists, Now, ShardId};
use ahoy_net::{ListenAddress, QuicShard, ServerTls, ShardConfig, Web, listen};
use ahoy_proto::{
    NetworkId, SupernodeId,
    call_token::CallTokenKey,
    document::{Revocations, Roster},
};
use ahoy_store::Store;
use ed25519_dalek::{SigningKey, VerifyingKey};
use prometheus_client::registry::Registry;

use crate::{
    inbox::{Inbox, Post, Reply},
    metrics::{Metrics, Published},
    shard::{self, Clock, Counters, Shard},
    sockets::{SocketAcceptor, Sockets},
    trunks::{Identity, Trunks},
    view::{self, Event, Member, Routes, Steering},
};

/// What a supernode is started with.
pub struct SupernodeConfig {
    /// The network that it serves.
    pub network: NetworkId,
    /// The key of its roster entry; makes its id and proves it in TLS.
    pub roster_key: SigningKey,
    /// The number in its certificate.
    pub number: u32,
    /// Where to listen, in UDP.
    pub listen: Vec<ListenAddress>,
    /// The way in for browsers by WebTransport, if there is to be one.
    pub web: Option<Web>,
    /// Threads; one for each core when `None`, at most 256.
    pub shards: Option<u16>,
    /// The fleet's.
    pub call_token_key: CallTokenKey,
    /// Makes stateless resets. Must survive a restart, or clients find out about it by a timeout.
    pub reset_key: [u8; 32],
    /// The least protocol version served.
    pub minimum_version: u32,
    /// Sessions of one shard; from then on new ones are refused, but for an eighth more of devices in a call. At 25 KB each, 100,000
    /// are 2.5 GB.
    pub shard_sessions_max: usize,
    /// Writes the links' TLS secrets to the file that `SSLKEYLOGFILE` names. Never in production.
    pub key_log: bool,
    /// Answers what sessions ask.
    pub store: Store,
}

/// What credentials and other supernodes are checked against, and what this one is by the authority's word.
#[derive(Debug, Clone)]
pub struct CredentialKeys {
    /// The authority's.
    pub signing_keys: Vec<VerifyingKey>,
    /// The newest list.
    pub revocations: Arc<Revocations>,
    /// The newest roster.
    pub roster: Arc<Roster>,
    /// This supernode's newest certificate, a compact JWS.
    pub certificate: String,
}

impl From<CredentialKeys> for Lists {
    fn from(keys: CredentialKeys) -> Self {
        let CredentialKeys { signing_keys, revocations, roster, certificate } = keys;
        Self { signing_keys, revocations, roster, certificate }
    }
}

impl std::fmt::Debug for SupernodeConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { listen, shards, .. } = self;
        f.debug_struct("SupernodeConfig").field("listen", listen).field("shards", shards).finish_non_exhaustive()
    }
}

/// Links of one shard that have not proven themselves, at most. Each holds at most 4 KiB of a message and
/// [`ahoy_net::limits::RECEIVE_WINDOW`] of a stream with gaps, for 10 s: 148 MB. An honest one takes a round trip.
/// [`ahoy_net::limits::UNPROVEN_TRUNKS_MAX`] of them may hold a trunk's window instead: 64 MiB more.
const HALF_OPEN_MAX: usize = 4_096;

/// How long a supernode of a fleet that ends waits for its calls to go on elsewhere: a request, a response and a message between
/// supernodes each way, on ways across the world.
const HANDOVER_MAX: Duration = Duration::from_secs(1);

/// How often it looks meanwhile.
const HANDOVER_LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a supernode holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Signed-in links.
    pub sessions: usize,
    /// Calls that are at home here.
    pub calls: usize,
    /// Legs of any call whose links are here.
    pub legs: usize,
    /// Supernodes in the view, this one included.
    pub supernodes: usize,
}

/// Why a supernode does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// More shards than connection ids can name, or none.
    #[error("a supernode has 1 to 256 shards")]
    Shards,
    /// An address can't be bound.
    #[error("cannot listen: {0}")]
    Listen(#[source] io::Error),
    /// No TLS configuration from the roster key.
    #[error(transparent)]
    Tls(#[from] ahoy_net::tls::TlsError),
    /// No thread, or no way to wait for its sockets.
    #[error("cannot start a shard: {0}")]
    Thread(#[source] io::Error),
}

/// A running supernode. Dropping it stops it without a word to its clients; [`Supernode::shut_down`] is the polite way.
#[derive(Debug)]
pub struct Supernode {
    id: SupernodeId,
    addresses: Vec<SocketAddr>,
    posts: Vec<Post>,
    acceptor: SocketAcceptor,
    published: Vec<Arc<Published>>,
    /// Who tells the view.
    view: mpsc::Sender<Event>,
    view_size: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Supernode {
    /// Binds the sockets and starts one thread a shard. The first packet is answered with these keys.
    ///
    /// # Errors
    /// When an address is taken or a thread can't be started.
    pub fn start(config: SupernodeConfig, keys: CredentialKeys) -> Result<Self, StartError> {
        Self::start_with_clock(config, keys, Arc::new(shard::moment))
    }

    pub(crate) fn start_with_clock(
        config: SupernodeConfig,
        keys: CredentialKeys,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let cores = || thread::available_parallelism().map_or(1, |cores| u16::try_from(cores.get()).unwrap_or(256));
        let shards = config.shards.unwrap_or_else(|| cores().min(256));
        if !(1..=256).contains(&shards) {
            return Err(StartError::Shards);
        }
        let id = SupernodeId::of_roster_key(config.roster_key.verifying_key().as_bytes());
        let tls = ServerTls::new(&config.roster_key, config.web.clone(), config.key_log)?;
        let sets = listen::bind(&config.listen, shards).map_err(StartError::Listen)?;
        let addresses: Result<Vec<_>, _> = sets[0].iter().map(std::net::UdpSocket::local_addr).collect();
        let mut quic = Vec::with_capacity(sets.len());
        for (shard, sockets) in (0..shards).zip(sets) {
            let config = ShardConfig { shard, shards, sockets, tls: tls.clone(), reset_key: config.reset_key };
            quic.push(QuicShard::new(config).map_err(StartError::Thread)?);
        }
        let (posts, inboxes): (Vec<_>, Vec<_>) = quic.iter().map(|shard| Inbox::new(shard.waker())).unzip();
        let (view, heard) = mpsc::channel();
        let mut supernode = Self {
            id,
            addresses: addresses.map_err(StartError::Listen)?,
            acceptor: SocketAcceptor::new(posts.clone()),
            posts,
            published: (0..shards).map(|_| Arc::default()).collect(),
            view,
            view_size: Arc::new(AtomicUsize::new(1)),
            threads: Vec::with_capacity(quic.len() + 1),
        };
        let started = clock();
        let identity = Arc::new(Identity {
            network: config.network,
            supernode: id,
            incarnation: incarnation(started),
            shards,
            roster_key: config.roster_key.clone(),
        });
        let lists = Lists::from(keys.clone());
        for (number, (quic, inbox)) in (0..shards).zip(quic.into_iter().zip(inboxes)) {
            let mut exchange =
                Exchange::new(exchange_config(&config, id, ShardId(number), shards, started), rand::random());
            // Before the thread starts: clients that wait for a restart are here within milliseconds, and an exchange that
            // knows no keys would call their credentials forged.
            exchange.handle_lists(lists.clone(), clock());
            supernode.spawn(Shard {
                id: ShardId(number),
                quic,
                exchange,
                inbox,
                sockets: Sockets::default(),
                trunks: Trunks::new(ShardId(number), Arc::clone(&identity), &lists, supernode.view.clone()),
                fleet: Arc::new(Fleet::alone(id, identity.incarnation, shards)),
                routes: Arc::new(Routes::new()),
                posts: supernode.posts.clone(),
                store: config.store.clone(),
                published: Arc::clone(&supernode.published[usize::from(number)]),
                counters: Counters::default(),
                clock: Arc::clone(&clock),
                wake: None,
                end: None,
            })?;
        }
        supernode.spawn_view(identity.incarnation, shards, keys, heard)?;
        Ok(supernode)
    }

    fn spawn_view(
        &mut self,
        incarnation: u64,
        shards: u16,
        keys: CredentialKeys,
        heard: mpsc::Receiver<Event>,
    ) -> Result<(), StartError> {
        let steering = Steering {
            supernode: self.id,
            incarnation,
            shards,
            roster: keys.roster,
            posts: self.posts.clone(),
            size: Arc::clone(&self.view_size),
            events: self.view.clone(),
            heard,
        };
        let run = move || view::run(&steering);
        let thread = thread::Builder::new().name("view".to_owned()).spawn(run).map_err(StartError::Thread)?;
        self.threads.push(thread);
        Ok(())
    }

    fn spawn(&mut self, shard: Shard) -> Result<(), StartError> {
        let number = shard.id.0;
        let run = move || {
            if let Err(error) = shard.run() {
                tracing::error!(shard = number, %error, "a shard has stopped");
            }
        };
        let thread = thread::Builder::new().name(format!("shard-{number}")).spawn(run).map_err(StartError::Thread)?;
        self.threads.push(thread);
        Ok(())
    }

    /// Its id, as the roster has it.
    pub fn id(&self) -> SupernodeId {
        self.id
    }

    /// Where it listens, in the order of the configuration, with the ports that the kernel chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Takes links that come by WebSocket.
    pub fn sockets(&self) -> SocketAcceptor {
        self.acceptor.clone()
    }

    /// Whether all shards run. When one does not, a part of the clients is not served: the process should end.
    pub fn is_sound(&self) -> bool {
        self.threads.iter().all(|thread| !thread.is_finished())
    }

    /// Credentials and supernodes are checked against these from now on: sessions that are revoked end, and so do trunks to
    /// supernodes that are no more listed.
    pub fn update_keys(&self, keys: CredentialKeys) {
        self.order(|| Reply::Lists(keys.clone().into()));
        self.tell_view(Event::Roster(keys.roster));
    }

    /// Which supernodes have a lease. `stale`: leases can't be asked for now, and these are the last that were seen.
    pub fn update_members(&self, members: Vec<Member>, stale: bool) {
        self.tell_view(Event::Members { members, stale });
    }

    /// What it holds now.
    pub fn figures(&self) -> Figures {
        let supernodes = self.view_size.load(Ordering::Relaxed);
        let mut figures = Figures { sessions: 0, calls: 0, legs: 0, supernodes };
        for gauges in self.published.iter().map(|shard| shard.gauges()) {
            figures.sessions += gauges.sessions;
            figures.calls += gauges.calls;
            figures.legs += gauges.flows;
        }
        figures
    }

    /// Is home of nothing from now on, asks all sessions to go elsewhere from `reconnect_in` on, spread over `spread`, and refuses
    /// new ones. The others of a fleet learn of it from its lease.
    pub fn drain(&self, reconnect_in: Duration, spread: Duration) {
        self.tell_view(Event::Draining(true));
        self.order(|| Reply::Drain { reconnect_in, spread });
    }

    /// Takes new sessions again, and is home of its share. Sessions that were asked to go may still go.
    pub fn undrain(&self) {
        self.tell_view(Event::Draining(false));
        self.order(|| Reply::Undrain);
    }

    /// Tells all sessions when to come back, closes them with SHUTTING_DOWN once they have heard it (within about a second), and
    /// waits for the shards to end. In a fleet its calls first find another home, which takes a second at most.
    pub fn shut_down(mut self, reconnect_in: Duration, spread: Duration) {
        if self.figures().supernodes > 1 {
            self.drain(reconnect_in, spread);
            let until = Instant::now() + HANDOVER_MAX;
            while self.figures().calls > 0 && Instant::now() < until {
                thread::sleep(HANDOVER_LOOK_EVERY);
            }
        }
        self.order(|| Reply::ShutDown { reconnect_in, spread });
        self.tell_view(Event::Stop);
        self.join();
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a shard's thread panicked");
            }
        }
    }

    /// Adds everything that the shards count to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(Metrics {
            shards: self.published.clone(),
            posts: self.posts.clone(),
            view_size: Arc::clone(&self.view_size),
        }));
    }

    /// The view's thread ends with the supernode only.
    fn tell_view(&self, event: Event) {
        let _ = self.view.send(event);
    }

    fn order(&self, reply: impl Fn() -> Reply) {
        self.posts.iter().for_each(|post| post.reply(reply()));
    }
}

impl Drop for Supernode {
    fn drop(&mut self) {
        self.order(|| Reply::Stop);
        self.tell_view(Event::Stop);
        self.join();
    }
}

/// A life that begins later has a higher one, as long as the clock does not go back.
fn incarnation(started: Now) -> u64 {
    started.unix_ms
}

fn exchange_config(
    config: &SupernodeConfig,
    supernode: SupernodeId,
    shard: ShardId,
    shards: u16,
    started: Now,
) -> ExchangeConfig {
    ExchangeConfig {
        network: config.network,
        supernode,
        number: config.number,
        incarnation: incarnation(started),
        started,
        shard,
        shards,
        call_token_key: config.call_token_key.clone(),
        minimum_version: config.minimum_version,
        sessions_max: config.shard_sessions_max,
        half_open_max: HALF_OPEN_MAX,
        calls_max: config.shard_sessions_max,
    }
}
