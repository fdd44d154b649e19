//! What a large group costs.

use ahoy_proto::{AccountId, DeviceId, UnixTime, binding};
use ed25519_dalek::SigningKey;

use super::*;

/// Device `number`; two of them make an account.
fn device(number: u16) -> Mls {
    let filled = |tag: u8, number: u16| {
        let mut bytes = [tag; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        bytes
    };
    let id = |tag: u8, number: u16| -> [u8; 16] { filled(tag, number)[..16].try_into().unwrap() };
    let device_key = SigningKey::from_bytes(&filled(1, number));
    let account_key = SigningKey::from_bytes(&filled(2, number / 2));
    let (account, device) = (AccountId(id(3, number / 2)), DeviceId(id(4, number)));
    let binding = binding::make(account, device, &device_key.verifying_key(), &account_key, UnixTime(5));
    Mls::new(&device_key, &binding, filled(5, number))
}

/// Bytes that a transaction writes.
fn written(old: &Snapshot, new: &Snapshot) -> usize {
    let changed = new.values.iter().filter(|(key, value)| old.values.get(*key) != Some(*value));
    changed.map(|(key, value)| key.len() + value.len()).sum()
}

/// The largest group of accounts with two devices each: 256 of them.
const DEVICES: u16 = 512;

#[test]
fn a_message_in_the_largest_group_rewrites_a_few_kilobytes() {
    let id = group_id(ConversationId([3; 16]), 1);
    let (alice, bob) = (device(0), device(1));
    let mut shelf = Values::new();
    let first = bob.key_packages(&mut shelf, 1).unwrap();
    let others = (2..DEVICES).flat_map(|number| device(number).key_packages(&mut Values::new(), 1).unwrap());
    let packages =
        first.iter().cloned().chain(others).map(|bytes| alice.check_key_package(&bytes).unwrap().0).collect();
    let created = alice.create(id.clone(), packages).unwrap();
    let mut ours = created.group.close();
    let mut theirs = bob.join(&shelf, &created.welcome.unwrap()).unwrap().0.close();
    for _ in 0..PAST_EPOCHS {
        let mut group = Group::open(&alice, &id, &ours).unwrap();
        let committed = group.commit(&alice, vec![], &[]).unwrap();
        group.merge().unwrap();
        ours = group.close();
        let mut group = Group::open(&bob, &id, &theirs).unwrap();
        group.advance(&committed.commit).unwrap();
        theirs = group.close();
    }
    for _ in 0..10 {
        let mut group = Group::open(&alice, &id, &ours).unwrap();
        let sealed = group.seal(&alice, b"hello").unwrap();
        let kept = group.close();
        assert!(written(&ours, &kept) < 20_000, "{}", written(&ours, &kept));
        ours = kept;
        let mut group = Group::open(&bob, &id, &theirs).unwrap();
        assert_eq!(group.unseal(&sealed).unwrap().plain, b"hello");
        let kept = group.close();
        assert!(written(&theirs, &kept) < 20_000, "{}", written(&theirs, &kept));
        theirs = kept;
    }
}

#[test]
fn a_voice_key_is_hkdf_expand_over_call_and_leg() {
    // HMAC-SHA-256 with 32 bytes of 1 over 16 of 2, 16 of 3 and one 1, as computed elsewhere.
    let expected = [0x79, 0xf5, 0x77, 0x04, 0x8e, 0x62, 0xbe, 0xb5, 0x64, 0xb9, 0xe3, 0x3e, 0x07, 0x71, 0x52, 0xaa];
    assert_eq!(voice_key(&[1; 32], CallId([2; 16]), LegId([3; 16])), expected);
}
