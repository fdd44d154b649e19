//! SQL lives beside the verb that runs it, as constants that the tests can list.

/// Defines SQL statements, and for the tests a list of all of them.
macro_rules! statements {
    ($($name:ident = $sql:literal;)*) => {
        $(const $name: &str = $sql;)*
        #[cfg(test)]
        pub(crate) const STATEMENTS: &[&str] = &[$($name),*];
    };
}
pub(crate) use statements;
