//! What a device may ask about the devices of its account, and the end of an account.

use ahoy_proto::DeviceId;
use ahoy_proto::api::{Base64Url, DeviceVerb, RevokeDevice};
use ahoy_proto::limits::CLOCK_SKEW_MAX;
use ahoy_store::{Day, FindAccount, ListDevices, SetRequestKey};

use super::person::{Person, add_device, new_device};
use super::*;

/// Somebody with two devices.
fn alice(world: &World) -> [Person; 2] {
    let first = world.sign_up("alice", "password");
    let opened = world.sign_in("alice", "password").unwrap();
    let second = world.second_device(&first, &opened);
    [first, second]
}

fn revoke(target: &Person) -> DeviceVerb<'static> {
    DeviceVerb::RevokeDevice { target: target.device }
}

fn refused(said: &Said) -> (u16, String) {
    (said.status, said.code())
}

#[test]
fn a_device_signs_another_out_and_the_list_says_so_at_once() {
    let world = World::new(SignUpPolicy::Open);
    let [first, second] = alice(&world);
    let mut lists = world.authority.revocations();
    lists.mark_unchanged();
    assert_eq!(world.ask(&first, revoke(&second)).body, "{}");
    assert!(lists.has_changed().unwrap());
    assert!(world.revoked().covers(&world.credential(&second.credential)));
    assert!(!world.revoked().covers(&world.credential(&first.credential)));
    for verb in [DeviceVerb::Renew, revoke(&first), DeviceVerb::RenameDevice { target: first.device, name: "mine" }] {
        assert_eq!(refused(&world.ask(&second, verb)), (401, "credential-refused".to_owned()));
    }
    assert_eq!(refused(&world.ask(&first, revoke(&second))), (404, "not-found".to_owned()), "it is gone already");
    assert_eq!(world.ask(&first, revoke(&first)).status, 200, "its own");
    assert!(world.revoked().covers(&world.credential(&first.credential)));
}

#[test]
fn a_device_is_renamed_by_its_account() {
    let world = World::new(SignUpPolicy::Open);
    let [first, second] = alice(&world);
    let rename =
        |by: &Person, of: &Person, name: &str| world.ask(by, DeviceVerb::RenameDevice { target: of.device, name });
    assert_eq!(rename(&first, &second, "kitchen").body, "{}");
    assert_eq!(rename(&first, &first, "Küche").body, "{}");
    let list = ListDevices { account: first.account, today: Day::of(START) };
    let devices = world.runtime.block_on(world.authority.0.store.call(list)).unwrap();
    let mut names: Vec<String> = devices.into_iter().map(|device| device.name).collect();
    names.sort();
    assert_eq!(names, ["Küche", "kitchen"]);
    for name in ["x".repeat(65), "a\nb".to_owned()] {
        assert_eq!(refused(&rename(&first, &second, &name)), (400, "invalid".to_owned()));
    }
    let unknown = DeviceVerb::RenameDevice { target: DeviceId([9; 16]), name: "mine" };
    assert_eq!(refused(&world.ask(&first, unknown)), (404, "not-found".to_owned()));
}

#[test]
fn another_account_s_device_is_as_unknown_as_none() {
    let world = World::new(SignUpPolicy::Open);
    let [first, _] = alice(&world);
    let bob = world.sign_up("bob", "password");
    for verb in [revoke(&bob), DeviceVerb::RenameDevice { target: bob.device, name: "mine" }] {
        assert_eq!(refused(&world.ask(&first, verb)), (404, "not-found".to_owned()));
    }
    assert_eq!(world.ask(&bob, DeviceVerb::Renew).status, 200);
}

#[test]
fn what_a_device_signed_for_one_target_is_good_for_no_other() {
    let world = World::new(SignUpPolicy::Open);
    let [first, second] = alice(&world);
    let by = world.device_request(&first, revoke(&first));
    let forged = world.post("/v1/devices/revoke", &RevokeDevice { by, target: second.device });
    assert_eq!(refused(&forged), (401, "credential-refused".to_owned()));
    let by = world.device_request(&first, DeviceVerb::Revoke);
    let forged = world.post("/v1/devices/revoke", &RevokeDevice { by, target: second.device });
    assert_eq!(refused(&forged), (401, "credential-refused".to_owned()));
    let by = world.device_request(&first, revoke(&second));
    world.pass(CLOCK_SKEW_MAX + Duration::from_secs(1));
    let late = world.post("/v1/devices/revoke", &RevokeDevice { by, target: second.device });
    assert_eq!(refused(&late), (401, "credential-refused".to_owned()));
    assert_eq!(world.ask(&second, DeviceVerb::Renew).status, 200, "none of this did anything");
}

