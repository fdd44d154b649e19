//! Sign-in on a new link.

use super::*;

fn challenge() -> v1::Challenge {
    v1::Challenge {
        nonce: some_bytes(32),
        time_ms: START * 1000,
        supernode: SUPERNODE.to_bytes(),
        minimum_version: 1,
        certificate: String::new(),
    }
}

fn takes(challenge: v1::Challenge, clock_ms: u64) -> Result<SignInStep, SignInError> {
    let identity = identity(1, "alice", 11, &account_key(1));
    let mut sign_in = SignIn::new(&identity, "credential".to_owned(), SUPERNODE, None, "test".to_owned());
    let message = v1::SupernodeMessage { in_reply_to: 0, body: Some(Body::Challenge(challenge)) };
    sign_in.handle_message(&message, clock_ms)
}

#[test]
fn a_clock_within_five_minutes_is_good_enough() {
    for clock_ms in [START * 1000 - 300_000, START * 1000 + 300_000] {
        assert!(matches!(takes(challenge(), clock_ms), Ok(SignInStep::Send(_))));
    }
}

#[test]
fn a_clock_that_is_wrong_is_named_before_anything_is_signed() {
    let ahead = SignInError::ClockSkewed { seconds: 301, behind: false };
    let behind = SignInError::ClockSkewed { seconds: 301, behind: true };
    assert_eq!(takes(challenge(), START * 1000 + 301_000).unwrap_err(), ahead);
    assert_eq!(takes(challenge(), START * 1000 - 301_000).unwrap_err(), behind);
    assert_eq!(behind.to_string(), "this device's clock is 301 s behind the network's: set it right");
}

#[test]
fn a_network_that_has_moved_on_is_named() {
    let newer = v1::Challenge { minimum_version: ahoy_proto::VERSION + 1, ..challenge() };
    let minimum = ahoy_proto::VERSION + 1;
    assert_eq!(takes(newer, START * 1000).unwrap_err(), SignInError::VersionTooOld { minimum });
}

#[test]
fn nothing_is_signed_for_another_supernode_or_a_short_nonce() {
    let other = v1::Challenge { supernode: some_bytes(16), ..challenge() };
    assert_eq!(takes(other, START * 1000).unwrap_err(), SignInError::WrongSupernode);
    let short = v1::Challenge { nonce: some_bytes(31), ..challenge() };
    assert_eq!(takes(short, START * 1000).unwrap_err(), SignInError::OutOfOrder);
}

#[test]
fn only_a_challenge_comes_first_and_only_once() {
    let identity = identity(1, "alice", 11, &account_key(1));
    let mut sign_in = SignIn::new(&identity, "credential".to_owned(), SUPERNODE, None, "test".to_owned());
    let welcome = v1::SupernodeMessage { in_reply_to: 1, body: Some(Body::Welcome(v1::Welcome::default())) };
    assert_eq!(sign_in.handle_message(&welcome, START * 1000).unwrap_err(), SignInError::OutOfOrder);
    let message = v1::SupernodeMessage { in_reply_to: 0, body: Some(Body::Challenge(challenge())) };
    assert!(sign_in.handle_message(&message, START * 1000).is_ok());
    assert_eq!(sign_in.handle_message(&message, START * 1000).unwrap_err(), SignInError::OutOfOrder);
    assert!(matches!(sign_in.handle_message(&welcome, START * 1000), Ok(SignInStep::SignedIn(_))));
}

#[test]
fn a_refusal_is_passed_on_as_it_is() {
    let identity = identity(1, "alice", 11, &account_key(1));
    let mut sign_in = SignIn::new(&identity, "credential".to_owned(), SUPERNODE, None, "test".to_owned());
    let code = v1::ErrorCode::CredentialExpired;
    let error = v1::Error { code: code.into(), text: "too late".to_owned(), retry_after_ms: 7 };
    let message = v1::SupernodeMessage { in_reply_to: 0, body: Some(Body::Error(error)) };
    let refused = SignInError::Refused { code, text: "too late".to_owned(), retry_after_ms: 7 };
    assert_eq!(sign_in.handle_message(&message, 0).unwrap_err(), refused);
}
