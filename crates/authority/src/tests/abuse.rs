//! Guessing, replaying, flooding, and everything that is not what it should be.

use ahoy_proto::api::{AccountStarted, Base64Url, FinishSignIn, Recover, SignInStarted};
use ahoy_proto::document::Jwk;
use ahoy_proto::sealing::RecoveryCode;
use ahoy_proto::{AccountId, DeviceId};
use ed25519_dalek::SigningKey;

use super::person::{Login, Registration, add_device, new_device, ok, registration};
use super::*;

const PATHS: [&str; 15] = [
    "/v1/accounts/start",
    "/v1/accounts/finish",
    "/v1/accounts/delete",
    "/v1/sign-in/start",
    "/v1/sign-in/finish",
    "/v1/recovery",
    "/v1/password/start",
    "/v1/password/finish",
    "/v1/devices",
    "/v1/devices/revoke",
    "/v1/devices/rename",
    "/v1/credentials/renew",
    "/v1/credentials/revoke",
    "/v1/supernodes/enrol",
    "/v1/supernodes/renew",
];

#[test]
fn a_wrong_password_and_an_unknown_name_look_the_same_in_both_steps() {
    let world = World::new(SignUpPolicy::Open);
    world.sign_up("alice", "password");
    let steps = ["alice", "nobody"].map(|name| {
        let (client, request) = Login::start("wrong");
        let started: SignInStarted = serde_json::from_value(ok(world.start_sign_in(name, &request)).unwrap()).unwrap();
        assert!(client.finish(&started.credential_response).is_none(), "the client sees that it is wrong");
        let lengths = (started.state.0.len(), started.credential_response.0.len());
        // A KE3 of the right length, since the client has none to send.
        let finish = FinishSignIn { state: started.state, credential_finalization: Base64Url(vec![7; 64]) };
        (lengths, world.post("/v1/sign-in/finish", &finish))
    });
    assert_eq!(steps[0], steps[1]);
    assert_eq!((steps[0].1.status, steps[0].1.code().as_str()), (401, "sign-in-refused"));
}

#[test]
fn an_unknown_name_answers_with_the_same_account_every_time() {
    let world = World::new(SignUpPolicy::Open);
    world.sign_up("alice", "password");
    let (_, request) = Login::start("password");
    let evaluated = |name: &str| {
        let started: SignInStarted = serde_json::from_value(ok(world.start_sign_in(name, &request)).unwrap()).unwrap();
        started.credential_response.0[..32].to_vec()
    };
    for name in ["alice", "nobody"] {
        assert_eq!(evaluated(name), evaluated(name), "the OPRF depends on the account alone");
    }
    assert_ne!(evaluated("nobody"), evaluated("no-one"));
}

#[test]
fn a_wrong_recovery_code_and_an_unknown_name_look_the_same() {
    let world = World::new(SignUpPolicy::Open);
    world.sign_up("alice", "password");
    let refused = |name: &str| world.recover(name, &RecoveryCode::new([1; 20])).err().unwrap();
    assert_eq!(refused("alice"), refused("nobody"));
    assert_eq!((refused("alice").status, refused("alice").code().as_str()), (401, "sign-in-refused"));
    // An unknown account's verifier must not be one that somebody could hit.
    let zeros = Recover { name: "nobody".to_owned(), recovery_secret: Base64Url(vec![0; 32]) };
    assert_eq!(world.post("/v1/recovery", &zeros).code(), "sign-in-refused");
}

#[test]
fn a_step_is_good_for_a_minute_and_a_ticket_for_ten() {
    let world = World::new(SignUpPolicy::Open);
    world.sign_up("alice", "password");
    let opened = world.sign_in("alice", "password").unwrap();
    let steps = [60, 61].map(|seconds| {
        let (client, request) = Login::start("password");
        let started: SignInStarted =
            serde_json::from_value(ok(world.start_sign_in("alice", &request)).unwrap()).unwrap();
        let (credential_finalization, _) = client.finish(&started.credential_response).unwrap();
        world.pass(Duration::from_secs(seconds));
        world.post("/v1/sign-in/finish", &FinishSignIn { state: started.state, credential_finalization })
    });
    assert_eq!(steps[0].status, 200);
    assert_eq!((steps[1].status, steps[1].code().as_str()), (401, "state-refused"));
    world.pass(Duration::from_secs(600 - 121));
    assert_eq!(world.add_device(&opened, DeviceId([5; 16])).status, 200);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.add_device(&opened, DeviceId([6; 16])).code(), "state-refused");
}

#[test]
fn what_is_sealed_for_one_purpose_or_network_does_not_pass_for_another() {
    let world = World::new(SignUpPolicy::Open);
    let alice = world.sign_up("alice", "password");
    let (mut opened, account_key) = world.sign_in("alice", "password").unwrap();
    let (_, request) = Registration::start("password");
    let started = ok(world.start_sign_up("bob", None, &request)).unwrap();
    let started: AccountStarted = serde_json::from_value(started).unwrap();
    let ticket = std::mem::replace(&mut opened.ticket, started.state);
    let refused = world.add_device(&(opened.clone(), account_key.clone()), DeviceId([5; 16]));
    assert_eq!(refused.code(), "state-refused");
    let other = World::new(SignUpPolicy::Open);
    opened.ticket = ticket;
    assert_eq!(other.add_device(&(opened, account_key), alice.device).code(), "state-refused");
}

