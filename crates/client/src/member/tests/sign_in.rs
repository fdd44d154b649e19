//! Sign-in on a new link.

use ahoy_proto::document::{DocumentError, SupernodeCertificate, SupernodePolicy};

use super::*;

fn challenge() -> v1::Challenge {
    v1::Challenge {
        nonce: some_bytes(32),
        time_ms: START * 1000,
        supernode: SUPERNODE.to_bytes(),
        minimum_version: 1,
        certificate: String::new(),
        agent: "test".to_owned(),
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

/// A supernode's key, and its certificate with one thing changed.
fn certificate(change: impl FnOnce(&mut SupernodeCertificate)) -> (Jwk, SupernodeCertificate) {
    let key = Jwk::ed25519(*SigningKey::from_bytes(&[60; 32]).verifying_key().as_bytes());
    let mut certificate = SupernodeCertificate {
        network: NETWORK,
        supernode: SUPERNODE,
        confirmation: Confirmation { jwk: key.clone() },
        number: 1,
        policy: SupernodePolicy::Hosted,
        issued_at: UnixTime(START),
        expires: UnixTime(START + 1000),
    };
    change(&mut certificate);
    (key, certificate)
}

fn shown(key: Jwk, certificate: String) -> Result<SignInStep, SignInError> {
    let identity = identity(1, "alice", 11, &account_key(1));
    let mut sign_in = SignIn::new(&identity, "credential".to_owned(), SUPERNODE, None, "test".to_owned())
        .checking(vec![authority_key().verifying_key()], key);
    let challenge = Body::Challenge(v1::Challenge { certificate, ..challenge() });
    sign_in.handle_message(&v1::SupernodeMessage { in_reply_to: 0, body: Some(challenge) }, START * 1000)
}

fn shown_as_signed(change: impl FnOnce(&mut SupernodeCertificate)) -> Result<SignInStep, SignInError> {
    let (key, certificate) = certificate(change);
    shown(key, document::sign(&certificate, &authority_key()))
}

fn not_certified(why: impl Into<CertificateError>) -> SignInError {
    SignInError::NotCertified { supernode: SUPERNODE, why: why.into() }
}

#[test]
fn a_supernode_with_the_authoritys_word_is_proven_to() {
    assert!(matches!(shown_as_signed(|_| {}), Ok(SignInStep::Send(_))));
}

#[test]
fn nothing_is_proven_to_a_supernode_whose_certificate_is_not_for_it_here_and_now() {
    let refused = |change: fn(&mut SupernodeCertificate)| shown_as_signed(change).unwrap_err();
    let expired = refused(|certificate| certificate.expires = UnixTime(START - 1));
    assert_eq!(expired, not_certified(DocumentError::Expired));
    let early = refused(|certificate| certificate.issued_at = UnixTime(START + 301));
    assert_eq!(early, not_certified(DocumentError::Expired));
    let foreign = refused(|certificate| certificate.network = NetworkId([9; 16]));
    assert_eq!(foreign, not_certified(DocumentError::WrongNetwork));
    let another = refused(|certificate| certificate.supernode = SupernodeId([9; 16]));
    assert_eq!(another, not_certified(CertificateError::OfAnother));
    let key = refused(|certificate| certificate.confirmation.jwk = Jwk::ed25519([9; 32]));
    assert_eq!(key, not_certified(CertificateError::OfAnother));
}

#[test]
fn a_certificate_that_the_authority_did_not_sign_or_that_is_another_document_is_none() {
    let (key, good) = certificate(|_| {});
    let forged = document::sign(&good, &account_key(1));
    assert_eq!(shown(key.clone(), forged).unwrap_err(), not_certified(DocumentError::Forged));
    let credential = document::sign(&credential(&identity(1, "alice", 11, &account_key(1))), &authority_key());
    assert_eq!(shown(key.clone(), credential).unwrap_err(), not_certified(DocumentError::Malformed));
    let missing = shown(key, String::new()).unwrap_err();
    assert_eq!(missing, not_certified(CertificateError::Missing));
    assert!(missing.to_string().contains(&SUPERNODE.to_string()), "{missing}");
}
