//! What leaves the member, in order: all that one input changes is one batch, and goes before everything else that came of
//! it. So whatever depends on a change finds it committed, and no part of an input can be lost without the others.

use std::collections::{BTreeMap, VecDeque};

use ahoy_proto::ConversationId;
use serde::Serialize;

use crate::mls::Values;

use super::event::{Batch, Event, Output};
use super::history::{Change, HistoryChange};

/// Collects writes into one batch and puts it in front of the outputs.
#[derive(Default)]
pub(super) struct Outbox {
    outputs: VecDeque<Output>,
    pairs: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    history: Vec<HistoryChange>,
}

impl Outbox {
    /// Adds a write to the batch.
    pub(super) fn write(&mut self, key: Vec<u8>, value: &impl Serialize) {
        let value = serde_json::to_vec(value).expect("records hold nothing that JSON can't");
        self.pairs.insert(key, Some(value));
    }

    /// Adds a write of bytes as they are to the batch.
    pub(super) fn write_bytes(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.pairs.insert(key, Some(value));
    }

    /// Adds a removal to the batch.
    pub(super) fn remove(&mut self, key: Vec<u8>) {
        self.pairs.insert(key, None);
    }

    /// Adds what changed between two snapshots of openmls' values, each under `prefix`.
    pub(super) fn write_values(&mut self, prefix: &[u8], old: &Values, new: &Values) {
        for (key, value) in new {
            if old.get(key) != Some(value) {
                self.pairs.insert([prefix, key].concat(), Some(value.clone()));
            }
        }
        for key in old.keys().filter(|key| !new.contains_key(*key)) {
            self.pairs.insert([prefix, key].concat(), None);
        }
    }

    /// Adds a change of what was said to the batch; the event that tells of it comes behind the batch.
    pub(super) fn history(&mut self, conversation: ConversationId, change: Change) {
        self.history.push((conversation, change));
    }

    /// Tells whoever uses the member.
    pub(super) fn event(&mut self, event: Event) {
        self.push(Output::Event(event));
    }

    /// Queues an output.
    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Forgets messages of a session that is gone.
    pub(super) fn drop_sends(&mut self) {
        self.outputs.retain(|output| !matches!(output, Output::Send(_)));
    }

    /// The next output; `None` when there is nothing left.
    pub(super) fn pop(&mut self) -> Option<Output> {
        if self.pairs.is_empty() && self.history.is_empty() {
            return self.outputs.pop_front();
        }
        let pairs = std::mem::take(&mut self.pairs).into_iter().collect();
        let history = std::mem::take(&mut self.history);
        let told = history.iter().cloned();
        self.outputs.extend(told.map(|(conversation, change)| Output::Event(Event::History { conversation, change })));
        Some(Output::Persist(Batch { pairs, history }))
    }
}
