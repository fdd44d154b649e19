//! What was said: lines of conversations, changed as [`Change`] says, in the order of the log.
//!
//! Each line is one sealed row. Every change that is not ignored gets the next number of one counter of the profile, and its line
//! keeps the number of its last change: whoever asks for the lines after a number, and keeps the number of the last one taken
//! in, misses nothing and sees nothing twice.

use ahoy_proto::{AccountId, ConversationId};
use rusqlite::{Connection, Params, Row, Transaction};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::seal::{Place, RowName, Seal, Table};
use super::vault::RowError;
use super::{ProfileError, State};
use crate::member::{Change, Message, MessageBody, MessageRef};

/// Lines given out at once: at 16 KiB a text, 8 MiB at most.
pub const LINES_MAX: usize = 500;

/// Different reactions of one account that a line keeps, so that one account can't make a line grow without end.
pub const REACTIONS_OF_ACCOUNT_MAX: usize = 16;

/// Contents are filled up with spaces to a multiple of this, so that the file does not tell a "yes" from a "no".
const PADDING: usize = 256;

/// Where lines stand that have no place in the log yet: behind all others.
const PENDING: u64 = i64::MAX as u64;

/// Where a line stands in its conversation. Later lines are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// The log's sequence number, or what stands in for it.
    sequence: u64,
    /// Number of the change that brought the line.
    born: u64,
}

/// One line of a conversation, as it is after all changes so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What was said, by whom and when. Its text is empty once it was deleted.
    pub message: Message,
    /// Where it stands. Lines that are not in the log yet stand behind all others; one that was given up stays where it was then.
    pub position: Position,
    /// Its text was replaced.
    pub edited: bool,
    /// Its text was taken back and is erased.
    pub deleted: bool,
    /// Each account has each emoji once; in the order in which they came.
    pub reactions: Vec<(AccountId, String)>,
    /// It was given up: it is in nobody's log.
    pub failed: bool,
    /// Number of its last change, of all changes in this profile.
    pub local: u64,
}

impl Line {
    fn new(message: Message, born: u64) -> Self {
        let position = Position { sequence: message.sequence.map_or(PENDING, placed), born };
        Self { message, position, edited: false, deleted: false, reactions: Vec::new(), failed: false, local: born }
    }

    /// Number of the change that brought it. Whoever has dealt with all changes up to a smaller number has not seen it before; else it
    /// comes again because it was placed, edited, deleted or reacted to.
    pub fn arrived(&self) -> u64 {
        self.position.born
    }

    /// Whether it is for the owner to read, if it lies beyond what has been read.
    fn counts(&self, own: AccountId) -> bool {
        let open = !self.deleted && !self.failed;
        self.message.account != own && open && matches!(self.message.body, MessageBody::Text { .. })
    }

    /// Whether this account may edit and delete it.
    fn is_text_of(&self, account: AccountId) -> bool {
        self.message.account == account && !self.deleted && matches!(self.message.body, MessageBody::Text { .. })
    }
}

/// A sequence number as it stands in a position: what a supernode makes up does not get behind pending lines.
fn placed(sequence: u64) -> u64 {
    sequence.min(PENDING - 1)
}

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    /// It was ignored.
    Nothing,
    /// Something is otherwise.
    Changed,
    /// Something is gone for good.
    Erased,
}

/// Applies the change that gets this number, unless it is ignored.
pub(super) fn apply(
    transaction: &Transaction<'_>,
    seal: &Seal,
    own: AccountId,
    conversation: ConversationId,
    change: &Change,
    number: u64,
) -> Result<Applied, RowError> {
    let lines = Lines { connection: transaction, seal, conversation };
    let Some(target) = target(change) else {
        let gone = transaction.execute("DELETE FROM lines WHERE conversation = ?1", (lines.name(),))?;
        return Ok(if gone > 0 { Applied::Erased } else { Applied::Nothing });
    };
    let before = lines.find(target)?;
    let failed = if let Change::Failed { .. } = change { lines.head()? } else { 0 };
    let Some(mut line) = changed(before, change, number, failed) else { return Ok(Applied::Nothing) };
    line.local = number;
    lines.put(&line, own)?;
    let erases = matches!(change, Change::Deleted { .. } | Change::Edited { .. });
    Ok(if erases { Applied::Erased } else { Applied::Changed })
}

/// Which line a change is about; `None` for all of the conversation.
fn target(change: &Change) -> Option<MessageRef> {
    match change {
        Change::Put(message) => Some(message.reference),
        Change::Placed { reference, .. } | Change::Failed { reference } => Some(*reference),
        Change::Edited { target, .. } | Change::Deleted { target, .. } | Change::Reacted { target, .. } => {
            Some(*target)
        }
        Change::Forget => None,
    }
}

