//! What a shard counts, for metrics. Counters only go up; gauges are the moment's figures.

use ahoy_proto::v1;

use crate::relay::DropCause;
use crate::session::Violation;

/// Everything counted since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Links that came up, refused ones included.
    pub links: u64,
    /// Proofs accepted.
    pub sign_ins: u64,
    /// Sign-ins put off because too many came at once.
    pub sign_ins_put_off: u64,
    /// Links refused because the shard was full.
    pub overloaded: u64,
    /// Links refused or closed because the supernode goes down.
    pub shut_out: u64,
    /// Sessions closed because their device signed in elsewhere.
    pub sessions_replaced: u64,
    /// Sessions closed by a revocation list.
    pub sessions_revoked: u64,
    /// Links closed, by the rule that was broken; index with [`Violation::index`].
    pub violations: [u64; Violation::ALL.len()],
    /// Requests taken in, the proof included.
    pub requests: u64,
    /// Requests refused with RATE_LIMITED.
    pub rate_limited: u64,
    /// Fragments refused, and their links closed.
    pub fragments_refused: u64,
    /// Questions put to the store.
    pub questions: u64,
    /// Questions that the store could not answer.
    pub store_errors: u64,
    /// Messages that stand in logs.
    pub messages: u64,
    /// Commits that stand in logs.
    pub commits: u64,
    /// Receipts replaced.
    pub receipts: u64,
    /// Signals handed to members.
    pub signals: u64,
    /// Contacts changed.
    pub contact_changes: u64,
    /// Times that an account was told the presence of a contact.
    pub presence_told: u64,
    /// Look-ups and searches refused: the account has learnt as many names as it may.
    pub names_refused: u64,
    /// Calls taken up.
    pub calls: u64,
    /// Calls taken up from a call token after a restart.
    pub calls_recreated: u64,
    /// Calls ended; index with the number of the [`v1::Cause`].
    pub calls_ended: [u64; CAUSES],
    /// Call tokens refused.
    pub call_tokens_refused: u64,
    /// Messages for shards of other supernodes.
    pub trunk_messages: u64,
    /// Messages of other supernodes that could not be read.
    pub trunk_refused: u64,
    /// Messages that were sent on because a home had moved.
    pub forwarded_messages: u64,
    /// Messages for supernodes that were gone.
    pub strays: u64,
    /// Sessions that were asked to tell everything anew.
    pub resyncs: u64,
    /// Voice datagrams handed on; once, however many recipients.
    pub forwarded: u64,
    /// Their bytes.
    pub forwarded_bytes: u64,
    /// Voice datagrams dropped; index with [`DropCause::index`].
    pub drops: [u64; DropCause::ALL.len()],
}

/// Causes of the schema, the unspecified one included.
const CAUSES: usize = v1::Cause::Requested as usize + 1;

/// How much of everything there is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Links, proven or not.
    pub links: usize,
    /// Links that have not proven themselves yet.
    pub half_open: usize,
    /// Sessions.
    pub sessions: usize,
    /// Accounts at home on this shard with a device online.
    pub accounts: usize,
    /// Calls at home on this shard.
    pub calls: usize,
    /// Of these, answered.
    pub calls_answered: usize,
    /// Legs whose link is on this shard.
    pub flows: usize,
    /// Questions that wait for their answer.
    pub queries: usize,
    /// Bytes of long messages that are unfinished or with the store.
    pub long_bytes: usize,
    /// Timers set.
    pub timers: usize,
}
