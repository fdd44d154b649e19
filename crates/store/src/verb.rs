//! What a store is asked to do: verbs, what they are about, and verbs with their replies as the engines pass them on.

use std::time::Duration;

use crate::StoreError;
use crate::sql::Transaction;

/// How long a verb may take at a server. Nearly all take a hundredth of it, and whoever waits would rather know.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(5);

/// As long for one that visits many rows: all of an account's conversations may be 10,000, at some ten statements each.
pub(crate) const TIME_MAX_OF_MANY: Duration = Duration::from_secs(60);

/// A change or a question that takes effect whole or not at all.
pub trait Verb: Send + Sized + 'static {
    /// What its reply holds.
    type Output: Send + 'static;

    /// What it is about. Verbs of one store with the same key take effect in the order they were submitted in; others may
    /// overtake each other. Whose callers don't wait for one answer before they submit the next needs one key for both.
    /// Without a word, a verb shares its key with all others that say nothing.
    fn key(&self) -> Key {
        Key::REST
    }

    /// How long it may take at a server, with all its attempts; then it is [`StoreError::Unavailable`].
    fn time_max(&self) -> Duration {
        TIME_MAX
    }

    /// Does the work. An error undoes everything this verb wrote. May be run again, on a database as if it never had been, when
    /// others were in its way; what it answers and what it writes follow from itself and the database alone.
    ///
    /// # Errors
    /// Each verb says which.
    fn run(&self, transaction: &Transaction<'_>) -> Result<Self::Output, StoreError>;
}

/// What a verb is about: an account, a device, a conversation, a name, or the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(pub(crate) u64);

impl Key {
    /// Nothing of these.
    pub const REST: Self = Self(0);

    /// What has its time: it takes a while, and nobody waits for it.
    pub(crate) const EXPIRY: Self = Self(1);

    /// The same for the same text.
    pub(crate) fn of_text(text: &str) -> Self {
        let spread = |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte));
        Self(text.bytes().fold(0, spread))
    }
}

macro_rules! key_of {
    ($($id:ident),*) => { $(
        impl From<ahoy_proto::$id> for Key {
            /// Ids are random, so a part is as good as the whole.
            fn from(id: ahoy_proto::$id) -> Self {
                Self(u128::from_be_bytes(id.0) as u64)
            }
        }
    )* };
}
key_of!(AccountId, DeviceId, ConversationId);

impl From<&ahoy_proto::Name> for Key {
    fn from(name: &ahoy_proto::Name) -> Self {
        Self::of_text(name.as_str())
    }
}

/// A verb with its reply, its type erased.
pub(crate) trait Job: Send {
    /// See [`Verb::time_max`].
    fn time_max(&self) -> Duration;
    /// Runs the verb and keeps what came of it, in the place of what came of it before.
    fn run(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError>;
    /// Replies what came of the last run, or why it came to nothing.
    fn reply(self: Box<Self>, outcome: Result<(), StoreError>);
}

pub(crate) fn job<V, R>(verb: V, reply: R) -> Box<dyn Job>
where
    V: Verb,
    R: FnOnce(Result<V::Output, StoreError>) + Send + 'static,
{
    Box::new(VerbJob { verb, reply, result: Err(StoreError::Unavailable) })
}

struct VerbJob<V: Verb, R> {
    verb: V,
    reply: R,
    result: Result<V::Output, StoreError>,
}

impl<V: Verb, R: FnOnce(Result<V::Output, StoreError>) + Send + 'static> Job for VerbJob<V, R> {
    fn time_max(&self) -> Duration {
        self.verb.time_max()
    }

    fn run(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        self.result = self.verb.run(transaction);
        self.result.as_ref().map(|_| ()).map_err(|error| *error)
    }

    fn reply(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { reply, result, .. } = *self;
        reply(outcome.and(result));
    }
}
