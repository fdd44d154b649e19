//! The golden bytes in `vectors/` are what this crate makes of the same inputs, and it reads them back.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use ahoy_proto::api::{DeviceVerb, device_request_input};
use ahoy_proto::call_token::{self, CallTokenClaims, CallTokenKey};
use ahoy_proto::document::{
    self, Confirmation, Credential, DocumentError, Jwk, Revocations, Revoked, Roster, RosterEntry,
    SupernodeCertificate, SupernodePolicy,
};
use ahoy_proto::enrolment::{self, Particulars, ReplySecret};
use ahoy_proto::flow::FlowId;
use ahoy_proto::frame;
use ahoy_proto::placement::{self, Candidate};
use ahoy_proto::proof::proof_input;
use ahoy_proto::report::{self, ReportSecret};
use ahoy_proto::request_key::{self, RequestSecret};
use ahoy_proto::sealing::{self, RecoveryCode, SealingKey};
use ahoy_proto::{
    AccountId, CallId, ConversationId, DeviceId, Name, NetworkId, SupernodeId, UnixTime, binding, comparison, note, v1,
};
use ed25519_dalek::{Signer, SigningKey};
use prost::Message;
use serde_json::{Value, json};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn public(seed: u8) -> [u8; 32] {
    key(seed).verifying_key().to_bytes()
}

