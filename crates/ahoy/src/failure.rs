//! What goes wrong, the exit code for it, and what to do next: every error is worded here.

use std::process::ExitCode;

use ahoy_client::account::AccountError;
use ahoy_client::driver::{ClientError, ConnectError};
use ahoy_client::member::{CommandError, Refusal, SignInError};
use ahoy_client::profile::ProfileError;
use ahoy_proto::Name;
use ahoy_proto::api::{ApiError, ApiErrorCode};
use ahoy_proto::document::DocumentError;
use ahoy_proto::name::InvalidName;
use ahoy_proto::v1::ErrorCode;

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

    /// What did not come about with somebody, by name.
    pub(crate) fn about(error: ClientError, name: &Name) -> Self {
        let mut failure = Self::from(error);
        match failure.code {
            "no-such-name" => failure.text = format!("nobody on this network is called {name}"),
            "requested" => {
                failure.text =
                    format!("{name} takes messages and calls from contacts only, and was asked to become one");
            }
            "already-contact" => failure.text = format!("{name} is a contact already, or was asked before"),
            "no-such-contact" => failure.text = format!("{name} does not ask and is no contact"),
            _ => {}
        }
        failure
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
                "Do not go on from a network that you do not trust. Otherwise check this machine's clock, and tell the operator.",
            ),
            AccountError::NotAhoy(_) => {
                Self::new(Exit::Unreachable, "not-ahoy", text, "Check the host and the port after --network.")
            }
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
            AccountError::PasswordLength => Self::new(
                Exit::Refused,
                "password-length",
                text,
                "Several words are easy to remember and hard to guess.",
            ),
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
        DocumentError::Expired => {
            "Check this machine's clock first: date and time. If they are right, tell the operator."
        }
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
        ApiErrorCode::Invalid
        | ApiErrorCode::NotFound
        | ApiErrorCode::TooLarge
        | ApiErrorCode::SupernodeRefused => {
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

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let text = error.to_string();
        match error {
            ClientError::NotSignedIn => Self::not_signed_in(),
            ClientError::Account(error) => error.into(),
            ClientError::Profile(error) => error.into(),
            ClientError::Connect(error) => no_session(&error),
            ClientError::Refused(refusal) => refused_by_supernode(&refusal),
            ClientError::Command(error) => not_taken_up(error),
            ClientError::StateTooOld => Self::new(
                Exit::Refused,
                "state-too-old",
                text,
                "Move the profile's folder away, then `ahoy sign-in NAME`. If you made no copy, somebody else may have: change the password.",
            ),
            ClientError::Replaced => Self::new(
                Exit::Refused,
                "session-replaced",
                text,
                "A device is one process: stop the other one, or give it a profile of its own with `ahoy sign-in NAME`. If you made no copy, somebody else may have: sign this device out on another one, and change the password.",
            ),
            _ => Self::new(Exit::Other, "stopped", text, "Try again; `ahoy status` checks the way to the network."),
        }
    }
}

fn no_session(error: &ConnectError) -> Failure {
    let text = error.to_string();
    let ConnectError::SignIn(sign_in) = error else {
        return Failure::new(
            Exit::Unreachable,
            "supernode-not-reachable",
            text,
            "The network is there, but not by UDP on this port: a firewall may be in between. `ahoy status` looks at each hop.",
        );
    };
    let (exit, code, advice) = match sign_in {
        SignInError::ClockSkewed { .. } => (Exit::Refused, "clock-skewed", "Set this machine's clock, then try again."),
        SignInError::VersionTooOld { .. } => (Exit::Refused, "version-too-old", "Update ahoy."),
        SignInError::Refused { code, .. } => match code {
            ErrorCode::CredentialRevoked
            | ErrorCode::CredentialForged
            | ErrorCode::ProofInvalid
            | ErrorCode::WrongNetwork => (
                Exit::Refused,
                "credential-refused",
                "This device was signed out, or its profile is damaged: `ahoy sign-out`, then `ahoy sign-in NAME`.",
            ),
            ErrorCode::CredentialExpired => (
                Exit::Refused,
                "credential-expired",
                "Check this machine's clock. If it is right: `ahoy sign-out`, then `ahoy sign-in NAME`.",
            ),
            ErrorCode::VersionTooOld => (Exit::Refused, "version-too-old", "Update ahoy."),
            _ => (Exit::Unreachable, "supernode-refuses", "Try again in a minute."),
        },
        SignInError::NotCertified { .. } => (
            Exit::Unreachable,
            "supernode-not-certified",
            "Nothing was shown to it. If this lasts, tell the operator: it was not enrolled, or has lost touch with the authority.",
        ),
        SignInError::WrongSupernode | SignInError::OutOfOrder => {
            (Exit::Unreachable, "protocol", "Update ahoy; if that does not help, tell the operator.")
        }
    };
    Failure::new(exit, code, text, advice)
}

