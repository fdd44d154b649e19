//! The note of a contact request: a few plain words that only the devices of the one asked can read.
//!
//! All notes have the same length on the wire. What opens is not trusted further: anybody can seal to a request key, and
//! the words are what the asking account's supernode was given under its name.

use prost::Message;

use crate::limits::{NOTE_CHARACTERS_MAX, NOTE_LENGTH};
use crate::request_key::{RequestKey, RequestSecret};
use crate::{AccountId, base_mode, v1};

const INFO: &[u8] = b"ahoy/1 contact note";

/// Tag and two bytes of length in front of the padding.
const PADDING_HEAD: usize = 3;

/// Why a note can't be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// More than [`NOTE_CHARACTERS_MAX`] characters.
    #[error("a note has at most {NOTE_CHARACTERS_MAX} characters")]
    TooLong,
    /// The request key is of small order: what is sealed to it, everybody can read.
    #[error("the request key of this account is of no use")]
    Key,
}

/// Another account's, or bytes that were changed, or not a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the note does not open")]
pub struct NotOpened;

/// Seals a note from the account that asks to the one asked; `seed` must be random and used once.
///
/// # Errors
/// When the text is too long or the key is of no use.
pub fn seal(
    text: &str,
    asking: AccountId,
    asked: AccountId,
    key: &RequestKey,
    seed: [u8; 32],
) -> Result<Vec<u8>, NoteError> {
    if text.chars().count() > NOTE_CHARACTERS_MAX {
        return Err(NoteError::TooLong);
    }
    base_mode::seal(key.bytes(), INFO, &aad(asking, asked), &padded(text), seed).ok_or(NoteError::Key)
}

/// Opens a note on a device of the account asked.
///
/// # Errors
/// When it was not sealed to this account by or for the asking one, or is no note.
pub fn open(sealed: &[u8], asking: AccountId, asked: AccountId, secret: &RequestSecret) -> Result<String, NotOpened> {
    let plain = base_mode::open(secret.as_bytes(), INFO, &aad(asking, asked), sealed).ok_or(NotOpened)?;
    let note = v1::ContactNote::decode(&plain[..]).map_err(|_| NotOpened)?;
    if note.text.chars().count() > NOTE_CHARACTERS_MAX {
        return Err(NotOpened);
    }
    Ok(note.text)
}

fn aad(asking: AccountId, asked: AccountId) -> [u8; 32] {
    let mut aad = [0; 32];
    aad[..16].copy_from_slice(&asking.0);
    aad[16..].copy_from_slice(&asked.0);
    aad
}

/// The encoded note in exactly [`NOTE_LENGTH`] bytes. The padding's length is written in two bytes also where one would do:
/// otherwise there is a text that can't be filled up.
fn padded(text: &str) -> Vec<u8> {
    let mut plain = v1::ContactNote { text: text.to_owned(), ..Default::default() }.encode_to_vec();
    let padding = NOTE_LENGTH - plain.len() - PADDING_HEAD;
    plain.extend([2 << 3 | 2, padding as u8 | 0x80, (padding >> 7) as u8]);
    plain.resize(NOTE_LENGTH, 0);
    plain
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    use super::*;
    use crate::limits::NOTE_SEALED_MAX;
    use crate::request_key;

    const ASKING: AccountId = AccountId([1; 16]);
    const ASKED: AccountId = AccountId([2; 16]);

    fn keys(seed: u8) -> (RequestKey, RequestSecret) {
        let account_key = SigningKey::from_bytes(&[seed; 32]);
        let published = request_key::publish(ASKED, &account_key);
        let key = request_key::verify(&published, ASKED, account_key.verifying_key().as_bytes()).unwrap();
        (key, RequestSecret::of_account_key(&account_key))
    }

    #[test]
    fn a_note_opens_only_on_the_account_that_is_asked() {
        let (key, secret) = keys(1);
        let sealed = seal("it's me", ASKING, ASKED, &key, [5; 32]).unwrap();
        assert_eq!(open(&sealed, ASKING, ASKED, &secret), Ok("it's me".to_owned()));
        assert_eq!(open(&sealed, ASKING, ASKED, &keys(2).1), Err(NotOpened));
        assert_eq!(open(&sealed, AccountId([3; 16]), ASKED, &secret), Err(NotOpened));
        assert_eq!(open(&sealed, ASKED, ASKING, &secret), Err(NotOpened));
        assert_eq!(open(&[], ASKING, ASKED, &secret), Err(NotOpened));
    }

    #[test]
    fn the_longest_note_fits_and_one_letter_more_does_not() {
        let (key, secret) = keys(1);
        let longest = "🌊".repeat(NOTE_CHARACTERS_MAX);
        let sealed = seal(&longest, ASKING, ASKED, &key, [5; 32]).unwrap();
        assert!(sealed.len() <= NOTE_SEALED_MAX);
        assert_eq!(open(&sealed, ASKING, ASKED, &secret), Ok(longest.clone()));
        assert_eq!(seal(&(longest + "a"), ASKING, ASKED, &key, [5; 32]), Err(NoteError::TooLong));
    }

    #[test]
    fn a_note_that_its_sender_made_too_long_does_not_open() {
        let (key, secret) = keys(1);
        let note = v1::ContactNote { text: "a".repeat(NOTE_CHARACTERS_MAX + 1), ..Default::default() };
        let aad = aad(ASKING, ASKED);
        let sealed = base_mode::seal(key.bytes(), INFO, &aad, &note.encode_to_vec(), [5; 32]).unwrap();
        assert_eq!(open(&sealed, ASKING, ASKED, &secret), Err(NotOpened));
    }

    proptest! {
        #[test]
        fn all_notes_have_the_same_length(text in "\\PC{0,280}") {
            let plain = padded(&text);
            prop_assert_eq!(plain.len(), NOTE_LENGTH);
            prop_assert_eq!(v1::ContactNote::decode(&plain[..]).unwrap().text, text);
        }

        #[test]
        fn no_bytes_panic(noise: Vec<u8>) {
            prop_assert_eq!(open(&noise, ASKING, ASKED, &keys(1).1), Err(NotOpened));
        }
    }
}
