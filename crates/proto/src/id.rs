//! Ids: 16 opaque bytes each, a type for each kind.
//!
//! `Debug` and `Display` show only the first two bytes, so that an id in a log line can't be tied to a
//! person; [`to_hex`](AccountId::to_hex) gives the whole.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::hex::{hex, unhex};

/// Bytes that are not an id of the kind expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 16 bytes (32 hexadecimal digits)")]
pub struct InvalidId;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// The whole id as 32 lower-case hexadecimal digits.
            pub fn to_hex(self) -> String {
                hex(&self.0)
            }

            /// The id as it stands in a message.
            pub fn to_bytes(self) -> bytes::Bytes {
                bytes::Bytes::copy_from_slice(&self.0)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = InvalidId;
            fn try_from(bytes: &[u8]) -> Result<Self, InvalidId> {
                bytes.try_into().map(Self).map_err(|_| InvalidId)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::try_from(unhex(&text).ok_or(InvalidId)?.as_slice())
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_hex()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}…", hex(&self.0[..2]))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

id!(
    /// A network: the first 16 bytes of the SHA-256 of its root key.
    NetworkId
);
id!(
    /// An account; random, never changes.
    AccountId
);
id!(
    /// A device of an account; random, made by the device.
    DeviceId
);
id!(
    /// A supernode: the first 16 bytes of the SHA-256 of its roster key.
    SupernodeId
);
id!(
    /// A conversation; random, made by whoever creates it.
    ConversationId
);
id!(
    /// A call; random, made by the caller.
    CallId
);
id!(
    /// One attachment of a device to a call; random, fresh for every attachment.
    LegId
);

/// First 16 bytes of SHA-256: how ids are made from keys.
fn fingerprint(key: &[u8; 32]) -> [u8; 16] {
    use sha2::{Digest, Sha256};
    let digest: [u8; 32] = Sha256::digest(key).into();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    id
}

impl NetworkId {
    /// The id of the network whose root key (Ed25519, public) this is.
    pub fn of_root_key(key: &[u8; 32]) -> Self {
        Self(fingerprint(key))
    }
}

impl SupernodeId {
    /// The id of the supernode whose roster key (Ed25519, public) this is.
    pub fn of_roster_key(key: &[u8; 32]) -> Self {
        Self(fingerprint(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_text_and_shows_little_of_itself_in_logs() {
        let id = AccountId([0xab; 16]);
        assert_eq!(id.to_hex().parse::<AccountId>(), Ok(id));
        assert_eq!(format!("{id:?}"), "AccountId(abab…)");
    }

    #[test]
    fn bytes_of_another_length_are_no_id() {
        assert_eq!(AccountId::try_from(&[0u8; 15][..]), Err(InvalidId));
        assert!("zz".parse::<CallId>().is_err());
    }
}
