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
    /// More verbs wait than the queue holds, or others were in its way again and again; try again.
    #[error("the store is busy")]
    Busy,
    /// No space left; nothing of the verb was kept.
    #[error("the disk is full")]
    Full,
    /// The database failed; the log says how.
    #[error("the store is unavailable")]
    Unavailable,
}

/// Why a database can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Written by a newer version of this software.
    #[error("the database has schema version {found}, this program knows up to {known}: install a newer version")]
    Newer {
        /// In the database.
        found: i64,
        /// By this program.
        known: i64,
    },
    /// It is in PostgreSQL now.
    #[error("the database has been moved to PostgreSQL: what is in the file is only what was there before")]
    Moved,
    /// A migration goes into it.
    #[error("a migration into the database is not complete: start it again")]
    Unfinished,
    /// SQLite refuses it.
    #[error("the database can't be opened: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The address can't be read.
    #[error("the address of the database is none: {0}")]
    Address(String),
    /// A certificate can't be verified: by whose word?
    #[error("TLS needs to know whom to trust, by the system's store or SSL_CERT_FILE: {0}")]
    Trust(String),
    /// There is no PostgreSQL server at the address, or it does not answer, or not as one that is trusted.
    #[error("no PostgreSQL server can be reached: {0}")]
    Unreachable(String),
    /// PostgreSQL refuses us, or a statement.
    #[error("PostgreSQL refuses: {0}")]
    Postgres(String),
    /// The database can't hold every text.
    #[error("the database is encoded in {0}: make one in UTF8")]
    Encoding(String),
    /// No thread.
    #[error("a thread of the store can't be started: {0}")]
    Thread(#[from] std::io::Error),
}
