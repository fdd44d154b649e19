//! Leases in Valkey: one key a supernode, which expires. All keys of a network lie in one slot, so that one script can do all that
//! is done each second, on a cluster too: write the own lease, read everybody's.
//!
//! A channel says that something has changed, and nothing else; whoever hears it looks at the keys again. What is not heard is
//! seen within a second.
//!
//! There is one connection at a time, and one remedy: whatever goes wrong with it, it is made anew, which asks the sentinels or the
//! cluster again.

mod address;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ahoy_proto::{NetworkId, SupernodeId};
use redis::{RedisError, aio::MultiplexedConnection};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{ANSWER_MAX, LEASE, Lease, RENEW_EVERY, Seen, Wish, lease::LEASE_BYTES_MAX};

pub use address::{InvalidAddress, ValkeyConfig};

/// How long without an answer until the leases that were seen last count as stale: as long as any of them could have lasted.
const STALE: Duration = LEASE;

/// Least time between two looks, so that a fleet that changes all at once is looked at 20 times a second and not for each change.
const LOOK_GAP: Duration = Duration::from_millis(50);

/// First and last ceiling of the pause before another connection; doubled in between, and the pause is anything up to it. A fleet of
/// 300 comes back at 300 connections a second.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Least time between two lines of log about the same thing.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Writes the first key unless a later life has it, and gives back what all keys hold, cut to a length that no lease has.
/// Only what expires and is no longer than a lease can be a life in the way: else a stray value would shut its supernode out for ever.
/// `MGET` takes what is no text for nothing, where `GET` would fail. Incarnations are hexadecimal, so their order is that of
/// their text.
const BEAT: &str = "
local life, lease, lasts_ms, cut = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local held = redis.call('MGET', KEYS[1])[1]
if held and (#held >= cut or redis.call('PTTL', KEYS[1]) < 0) then held = false end
local later = held and string.match(held, '^%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x')
if not (later and later > life) then redis.call('SET', KEYS[1], lease, 'PX', lasts_ms) end
local leases = redis.call('MGET', unpack(KEYS))
for i = 1, #KEYS do leases[i] = leases[i] and string.sub(leases[i], 1, cut) end
return leases
";

/// Takes the key away if it holds the lease of this life.
const LEAVE: &str = "
local held = redis.call('MGET', KEYS[1])[1]
if held and string.sub(held, 1, 16) == ARGV[1] then redis.call('DEL', KEYS[1]) end
";

/// Why a connection was given up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no answer within {} s", ANSWER_MAX.as_secs())]
    Late,
    #[error("the sentinel knows of no primary called {0}")]
    NoPrimary(String),
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// What a life of a supernode needs to keep its lease.
struct Keeper<'a> {
    config: ValkeyConfig,
    place: Place,
    wish: watch::Receiver<Wish>,
    seen: &'a Seen,
    answered: &'a Notify,
    /// Which of the configured nodes is asked next.
    turn: usize,
    warned_of_later_life: Option<Instant>,
    warned_of_invalid: Option<Instant>,
}

/// Where a network's leases are.
struct Place {
    network: NetworkId,
}

/// One connection's time.
struct Visit {
    connection: MultiplexedConnection,
    /// Whom others have been told of: whether the own supernode drains.
    announced: Option<bool>,
    /// Those of before that have not been seen yet. A Valkey that has come back empty fills within a renewal and a pause, and
    /// nobody is to count as dead until then.
    unheard: BTreeMap<SupernodeId, Lease>,
    unheard_until: Instant,
}

/// Runs until the membership ends, one way or the other.
pub(crate) async fn keep(config: ValkeyConfig, network: NetworkId, wish: watch::Receiver<Wish>, seen: Seen) {
    let answered = Notify::new();
    let keeper = Keeper {
        config,
        place: Place { network },
        wish,
        seen: &seen,
        answered: &answered,
        turn: rand::random_range(0..usize::from(u16::MAX)),
        warned_of_later_life: None,
        warned_of_invalid: None,
    };
    tokio::select! {
        () = keeper.run() => {}
        () = watch_freshness(&seen, &answered) => {}
    }
}

/// Says so when there has been no answer for too long.
async fn watch_freshness(seen: &Seen, answered: &Notify) {
    loop {
        if timeout(STALE, answered.notified()).await.is_err() {
            seen.tell(seen.leases(), false);
            answered.notified().await;
        }
    }
}