#[test]
fn a_suspended_account_does_not_change_its_devices() {
    let world = World::new(SignUpPolicy::Open);
    let [first, second] = alice(&world);
    world.suspend("alice", true);
    for verb in [revoke(&second), DeviceVerb::RenameDevice { target: second.device, name: "mine" }] {
        assert_eq!(refused(&world.ask(&first, verb)), (403, "suspended".to_owned()));
    }
}

#[test]
fn a_request_key_is_kept_when_the_account_key_has_signed_it() {
    let world = World::new(SignUpPolicy::Open);
    let alice = world.sign_up("alice", "password");
    let published = || {
        let find = FindAccount { name: Name::parse("alice").unwrap() };
        world.runtime.block_on(world.authority.0.store.call(find)).unwrap().request_key
    };
    let expected = ahoy_proto::request_key::publish(alice.account, &alice.account_key);
    assert_eq!(published(), &expected[..]);

    let other = SetRequestKey { account: alice.account, request_key: vec![1; 96] };
    world.runtime.block_on(world.authority.0.store.call(other)).unwrap();
    let opened = world.sign_in("alice", "password").unwrap();
    world.second_device(&alice, &opened);
    assert_eq!(published(), &expected[..], "every device says it again");

    let (device, device_key) = (DeviceId([5; 16]), ed25519_dalek::SigningKey::from_bytes(&[8; 32]));
    let device = new_device(&world, alice.account, device, &device_key, &alice.account_key);
    let mut forged = add_device(&opened.0, device, &alice.account_key);
    forged.request_key = Base64Url([&[7; 32], &expected[32..]].concat());
    assert_eq!(refused(&world.post("/v1/devices", &forged)), (400, "invalid".to_owned()));
    assert_eq!(published(), &expected[..]);
}

#[test]
fn a_deleted_account_is_gone_for_good_and_its_name_for_thirty_days() {
    let world = World::new(SignUpPolicy::Open);
    let [first, second] = alice(&world);
    let opened = world.sign_in("alice", "password").unwrap();
    let mut lists = world.authority.revocations();
    lists.mark_unchanged();
    assert_eq!(world.delete(&opened.0).body, "{}");
    assert!(lists.has_changed().unwrap());
    for device in [&first, &second] {
        assert!(world.revoked().covers(&world.credential(&device.credential)));
        assert_eq!(refused(&world.ask(device, DeviceVerb::Renew)), (401, "credential-refused".to_owned()));
    }
    assert!(world.sign_in("alice", "password").is_err_and(|said| said.body.is_empty()), "as if it had never been");
    assert_eq!(world.recover("alice", &first.code).err().unwrap().code(), "sign-in-refused");
    for said in [world.delete(&opened.0), world.add_device(&opened, DeviceId([5; 16]))] {
        assert_eq!(refused(&said), (401, "state-refused".to_owned()));
    }
    let taken = world.try_sign_up("alice", "password", None).err().unwrap();
    assert_eq!(refused(&taken), (409, "name-taken".to_owned()));
    world.pass(Duration::from_secs(30 * 86_400 + 1));
    assert_ne!(world.sign_up("alice", "password").account, first.account);
}

#[test]
fn deleting_takes_the_password_of_today() {
    let world = World::new(SignUpPolicy::Open);
    world.sign_up("alice", "old");
    let thief = world.sign_in("alice", "old").unwrap();
    let owner = world.sign_in("alice", "old").unwrap();
    assert_eq!(world.change_password(&owner, "new", None).status, 200);
    assert_eq!(refused(&world.delete(&thief.0)), (401, "state-refused".to_owned()));
    let (opened, _) = world.sign_in("alice", "new").unwrap();
    world.suspend("alice", true);
    assert_eq!(refused(&world.delete(&opened)), (403, "suspended".to_owned()), "the operator may want to look at it");
}

#[test]
fn an_account_of_the_network_s_own_stays() {
    let world = World::new(SignUpPolicy::Open);
    world.try_sign_up("echo", "password", Some(&world.invite(Admission::Operator))).unwrap();
    let (opened, _) = world.sign_in("echo", "password").unwrap();
    assert_eq!(refused(&world.delete(&opened)), (400, "invalid".to_owned()));
    assert!(world.sign_in("echo", "password").is_ok());
}

#[test]
fn what_another_process_revokes_is_published_within_two_seconds() {
    let world = World::new(SignUpPolicy::Open);
    let alice = world.sign_up("alice", "password");
    let authority = world.authority.clone();
    world.runtime.spawn(async move { authority.run().await });
    let mut lists = world.authority.revocations();
    let other = Store::open(&world.folder.path().join("ahoy.db")).unwrap();
    let suspend = Suspend { account: alice.account, suspended: true, at: world.now() };
    world.runtime.block_on(other.call(suspend)).unwrap();
    let credential = world.credential(&alice.credential);
    let published = lists.wait_for(|list| list.document.covers(&credential));
    let in_time = async { tokio::time::timeout(Duration::from_secs(2), published).await.is_ok() };
    assert!(world.runtime.block_on(in_time));
}
