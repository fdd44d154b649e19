//! The seam between verbs and engines: statements with positional parameters, and rows that are the engine's to read.
//!
//! Statements are written once, in the SQL that SQLite and PostgreSQL both take, with parameters `?1`, `?2` and so on, and
//! with the few types that both have: whole numbers of 64 bits, text, bytes, and nothing.

use std::fmt;

use ahoy_proto::{AccountId, ConversationId, DeviceId, UnixTime};
use bytes::Bytes;

use crate::{Day, StoreError, postgres, sqlite};

/// What a parameter holds, or a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    Integer(i64),
    Text(&'a str),
    Blob(&'a [u8]),
}

/// The parameters of a statement, in order.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::sql::ToValue::value(&$value)),*] };
}
pub(crate) use params;

/// What can be a parameter.
pub(crate) trait ToValue {
    fn value(&self) -> Value<'_>;
}

/// What can be read from a column.
pub(crate) trait FromValue: Sized {
    /// `None`: the column holds something else.
    fn from_value(value: Value<'_>) -> Option<Self>;
}

/// What a verb works on; only this crate can look inside.
pub struct Transaction<'a>(pub(crate) Engine<'a>);

/// Where a transaction takes place.
pub(crate) enum Engine<'a> {
    Sqlite(&'a rusqlite::Connection),
    Postgres(&'a postgres::Transaction<'a>),
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Engine::Sqlite(_) => "Transaction(SQLite)",
            Engine::Postgres(_) => "Transaction(PostgreSQL)",
        })
    }
}

/// A row of an answer.
pub(crate) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a tokio_postgres::Row),
}

impl Row<'_> {
    /// A column by its place in the statement, from 0. [`StoreError::Unavailable`] when it holds what never was written there.
    pub(crate) fn get<T: FromValue>(&self, column: usize) -> Result<T, StoreError> {
        let value = match self {
            Self::Sqlite(row) => sqlite::value(row, column)?,
            Self::Postgres(row) => postgres::value(row, column)?,
        };
        T::from_value(value).ok_or_else(|| {
            tracing::error!(column, kind = std::any::type_name::<T>(), "the database holds what it can't");
            StoreError::Unavailable
        })
    }
}

/// How an answer is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Whole: the statement bounds it.
    Bounded,
    /// In portions, as far as it is wanted.
    Open,
}

impl Transaction<'_> {
    /// Carries out a statement that answers nothing, and says how many rows it touched.
    pub(crate) fn execute(&self, statement: &'static str, params: &[Value<'_>]) -> Result<usize, StoreError> {
        check(params)?;
        match self.0 {
            Engine::Sqlite(connection) => sqlite::execute(connection, statement, params),
            Engine::Postgres(transaction) => transaction.execute(statement, params),
        }
    }

    /// Reads the first row of the answer, if there is any.
    pub(crate) fn first<T>(
        &self,
        statement: &'static str,
        params: &[Value<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let (mut read, mut first) = (Some(read), None);
        self.query(statement, params, Extent::Bounded, &mut |row| {
            first = read.take().map(|read| read(row)).transpose()?;
            Ok(false)
        })?;
        Ok(first)
    }

    /// Reads the first row of the answer, or fails with [`StoreError::NotFound`].
    pub(crate) fn one<T>(
        &self,
        statement: &'static str,
        params: &[Value<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.first(statement, params, read)?.ok_or(StoreError::NotFound)
    }

    /// Whether the answer has any row.
    pub(crate) fn exists(&self, statement: &'static str, params: &[Value<'_>]) -> Result<bool, StoreError> {
        Ok(self.first(statement, params, |_| Ok(()))?.is_some())
    }

    /// Reads all rows of the answer. The statement bounds how many.
    pub(crate) fn all<T>(
        &self,
        statement: &'static str,
        params: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut all = Vec::new();
        self.query(statement, params, Extent::Bounded, &mut |row| {
            all.push(read(row)?);
            Ok(true)
        })?;
        Ok(all)
    }

    /// Hands over the rows of the answer one after the other, as long as `take` says true.
    pub(crate) fn query(
        &self,
        statement: &'static str,
        params: &[Value<'_>],
        extent: Extent,
        take: &mut dyn FnMut(&Row<'_>) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        check(params)?;
        match self.0 {
            Engine::Sqlite(connection) => sqlite::query(connection, statement, params, take),
            Engine::Postgres(transaction) => transaction.query(statement, params, extent, take),
        }
    }
}

/// PostgreSQL's text has no NUL, so none has.
fn check(params: &[Value<'_>]) -> Result<(), StoreError> {
    let has_nul = |value: &Value<'_>| matches!(value, Value::Text(text) if text.contains('\0'));
    if params.iter().any(has_nul) { Err(StoreError::Invalid) } else { Ok(()) }
}

macro_rules! integers {
    ($($kind:ty),*) => { $(
        impl ToValue for $kind {
            fn value(&self) -> Value<'_> {
                // No counter gets that far, and what lies behind the end of time lies there still.
                Value::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
            }
        }
        impl FromValue for $kind {
            fn from_value(value: Value<'_>) -> Option<Self> {
                let Value::Integer(number) = value else { return None };
                number.try_into().ok()
            }
        }
    )* };
}
integers!(i32, i64, u32, u64, usize);

impl ToValue for bool {
    fn value(&self) -> Value<'_> {
        Value::Integer((*self).into())
    }
}

impl FromValue for bool {
    fn from_value(value: Value<'_>) -> Option<Self> {
        i64::from_value(value).map(|number| number != 0)
    }
}

impl ToValue for str {
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl ToValue for String {
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl FromValue for String {
    fn from_value(value: Value<'_>) -> Option<Self> {
        let Value::Text(text) = value else { return None };
        Some(text.to_owned())
    }
}

impl<const N: usize> ToValue for [u8; N] {
    fn value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl<const N: usize> FromValue for [u8; N] {
    fn from_value(value: Value<'_>) -> Option<Self> {
        let Value::Blob(bytes) = value else { return None };
        bytes.try_into().ok()
    }
}

impl ToValue for [u8] {
    fn value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl ToValue for Vec<u8> {
    fn value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: Value<'_>) -> Option<Self> {
        let Value::Blob(bytes) = value else { return None };
        Some(bytes.to_vec())
    }
}

impl ToValue for Bytes {
    fn value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl FromValue for Bytes {
    fn from_value(value: Value<'_>) -> Option<Self> {
        let Value::Blob(bytes) = value else { return None };
        Some(Self::copy_from_slice(bytes))
    }
}

/// Newtypes are stored as what they hold.
macro_rules! newtypes {
    ($($kind:ident),*) => { $(
        impl ToValue for $kind {
            fn value(&self) -> Value<'_> {
                self.0.value()
            }
        }
        impl FromValue for $kind {
            fn from_value(value: Value<'_>) -> Option<Self> {
                FromValue::from_value(value).map(Self)
            }
        }
    )* };
}
newtypes!(AccountId, DeviceId, ConversationId, UnixTime, Day);

impl<T: ToValue> ToValue for Option<T> {
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, ToValue::value)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value<'_>) -> Option<Self> {
        if value == Value::Null { Some(None) } else { T::from_value(value).map(Some) }
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn value(&self) -> Value<'_> {
        (**self).value()
    }
}
