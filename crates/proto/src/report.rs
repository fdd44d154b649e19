//! Reports: what somebody complains of, for the eyes of the network's operator.
//!
//! The reporter chooses what to reveal, and nothing proves it but the reporter's word. Authority and supernodes keep the
//! sealed bytes; whoever holds the report secret reads them.

use std::fmt;

use prost::Message;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::limits::REPORT_SEALED_MAX;
use crate::{AccountId, base_mode, v1};

const INFO: &[u8] = b"ahoy/1 report";

/// Longest reason, in characters: what fits on a page.
pub const REASON_CHARACTERS_MAX: usize = 1_000;

/// Opens reports; the operator's. Zeroized on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ReportSecret([u8; 32]);

impl fmt::Debug for ReportSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReportSecret(…)")
    }
}

impl ReportSecret {
    /// The secret of these bytes, which must be random.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What is to be kept.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What stands in [`WellKnown::report_key`](crate::api::WellKnown::report_key).
    pub fn report_key(&self) -> [u8; 32] {
        base_mode::public_key(&self.0)
    }
}

/// Why a report can't be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The reason, or all together, is too long.
    #[error("a report has a reason of at most {REASON_CHARACTERS_MAX} characters and some messages")]
    TooLong,
    /// The report key is of small order.
    #[error("the report key of this network is of no use")]
    Key,
}

/// Another operator's, or bytes that were changed, or not a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the report does not open")]
pub struct NotOpened;

/// Seals a report by one account about another; `seed` must be random and used once.
///
/// # Errors
/// When the report is too long or the key is of no use.
pub fn seal(
    content: &v1::ReportContent,
    reporter: AccountId,
    about: AccountId,
    report_key: &[u8; 32],
    seed: [u8; 32],
) -> Result<Vec<u8>, ReportError> {
    if content.reason.chars().count() > REASON_CHARACTERS_MAX {
        return Err(ReportError::TooLong);
    }
    let sealed = base_mode::seal(report_key, INFO, &aad(reporter, about), &content.encode_to_vec(), seed)
        .ok_or(ReportError::Key)?;
    if sealed.len() > REPORT_SEALED_MAX {
        return Err(ReportError::TooLong);
    }
    Ok(sealed)
}

/// Opens a report.
///
/// # Errors
/// When it was not sealed to this operator for these two accounts, or is no report.
pub fn open(
    sealed: &[u8],
    reporter: AccountId,
    about: AccountId,
    secret: &ReportSecret,
) -> Result<v1::ReportContent, NotOpened> {
    let plain = base_mode::open(&secret.0, INFO, &aad(reporter, about), sealed).ok_or(NotOpened)?;
    v1::ReportContent::decode(&plain[..]).map_err(|_| NotOpened)
}

fn aad(reporter: AccountId, about: AccountId) -> Vec<u8> {
    [reporter.0, about.0].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORTER: AccountId = AccountId([1; 16]);
    const ABOUT: AccountId = AccountId([2; 16]);

    fn content(reason: &str) -> v1::ReportContent {
        let message = v1::RevealedMessage { account: ABOUT.to_bytes(), text: "rude".to_owned(), at_ms: 5 };
        v1::ReportContent { reason: reason.to_owned(), messages: vec![message] }
    }

    #[test]
    fn a_report_opens_for_the_operator_and_the_two_accounts_it_names() {
        let secret = ReportSecret::new([3; 32]);
        let sealed = seal(&content("spam"), REPORTER, ABOUT, &secret.report_key(), [4; 32]).unwrap();
        assert_eq!(open(&sealed, REPORTER, ABOUT, &secret), Ok(content("spam")));
        assert_eq!(open(&sealed, ABOUT, REPORTER, &secret), Err(NotOpened));
        assert_eq!(open(&sealed, REPORTER, ABOUT, &ReportSecret::new([5; 32])), Err(NotOpened));
        assert_eq!(open(&sealed[..31], REPORTER, ABOUT, &secret), Err(NotOpened));
    }

    #[test]
    fn a_report_that_is_too_long_is_not_sealed() {
        let key = ReportSecret::new([3; 32]).report_key();
        let reason = "ä".repeat(REASON_CHARACTERS_MAX);
        assert!(seal(&content(&reason), REPORTER, ABOUT, &key, [4; 32]).is_ok());
        assert_eq!(seal(&content(&(reason + "a")), REPORTER, ABOUT, &key, [4; 32]), Err(ReportError::TooLong));
        let mut long = content("spam");
        long.messages[0].text = "a".repeat(REPORT_SEALED_MAX);
        assert_eq!(seal(&long, REPORTER, ABOUT, &key, [4; 32]), Err(ReportError::TooLong));
        assert_eq!(seal(&content("spam"), REPORTER, ABOUT, &[0; 32], [4; 32]), Err(ReportError::Key));
    }
}
