//! Any text as a signed document, any bytes as a call token or a sealed account key.
#![no_main]

use ahoy_proto::call_token::{self, CallTokenKey};
use ahoy_proto::document::{self, Credential, Revocations, Roster};
use ahoy_proto::sealing::{self, SealingKey};
use ahoy_proto::{AccountId, Name, NetworkId, UnixTime};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|noise: &[u8]| {
    let network = NetworkId([1; 16]);
    let now = UnixTime(1_800_000_000);
    assert!(call_token::open(noise, network, &CallTokenKey::new([2; 32]), now).is_err());
    assert!(sealing::open_account_key(noise, AccountId([3; 16]), &SealingKey::of_export_key(&[4; 64])).is_err());
    let Ok(text) = std::str::from_utf8(noise) else { return };
    let _ = Name::parse(text);
    let keys = [ed25519_dalek::SigningKey::from_bytes(&[5; 32]).verifying_key()];
    assert!(document::verify::<Credential>(text, &keys, network, now).is_err());
    assert!(document::verify::<Roster>(text, &keys, network, now).is_err());
    assert!(document::verify::<Revocations>(text, &keys, network, now).is_err());
});
