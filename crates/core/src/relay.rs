//! The relay table of a shard: which link owns which flow, and where its packets go.
//!
//! A flow id is generation, slot, shard and the supernode's number, from high bits to low, so that the first ids are short and
//! no id is given out twice in the life of a shard, or by two supernodes. The number stands there in groups of three bits, the
//! lowest first, with a fourth that says that another follows: no number's code is the beginning of another's. Invariant: a flow's packets go to legs of its own call only, set by the call's home.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ahoy_proto::flow::FlowId;
use ahoy_proto::limits::{DATAGRAM_MAX, VOICE_PACKETS_BURST, VOICE_PACKETS_PER_SECOND};
use ahoy_proto::{CallId, DeviceId};
use smallvec::SmallVec;

use crate::rate::{Bucket, Rate};
use crate::{LinkId, Recipient, Seat, ShardId};

/// What becomes of a voice datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward<'a> {
    /// It goes to these links, as it is. Never empty.
    To(&'a [Recipient]),
    /// It goes nowhere.
    Drop(DropCause),
}

/// Why a voice datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropCause {
    /// Shorter than a flow id.
    Malformed,
    /// Longer than `DATAGRAM_MAX`.
    TooLong,
    /// The link has not proven itself, or is not known.
    Unproven,
    /// No such flow, or no more.
    NoFlow,
    /// The flow belongs to another link.
    ForeignFlow,
    /// More packets than a leg may send.
    RateLimited,
    /// No other leg of the call is attached now, or the call is not answered yet.
    NoPeer,
}

impl DropCause {
    /// All causes, in the order of [`index`](Self::index).
    pub const ALL: [Self; 7] = [
        Self::Malformed,
        Self::TooLong,
        Self::Unproven,
        Self::NoFlow,
        Self::ForeignFlow,
        Self::RateLimited,
        Self::NoPeer,
    ];

    /// Its place in [`Counters::drops`](crate::Counters::drops).
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::Unproven => "unproven",
            Self::NoFlow => "no_flow",
            Self::ForeignFlow => "foreign_flow",
            Self::RateLimited => "rate_limited",
            Self::NoPeer => "no_peer",
        }
    }
}

/// Recipients of one flow: one in a one-to-one call.
pub(crate) type Peers = SmallVec<[Recipient; 1]>;

/// Bits of a flow id that name the slot: 32,768 legs on one shard, twenty times what a core can carry voice for.
const SLOT_BITS: u32 = 15;

const VOICE: Rate =
    Rate { burst: VOICE_PACKETS_BURST, refill: Duration::from_micros(1_000_000 / VOICE_PACKETS_PER_SECOND as u64) };

/// One leg's way out.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) call: CallId,
    pub(crate) device: DeviceId,
    /// Whoever asked for it.
    pub(crate) home: Seat,
    link: LinkId,
    bucket: Bucket,
    peers: Peers,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u64,
    flow: Option<Flow>,
}

#[derive(Debug)]
pub(crate) struct Relay {
    /// The low bits of all ids: shard and number.
    low: u64,
    low_bits: u32,
    slots: Vec<Slot>,
    /// Oldest first, so that generations grow evenly and ids stay short.
    free: VecDeque<u32>,
}

impl Relay {
    pub(crate) fn new(shard: ShardId, shards: u16, number: u32) -> Self {
        let shard_bits = u32::from(shards).next_power_of_two().trailing_zeros();
        let (number, number_bits) = number_code(number);
        let low = u64::from(shard.0) << number_bits | number;
        Self { low, low_bits: shard_bits + number_bits, slots: Vec::new(), free: VecDeque::new() }
    }

    /// A new flow, without peers yet. `None` when all slots are taken.
    pub(crate) fn open(&mut self, link: LinkId, call: CallId, device: DeviceId, home: Seat) -> Option<FlowId> {
        let index = match self.free.pop_front() {
            Some(index) => index,
            None if self.slots.len() < 1 << SLOT_BITS => {
                self.slots.push(Slot::default());
                self.slots.len() as u32 - 1
            }
            None => return None,
        };
        let slot = &mut self.slots[index as usize];
        slot.flow = Some(Flow { call, device, home, link, bucket: Bucket::default(), peers: Peers::new() });
        FlowId::new((slot.generation << SLOT_BITS | u64::from(index)) << self.low_bits | self.low)
    }

    pub(crate) fn flow(&self, flow: FlowId) -> Option<&Flow> {
        self.slots[self.index_of(flow)?].flow.as_ref()
    }

    pub(crate) fn flow_mut(&mut self, flow: FlowId) -> Option<&mut Flow> {
        let index = self.index_of(flow)?;
        self.slots[index].flow.as_mut()
    }

    /// Ends a flow; its id never comes back.
    pub(crate) fn close(&mut self, flow: FlowId) -> Option<Flow> {
        let index = self.index_of(flow)?;
        let slot = &mut self.slots[index];
        let closed = slot.flow.take()?;
        slot.generation += 1;
        self.free.push_back(index as u32);
        Some(closed)
    }

    /// Says where a flow's packets go from now on.
    pub(crate) fn set_peers(&mut self, flow: FlowId, peers: Peers) {
        if let Some(flow) = self.index_of(flow).and_then(|index| self.slots[index].flow.as_mut()) {
            flow.peers = peers;
        }
    }

    /// Decides about one datagram of a link.
    #[inline]
    pub(crate) fn forward(&mut self, link: LinkId, datagram: &[u8], now: Instant) -> Result<&[Recipient], DropCause> {
        if datagram.len() > DATAGRAM_MAX {
            return Err(DropCause::TooLong);
        }
        let Some((id, _)) = FlowId::split(datagram) else { return Err(DropCause::Malformed) };
        let Some(index) = self.index_of(id) else { return Err(DropCause::NoFlow) };
        let Some(flow) = &mut self.slots[index].flow else { return Err(DropCause::NoFlow) };
        if flow.link != link {
            return Err(DropCause::ForeignFlow);
        }
        if flow.bucket.take(VOICE, now).is_err() {
            return Err(DropCause::RateLimited);
        }
        if flow.peers.is_empty() { Err(DropCause::NoPeer) } else { Ok(&flow.peers) }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The slot of a flow id of this shard and of the slot's present generation.
    #[inline]
    fn index_of(&self, id: FlowId) -> Option<usize> {
        let number = id.number();
        let slot = number >> self.low_bits;
        let index = (slot & ((1 << SLOT_BITS) - 1)) as usize;
        let here = number & ((1 << self.low_bits) - 1) == self.low;
        let current = self.slots.get(index)?.generation == slot >> SLOT_BITS;
        (here && current).then_some(index)
    }
}

/// A supernode's number as it ends flow ids, and how many bits that takes: 4 for the first eight, 8 for 64, at most 44.
fn number_code(number: u32) -> (u64, u32) {
    let (mut rest, mut code, mut bits) = (number, 0, 0);
    loop {
        let more = u64::from(rest > 7);
        code |= (u64::from(rest & 7) | more << 3) << bits;
        bits += 4;
        rest >>= 3;
        if more == 0 {
            return (code, bits);
        }
    }
}