/// The line after a change; `None` where the change is to be ignored. `head` is the place of the last line in the log.
fn changed(before: Option<Line>, change: &Change, number: u64, head: u64) -> Option<Line> {
    if let Change::Put(message) = change {
        // One reference, one line: the first stays. What was given up is in nobody's log, and its number may be given again.
        if message.sequence.is_some() && before.as_ref().is_some_and(|before| !before.failed) {
            return None;
        }
        let born = before.map_or(number, |before| before.position.born);
        return Some(Line::new(message.clone(), born));
    }
    let mut line = before?;
    match change {
        Change::Placed { sequence, at_ms, .. } => {
            line.message.sequence = Some(*sequence);
            line.message.at_ms = *at_ms;
            line.position.sequence = placed(*sequence);
            line.failed = false;
        }
        Change::Failed { .. } if line.message.sequence.is_none() && !line.failed => {
            line.position.sequence = head;
            line.failed = true;
        }
        Change::Edited { by, text, .. } if line.is_text_of(*by) => {
            let MessageBody::Text { text: before, .. } = &mut line.message.body else { return None };
            before.clone_from(text);
            line.edited = true;
        }
        Change::Deleted { by, .. } if line.is_text_of(*by) => {
            line.message.body = MessageBody::Text { text: String::new(), reply_to: None };
            line.reactions.clear();
            line.deleted = true;
        }
        Change::Reacted { by, emoji, set, .. } if !line.deleted => react(&mut line.reactions, *by, emoji, *set)?,
        _ => return None,
    }
    Some(line)
}

/// `None` where nothing changes.
fn react(reactions: &mut Vec<(AccountId, String)>, by: AccountId, emoji: &str, set: bool) -> Option<()> {
    let at = reactions.iter().position(|(account, known)| *account == by && known == emoji);
    match (at, set) {
        (Some(at), false) => drop(reactions.remove(at)),
        (None, true) => {
            let own = reactions.iter().filter(|(account, _)| *account == by).count();
            if own >= REACTIONS_OF_ACCOUNT_MAX {
                return None;
            }
            reactions.push((by, emoji.to_owned()));
        }
        _ => return None,
    }
    Some(())
}

/// What is sealed of a line; the rest are plain columns.
#[derive(Serialize, Deserialize)]
struct Content {
    conversation: ConversationId,
    message: Message,
    edited: bool,
    deleted: bool,
    reactions: Vec<(AccountId, String)>,
    failed: bool,
}

const COLUMNS: &str = "conversation, reference, sequence, born, local, counts, sealed";

/// Lines of one conversation.
struct Lines<'a> {
    connection: &'a Connection,
    seal: &'a Seal,
    conversation: ConversationId,
}

impl Lines<'_> {
    /// What the conversation is called on the disk.
    fn name(&self) -> RowName {
        self.seal.name(Table::Conversations, &self.conversation.0)
    }

    fn reference(&self, reference: MessageRef) -> RowName {
        let number = reference.number.to_be_bytes();
        self.seal.name(Table::Lines, &[&self.conversation.0[..], &reference.device.0, &number].concat())
    }

    fn find(&self, reference: MessageRef) -> Result<Option<Line>, RowError> {
        let query = format!("SELECT {COLUMNS} FROM lines WHERE conversation = ?1 AND reference = ?2");
        let found = read(self.connection, self.seal, &query, (self.name(), self.reference(reference)))?;
        Ok(found.into_iter().next().map(|(_, line)| line))
    }

    /// The place of the last line in the log.
    fn head(&self) -> Result<u64, RowError> {
        let query = "SELECT max(sequence) FROM lines WHERE conversation = ?1 AND sequence < ?2";
        let head = self.connection.query_row(query, (self.name(), PENDING), |row| row.get::<_, Option<u64>>(0))?;
        Ok(head.unwrap_or(0))
    }

    fn put(&self, line: &Line, own: AccountId) -> Result<(), RowError> {
        let columns = Columns {
            conversation: self.name(),
            reference: self.reference(line.message.reference),
            sequence: line.position.sequence,
            born: line.position.born,
            local: line.local,
            counts: line.counts(own),
        };
        let content = Content {
            conversation: self.conversation,
            message: line.message.clone(),
            edited: line.edited,
            deleted: line.deleted,
            reactions: line.reactions.clone(),
            failed: line.failed,
        };
        let mut json = Zeroizing::new(serde_json::to_vec(&content).expect("a line has string keys only"));
        let padded = json.len().next_multiple_of(PADDING);
        json.resize(padded, b' ');
        let sealed = self.seal.seal(&columns.place()?, &json);
        let Columns { conversation, reference, sequence, born, local, counts } = columns;
        let write = format!("INSERT OR REPLACE INTO lines ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
        let row = (conversation, reference, sequence, born, local, counts, sealed);
        self.connection.prepare_cached(&write)?.execute(row)?;
        Ok(())
    }
}

