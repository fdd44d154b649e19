//! The seam between verbs and engines: statements with positional parameters, and rows that are the engine's to read.
//!
//! Statements are written once, in the SQL that SQLite and PostgreSQL both take, with parameters `?1`, `?2` and so on, and
//! with the few types that both have: whole numbers of 64 bits, text, bytes, and nothing.

use ahoy_proto::{AccountId, ConversationId, DeviceId, UnixTime};
use bytes::Bytes;

use crate::batch::Transaction;
use crate::{Day, StoreError};

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

/// A row of an answer.
#[derive(Debug)]
pub(crate) struct Row<'a>(&'a rusqlite::Row<'a>);

impl Row<'_> {
    /// A column by its place in the statement, from 0. [`StoreError::Unavailable`] when it holds what never was written there.
    pub(crate) fn get<T: FromValue>(&self, column: usize) -> Result<T, StoreError> {
        T::from_value(self.value(column)?).ok_or_else(|| {
            tracing::error!(column, kind = std::any::type_name::<T>(), "the database holds what it can't");
            StoreError::Unavailable
        })
    }

    fn value(&self, column: usize) -> Result<Value<'_>, StoreError> {
        use rusqlite::types::ValueRef;
        Ok(match self.0.get_ref(column)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Integer(number),
            ValueRef::Text(text) => Value::Text(std::str::from_utf8(text).map_err(|_| StoreError::Unavailable)?),
            ValueRef::Blob(bytes) => Value::Blob(bytes),
            ValueRef::Real(_) => return Err(StoreError::Unavailable),
        })
    }
}

impl Transaction<'_> {
    /// Carries out a statement that answers nothing, and says how many rows it touched.
    pub(crate) fn execute(&self, statement: &'static str, params: &[Value<'_>]) -> Result<usize, StoreError> {
        let mut statement = self.0.prepare_cached(statement)?;
        bind(&mut statement, params)?;
        Ok(statement.raw_execute()?)
    }

    /// Reads the first row of the answer, if there is any.
    pub(crate) fn first<T>(
        &self,
        statement: &'static str,
        params: &[Value<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.0.prepare_cached(statement)?;
        bind(&mut statement, params)?;
        statement.raw_query().next()?.map(|row| read(&Row(row))).transpose()
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
        self.each(statement, params, |row| {
            all.push(read(row)?);
            Ok(true)
        })?;
        Ok(all)
    }

    /// Hands over the rows of the answer one after the other, as long as `take` says true.
    pub(crate) fn each(
        &self,
        statement: &'static str,
        params: &[Value<'_>],
        mut take: impl FnMut(&Row<'_>) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self.0.prepare_cached(statement)?;
        bind(&mut statement, params)?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            if !take(&Row(row))? {
                break;
            }
        }
        Ok(())
    }
}

fn bind(statement: &mut rusqlite::Statement<'_>, params: &[Value<'_>]) -> Result<(), StoreError> {
    for (index, value) in params.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, value)?;
    }
    Ok(())
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::ValueRef;
        Ok(rusqlite::types::ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
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
