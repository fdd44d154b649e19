//! The life of an account.

use ahoy_proto::DeviceId;
use ahoy_proto::api::{DeviceVerb, WellKnown};
use ahoy_proto::document::{self, Roster, SigningKeyCertificate};
use ahoy_proto::limits::{CLOCK_SKEW_MAX, CREDENTIAL_LIFE, DEVICES_MAX};
use ahoy_proto::sealing::RecoveryCode;

use super::person::{Registration, ok, registration};
use super::*;

#[test]
fn whoever_signs_up_gets_a_credential_and_can_sign_in_again() {
    let world = World::new(SignUpPolicy::Open);
    let alice = world.sign_up("Alice", "correct horse");
    let credential = world.credential(&alice.credential);
    assert_eq!(
        (credential.account, credential.device, credential.name.as_str()),
        (alice.account, alice.device, "alice")
    );
    assert_eq!(credential.expires, START.plus(CREDENTIAL_LIFE));
    let (opened, account_key) = world.sign_in("ALICE", "correct horse").unwrap();
    assert_eq!((opened.account, opened.name.as_str()), (alice.account, "alice"));
    assert_eq!(account_key.to_bytes(), alice.account_key.to_bytes());
}

#[test]
fn a_name_is_taken_in_any_case_and_by_whoever_finishes_first() {
    let world = World::new(SignUpPolicy::Open);
    let (slow, request) = Registration::start("one");
    let started = ok(world.start_sign_up("alice", None, &request)).unwrap();
    world.sign_up("alice", "two");
    let taken = world.try_sign_up("aLiCe", "three", None).err().unwrap();
    assert_eq!((taken.status, taken.code().as_str()), (409, "name-taken"));
    let (finish, _) = registration(&world, &serde_json::from_value(started).unwrap(), slow);
    let late = world.post("/v1/accounts/finish", &finish);
    assert_eq!((late.status, late.code().as_str()), (409, "name-taken"));
    assert!(world.sign_in("alice", "two").is_ok());
}

#[test]
fn a_changed_password_voids_the_old_one_and_older_tickets() {
    let world = World::new(SignUpPolicy::Open);
    let alice = world.sign_up("alice", "old");
    let opened = world.sign_in("alice", "old").unwrap();
    let other = world.sign_in("alice", "old").unwrap();
    assert_eq!(world.change_password(&opened, "new", None).status, 200);
    assert!(world.sign_in("alice", "old").is_err());
    let (_, account_key) = world.sign_in("alice", "new").unwrap();
    assert_eq!(account_key.to_bytes(), alice.account_key.to_bytes());
    let late = world.change_password(&other, "stolen", None);
    assert_eq!((late.status, late.code().as_str()), (401, "state-refused"));
    assert!(world.recover("alice", &alice.code).is_ok(), "the code stays");
}

#[test]
fn the_recovery_code_opens_the_account_until_there_is_a_new_one() {
    let world = World::new(SignUpPolicy::Open);
    let alice = world.sign_up("alice", "forgotten");
    let opened = world.recover("alice", &alice.code).unwrap();
    assert_eq!(opened.1.to_bytes(), alice.account_key.to_bytes());
    let code = RecoveryCode::new([7; 20]);
    assert_eq!(world.change_password(&opened, "remembered", Some(&code)).status, 200);
    assert_eq!(world.add_device(&opened, DeviceId([5; 16])).status, 200, "the ticket still admits the device");
    assert!(world.sign_in("alice", "remembered").is_ok());
    assert_eq!(world.recover("alice", &alice.code).err().unwrap().code(), "sign-in-refused");
    assert!(world.recover("alice", &code).is_ok());
}

#[test]
fn a_credential_is_renewed_by_its_device_and_up_to_thirty_days_late() {
    let world = World::new(SignUpPolicy::Open);
    let mut alice = world.sign_up("alice", "password");
    world.pass(CREDENTIAL_LIFE + Duration::from_secs(30 * 86_400));
    let renewed = ok(world.ask(&alice, DeviceVerb::Renew)).unwrap();
    assert_eq!(renewed["time"], world.now().0);
    alice.credential = renewed["credential"].as_str().unwrap().to_owned();
    assert_eq!(world.credential(&alice.credential).issued_at, world.now());
    world.pass(CREDENTIAL_LIFE + Duration::from_secs(30 * 86_400 + 1));
    let late = world.ask(&alice, DeviceVerb::Renew);
    assert_eq!((late.status, late.code().as_str()), (401, "credential-refused"));
}

