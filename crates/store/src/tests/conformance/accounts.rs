//! Accounts, invites, devices, passwords, key packages and revocations.

use ahoy_proto::document::Revoked;
use ahoy_proto::limits::{DEVICES_MAX, KEY_PACKAGES_MAX};

use super::*;

#[test]
fn an_account_is_found_by_name_and_by_id_after_reopening() {
    let World { store, home } = World::new();
    run(&store, sign_up(1, "alice", Admission::Anyone, None)).unwrap();
    drop(store);
    let store = home.open();
    let found = run(&store, FindAccount { name: Name::parse("alice").unwrap() }).unwrap();
    assert_eq!((found.account, found.account_key), (AccountId([1; 16]), [1; 32]));
    assert_eq!(run(&store, AccountOf { account: found.account }).unwrap().opaque_record, vec![1; 192]);
    assert!(run(&store, AccountByName { name: Name::parse("bob").unwrap() }).unwrap().is_none());
    assert_eq!(run(&store, FindAccount { name: Name::parse("bob").unwrap() }), Err(StoreError::NotFound));
}

#[test]
fn a_name_and_a_device_id_belong_to_one_account() {
    let world = World::new();
    world.account(1);
    assert_eq!(world.run(sign_up(2, "name1", Admission::Anyone, None)), Err(StoreError::NameTaken));
    let mut stolen = sign_up(2, "bob", Admission::Anyone, None);
    stolen.device.device = DeviceId([1; 16]);
    assert_eq!(world.run(stolen), Err(StoreError::AlreadyExists));
    assert!(world.run(AccountByName { name: Name::parse("bob").unwrap() }).unwrap().is_none(), "undone whole");
    assert_eq!(world.run(KeyLogHeadNow).unwrap().sequence, 1);
}

#[test]
fn an_invite_admits_once_in_its_time_and_only_to_what_it_is_for() {
    let world = World::new();
    let add = |hash, admission| AddInvite { hash, admission, expires: UnixTime(NOW.0 + 10), at: NOW };
    world.run(add([1; 32], Admission::Invited)).unwrap();
    world.run(add([2; 32], Admission::Operator)).unwrap();
    let refused = Err(StoreError::InviteRefused);
    assert_eq!(world.run(sign_up(1, "alice", Admission::Invited, None)), refused);
    assert_eq!(world.run(sign_up(1, "alice", Admission::Invited, Some([9; 32]))), refused);
    assert_eq!(world.run(sign_up(1, "echo", Admission::Operator, Some([1; 32]))), refused);
    let late = AddAccount { at: UnixTime(NOW.0 + 11), ..sign_up(1, "alice", Admission::Invited, Some([1; 32])) };
    assert_eq!(world.run(late), refused);
    assert_eq!(world.run(sign_up(1, "alice", Admission::Invited, Some([1; 32]))), Ok(()));
    assert_eq!(world.run(sign_up(2, "bob", Admission::Invited, Some([1; 32]))), refused);
    assert_eq!(world.run(sign_up(3, "echo", Admission::Operator, Some([2; 32]))), Ok(()));
}

#[test]
fn the_account_key_log_is_a_chain() {
    let world = World::new();
    let empty = world.run(KeyLogHeadNow).unwrap();
    world.account(1);
    let first = world.run(KeyLogHeadNow).unwrap();
    world.account(2);
    let second = world.run(KeyLogHeadNow).unwrap();
    assert_eq!([empty.sequence, first.sequence, second.sequence], [0, 1, 2]);
    assert_ne!(first.head, second.head);
}

#[test]
fn an_account_has_so_many_devices_and_the_same_one_twice_is_one() {
    let world = World::new();
    let account = world.account(1);
    for number in 2..=DEVICES_MAX as u8 {
        world.run(add_device(account, number)).unwrap();
    }
    assert_eq!(world.run(add_device(account, 100)), Err(StoreError::LimitReached));
    assert_eq!(world.run(add_device(account, 2)), Ok(()));
    let revoke = || RevokeDevice { account, device: DeviceId([2; 16]), at: NOW };
    assert_eq!(world.run(revoke()), Ok(()));
    assert_eq!(world.run(revoke()), Err(StoreError::NotFound));
    assert_eq!(world.run(add_device(account, 100)), Ok(()));
}

#[test]
fn a_device_is_revoked_by_its_own_account_only() {
    let world = World::new();
    let (alice, bob) = (world.account(1), world.account(2));
    let device = DeviceId([1; 16]);
    assert_eq!(world.run(RevokeDevice { account: bob, device, at: NOW }), Err(StoreError::NotFound));
    assert_eq!(world.run(DeviceOf { device }), Ok((alice, [1; 32])));
}