impl Keeper<'_> {
    async fn run(mut self) {
        let mut failures = 0;
        loop {
            let Err(failure) = self.visit(&mut failures).await else { return };
            self.seen.counters.failures.inc();
            self.turn = self.turn.wrapping_add(1);
            match failures {
                0 => tracing::warn!(%failure, "the fabric is out of reach: going on with the members that are known"),
                _ => tracing::debug!(%failure, "the fabric is still out of reach"),
            }
            let ceiling = PAUSE_MIN.saturating_mul(1 << failures.min(8)).min(PAUSE_MAX);
            failures += 1;
            tokio::select! {
                () = sleep(ceiling.mul_f64(rand::random())) => {}
                _ = self.wish.wait_for(|wish| wish.leaving) => return,
            }
        }
    }

    /// Connects, and keeps the lease by that connection for as long as it lasts or is needed.
    async fn visit(&mut self, failures: &mut u32) -> Result<(), Failure> {
        let changed = Arc::new(Notify::new());
        let supernode = self.wish.borrow().lease.supernode;
        let connect = self.config.connect(self.turn, self.place.key(supernode), Arc::clone(&changed));
        let mut connection = in_time(connect).await?;
        in_time(async { Ok(connection.subscribe(self.place.channel()).await?) }).await?;
        let (unheard, unheard_until) = (self.seen.leases(), Instant::now() + LEASE);
        let mut visit = Visit { connection, announced: None, unheard, unheard_until };
        loop {
            let wish = self.wish.borrow_and_update().clone();
            if wish.leaving {
                return self.leave(&mut visit, &wish.lease).await;
            }
            let renew_at = Instant::now() + RENEW_EVERY;
            self.beat(&mut visit, &wish).await?;
            if std::mem::take(failures) > 0 {
                tracing::info!("the fabric answers again");
            }
            let looked = Instant::now();
            tokio::select! {
                () = sleep_until(renew_at) => {}
                () = changed.notified() => sleep_until(looked + LOOK_GAP).await,
                wished = self.wish.changed() => if wished.is_err() { return Ok(()) },
            }
        }
    }

    /// Renews the lease and looks at all others.
    async fn beat(&mut self, visit: &mut Visit, wish: &Wish) -> Result<(), Failure> {
        let Wish { lease, roster, .. } = wish;
        let order: Vec<SupernodeId> = order(lease.supernode, roster).collect();
        let keys: Vec<String> = order.iter().map(|supernode| self.place.key(*supernode)).collect();
        let mut pipe = redis::pipe();
        pipe.cmd("EVAL").arg(BEAT).arg(keys.len()).arg(keys);
        pipe.arg(lease.life()).arg(lease.encode()).arg(LEASE.as_millis() as u64).arg(LEASE_BYTES_MAX + 1);
        if visit.announced != Some(lease.draining) {
            pipe.cmd("PUBLISH").arg(self.place.channel()).arg("").ignore();
        }
        let asked = async { Ok(pipe.query_async(&mut visit.connection).await?) };
        let (held,): (Vec<Option<Vec<u8>>>,) = in_time(asked).await?;
        visit.announced = Some(lease.draining);
        let mut leases = BTreeMap::new();
        for (supernode, bytes) in order.into_iter().zip(held) {
            match bytes.map(|bytes| Lease::decode(supernode, &bytes)) {
                Some(Some(lease)) => _ = leases.insert(supernode, lease),
                Some(None) => self.drop_invalid(supernode),
                None => {}
            }
        }
        self.notice_later_life(lease, &leases);
        visit.unheard.retain(|supernode, _| !leases.contains_key(supernode) && roster.contains(supernode));
        if visit.unheard_until <= Instant::now() {
            visit.unheard.clear();
        }
        leases.extend(visit.unheard.iter().map(|(supernode, lease)| (*supernode, lease.clone())));
        self.seen.tell(leases, true);
        self.answered.notify_one();
        Ok(())
    }

    async fn leave(&self, visit: &mut Visit, lease: &Lease) -> Result<(), Failure> {
        let mut pipe = redis::pipe();
        pipe.cmd("EVAL").arg(LEAVE).arg(1).arg(self.place.key(lease.supernode)).arg(lease.life()).ignore();
        pipe.cmd("PUBLISH").arg(self.place.channel()).arg("").ignore();
        in_time(async { Ok(pipe.query_async(&mut visit.connection).await?) }).await
    }

    fn drop_invalid(&mut self, supernode: SupernodeId) {
        self.seen.counters.invalid.inc();
        if due(&mut self.warned_of_invalid) {
            tracing::warn!(?supernode, "what the fabric has in the place of a lease is none");
        }
    }

    /// Two processes with the same key: one of them is a copy, or has not noticed that its successor has started.
    fn notice_later_life(&mut self, own: &Lease, leases: &BTreeMap<SupernodeId, Lease>) {
        let later = leases.get(&own.supernode).is_some_and(|held| held.incarnation > own.incarnation);
        if later && due(&mut self.warned_of_later_life) {
            tracing::error!(
                "another process with this supernode's key has a later lease: only one of the two should run"
            );
        }
    }
}

impl Place {
    fn key(&self, supernode: SupernodeId) -> String {
        format!("ahoy:{{{}}}:lease:{}", self.network.to_hex(), supernode.to_hex())
    }

    fn channel(&self) -> String {
        format!("ahoy:{{{}}}:changed", self.network.to_hex())
    }
}

/// In which order keys are asked for: the own one, which is written, is the first.
fn order(own: SupernodeId, roster: &BTreeSet<SupernodeId>) -> impl Iterator<Item = SupernodeId> {
    std::iter::once(own).chain(roster.iter().copied().filter(move |supernode| *supernode != own))
}

async fn in_time<T>(asked: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(ANSWER_MAX, asked).await.unwrap_or(Err(Failure::Late))
}

/// Whether it is time to say it again.
fn due(last: &mut Option<Instant>) -> bool {
    let due = last.is_none_or(|last| last + WARN_EVERY <= Instant::now());
    if due {
        *last = Some(Instant::now());
    }
    due
}
