//! What was said, as it is to be kept: the member tells the changes, whoever persists them applies them.
//!
//! A member keeps no texts. Its history changes go out in the same [`Batch`](super::Batch) as the ratchet state and the
//! cursor that they came with, so a message is kept once or not at all. The order of changes is that of the log.

use ahoy_proto::{AccountId, ConversationId, DeviceId};
use serde::{Deserialize, Serialize};

/// Names a message within its conversation: the device that sent it, and that device's number of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MessageRef {
    /// Who sent it.
    pub device: DeviceId,
    /// Counts from 1 in each conversation.
    pub number: u64,
}

impl MessageRef {
    /// Names a line that is no message: what a log entry of another kind came to.
    pub fn of_entry(sequence: u64) -> Self {
        Self { device: DeviceId([0; 16]), number: sequence }
    }
}

/// One line of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Names it.
    pub reference: MessageRef,
    /// Whose it is, proven by MLS.
    pub account: AccountId,
    /// Its place in the log; `None` while the supernode has not accepted it.
    pub sequence: Option<u64>,
    /// Milliseconds since the Unix epoch: when the supernode accepted it, or until then when it was written.
    pub at_ms: u64,
    /// What it says.
    pub body: MessageBody,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum MessageBody {
    /// Somebody wrote.
    Text {
        /// As plain text.
        text: String,
        /// The message that it answers.
        reply_to: Option<MessageRef>,
    },
    /// The group has a title now.
    Renamed {
        /// The title.
        title: String,
    },
    /// Accounts joined or left; written by this device from what the log says.
    Membership {
        /// Who joined.
        joined: Vec<AccountId>,
        /// Who left or was removed.
        left: Vec<AccountId>,
    },
    /// Something may be missing before this line: entries were gone, or this device was not in the group.
    Gap,
}

/// A change of the history of one conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A line is there. Ignored when there is one with the same reference, unless that one was given up or this one waits for its
    /// place: a device numbers what it writes.
    Put(Message),
    /// A line of this device stands in the log now.
    Placed {
        /// Which.
        reference: MessageRef,
        /// Where.
        sequence: u64,
        /// When; milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// A line of this device was given up and is in nobody's log: the conversation can't be written to.
    Failed {
        /// Which.
        reference: MessageRef,
    },
    /// A text was replaced. Ignored unless the target is a text of the same account.
    Edited {
        /// Which.
        target: MessageRef,
        /// Who says so.
        by: AccountId,
        /// What it says now.
        text: String,
        /// When; milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// A text was taken back: what it said is to be erased, with its reactions. Ignored unless the target is of the same account.
    Deleted {
        /// Which.
        target: MessageRef,
        /// Who says so.
        by: AccountId,
    },
    /// A reaction was set or taken back. Ignored when the target is not known or was taken back.
    Reacted {
        /// Which.
        target: MessageRef,
        /// Whose.
        by: AccountId,
        /// One emoji.
        emoji: String,
        /// `false`: taken back.
        set: bool,
    },
    /// Everything is to be erased: the account is not in this conversation any more and wishes to forget it.
    Forget,
}

/// A change and where it belongs.
pub type HistoryChange = (ConversationId, Change);