/// The plain columns of a line.
struct Columns {
    conversation: RowName,
    reference: RowName,
    sequence: u64,
    born: u64,
    local: u64,
    counts: bool,
}

impl Columns {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            conversation: row.get(0)?,
            reference: row.get(1)?,
            sequence: row.get(2)?,
            born: row.get(3)?,
            local: row.get(4)?,
            counts: row.get(5)?,
        })
    }

    fn place(&self) -> Result<Place, RowError> {
        let mut place = Place::new(Table::Lines, &self.reference).within(&self.conversation);
        for column in [self.sequence, self.born, self.local] {
            place = place.and(column.try_into().map_err(|_| RowError::Sealed)?);
        }
        Ok(place.and(self.counts.into()))
    }
}

/// The lines that a query finds.
fn read(
    connection: &Connection,
    seal: &Seal,
    query: &str,
    parameters: impl Params,
) -> Result<Vec<(ConversationId, Line)>, RowError> {
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query(parameters)?;
    let mut lines = Vec::new();
    while let Some(row) = rows.next()? {
        let columns = Columns::of(row)?;
        let sealed: Vec<u8> = row.get(6)?;
        let content = seal.open(&columns.place()?, &sealed).ok_or(RowError::Sealed)?;
        let content: Content = serde_json::from_slice(&content).map_err(|_| RowError::Sealed)?;
        let line = Line {
            message: content.message,
            position: Position { sequence: columns.sequence, born: columns.born },
            edited: content.edited,
            deleted: content.deleted,
            reactions: content.reactions,
            failed: content.failed,
            local: columns.local,
        };
        lines.push((content.conversation, line));
    }
    Ok(lines)
}

impl State {
    /// Lines of a conversation before a position, or the last ones; the newest first, at most [`LINES_MAX`].
    ///
    /// # Errors
    /// When the file can't be read, or is damaged.
    pub fn page(
        &self,
        conversation: ConversationId,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<Line>, ProfileError> {
        let before = before.map_or((PENDING, PENDING), |position| (position.sequence, position.born));
        let query = format!(
            "SELECT {COLUMNS} FROM lines WHERE conversation = ?1 AND (sequence, born) < (?2, ?3)
             ORDER BY sequence DESC, born DESC LIMIT ?4"
        );
        let name = self.lines(conversation).name();
        let lines = self.read(&query, (name, before.0, before.1, limit.min(LINES_MAX)))?;
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }

    /// Lines of all conversations that have changed after the change of this number, in the order of their last change; at most
    /// [`LINES_MAX`]. A line that changes again comes again, as it is then.
    ///
    /// # Errors
    /// When the file can't be read, or is damaged.
    pub fn changed_after(&self, local: u64, limit: usize) -> Result<Vec<(ConversationId, Line)>, ProfileError> {
        let query = format!("SELECT {COLUMNS} FROM lines WHERE local > ?1 ORDER BY local LIMIT ?2");
        self.read(&query, (local.min(PENDING), limit.min(LINES_MAX)))
    }

    /// Texts of others beyond a sequence number.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn unread(&self, conversation: ConversationId, read: u64) -> Result<u64, ProfileError> {
        let query = "SELECT count(*) FROM lines WHERE conversation = ?1 AND counts = 1 AND sequence > ?2";
        let count = || {
            let mut statement = self.vault.connection.prepare_cached(query)?;
            statement.query_row((self.lines(conversation).name(), placed(read)), |row| row.get(0))
        };
        count().map_err(|error: rusqlite::Error| self.vault.failed(error.into()))
    }

    /// The last line of a conversation.
    ///
    /// # Errors
    /// When the file can't be read, or is damaged.
    pub fn last(&self, conversation: ConversationId) -> Result<Option<Line>, ProfileError> {
        Ok(self.page(conversation, None, 1)?.pop())
    }

    /// One line.
    ///
    /// # Errors
    /// When the file can't be read, or is damaged.
    pub fn line(&self, conversation: ConversationId, reference: MessageRef) -> Result<Option<Line>, ProfileError> {
        self.lines(conversation).find(reference).map_err(|error| self.vault.failed(error))
    }

    fn lines(&self, conversation: ConversationId) -> Lines<'_> {
        Lines { connection: &self.vault.connection, seal: &self.vault.seal, conversation }
    }

    fn read(&self, query: &str, parameters: impl Params) -> Result<Vec<(ConversationId, Line)>, ProfileError> {
        read(&self.vault.connection, &self.vault.seal, query, parameters).map_err(|error| self.vault.failed(error))
    }
}
