//! Why a verb or an opening failed.

/// Why a verb had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No such thing, or not for this account to know.
    #[error("not found")]
    NotFound,
    /// The name belongs to another account.
    #[error("the name is taken")]
    NameTaken,
    /// The id that was to be given is in use.
    #[error("it exists already")]
    AlreadyExists,
    /// The invite is missing, unknown, used or expired, or does not admit to this.
    #[error("no valid invite")]
    InviteRefused,
    /// The enrolment token is unknown, used or expired.
    #[error("no valid enrolment token")]
    EnrolmentRefused,
    /// Known, but not allowed.
    #[error("not allowed")]
    Forbidden,
    /// The device's state is a copy, or restored from one.
    #[error("the device's state is too old")]
    StateTooOld,
    /// What the verb was based on has changed meanwhile.
    #[error("it has changed meanwhile")]
    Conflict,
    /// A field has the wrong length.
    #[error("a field is out of range")]
    Invalid,
    /// A bound of `proto::limits` has been reached.
    #[error("a limit has been reached")]
    LimitReached,
    /// More verbs wait than the queue holds; try again.
    #[error("the store is busy")]
    Busy,
    /// No space left; nothing of this batch was kept.
    #[error("the disk is full")]
    Full,
    /// The database failed; the log says how.
    #[error("the store is unavailable")]
    Unavailable,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            _ if matches!(error, rusqlite::Error::QueryReturnedNoRows) => Self::NotFound,
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            // A session may outlive its device or account by a moment.
            _ if refers_to_nothing(&error) => Self::NotFound,
            _ => {
                tracing::error!(%error, "the database failed");
                Self::Unavailable
            }
        }
    }
}

fn refers_to_nothing(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY)
}

/// Why a database can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Written by a newer version of this software.
    #[error("the database has schema version {found}, this program knows up to {known}: install a newer version")]
    Newer {
        /// In the file.
        found: i64,
        /// By this program.
        known: i64,
    },
    /// SQLite refuses it.
    #[error("the database can't be opened: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// No thread.
    #[error("the store's thread can't be started: {0}")]
    Thread(#[from] std::io::Error),
}
