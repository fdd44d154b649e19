//! Messages of this device on their way into a log.
//!
//! Each has its number from the moment that it is written, and is persisted then: as plaintext until it stands in the log,
//! and sealed from when it was sealed, so that a retry carries the same bytes. They leave in order.

use std::collections::VecDeque;

use ahoy_proto::{ConversationId, v1};
use bytes::Bytes;
use prost::Message as _;

use super::event::Ticket;
use super::outbox::Outbox;

pub(super) const QUEUE_PREFIX: &[u8] = b"queue/";
pub(super) const SEALED_PREFIX: &[u8] = b"sealed/";

/// Messages of one conversation that wait: some days of writing without a network. At 16 KiB each they take 16 MB, but most
/// are a hundred bytes.
pub(super) const QUEUE_MAX: usize = 1_000;

/// Messages of one conversation with the supernode at once: two round trips a second carry 16 a second, and a conflict
/// seals at most this many anew.
pub(super) const IN_FLIGHT_MAX: usize = 8;

/// What waits, oldest first.
#[derive(Default)]
pub(super) struct Queue {
    entries: VecDeque<Queued>,
    /// Refusals since the last success.
    pub(super) failures: u32,
    /// Waits for a timer, or for the next session.
    pub(super) paused: bool,
}

/// A message that is not in the log yet, as far as this device knows.
pub(super) struct Queued {
    pub(super) number: u64,
    pub(super) content: v1::Content,
    pub(super) sealed: Option<Sealed>,
    pub(super) flight: Flight,
    /// Of the command, while the process lives.
    pub(super) ticket: Option<Ticket>,
}

/// The bytes that leave.
#[derive(Clone)]
pub(super) struct Sealed {
    pub(super) generation: u32,
    pub(super) epoch: u64,
    pub(super) bytes: Bytes,
}

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flight {
    /// Here.
    Waiting,
    /// With the supernode.
    Out,
    /// In the log; its place comes with the log.
    InLog,
}

impl Queue {
    /// Takes over one persisted message. Of one that can't be read the number is kept: something has to stand under it.
    pub(super) fn restore(&mut self, number: u64, value: &[u8]) {
        let kept = v1::Content::decode(value).unwrap_or_default();
        // Earlier builds wrote none into it.
        let content = v1::Content { number, ..kept };
        let entry = Queued { number, content, sealed: None, flight: Flight::Waiting, ticket: None };
        let at = self.entries.partition_point(|entry| entry.number < number);
        self.entries.insert(at, entry);
    }

    /// Takes over the sealed form of a message that was taken over before.
    pub(super) fn restore_sealed(&mut self, number: u64, value: &[u8]) {
        let Some(entry) = self.find_mut(number) else { return };
        let (Some((generation, rest)), true) = (value.split_first_chunk::<4>(), entry.sealed.is_none()) else { return };
        let Some((epoch, bytes)) = rest.split_first_chunk::<8>() else { return };
        let (generation, epoch) = (u32::from_be_bytes(*generation), u64::from_be_bytes(*epoch));
        entry.sealed = Some(Sealed { generation, epoch, bytes: Bytes::copy_from_slice(bytes) });
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= QUEUE_MAX
    }

    pub(super) fn first_number(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.number)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.entries.iter()
    }

    pub(super) fn find_mut(&mut self, number: u64) -> Option<&mut Queued> {
        self.entries.iter_mut().find(|entry| entry.number == number)
    }

    /// The next message to leave, if one may.
    pub(super) fn next(&self) -> Option<&Queued> {
        let out = self.entries.iter().filter(|entry| entry.flight == Flight::Out).count();
        let next = self.entries.iter().find(|entry| entry.flight == Flight::Waiting)?;
        (!self.paused && out < IN_FLIGHT_MAX).then_some(next)
    }

    /// Puts a message at the end.
    pub(super) fn push(&mut self, id: ConversationId, queued: Queued, outbox: &mut Outbox) {
        outbox.write_bytes(key(QUEUE_PREFIX, id, queued.number), queued.content.encode_to_vec());
        self.entries.push_back(queued);
    }

    /// Keeps the sealed form of a message.
    pub(super) fn seal(&mut self, id: ConversationId, number: u64, sealed: Sealed, outbox: &mut Outbox) {
        let value = [&sealed.generation.to_be_bytes()[..], &sealed.epoch.to_be_bytes(), &sealed.bytes].concat();
        outbox.write_bytes(key(SEALED_PREFIX, id, number), value);
        if let Some(entry) = self.find_mut(number) {
            entry.sealed = Some(sealed);
        }
    }

    /// Throws away what was sealed for a state of the group that is gone.
    pub(super) fn unseal(&mut self, id: ConversationId, outbox: &mut Outbox) {
        for entry in &mut self.entries {
            if entry.sealed.take().is_some() {
                outbox.remove(key(SEALED_PREFIX, id, entry.number));
            }
        }
    }

    /// The supernode has a gap before these, or their epoch is over: they are sealed anew.
    pub(super) fn recall(&mut self, id: ConversationId, outbox: &mut Outbox) {
        for entry in self.entries.iter_mut().filter(|entry| entry.flight == Flight::Out) {
            entry.flight = Flight::Waiting;
            if entry.sealed.take().is_some() {
                outbox.remove(key(SEALED_PREFIX, id, entry.number));
            }
        }
    }

    /// The session is lost, and with it the answers.
    pub(super) fn lose_session(&mut self) {
        self.failures = 0;
        self.paused = false;
        self.lose_flight();
    }

    /// What is with the supernode has to leave again, as it is.
    pub(super) fn lose_flight(&mut self) {
        for entry in self.entries.iter_mut().filter(|entry| entry.flight == Flight::Out) {
            entry.flight = Flight::Waiting;
        }
    }

    /// The supernode says that the log holds this device's messages up to a number.
    pub(super) fn mark_sent(&mut self, sent: u64) {
        for entry in self.entries.iter_mut().filter(|entry| entry.number <= sent) {
            entry.flight = Flight::InLog;
        }
    }

    /// Takes a message out that stands in the log.
    pub(super) fn take(&mut self, id: ConversationId, number: u64, outbox: &mut Outbox) -> Option<Queued> {
        let at = self.entries.iter().position(|entry| entry.number == number)?;
        outbox.remove(key(QUEUE_PREFIX, id, number));
        outbox.remove(key(SEALED_PREFIX, id, number));
        self.failures = 0;
        self.entries.remove(at)
    }

    /// Takes everything out.
    pub(super) fn erase(&mut self, id: ConversationId, outbox: &mut Outbox) {
        for entry in self.entries.drain(..) {
            outbox.remove(key(QUEUE_PREFIX, id, entry.number));
            outbox.remove(key(SEALED_PREFIX, id, entry.number));
        }
    }
}

/// The number of a persisted message, from what follows the prefix of its key.
pub(super) fn number_of(rest: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(rest.get(16..)?.try_into().ok()?))
}

fn key(prefix: &[u8], id: ConversationId, number: u64) -> Vec<u8> {
    [prefix, &id.0, &number.to_be_bytes()].concat()
}
