//! What a seed stands for: how many people, what weather, which fault.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

/// A world in figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Everything random comes from it.
    pub seed: u64,
    /// Supernodes of the fleet.
    pub supernodes: u16,
    /// Shards of each.
    pub shards: u16,
    /// Accounts; the first has two devices, the others one each.
    pub people: usize,
    /// Chance that a datagram is lost, and that a message of a stream needs another round trip.
    pub loss: f64,
    /// Least one-way delay.
    pub delay: Duration,
    /// Mean of what comes on top of it, exponentially spread.
    pub jitter: Duration,
    /// Whether all supernodes stand at one place, so that sessions are sent from one to another.
    pub near: bool,
    /// The longest that a message between supernodes takes.
    pub trunk: Duration,
    /// The longest that the store takes over a question.
    pub store: Duration,
    /// How long people call each other in bad weather.
    pub storm: Duration,
    /// Mean time from one accident to the next: a dead link, a crash, a store that fails.
    pub accidents: Duration,
    /// Whether people stop being contacts, block each other and make up.
    pub quarrels: bool,
    /// A mistake planted to show that a checker finds it.
    pub fault: Option<Fault>,
}

/// A mistake that a supernode or its shell could make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The relay forgets to check that a flow belongs to the link which sends on it.
    FlowOwnership,
    /// Links that the exchange replaces are not closed.
    KeepReplaced,
    /// The end of a call is not told to one in three.
    SwallowCallEnded,
    /// Timers fire a millisecond early.
    EarlyTimers,
    /// The exchange does not hear of lost links.
    ForgetLostLinks,
    /// A restart loses what the store had answered for.
    StoreForgets,
    /// A returned leg is not connected again.
    SwallowLegUp,
    /// The store appends a message again that stands in the log.
    AppendTwice,
    /// The store forgets one in eight of the messages that it has answered for.
    ForgetMessages,
    /// One in three changes of presence is not told.
    SwallowPresence,
}

impl Plan {
    /// The world of a seed.
    pub fn of_seed(seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        Self {
            seed,
            supernodes: [1, 1, 2, 3][rng.random_range(0..4)],
            shards: rng.random_range(1..=3),
            people: rng.random_range(2..=4),
            loss: [0.0, 0.02, 0.1, 0.2][rng.random_range(0..4)],
            delay: Duration::from_millis(rng.random_range(1..80)),
            jitter: Duration::from_millis(rng.random_range(1..30)),
            near: rng.random(),
            trunk: Duration::from_millis([2, 30, 300][rng.random_range(0..3)]),
            store: Duration::from_millis([20, 300][rng.random_range(0..2)]),
            storm: Duration::from_secs(90),
            accidents: Duration::from_millis(rng.random_range(2_000..15_000)),
            quarrels: rng.random_bool(0.3),
            fault: None,
        }
    }

    /// The same with a planted mistake.
    #[must_use]
    pub fn with(self, fault: Fault) -> Self {
        Self { fault: Some(fault), ..self }
    }
}