#[test]
fn a_device_request_is_refused_when_its_clock_signature_verb_or_credential_is_wrong() {
    let world = World::new(SignUpPolicy::Open);
    let (alice, bob) = (world.sign_up("alice", "password"), world.sign_up("bob", "password"));
    let refused = |request: &ahoy_proto::api::DeviceRequest| {
        let said = world.post("/v1/credentials/renew", request);
        assert_eq!((said.status, said.code().as_str()), (401, "credential-refused"));
        said.json()["text"].as_str().unwrap().to_owned()
    };
    let mut forged = world.device_request(&alice, DeviceVerb::Renew);
    forged.signature = world.device_request(&bob, DeviceVerb::Renew).signature;
    refused(&forged);
    refused(&world.device_request(&alice, DeviceVerb::Revoke));
    let mut foreign = world.device_request(&alice, DeviceVerb::Renew);
    foreign.credential = World::new(SignUpPolicy::Open).sign_up("alice", "password").credential;
    refused(&foreign);
    let early = world.device_request(&alice, DeviceVerb::Renew);
    world.pass(CLOCK_SKEW_MAX);
    assert_eq!(world.post("/v1/credentials/renew", &early).status, 200);
    world.pass(Duration::from_secs(1));
    assert!(refused(&early).contains("clock"));
}

#[test]
fn signing_out_forgets_the_device_and_puts_it_on_the_list_at_once() {
    let world = World::new(SignUpPolicy::Open);
    let alice = world.sign_up("alice", "password");
    let before = world.revoked().serial;
    let mut lists = world.authority.revocations();
    lists.mark_unchanged();
    assert_eq!(world.ask(&alice, DeviceVerb::Revoke).body, "{}");
    assert!(lists.has_changed().unwrap());
    let list = world.revoked();
    assert_eq!(world.fetch("/v1/revocations").status, 404, "it names accounts: it is for supernodes");
    assert!(list.serial > before && list.covers(&world.credential(&alice.credential)));
    assert_eq!(world.ask(&alice, DeviceVerb::Renew).code(), "credential-refused");
    world.pass(CREDENTIAL_LIFE + CLOCK_SKEW_MAX + Duration::from_secs(1));
    world.runtime.block_on(world.authority.renew_lists()).unwrap();
    assert!(world.revoked().devices.is_empty(), "pruned once no credential can be that old");
}

#[test]
fn a_suspended_account_can_t_do_anything_until_it_is_let_in_again() {
    let world = World::new(SignUpPolicy::Open);
    let alice = world.sign_up("alice", "password");
    let opened = world.sign_in("alice", "password").unwrap();
    world.suspend("alice", true);
    assert!(world.revoked().covers(&world.credential(&alice.credential)));
    let refused = [
        world.sign_in("alice", "password").err().unwrap(),
        world.recover("alice", &alice.code).err().unwrap(),
        world.ask(&alice, DeviceVerb::Renew),
        world.add_device(&opened, DeviceId([5; 16])),
        world.change_password(&opened, "new", None),
    ];
    for said in refused {
        assert_eq!((said.status, said.code().as_str()), (403, "suspended"));
    }
    assert!(world.sign_in("alice", "wrong").is_err_and(|said| said.body.is_empty()), "strangers don't learn of it");
    world.pass(Duration::from_secs(1));
    world.suspend("alice", false);
    let renewed = ok(world.ask(&alice, DeviceVerb::Renew)).unwrap();
    let credential = world.credential(renewed["credential"].as_str().unwrap());
    assert!(!world.revoked().covers(&credential));
}

