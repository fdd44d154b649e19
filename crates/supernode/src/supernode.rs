//! Starting, steering and stopping the shards of a supernode.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use ahoy_core::{Exchange, ExchangeConfig, ShardId};
use ahoy_net::{ListenAddress, QuicShard, ServerTls, ShardConfig, listen};
use ahoy_proto::{NetworkId, SupernodeId, call_token::CallTokenKey, document::Revocations};
use ahoy_store::Store;
use ed25519_dalek::{SigningKey, VerifyingKey};
use prometheus_client::registry::Registry;

use crate::{
    inbox::{Inbox, Post, Reply},
    metrics::{Metrics, Published},
    shard::{self, Clock, Counters, Shard},
};

/// What a supernode is started with.
pub struct SupernodeConfig {
    /// The network that it serves.
    pub network: NetworkId,
    /// The key of its roster entry; makes its id and proves it in TLS.
    pub roster_key: SigningKey,
    /// Where to listen, in UDP.
    pub listen: Vec<ListenAddress>,
    /// Threads; one for each core when `None`, at most 256.
    pub shards: Option<u16>,
    /// The fleet's.
    pub call_token_key: CallTokenKey,
    /// Makes stateless resets. Must survive a restart, or clients find out about it by a timeout.
    pub reset_key: [u8; 32],
    /// The least protocol version served.
    pub minimum_version: u32,
    /// Links of one shard, at most; from then on new ones are refused. At 25 KB each, 100,000 are 2.5 GB.
    pub shard_links_max: usize,
    /// Writes the links' TLS secrets to the file that `SSLKEYLOGFILE` names. Never in production.
    pub key_log: bool,
    /// Answers what sessions ask.
    pub store: Store,
}

/// What credentials are checked against, and what clients are told of the roster.
#[derive(Debug, Clone)]
pub struct CredentialKeys {
    /// The authority's.
    pub signing_keys: Vec<VerifyingKey>,
    /// The newest list.
    pub revocations: Revocations,
    /// Of the newest roster.
    pub roster_serial: u64,
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
    published: Vec<Arc<Published>>,
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
        let tls = ServerTls::new(&config.roster_key, config.key_log)?;
        let sets = listen::bind(&config.listen, shards).map_err(StartError::Listen)?;
        let addresses: Result<Vec<_>, _> = sets[0].iter().map(std::net::UdpSocket::local_addr).collect();
        let mut quic = Vec::with_capacity(sets.len());
        for (shard, sockets) in (0..shards).zip(sets) {
            let config = ShardConfig { shard, shards, sockets, tls: tls.clone(), reset_key: config.reset_key };
            quic.push(QuicShard::new(config).map_err(StartError::Thread)?);
        }
        let (posts, inboxes): (Vec<_>, Vec<_>) = quic.iter().map(|shard| Inbox::new(shard.waker())).unzip();
        let mut supernode = Self {
            id,
            addresses: addresses.map_err(StartError::Listen)?,
            posts,
            published: (0..shards).map(|_| Arc::default()).collect(),
            threads: Vec::with_capacity(quic.len()),
        };
        for (number, (quic, inbox)) in (0..shards).zip(quic.into_iter().zip(inboxes)) {
            let mut exchange = Exchange::new(exchange_config(&config, id, ShardId(number), shards), rand::random());
            // Before the thread starts: clients that wait for a restart are here within milliseconds, and an exchange that
            // knows no keys would call their credentials forged.
            let CredentialKeys { signing_keys, revocations, roster_serial } = keys.clone();
            exchange.handle_keys(signing_keys, &revocations, roster_serial, clock());
            supernode.spawn(Shard {
                id: ShardId(number),
                quic,
                exchange,
                inbox,
                posts: supernode.posts.clone(),
                store: config.store.clone(),
                published: Arc::clone(&supernode.published[usize::from(number)]),
                counters: Counters::default(),
                clock: Arc::clone(&clock),
                wake: None,
                end: None,
            })?;
        }
        Ok(supernode)
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

    /// Whether all shards run. When one does not, a part of the clients is not served: the process should end.
    pub fn is_sound(&self) -> bool {
        self.threads.iter().all(|thread| !thread.is_finished())
    }

    /// Credentials are checked against these from now on; sessions that are revoked end.
    pub fn update_keys(&self, keys: CredentialKeys) {
        let CredentialKeys { signing_keys, revocations, roster_serial } = keys;
        let revocations = Arc::new(revocations);
        for post in &self.posts {
            let (signing_keys, revocations) = (signing_keys.clone(), Arc::clone(&revocations));
            post.reply(Reply::Keys { signing_keys, revocations, roster_serial });
        }
    }

    /// Asks all sessions to go elsewhere from `reconnect_in` on, spread over `spread`, and refuses new ones.
    pub fn drain(&self, reconnect_in: Duration, spread: Duration) {
        self.order(|| Reply::Drain { reconnect_in, spread });
    }

    /// Tells all sessions when to come back, closes them with SHUTTING_DOWN once they have heard it (within about a second), and
    /// waits for the shards to end.
    pub fn shut_down(mut self, reconnect_in: Duration, spread: Duration) {
        self.order(|| Reply::ShutDown { reconnect_in, spread });
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
        registry.register_collector(Box::new(Metrics { shards: self.published.clone(), posts: self.posts.clone() }));
    }

    fn order(&self, reply: impl Fn() -> Reply) {
        self.posts.iter().for_each(|post| post.reply(reply()));
    }
}

impl Drop for Supernode {
    fn drop(&mut self) {
        self.order(|| Reply::Stop);
        self.join();
    }
}

fn exchange_config(config: &SupernodeConfig, supernode: SupernodeId, shard: ShardId, shards: u16) -> ExchangeConfig {
    ExchangeConfig {
        network: config.network,
        supernode,
        shard,
        shards,
        call_token_key: config.call_token_key.clone(),
        minimum_version: config.minimum_version,
        links_max: config.shard_links_max,
        half_open_max: HALF_OPEN_MAX,
        calls_max: config.shard_links_max,
    }
}
