//! A history as whoever uses a member is to keep it.

use super::*;
use crate::member::history::Message;

/// What was said, as one device has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct History {
    lines: BTreeMap<ConversationId, Vec<Line>>,
}

/// A message with what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) message: Message,
    pub(super) deleted: bool,
    pub(super) failed: bool,
    pub(super) reactions: BTreeSet<(AccountId, String)>,
}

impl History {
    pub(super) fn apply(&mut self, changes: Vec<HistoryChange>) {
        for (conversation, change) in changes {
            self.apply_one(conversation, change);
        }
    }

    fn apply_one(&mut self, conversation: ConversationId, change: Change) {
        let lines = self.lines.entry(conversation).or_default();
        let find = |lines: &mut Vec<Line>, reference: MessageRef| {
            lines.iter().position(|line| line.message.reference == reference)
        };
        match change {
            Change::Put(message) => {
                let at = find(lines, message.reference);
                let line = Line { message, deleted: false, failed: false, reactions: BTreeSet::new() };
                match at {
                    Some(at) if line.message.sequence.is_some() && !lines[at].failed => {}
                    Some(at) => lines[at] = line,
                    None => lines.push(line),
                }
            }
            Change::Placed { reference, sequence, at_ms } => {
                if let Some(at) = find(lines, reference) {
                    assert_eq!(lines[at].message.sequence, None, "placed twice");
                    lines[at].message.sequence = Some(sequence);
                    lines[at].message.at_ms = at_ms;
                }
            }
            Change::Failed { reference } => {
                if let Some(at) = find(lines, reference) {
                    lines[at].failed = true;
                }
            }
            Change::Edited { target, by, text, .. } => {
                if let Some(at) = find(lines, target)
                    && lines[at].message.account == by
                    && !lines[at].deleted
                    && let MessageBody::Text { text: kept, .. } = &mut lines[at].message.body
                {
                    *kept = text;
                }
            }
            Change::Deleted { target, by } => {
                if let Some(at) = find(lines, target)
                    && lines[at].message.account == by
                {
                    lines[at].deleted = true;
                    lines[at].reactions.clear();
                }
            }
            Change::Reacted { target, by, emoji, set } => {
                if let Some(at) = find(lines, target).filter(|at| !lines[*at].deleted) {
                    let reaction = (by, emoji);
                    let reactions = &mut lines[at].reactions;
                    if set {
                        reactions.insert(reaction)
                    } else {
                        reactions.remove(&reaction)
                    };
                }
            }
            Change::Forget => lines.clear(),
        }
    }

    /// In the order of the log, what is not in it last.
    pub(super) fn lines(&self, conversation: ConversationId) -> Vec<Line> {
        let mut lines = self.lines.get(&conversation).cloned().unwrap_or_default();
        lines.sort_by_key(|line| line.message.sequence.unwrap_or(u64::MAX));
        lines
    }

    pub(super) fn line(&self, conversation: ConversationId, reference: MessageRef) -> Line {
        let line = self.lines(conversation).into_iter().find(|line| line.message.reference == reference);
        line.expect("a line with this reference")
    }

    /// What was written and is still to be read, in order.
    pub(super) fn texts(&self, conversation: ConversationId) -> Vec<String> {
        let text = |line: Line| match line.message.body {
            MessageBody::Text { text, .. } if !line.deleted => Some(text),
            _ => None,
        };
        self.lines(conversation).into_iter().filter_map(text).collect()
    }

    pub(super) fn gaps(&self, conversation: ConversationId) -> usize {
        self.lines(conversation).iter().filter(|line| line.message.body == MessageBody::Gap).count()
    }
}