#[test]
fn an_account_has_so_many_devices() {
    let world = World::new(SignUpPolicy::Open);
    world.sign_up("alice", "password");
    let opened = world.sign_in("alice", "password").unwrap();
    for number in 1..DEVICES_MAX as u8 {
        let said = world.add_device(&opened, DeviceId([number; 16]));
        assert_eq!(said.status, 200, "{said:?}");
    }
    assert_eq!(world.add_device(&opened, DeviceId([1; 16])).status, 200, "a repeated request");
    let said = world.add_device(&opened, DeviceId([100; 16]));
    assert_eq!((said.status, said.code().as_str()), (409, "too-many-devices"));
}

#[test]
fn an_invite_is_good_for_one_account() {
    let world = World::new(SignUpPolicy::Invite);
    let refused = |invite: Option<&str>| {
        let said = world.try_sign_up("alice", "password", invite).err().unwrap();
        (said.status, said.code())
    };
    assert_eq!(refused(None), (403, "sign-up-refused".to_owned()));
    assert_eq!(refused(Some("made up")), (403, "sign-up-refused".to_owned()));
    let invite = world.invite(Admission::Invited);
    assert!(world.try_sign_up("bob", "password", Some(&invite)).is_ok());
    assert_eq!(refused(Some(&invite)), (403, "sign-up-refused".to_owned()));
    let old = world.invite(Admission::Invited);
    world.pass(INVITE_LIFE + Duration::from_secs(1));
    assert_eq!(refused(Some(&old)), (403, "sign-up-refused".to_owned()));
}

#[test]
fn of_two_who_use_an_invite_at_once_one_gets_in() {
    let world = World::new(SignUpPolicy::Invite);
    let invite = world.invite(Admission::Invited);
    let steps = ["alice", "bob"].map(|name| {
        let (client, request) = Registration::start("password");
        let started = ok(world.start_sign_up(name, Some(&invite), &request)).unwrap();
        registration(&world, &serde_json::from_value(started).unwrap(), client).0
    });
    let statuses = steps.map(|finish| world.post("/v1/accounts/finish", &finish).status);
    assert_eq!(statuses, [200, 403]);
}

#[test]
fn a_closed_network_and_reserved_names_are_for_the_operator_alone() {
    let closed = World::new(SignUpPolicy::Closed);
    let said = closed.try_sign_up("alice", "password", Some(&closed.invite(Admission::Invited))).err().unwrap();
    assert_eq!((said.status, said.code().as_str()), (403, "sign-up-refused"));
    let open = World::new(SignUpPolicy::Open);
    let said = open.try_sign_up("Echo", "password", Some(&open.invite(Admission::Invited))).err().unwrap();
    assert_eq!((said.status, said.code().as_str()), (400, "name-invalid"));
    for world in [closed, open] {
        assert!(world.try_sign_up("echo", "password", Some(&world.invite(Admission::Operator))).is_ok());
    }
}

#[test]
fn the_network_introduces_itself_with_keys_that_verify() {
    let world = World::new(SignUpPolicy::Invite);
    let known: WellKnown = serde_json::from_str(&world.fetch("/.well-known/ahoy").body).unwrap();
    assert_eq!((known.name.as_str(), known.sign_up), ("example.org", SignUpPolicy::Invite));
    let root = known.root_key.verifying_key().unwrap();
    let certificate: SigningKeyCertificate =
        document::verify(&known.signing_keys[0], &[root], known.network, world.now()).unwrap();
    let signing = [certificate.key.verifying_key().unwrap()];
    let roster: Roster =
        document::verify(&world.fetch("/v1/roster").body, &signing, known.network, world.now()).unwrap();
    assert_eq!(roster, world.authority.roster().borrow().document);
}

#[test]
fn a_restart_keeps_accounts_steps_and_the_network() {
    let world = World::new(SignUpPolicy::Open);
    let alice = world.sign_up("alice", "password");
    let opened = world.sign_in("alice", "password").unwrap();
    let World { runtime, authority, folder, .. } = world;
    drop((runtime, authority));
    let world = World::within(folder, SignUpPolicy::Open, RateLimits::default());
    assert_eq!(world.add_device(&opened, DeviceId([5; 16])).status, 200);
    assert_eq!(world.ask(&alice, DeviceVerb::Renew).status, 200);
    assert!(world.sign_in("alice", "password").is_ok());
    assert!(world.folder.path().join("keys").exists());
}
