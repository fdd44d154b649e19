//! What a device keeps of its conversations, and what everybody must agree on.
//!
//! Invariant: a line of the log is the same on every device that has it, and a device that is in a group has every line
//! since it entered.

use std::collections::BTreeMap;

use ahoy_client::member::{Change, HistoryChange, Message, MessageBody, MessageRef};
use ahoy_proto::ConversationId;

use crate::checkers::{Checker, Finding};

/// The lines that one device has committed, by conversation.
#[derive(Debug, Clone, Default)]
pub(crate) struct History(BTreeMap<ConversationId, Lines>);

/// One conversation on one device.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines {
    lines: BTreeMap<MessageRef, Line>,
    /// Sequence numbers behind which something may be missing: the device entered there.
    entered: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) message: Message,
    pub(crate) failed: bool,
}

impl History {
    /// Commits one change. Taking a line in twice is a finding.
    pub(crate) fn apply(&mut self, (conversation, change): &HistoryChange) -> Result<(), Finding> {
        if *change == Change::Forget {
            self.0.remove(conversation);
            return Ok(());
        }
        let of = self.0.entry(*conversation).or_default();
        match change {
            Change::Put(message) => return of.put(message),
            Change::Placed { reference, sequence, at_ms } => {
                let Some(line) = of.lines.get_mut(reference) else {
                    return Err((Checker::NothingLost, format!("{reference:?} is placed and was never written")));
                };
                if line.message.sequence.is_some_and(|before| before != *sequence) {
                    return Err((Checker::NothingTwice, format!("{reference:?} stands in the log twice")));
                }
                (line.message.sequence, line.message.at_ms) = (Some(*sequence), *at_ms);
            }
            Change::Failed { reference } => {
                if let Some(line) = of.lines.get_mut(reference) {
                    line.failed = true;
                }
            }
            Change::Edited { target, by, text, .. } => of.of_account(*target, *by, |body| {
                if let MessageBody::Text { text: old, .. } = body {
                    old.clone_from(text);
                }
            }),
            Change::Deleted { target, by } => of.of_account(*target, *by, |body| {
                if let MessageBody::Text { text, .. } = body {
                    text.clear();
                }
            }),
            Change::Reacted { .. } | Change::Forget => {}
        }
        Ok(())
    }

    pub(crate) fn of(&self, conversation: ConversationId) -> Option<&Lines> {
        self.0.get(&conversation)
    }

    pub(crate) fn conversations(&self) -> impl Iterator<Item = (ConversationId, &Lines)> {
        self.0.iter().map(|(id, lines)| (*id, lines))
    }
}

impl Lines {
    fn put(&mut self, message: &Message) -> Result<(), Finding> {
        if message.body == MessageBody::Gap {
            self.entered.push(message.sequence.unwrap_or_default());
            return Ok(());
        }
        let known = self.lines.get(&message.reference);
        if known.is_some_and(|line| line.message.sequence.is_some()) {
            return Err((Checker::NothingTwice, format!("{:?} is taken in twice", message.reference)));
        }
        self.lines.insert(message.reference, Line { message: message.clone(), failed: false });
        Ok(())
    }

    fn of_account(&mut self, target: MessageRef, by: ahoy_proto::AccountId, change: impl FnOnce(&mut MessageBody)) {
        if let Some(line) = self.lines.get_mut(&target).filter(|line| line.message.account == by) {
            change(&mut line.message.body);
        }
    }

    /// Texts that stand in the log, by their place.
    pub(crate) fn placed(&self) -> BTreeMap<u64, &Message> {
        let texts = self.lines.values().map(|line| &line.message);
        let texts = texts.filter(|message| matches!(message.body, MessageBody::Text { .. }));
        texts.filter_map(|message| Some((message.sequence?, message))).collect()
    }

    /// All texts, by what names them.
    pub(crate) fn references(&self, id: ConversationId) -> Vec<(ConversationId, MessageRef)> {
        let texts = self.lines.values().filter(|line| matches!(line.message.body, MessageBody::Text { .. }));
        texts.map(|line| (id, line.message.reference)).collect()
    }

    /// Texts of this device that are neither in the log nor given up.
    pub(crate) fn waiting(&self) -> usize {
        self.lines.values().filter(|line| line.message.sequence.is_none() && !line.failed).count()
    }

    /// From which place on nothing may be missing.
    pub(crate) fn complete_after(&self) -> u64 {
        self.entered.iter().copied().max().unwrap_or_default()
    }
}
