//! What is going to happen, in the order of virtual time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ahoy_core::testing::origin;
use ahoy_core::{Answer, LinkId, Now, QueryId, Question, ShardId, StoreError};
use bytes::Bytes;

/// Wall time at the start of every world, in milliseconds since the Unix epoch.
pub(crate) const START_MS: u64 = 1_800_000_000_000;

/// One thing that will happen. Whatever belongs to a life of a process names it, and is void in the next one.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A device dials.
    Dial {
        device: usize,
        life: u64,
    },
    /// A link has come up at its shard.
    LinkUp(LinkId),
    ToShard(LinkId, Bytes),
    ToDevice(LinkId, Bytes),
    VoiceToShard(LinkId, Vec<u8>),
    VoiceToDevice(LinkId, Vec<u8>),
    /// The supernode's close arrives.
    Closed(LinkId),
    ShardLosesLink(LinkId),
    DeviceLosesLink(LinkId),
    /// The oldest message from one shard to another arrives.
    Trunk {
        life: u64,
        from: ShardId,
        to: ShardId,
    },
    /// A question gets to the store.
    Store {
        life: u64,
        shard: ShardId,
        query: QueryId,
        question: Question,
        answered: Instant,
    },
    /// What the store said to a question gets to where it was asked.
    StoreAnswers {
        life: u64,
        shard: ShardId,
        query: QueryId,
        answer: Result<Answer, StoreError>,
        is_waited_for: bool,
    },
    WakeShard {
        life: u64,
        shard: ShardId,
    },
    WakeDevice {
        device: usize,
        life: u64,
    },
    /// A person does something, or not.
    Act {
        device: usize,
    },
    /// A device in a call sends a voice packet.
    Voice {
        device: usize,
    },
    Accident,
    StoreRecovers,
    /// Of the fleet, by its place.
    SupernodeStarts(usize),
    SupernodeDies(usize),
    /// A supernode sees who lives now.
    SeesFleet {
        supernode: usize,
        life: u64,
    },
    /// The trunk between two supernodes is there again.
    TrunkReturns(usize, usize),
    /// A device tells everything anew, on the link that it has.
    Resync {
        device: usize,
        link: LinkId,
    },
    /// A device that was asked to go elsewhere does so, while the link that it has goes on.
    Move {
        device: usize,
        link: LinkId,
        to: Option<usize>,
    },
    DeviceStarts {
        device: usize,
    },
}

/// The virtual clock and all that is to come. Two things at one moment happen in the order in which they were set.
#[derive(Debug)]
pub(crate) struct Agenda {
    start: Instant,
    now: Instant,
    next: u64,
    happenings: BTreeMap<(Instant, u64), Happening>,
}

impl Agenda {
    pub(crate) fn new() -> Self {
        let start = origin();
        Self { start, now: start, next: 0, happenings: BTreeMap::new() }
    }

    pub(crate) fn now(&self) -> Now {
        Now { instant: self.now, unix_ms: START_MS + self.elapsed().as_millis() as u64 }
    }

    /// Since the world began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.now.duration_since(self.start)
    }

    pub(crate) fn after(&mut self, delay: Duration, happening: Happening) {
        self.at(self.now + delay, happening);
    }

    pub(crate) fn at(&mut self, at: Instant, happening: Happening) {
        self.next += 1;
        self.happenings.insert((at.max(self.now), self.next), happening);
    }

    /// Moves the clock to the next happening before `end`, or to the end.
    pub(crate) fn next_before(&mut self, end: Instant) -> Option<Happening> {
        let Some(entry) = self.happenings.first_entry().filter(|entry| entry.key().0 <= end) else {
            self.now = end;
            return None;
        };
        self.now = entry.key().0;
        Some(entry.remove())
    }
}
