//! How what a profile keeps is sealed, so that its file shows nothing but sizes and order.
//!
//! From the 32 random bytes of the [`ProfileKey`] come, by HKDF-SHA256, a cipher key and a naming key. Each row's content is
//! nonce (24 random bytes) ‖ XChaCha20-Poly1305, with the row's table, name and plain columns as associated data: a row that is
//! moved, swapped or renumbered does not open. Each row's name is a pseudo-random function of what it would be called in the open.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes in front of each sealed content. Random ones of this length never meet twice.
const NONCE: usize = 24;

/// What rows are called: 128 bits, so that two of 2⁴⁰ rows meet with a probability of 2⁻⁴⁹.
pub(super) const NAME: usize = 16;

/// A row's name on the disk.
pub(super) type RowName = [u8; NAME];

/// Opens everything that a profile keeps. Its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) struct ProfileKey([u8; 32]);

impl ProfileKey {
    /// A key that nobody has had before.
    pub(super) fn random() -> Self {
        Self(rand::random())
    }

    /// The key of these bytes, if their number is right.
    pub(super) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn derive(&self, label: &str) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, &self.0).expand(label.as_bytes(), &mut *key).expect("HKDF gives up to 8160 bytes");
        key
    }
}

impl fmt::Debug for ProfileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProfileKey(…)")
    }
}

/// Seals, opens and names rows.
pub(super) struct Seal {
    cipher: XChaCha20Poly1305,
    names: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(…)")
    }
}

impl Seal {
    pub(super) fn new(key: &ProfileKey) -> Self {
        let content = key.derive("ahoy profile content");
        Self { cipher: XChaCha20Poly1305::new((&*content).into()), names: key.derive("ahoy profile names") }
    }

    /// What a row of a table is called on the disk.
    pub(super) fn name(&self, table: Table, key: &[u8]) -> RowName {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&*self.names).expect("HMAC takes keys of any length");
        mac.update(table.label());
        mac.update(key);
        let mut name = [0; NAME];
        name.copy_from_slice(&mac.finalize().into_bytes()[..NAME]);
        name
    }

    /// Seals a row's content to its place.
    pub(super) fn seal(&self, place: &Place, content: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE] = rand::random();
        let payload = Payload { msg: content, aad: &place.0 };
        let sealed = self.cipher.encrypt(XNonce::from_slice(&nonce), payload).expect("content is far below 256 GB");
        [&nonce[..], &sealed].concat()
    }

    /// Opens a row's content; `None` if it was not sealed with this key to this place.
    pub(super) fn open(&self, place: &Place, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE)?;
        let payload = Payload { msg: sealed, aad: &place.0 };
        self.cipher.decrypt(XNonce::from_slice(nonce), payload).ok().map(Zeroizing::new)
    }
}

/// What a row name belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// The profile's own: identity, counter.
    Own,
    /// What the member keeps.
    Pairs,
    /// Conversations, as columns of `lines`.
    Conversations,
    /// Lines of conversations.
    Lines,
}

impl Table {
    /// None is the start of another, so no key of one table reads as a key of another.
    fn label(self) -> &'static [u8] {
        match self {
            Self::Own => b"own\0",
            Self::Pairs => b"pairs\0",
            Self::Conversations => b"conversations\0",
            Self::Lines => b"lines\0",
        }
    }
}

/// Where a sealed content belongs: table, name, plain columns.
#[derive(Debug, Clone)]
pub(super) struct Place(Vec<u8>);

impl Place {
    /// A row of a table that has no plain columns.
    pub(super) fn new(table: Table, name: &RowName) -> Self {
        Self([table.label(), name].concat())
    }

    /// With a plain column.
    pub(super) fn and(mut self, column: i64) -> Self {
        self.0.extend_from_slice(&column.to_be_bytes());
        self
    }

    /// With a name of another table.
    pub(super) fn within(mut self, name: &RowName) -> Self {
        self.0.extend_from_slice(name);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_opens_at_its_place_with_its_key_and_nowhere_else() {
        let (key, other) = (ProfileKey([1; 32]), ProfileKey([2; 32]));
        let seal = Seal::new(&key);
        let name = seal.name(Table::Lines, b"a");
        let place = Place::new(Table::Lines, &name).and(7);
        let sealed = seal.seal(&place, b"content");
        assert_eq!(seal.open(&place, &sealed).unwrap().as_slice(), b"content");
        assert!(Seal::new(&other).open(&place, &sealed).is_none());
        assert!(seal.open(&Place::new(Table::Lines, &name).and(8), &sealed).is_none());
        assert!(seal.open(&Place::new(Table::Pairs, &name).and(7), &sealed).is_none());
        assert!(seal.open(&Place::new(Table::Lines, &seal.name(Table::Lines, b"b")).and(7), &sealed).is_none());
        for length in 0..sealed.len() {
            assert!(seal.open(&place, &sealed[..length]).is_none());
        }
    }

    #[test]
    fn names_are_the_same_each_time_and_differ_by_key_and_table() {
        let seal = Seal::new(&ProfileKey([1; 32]));
        let name = seal.name(Table::Pairs, b"a");
        assert_eq!(seal.name(Table::Pairs, b"a"), name);
        assert_ne!(seal.name(Table::Lines, b"a"), name);
        assert_ne!(Seal::new(&ProfileKey([2; 32])).name(Table::Pairs, b"a"), name);
    }

    #[test]
    fn no_key_shows_in_debug() {
        assert_eq!(format!("{:?}", ProfileKey([1; 32])), "ProfileKey(…)");
        assert_eq!(format!("{:?}", Seal::new(&ProfileKey([1; 32]))), "Seal(…)");
    }
}