#[test]
fn a_password_changes_only_on_the_record_that_the_change_is_based_on() {
    let world = World::new();
    let account = world.account(1);
    let change = |old: u8, new: u8, recovery| ChangePassword {
        account,
        old_record: vec![old; 192],
        opaque_record: vec![new; 192],
        sealed_account_key: vec![new; 72],
        recovery,
    };
    assert_eq!(world.run(change(1, 2, None)), Ok(()));
    assert_eq!(world.run(change(1, 3, None)), Err(StoreError::Conflict));
    assert_eq!(world.run(AccountOf { account }).unwrap().recovery.verifier, [1; 32], "the code stays");
    let recovery = Recovery { verifier: [7; 32], sealed_account_key: vec![7; 72] };
    assert_eq!(world.run(change(2, 3, Some(recovery))), Ok(()));
    assert_eq!(world.run(AccountOf { account }).unwrap().recovery.verifier, [7; 32]);
}

#[test]
fn the_revocation_list_grows_by_device_and_account_and_forgets_in_time() {
    let world = World::new();
    let (alice, bob) = (world.account(1), world.account(2));
    let first = world.run(Revocations).unwrap();
    world.run(RevokeDevice { account: alice, device: DeviceId([1; 16]), at: NOW }).unwrap();
    world.run(Suspend { account: bob, suspended: true, at: UnixTime(NOW.0 + 5) }).unwrap();
    let list = world.run(Revocations).unwrap();
    assert_eq!(list.devices, [Revoked { id: DeviceId([1; 16]), at: NOW }]);
    assert_eq!(list.accounts, [Revoked { id: bob, at: UnixTime(NOW.0 + 5) }]);
    assert_eq!(list.serial, first.serial + 2);
    world.run(PruneRevocations { before: UnixTime(NOW.0 + 5) }).unwrap();
    let pruned = world.run(Revocations).unwrap();
    assert_eq!((pruned.devices.len(), pruned.accounts.len(), pruned.serial), (0, 1, list.serial + 1));
    world.run(PruneRevocations { before: UnixTime(NOW.0 + 5) }).unwrap();
    assert_eq!(world.run(Revocations).unwrap(), pruned, "nothing pruned, no new serial");
}

#[test]
fn key_packages_are_handed_out_once_and_the_last_resort_for_ever() {
    let world = World::new();
    let account = world.account(1);
    let claim = || world.run(ClaimKeyPackages { account }).map(|claimed| claimed.packages[0].key_package.clone());
    assert_eq!(claim(), Err(StoreError::NotFound));
    let publish = |packages: &[&'static str], last_resort: Option<&'static str>| PublishKeyPackages {
        account,
        device: DeviceId([1; 16]),
        packages: packages.iter().map(|package| Bytes::from_static(package.as_bytes())).collect(),
        last_resort: last_resort.map(|package| Bytes::from_static(package.as_bytes())),
    };
    world.run(publish(&["a", "b"], Some("last"))).unwrap();
    let claimed: Vec<Bytes> = (0..4).map(|_| claim().unwrap()).collect();
    assert_eq!(claimed, ["a", "b", "last", "last"]);
    world.run(publish(&[], Some("newer"))).unwrap();
    assert_eq!(claim().unwrap(), "newer");
    assert_eq!(world.run(publish(&[""], None)), Err(StoreError::Invalid));
}

#[test]
fn key_packages_beyond_the_limit_push_out_the_oldest() {
    let world = World::new();
    let account = world.account(1);
    for start in [0, KEY_PACKAGES_MAX as u32] {
        let packages = (start..start + KEY_PACKAGES_MAX as u32).map(|n| n.to_be_bytes().to_vec().into()).collect();
        world.run(PublishKeyPackages { account, device: DeviceId([1; 16]), packages, last_resort: None }).unwrap();
    }
    for n in KEY_PACKAGES_MAX as u32..2 * KEY_PACKAGES_MAX as u32 {
        let claimed = world.run(ClaimKeyPackages { account }).unwrap();
        assert_eq!(claimed.packages[0].key_package, n.to_be_bytes().to_vec());
    }
    assert_eq!(world.run(ClaimKeyPackages { account }), Err(StoreError::NotFound));
}

#[test]
fn a_device_publishes_for_its_own_account_only() {
    let world = World::new();
    let (_, bob) = (world.account(1), world.account(2));
    let verb = PublishKeyPackages { account: bob, device: DeviceId([1; 16]), packages: vec![], last_resort: None };
    assert_eq!(world.run(verb), Err(StoreError::NotFound));
}

#[test]
fn a_text_with_a_nul_is_refused() {
    let world = World::new();
    let account = world.account(1);
    let rename = |name: &str| RenameDevice { account, device: DeviceId([1; 16]), name: name.to_owned() };
    assert_eq!(world.run(rename("tele\0phone")), Err(StoreError::Invalid));
    assert_eq!(world.run(rename("téléphone")), Ok(()));
    assert_eq!(world.run(ListDevices { account, today: Day(1) }).unwrap()[0].name, "téléphone");
}