#[test]
fn a_device_needs_the_account_key_s_word_for_itself_and_no_other() {
    let world = World::new(SignUpPolicy::Open);
    let alice = world.sign_up("alice", "password");
    let (opened, account_key) = world.sign_in("alice", "password").unwrap();
    let stranger = SigningKey::from_bytes(&[9; 32]);
    let (device, device_key) = (DeviceId([5; 16]), SigningKey::from_bytes(&[8; 32]));
    let mut long_name = new_device(&world, alice.account, device, &device_key, &account_key);
    long_name.name = "x".repeat(65);
    let mut other_device = new_device(&world, alice.account, device, &device_key, &account_key);
    other_device.device = DeviceId([6; 16]);
    let devices = [
        new_device(&world, alice.account, device, &device_key, &stranger),
        new_device(&world, AccountId([1; 16]), device, &device_key, &account_key),
        other_device,
        long_name,
    ];
    for device in devices {
        let said = world.post("/v1/devices", &add_device(&opened, device, &account_key));
        assert_eq!((said.status, said.code().as_str()), (400, "invalid"));
    }
}

#[test]
fn a_sign_up_with_a_field_out_of_range_is_refused_and_can_be_repeated() {
    let world = World::new(SignUpPolicy::Open);
    let (client, request) = Registration::start("password");
    let started = ok(world.start_sign_up("alice", None, &request)).unwrap();
    let (good, _) = registration(&world, &serde_json::from_value(started).unwrap(), client);
    let mut bad = vec![good.clone(); 7];
    bad[0].sealed_account_key.0.push(0);
    bad[1].recovery.sealed_account_key.0.clear();
    bad[2].recovery.verifier.0.pop();
    bad[3].registration_upload.0.pop();
    bad[4].account_key = Jwk::ed25519([1; 32]);
    bad[5].request_key.0.clear();
    bad[6].request_key.0[40] ^= 1;
    for finish in bad {
        let said = world.post("/v1/accounts/finish", &finish);
        assert_eq!((said.status, said.code().as_str()), (400, "invalid"));
    }
    assert_eq!(world.post("/v1/accounts/finish", &good).status, 200);
}

#[test]
fn a_name_that_breaks_a_rule_is_told_which() {
    let world = World::new(SignUpPolicy::Open);
    let (_, request) = Registration::start("password");
    for name in ["al", "a lice", ".alice", "admin", &"a".repeat(33)] {
        let said = world.start_sign_up(name, None, &request);
        assert_eq!((said.status, said.code().as_str()), (400, "name-invalid"), "{name}");
    }
}

#[test]
fn every_path_refuses_what_is_not_its_json() {
    let world = World::new(SignUpPolicy::Open);
    let deep = "[".repeat(60_000);
    let bodies: [&[u8]; 8] =
        [b"", b"{}", b"null", b"[1]", b"\xff\xfe", b"{\"name\":", b"{\"name\":\"alice\",\"x\":1e999}", deep.as_bytes()];
    for path in PATHS {
        for body in bodies {
            let said = world.post_bytes(path, body);
            assert_eq!((said.status, said.code().as_str()), (400, "invalid"), "{path}");
        }
    }
}

#[test]
fn every_other_refusal_is_an_api_error_too() {
    let world = World::new(SignUpPolicy::Open);
    let nowhere = world.fetch("/v1/nowhere");
    assert_eq!((nowhere.status, nowhere.code().as_str()), (404, "not-found"));
    let wrong_method = [world.fetch("/v1/accounts/start"), world.post_bytes("/v1/roster", b"{}")];
    assert!(wrong_method.iter().all(|said| (said.status, said.code().as_str()) == (405, "invalid")));
    for path in PATHS {
        let said = world.post_bytes(path, &vec![b' '; 64 * 1024 + 1]);
        assert_eq!((said.status, said.code().as_str()), (413, "too-large"));
    }
}

#[test]
fn guessing_at_one_name_is_slowed_down_and_says_for_how_long() {
    let limits = RateLimits {
        sign_ins_of_name_at_address: Rate { burst: 2, every: Duration::from_secs(60) },
        ..RateLimits::default()
    };
    let world = World::with(SignUpPolicy::Open, limits);
    let (_, request) = Login::start("guess");
    let guess = |name| world.start_sign_in(name, &request);
    assert_eq!([guess("alice").status, guess("ALICE").status, guess("bob").status], [200; 3]);
    let refused = guess("alice");
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate-limited"));
    assert_eq!(refused.json()["retry_after_ms"], 60_000);
    assert_eq!(world.recover("alice", &RecoveryCode::new([1; 20])).err().unwrap().code(), "rate-limited");
    world.pass(Duration::from_secs(60));
    assert_eq!([guess("alice").status, guess("alice").status], [200, 429]);
}

#[test]
fn sign_ups_and_requests_of_one_address_are_limited() {
    let limits = RateLimits {
        requests: Rate { burst: 5, every: Duration::from_secs(1) },
        sign_ups: Rate { burst: 2, every: Duration::from_secs(60) },
        ..RateLimits::default()
    };
    let world = World::with(SignUpPolicy::Open, limits);
    let (_, request) = Registration::start("password");
    let statuses = ["one", "two", "three"].map(|name| world.start_sign_up(name, None, &request).status);
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!([(); 3].map(|()| world.post_bytes("/v1/devices", b"").status), [400, 400, 429]);
    assert_eq!(world.fetch("/v1/roster").status, 200);
}
