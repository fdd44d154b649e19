//! Account names.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An account's name: 3 to 32 characters of `a`-`z`, `0`-`9`, `.`, `_` and `-`, case-folded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a text is not an account name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Fewer than 3 or more than 32 characters.
    #[error("a name has 3 to 32 characters")]
    Length,
    /// A character outside the alphabet.
    #[error("a name is made of the letters a to z, digits, dot, underscore and hyphen")]
    Alphabet,
    /// The first or last character is a dot, underscore or hyphen, or two of them meet.
    #[error("dots, underscores and hyphens stand between letters or digits, one at a time")]
    Separator,
    /// The name could be taken for the operator or for a part of the software.
    #[error("this name is reserved")]
    Reserved,
}

/// Names nobody can sign up with: they would be mistaken for the operator or for a command.
/// `echo` is made by the network itself.
const RESERVED: &[&str] = &[
    "abuse",
    "admin",
    "administrator",
    "ahoy",
    "ahoyd",
    "all",
    "anonymous",
    "authority",
    "billing",
    "bot",
    "contact",
    "echo",
    "everyone",
    "help",
    "here",
    "hostmaster",
    "info",
    "me",
    "mod",
    "moderator",
    "nobody",
    "noreply",
    "no-reply",
    "null",
    "official",
    "operator",
    "postmaster",
    "root",
    "security",
    "self",
    "support",
    "system",
    "team",
    "test",
    "undefined",
    "webmaster",
    "you",
];

impl Name {
    /// Reads a name as a person types it: case is folded, nothing else is forgiven.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let name = text.to_ascii_lowercase();
        if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || is_separator(b)) {
            return Err(InvalidName::Alphabet);
        }
        if !(3..=32).contains(&name.len()) {
            return Err(InvalidName::Length);
        }
        let bytes = name.as_bytes();
        let edge = is_separator(bytes[0]) || is_separator(bytes[bytes.len() - 1]);
        if edge || bytes.windows(2).any(|pair| is_separator(pair[0]) && is_separator(pair[1])) {
            return Err(InvalidName::Separator);
        }
        Ok(Self(name))
    }

    /// Whether only the network itself may give this name to an account.
    pub fn is_reserved(&self) -> bool {
        RESERVED.contains(&self.0.as_str())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b'.' | b'_' | b'-')
}

impl TryFrom<String> for Name {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::parse(&text)
    }
}

impl std::str::FromStr for Name {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::parse(text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_folded() {
        assert_eq!(Name::parse("Alice").map(String::from), Ok("alice".to_owned()));
    }

    #[test]
    fn each_rule_is_named_when_broken() {
        assert_eq!(Name::parse("al"), Err(InvalidName::Length));
        assert_eq!(Name::parse(&"a".repeat(33)), Err(InvalidName::Length));
        assert_eq!(Name::parse("алиса"), Err(InvalidName::Alphabet));
        assert_eq!(Name::parse("a lice"), Err(InvalidName::Alphabet));
        assert_eq!(Name::parse(".alice"), Err(InvalidName::Separator));
        assert_eq!(Name::parse("al..ice"), Err(InvalidName::Separator));
        assert!(Name::parse("Admin").is_ok_and(|name| name.is_reserved()));
    }
}