fn network() -> NetworkId {
    NetworkId::of_root_key(&public(1))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Compares a computed vector with its file, or writes the file when asked to; returns what the file holds.
fn golden(name: &str, computed: &Value) -> Value {
    let path = format!("{}/../../vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = serde_json::to_string_pretty(computed).unwrap() + "\n";
    if std::env::var_os("AHOY_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(&kept, computed, "{name}: the wire has changed");
    kept
}

#[test]
fn ids_are_fingerprints_of_keys() {
    golden(
        "ids",
        &json!({
            "root_key": hex(&public(1)), "network": network().to_hex(),
            "roster_key": hex(&public(4)), "supernode": SupernodeId::of_roster_key(&public(4)).to_hex(),
        }),
    );
}

fn credential() -> Credential {
    Credential {
        network: network(),
        account: AccountId([0xaa; 16]),
        name: Name::parse("alice").unwrap(),
        device: DeviceId([0xbb; 16]),
        confirmation: Confirmation { jwk: Jwk::ed25519(public(3)) },
        issued_at: UnixTime(1_800_000_000),
        expires: UnixTime(1_800_604_800),
    }
}

#[test]
fn documents_are_compact_jws() {
    let roster = Roster {
        network: network(),
        serial: 7,
        supernodes: vec![RosterEntry {
            supernode: SupernodeId::of_roster_key(&public(4)),
            key: Jwk::ed25519(public(4)),
            addresses: vec!["127.0.0.1:8080".into(), "[::1]:8080".into()],
            region: "local".into(),
            weight: 100,
            number: 9,
        }],
        issued_at: UnixTime(1_800_000_000),
        expires: UnixTime(1_800_604_800),
    };
    let revocations = Revocations {
        network: network(),
        serial: 9,
        devices: vec![Revoked { id: DeviceId([0xbb; 16]), at: UnixTime(1_800_000_000) }],
        accounts: vec![Revoked { id: AccountId([0xcc; 16]), at: UnixTime(1_800_000_001) }],
        issued_at: UnixTime(1_800_000_000),
        expires: UnixTime(1_800_604_800),
    };
    let certificate = SupernodeCertificate {
        network: network(),
        supernode: SupernodeId::of_roster_key(&public(4)),
        confirmation: Confirmation { jwk: Jwk::ed25519(public(4)) },
        number: 9,
        policy: SupernodePolicy::Hosted,
        issued_at: UnixTime(1_800_000_000),
        expires: UnixTime(1_800_604_800),
    };
    let kept = golden(
        "documents",
        &json!({
            "signing_key": hex(&public(2)), "kid": document::key_id(&key(2).verifying_key()),
            "network": network().to_hex(), "now": 1_800_000_100,
            "credential": document::sign(&credential(), &key(2)),
            "roster": document::sign(&roster, &key(2)),
            "revocations": document::sign(&revocations, &key(2)),
            "supernode_certificate": document::sign(&certificate, &key(2)),
            "forged_credential": document::sign(&credential(), &key(5)),
        }),
    );
    let keys = [key(2).verifying_key()];
    let now = UnixTime(1_800_000_100);
    let text = |field: &str| kept[field].as_str().unwrap().to_owned();
    assert_eq!(document::verify(&text("credential"), &keys, network(), now), Ok(credential()));
    assert_eq!(document::verify(&text("roster"), &keys, network(), now), Ok(roster));
    assert_eq!(document::verify(&text("revocations"), &keys, network(), now), Ok(revocations));
    let verified = document::verify(&text("supernode_certificate"), &keys, network(), now);
    assert_eq!(verified, Ok(certificate));
    let confused = document::verify::<SupernodeCertificate>(&text("credential"), &keys, network(), now);
    assert_eq!(confused, Err(DocumentError::Malformed), "an account's credential is no certificate");
    let forged = document::verify::<Credential>(&text("forged_credential"), &keys, network(), now);
    assert_eq!(forged, Err(DocumentError::Forged));
}

#[test]
fn signatures_cover_the_inputs_of_the_protocol() {
    let supernode = SupernodeId::of_roster_key(&public(4));
    let native = proof_input(network(), supernode, &[7; 32], Some(&[8; 32]));
    let browser = proof_input(network(), supernode, &[7; 32], None);
    let renew = device_request_input(DeviceVerb::Renew, network(), DeviceId([0xbb; 16]), UnixTime(1_800_000_000));
    let target = DeviceId([0xdd; 16]);
    let other = |verb| device_request_input(verb, network(), DeviceId([0xbb; 16]), UnixTime(1_800_000_000));
    let bound = binding::make(
        AccountId([0xaa; 16]),
        DeviceId([0xbb; 16]),
        &key(3).verifying_key(),
        &key(6),
        UnixTime(1_800_000_000),
    );
    let (addresses, reply) = (["192.0.2.7:443".to_owned(), "[2001:db8::7]:443".to_owned()], ReplySecret::new([10; 32]));
    let particulars = Particulars { addresses: &addresses, region: "Zürich", weight: 100 };
    let enrol = enrolment::enrol_input("token", &reply.reply_key(), particulars).unwrap();
    let renewal = enrolment::renew_input(network(), supernode, UnixTime(1_800_000_000), &reply.reply_key());
    let sealed_key = enrolment::seal_call_token_key(&[9; 32], supernode, &reply.reply_key(), [11; 32]).unwrap();
    let kept = golden(
        "signatures",
        &json!({
            "device_secret": hex(&[3; 32]), "account_secret": hex(&[6; 32]),
            "proof": {
                "supernode": supernode.to_hex(), "nonce": hex(&[7; 32]), "exporter": hex(&[8; 32]),
                "input": hex(&native), "signature": hex(&key(3).sign(&native).to_bytes()),
                "input_without_exporter": hex(&browser),
            },
            "device_request": { "verb": "renew", "time": 1_800_000_000, "input": hex(&renew),
                "signature": hex(&key(3).sign(&renew).to_bytes()) },
            "device_request_revoke_device": { "time": 1_800_000_000, "target": target.to_hex(),
                "input": hex(&other(DeviceVerb::RevokeDevice { target })) },
            "device_request_rename_device": { "time": 1_800_000_000, "target": target.to_hex(), "name": "Büro",
                "input": hex(&other(DeviceVerb::RenameDevice { target, name: "Büro" })) },
            "supernode_enrolment": { "roster_secret": hex(&[4; 32]), "token": "token", "addresses": addresses,
                "region": "Zürich", "weight": 100, "reply_secret": hex(&[10; 32]), "reply_key": hex(&reply.reply_key()),
                "input": hex(&enrol), "signature": hex(&key(4).sign(&enrol).to_bytes()) },
            "supernode_renewal": { "time": 1_800_000_000, "input": hex(&renewal),
                "signature": hex(&key(4).sign(&renewal).to_bytes()) },
            "call_token_key": { "key": hex(&[9; 32]), "seed": hex(&[11; 32]), "sealed": hex(&sealed_key) },
            "binding": hex(&bound.encode_to_vec()),
        }),
    );
    let read = v1::Binding::decode(&unhex(&kept["binding"])[..]).unwrap();
    assert!(binding::verify(&read).is_ok_and(|binding| binding.account_key == public(6)));
    let opened = reply.open(&unhex(&kept["call_token_key"]["sealed"]), supernode);
    assert_eq!(opened.as_deref(), Some(&[9; 32]));
}

#[test]
fn sealed_things_open() {
    let claims = CallTokenClaims {
        call: CallId([1; 16]),
        conversation: ConversationId([2; 16]),
        account: AccountId([0xaa; 16]),
        device: DeviceId([0xbb; 16]),
        peers: vec![(AccountId([0xcc; 16]), DeviceId([0xdd; 16]))],
        answered_at: UnixTime(1_800_000_000),
        expires: UnixTime(1_800_003_600),
    };
    let token_key = CallTokenKey::new([9; 32]);
    let account = AccountId([0xaa; 16]);
    let code = RecoveryCode::new([5; 20]);
    let sealed = |key: &SealingKey| hex(&sealing::seal_account_key(&self::key(6), account, key, [4; 24]));
    let kept = golden(
        "sealed",
        &json!({
            "account": account.to_hex(), "account_secret": hex(&[6; 32]), "nonce": hex(&[4; 24]),
            "export_key": hex(&[2; 64]), "under_password": sealed(&SealingKey::of_export_key(&[2; 64])),
            "recovery_code": code.to_text().as_str(), "under_recovery_code": sealed(&code.sealing_key()),
            "call_token": { "key": hex(&[9; 32]), "nonce": hex(&[3; 24]),
                "token": hex(&call_token::seal(&claims, network(), &token_key, [3; 24])) },
        }),
    );
    let token = unhex(&kept["call_token"]["token"]);
    assert_eq!(call_token::open(&token, network(), &token_key, UnixTime(1_800_000_001)), Ok(claims));
    let under_code = unhex(&kept["under_recovery_code"]);
    let opened = sealing::open_account_key(&under_code, account, &code.sealing_key());
    assert!(opened.is_ok_and(|secret| secret.to_bytes() == [6; 32]));
}

#[test]
fn people_read_the_same_digits() {
    let code = comparison::comparison_code((AccountId([0xaa; 16]), &public(6)), (AccountId([0xcc; 16]), &public(7)));
    golden(
        "comparison",
        &json!({
            "a": { "account": hex(&[0xaa; 16]), "account_key": hex(&public(6)) },
            "b": { "account": hex(&[0xcc; 16]), "account_key": hex(&public(7)) },
            "code": code,
        }),
    );
}

#[test]
fn what_is_for_strangers_opens_with_their_secret() {
    let (asking, asked) = (AccountId([0xcc; 16]), AccountId([0xaa; 16]));
    let published = request_key::publish(asked, &key(6));
    let request_key = request_key::verify(&published, asked, &public(6)).unwrap();
    let secret = RequestSecret::of_account_key(&key(6));
    let text = "Hi, it's Claire from the ferry ⛴";
    let content = v1::ReportContent {
        reason: "sells boats that sink".into(),
        messages: vec![v1::RevealedMessage {
            account: asking.to_bytes(),
            text: "unsinkable!".into(),
            at_ms: 1_800_000_000_123,
        }],
    };
    let report_secret = ReportSecret::new([8; 32]);
    let report_key = report_secret.report_key();
    let kept = golden(
        "people",
        &json!({
            "request_key": { "account": asked.to_hex(), "account_secret": hex(&[6; 32]),
                "request_secret": hex(secret.as_bytes()), "published": hex(&published) },
            "note": { "asking": asking.to_hex(), "asked": asked.to_hex(), "text": text, "seed": hex(&[7; 32]),
                "sealed": hex(&note::seal(text, asking, asked, &request_key, [7; 32]).unwrap()) },
            "report": { "reporter": asked.to_hex(), "about": asking.to_hex(), "report_secret": hex(&[8; 32]),
                "report_key": hex(&report_key), "content": hex(&content.encode_to_vec()), "seed": hex(&[9; 32]),
                "sealed": hex(&report::seal(&content, asked, asking, &report_key, [9; 32]).unwrap()) },
        }),
    );
    let sealed = unhex(&kept["note"]["sealed"]);
    assert_eq!(note::open(&sealed, asking, asked, &secret), Ok(text.to_owned()));
    assert_eq!(report::open(&unhex(&kept["report"]["sealed"]), asked, asking, &report_secret), Ok(content));
}

#[test]
fn messages_are_framed_by_their_length() {
    let find = v1::ClientMessage {
        request: 300,
        body: Some(v1::client_message::Body::FindAccount(v1::FindAccount { name: "alice".into() })),
    };
    let challenge = v1::SupernodeMessage {
        in_reply_to: 0,
        body: Some(v1::supernode_message::Body::Challenge(v1::Challenge {
            nonce: vec![7; 32].into(),
            time_ms: 1_800_000_000_123,
            supernode: vec![1; 16].into(),
            minimum_version: 1,
            certificate: String::new(),
            agent: "ahoyd/0.1.0".into(),
        })),
    };
    let (device, number) = (DeviceId([0xbb; 16]).to_bytes(), 300);
    let reply_to = v1::MessageRef { device, number: 7 };
    let text = v1::Text { text: "Grüße von Bord ⛴".into(), reply_to: Some(reply_to) };
    let content =
        v1::Content { sent_at_ms: 1_800_000_000_123, number, body: Some(v1::content::Body::Text(text.clone())) };
    let flows: Vec<Value> = [0, 63, 64, 16_383, 16_384, 1 << 30]
        .into_iter()
        .map(|number| {
            let mut bytes = Vec::new();
            FlowId::new(number).unwrap().encode(&mut bytes);
            json!({ "flow": number, "bytes": hex(&bytes) })
        })
        .collect();
    let kept = golden(
        "messages",
        &json!({
            "content": { "sent_at_ms": 1_800_000_000_123_u64, "number": number, "text": text.text,
                "reply_to": { "device": hex(&[0xbb; 16]), "number": 7 }, "encoded": hex(&content.encode_to_vec()) },
            "find_account": { "request": 300, "name": "alice", "framed": hex(&frame::encode(&find)) },
            "challenge": { "time_ms": 1_800_000_000_123_u64, "framed": hex(&frame::encode(&challenge)) },
            "flow_ids": flows,
        }),
    );
    assert_eq!(v1::Content::decode(&unhex(&kept["content"]["encoded"])[..]), Ok(content));
}

/// Candidates as JSON, so that other implementations read what these indices mean.
fn candidates_json(candidates: &[Candidate]) -> Value {
    candidates.iter().map(|c| json!({ "supernode": c.supernode.to_hex(), "weight": c.weight })).collect()
}

#[test]
fn placement_is_the_same_everywhere() {
    let fleet = |weights: &[u32]| -> Vec<Candidate> {
        let named = |(number, &weight): (usize, &u32)| Candidate {
            supernode: SupernodeId::of_roster_key(&public(number as u8)),
            weight,
        };
        weights.iter().enumerate().map(named).collect()
    };
    let fleets =
        [fleet(&[100, 100, 100]), fleet(&[1, 2, 0, 5, 1000]), fleet(&[u32::MAX, 1, u32::MAX - 1]), fleet(&[0, 0])];
    let mut keys = vec![[0; 16], [0xff; 16]];
    keys.extend((1..=10u8).map(|seed| <[u8; 16]>::try_from(&public(seed)[..16]).unwrap()));
    let ranks = fleets.each_ref().map(|fleet| -> Value {
        let rank = |key: &[u8; 16]| json!({ "key": hex(key), "rank": placement::rank(key, fleet) });
        json!({ "candidates": candidates_json(fleet), "ranks": keys.iter().map(rank).collect::<Value>() })
    });
    let times = [None, Some(20), Some(51), Some(50), Some(120)];
    let known: Vec<_> =
        fleet(&[1; 5]).into_iter().zip(times.map(|ms: Option<u64>| ms.map(Duration::from_millis))).collect();
    let chosen = |key: &[u8; 16]| json!({ "account": hex(key), "order": placement::choose(&AccountId(*key), &known) });
    golden(
        "placement",
        &json!({
            "fleets": ranks,
            "choice": {
                "candidates": candidates_json(&fleet(&[1; 5])),
                "round_trips_ms": times,
                "orders": keys.iter().map(chosen).collect::<Value>(),
            },
        }),
    );
}