fn refused_by_supernode(refusal: &Refusal) -> Failure {
    let (exit, code, advice) = match refusal {
        Refusal::NoSuchName => (Exit::Refused, "no-such-name", "Check the spelling."),
        Refusal::AccountKeyChanged => (
            Exit::Refused,
            "account-key-changed",
            "Compare keys by another way with `ahoy verify NAME`; if they are the same, `ahoy verify NAME --accept`.",
        ),
        Refusal::Requested => {
            (Exit::Refused, "requested", "Wait until they accept; `ahoy contacts` shows when they have.")
        }
        Refusal::AlreadyContact => (Exit::Refused, "already-contact", "`ahoy contacts` shows how they stand."),
        Refusal::NoSuchContact => (Exit::Refused, "no-such-contact", "`ahoy contacts` shows who asks and who is one."),
        Refusal::NoSuchConversation => {
            (Exit::Refused, "no-such-conversation", "`ahoy contacts` and `ahoy group list` show whom you can write to.")
        }
        Refusal::Length => (
            Exit::Refused,
            "length",
            "A message has at most 16 KiB, a note 280 characters, a mood 140, a title 64; a search at least 3 letters.",
        ),
        Refusal::NoKey => {
            (Exit::Refused, "no-key", "Leave the note away; a network without a report key takes no reports.")
        }
        Refusal::ConversationRefused => {
            (Exit::Refused, "conversation-refused", "Ask the person by another way, and tell the operator.")
        }
        Refusal::SessionLost => {
            (Exit::Unreachable, "session-lost", "Try again; `ahoy status` checks the way to the network.")
        }
        Refusal::Supernode { code, retry_after_ms, .. } => return supernode_says_no(refusal, *code, *retry_after_ms),
    };
    Failure::new(exit, code, refusal.to_string(), advice)
}

fn supernode_says_no(refusal: &Refusal, code: ErrorCode, retry_after_ms: u32) -> Failure {
    let text = refusal.to_string();
    let text = text.trim_end_matches('.');
    match code {
        ErrorCode::NotFound | ErrorCode::AlreadyExists | ErrorCode::InvalidArgument => Failure::new(
            Exit::Refused,
            "supernode-refuses",
            text,
            "Check what you named: `ahoy contacts`, `ahoy group list`.",
        ),
        ErrorCode::Forbidden => {
            Failure::new(Exit::Refused, "forbidden", text, "Only some may do this; `--help` says who.")
        }
        ErrorCode::LimitReached => Failure::new(Exit::Refused, "limit-reached", text, "Remove something first."),
        ErrorCode::RateLimited => {
            let seconds = retry_after_ms.div_ceil(1_000).max(1);
            Failure::new(Exit::Unreachable, "rate-limited", text, format!("Try again in {seconds} s."))
        }
        _ => Failure::new(Exit::Unreachable, "supernode-refuses", text, "Try again in a minute."),
    }
}

fn not_taken_up(error: CommandError) -> Failure {
    let (exit, code, advice) = match error {
        CommandError::NotSignedIn => {
            (Exit::Unreachable, "no-session", "Try again; `ahoy status` checks the way to the network.")
        }
        CommandError::InCall => (Exit::Other, "in-call", "Hang up first."),
        CommandError::NoSuchCall => (Exit::Other, "no-such-call", "It ended just now."),
        CommandError::OwnName => (Exit::Refused, "own-name", "Name somebody else; `ahoy whoami` shows who you are."),
        CommandError::NothingToAccept => {
            (Exit::Refused, "nothing-to-accept", "All is as it was: nothing has to be done.")
        }
        CommandError::NoSuchConversation => {
            (Exit::Refused, "no-such-conversation", "`ahoy contacts` and `ahoy group list` show whom you can write to.")
        }
        CommandError::Length => (
            Exit::Refused,
            "length",
            "A message has at most 16 KiB, a note 280 characters, a mood 140, a title 64; a search at least 3 letters.",
        ),
        CommandError::TooManyWaiting => {
            (Exit::Unreachable, "too-many-waiting", "Wait until what was written has left.")
        }
        CommandError::NoSuchContact => (Exit::Refused, "no-such-contact", "`ahoy contacts` shows who is one."),
        CommandError::NotSealed => (Exit::Other, "not-sealed", "Try again."),
    };
    Failure::new(exit, code, error.to_string(), advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_another_process_has_taken_over_is_refused_with_a_code_of_its_own() {
        let failure = Failure::from(ClientError::Replaced);
        assert_eq!((failure.exit, failure.code), (Exit::Refused, "session-replaced"));
        assert!(failure.text.contains("another process"), "{}", failure.text);
        assert!(failure.advice.contains("ahoy sign-in"), "{}", failure.advice);
    }
}
