//! What goes wrong, the exit code for it, and what to do next: every error is worded here.

use std::process::ExitCode;

use ahoy_client::account::AccountError;
use ahoy_client::profile::ProfileError;
use ahoy_proto::api::{ApiError, ApiErrorCode};
use ahoy_proto::document::DocumentError;
use ahoy_proto::name::InvalidName;

/// Exit codes, as `ahoy --help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Other = 1,
    Unreachable = 3,
    Refused = 4,
    NotAnswered = 5,
    NotSignedIn = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a verb did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// For programs.
    pub(crate) code: &'static str,
    /// One sentence, without a full stop.
    pub(crate) text: String,
    /// What to do next; may be empty.
    pub(crate) advice: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, code: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { exit, code, text: text.into(), advice: advice.into() }
    }

    pub(crate) fn not_signed_in() -> Self {
        Self::new(
            Exit::NotSignedIn,
            "not-signed-in",
            "nobody is signed in with this profile",
            "Sign in with `ahoy sign-in NAME`, or make an account with `ahoy sign-up NAME`.",
        )
    }
}

impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Self {
        let text = error.to_string();
        match error {
            AccountError::Unreachable { url, .. } if url.is_local() => Self::new(
                Exit::Unreachable,
                "not-reachable",
                text,
                "Start a network on this machine with `ahoyd dev`, or name another one with --network URL.",
            ),
            AccountError::Unreachable { .. } => Self::new(
                Exit::Unreachable,
                "not-reachable",
                text,
                "Check the address and your connection; if both are right, the network is down: try again later.",
            ),
            AccountError::HostNotFound(_) => Self::new(
                Exit::Unreachable,
                "not-reachable",
                text,
                "Check the spelling after --network, and that this machine is online.",
            ),
            AccountError::Tls { .. } => Self::new(
                Exit::Unreachable,
                "tls",
                text,
                "Do not go on from a network that you do not trust. Otherwise check this machine's date, and tell the operator.",
            ),
            AccountError::NotAhoy(_) => Self::new(
                Exit::Unreachable,
                "not-ahoy",
                text,
                "Check the host and the port after --network.",
            ),
            AccountError::NetworkChanged(_) => Self::new(
                Exit::Refused,
                "network-changed",
                text,
                "Somebody may stand in between. If the operator confirms that the network was set up anew, use a new --profile.",
            ),
            AccountError::VersionTooOld { .. } => Self::new(Exit::Refused, "version-too-old", text, "Update ahoy."),
            AccountError::Document { error, .. } => document(text, error),
            AccountError::Refused(refusal) => refused(&refusal),
            AccountError::WrongPassword => Self::new(
                Exit::Refused,
                "sign-in-refused",
                text,
                "Check both and try again. With a lost password: `ahoy recover NAME` and the recovery code.",
            ),
            AccountError::PasswordLength => {
                Self::new(Exit::Refused, "password-length", text, "Several words are easy to remember and hard to guess.")
            }
            AccountError::AccountKey => Self::new(
                Exit::Refused,
                "account-key",
                text,
                "Nothing was changed. Ask the operator; do not use this network for anything private until it is explained.",
            ),
            _ => Self::new(Exit::Other, "protocol", text, "Update ahoy; if that does not help, tell the operator."),
        }
    }
}

fn document(text: String, error: DocumentError) -> Failure {
    let advice = match error {
        DocumentError::Expired => "Check this machine's date and time first. If they are right, tell the operator.",
        _ => "Somebody may stand in between. Try from another connection, and tell the operator.",
    };
    Failure::new(Exit::Refused, if error == DocumentError::Expired { "expired" } else { "forged" }, text, advice)
}

fn refused(refusal: &ApiError) -> Failure {
    let wait = refusal.retry_after_ms.map_or(String::new(), |ms| format!(" in {} s", ms.div_ceil(1000).max(1)));
    let (code, advice) = match refusal.code {
        ApiErrorCode::NameInvalid => ("name-invalid", "Choose another name.".to_owned()),
        ApiErrorCode::NameTaken => ("name-taken", "Choose another name; if it is yours, use `ahoy sign-in`.".to_owned()),
        ApiErrorCode::SignUpRefused => {
            ("sign-up-refused", "Ask the operator for an invite, and give it with --invite CODE.".to_owned())
        }
        ApiErrorCode::SignInRefused => {
            ("sign-in-refused", "Check the name and what you typed, and try again.".to_owned())
        }
        ApiErrorCode::StateRefused => ("state-refused", "That took too long. Try again.".to_owned()),
        ApiErrorCode::CredentialRefused => (
            "credential-refused",
            "This device was signed out, or its clock is wrong. Check the time, then `ahoy sign-out` and `ahoy sign-in NAME`."
                .to_owned(),
        ),
        ApiErrorCode::Suspended => ("suspended", "Ask the operator why.".to_owned()),
        ApiErrorCode::TooManyDevices => {
            ("too-many-devices", "Sign out on a device that you no longer use, then try again.".to_owned())
        }
        ApiErrorCode::RateLimited => ("rate-limited", format!("Try again{wait}.")),
        ApiErrorCode::Unavailable => ("unavailable", format!("The network has a problem of its own. Try again{wait}.")),
        ApiErrorCode::Invalid | ApiErrorCode::NotFound | ApiErrorCode::TooLarge => {
            ("protocol", "Update ahoy; if that does not help, tell the operator.".to_owned())
        }
    };
    let exit = match refusal.code {
        ApiErrorCode::Unavailable | ApiErrorCode::RateLimited => Exit::Unreachable,
        _ => Exit::Refused,
    };
    Failure::new(exit, code, refusal.text.trim_end_matches('.'), advice)
}

impl From<ProfileError> for Failure {
    fn from(error: ProfileError) -> Self {
        let text = error.to_string();
        match error {
            ProfileError::InUse(_) => Self::new(
                Exit::Other,
                "profile-in-use",
                text,
                "Wait until it has ended, stop it, or use another identity with --profile DIR.",
            ),
            ProfileError::File { .. } => {
                Self::new(Exit::Other, "profile", text, "Check the folder's owner and the space on its disk.")
            }
            ProfileError::Damaged { .. } => Self::new(
                Exit::Other,
                "profile-damaged",
                text,
                "Restore the folder from a backup, or move it away and sign in again.",
            ),
            _ => Self::new(
                Exit::Other,
                "profile",
                text,
                "Check the space on the disk; if the file is damaged, move the folder away and sign in again.",
            ),
        }
    }
}

impl From<InvalidName> for Failure {
    fn from(error: InvalidName) -> Self {
        Self::new(Exit::Refused, "name-invalid", error.to_string(), "A name looks like alice or bob.smith_2.")
    }
}
