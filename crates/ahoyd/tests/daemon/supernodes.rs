//! Roles apart: an authority, and supernodes that have enrolled there. The two share one SQLite file.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ahoy_client::driver::Event;
use ahoy_proto::document::{self, Confirmation, Document, Jwk, Roster, SupernodeCertificate, SupernodePolicy};
use ahoy_proto::{NetworkId, SupernodeId, UnixTime};
use ed25519_dalek::SigningKey;
use rustix::process::Signal;

use crate::harness::{Daemon, PATIENCE, client, configure, objects, refused, said, sign_up};

/// An authority without a supernode, and its configuration.
fn authority(folder: &Path) -> (Daemon, String) {
    let (file, port) = configure(folder, "sign_up = \"open\"\nroles = [\"authority\"]\n");
    (Daemon::start(&["serve", "--config", &file], port, &[]), file)
}

/// A machine that is to be a supernode.
struct Machine {
    folder: tempfile::TempDir,
    file: String,
    port: u16,
}

impl Machine {
    /// Beside an authority in `network`, whose database it is to use.
    fn new(network: &Path, authority: &Daemon) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let more = format!("roles = [\"supernode\"]\nauthority = \"{}\"\n", authority.url());
        let (file, port) = configure(folder.path(), &more);
        std::fs::create_dir(folder.path().join("data")).unwrap();
        std::os::unix::fs::symlink(network.join("data/ahoy.sqlite"), folder.path().join("data/ahoy.sqlite")).unwrap();
        Self { folder, file, port }
    }

    fn join(&self, token: &str) -> Vec<serde_json::Value> {
        objects(&["join", "--config", &self.file, "--token", token])
    }

    fn join_refused(&self, token: &str) -> String {
        let (code, said) = refused(&["join", "--config", &self.file, "--token", token]);
        assert_eq!(code, Some(1), "{said}");
        said
    }

    fn serve(&self) -> Daemon {
        Daemon::start(&["serve", "--config", &self.file], self.port, &[])
    }

    /// What it says instead of starting.
    fn serve_refused(&self) -> String {
        let (code, said) = refused(&["serve", "--config", &self.file, "--set", "admin.listen=[]"]);
        assert_eq!(code, Some(1), "{said}");
        let last = said.lines().last().unwrap_or_default().to_owned();
        assert!(last.starts_with("ahoyd: "), "{said}");
        last
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("data/keys")
    }

    fn key(&self) -> SigningKey {
        signing_key(&self.keys().join("roster.key"))
    }
}

fn signing_key(file: &Path) -> SigningKey {
    SigningKey::from_bytes(&std::fs::read(file).unwrap().try_into().unwrap())
}

fn token(file: &str, more: &[&str]) -> String {
    let made = objects(&[&["enrol", "--config", file], more].concat());
    made[0]["token"].as_str().unwrap().to_owned()
}

fn network(keys: &Path) -> NetworkId {
    NetworkId::of_root_key(&std::fs::read(keys.join("root.pub")).unwrap().try_into().unwrap())
}

/// A certificate for a key, good from an hour ago to `expires`.
fn certificate(network: NetworkId, key: &SigningKey, now: UnixTime, expires: u64) -> SupernodeCertificate {
    let key = key.verifying_key().to_bytes();
    SupernodeCertificate {
        network,
        supernode: SupernodeId::of_roster_key(&key),
        confirmation: Confirmation { jwk: Jwk::ed25519(key) },
        number: 0,
        policy: SupernodePolicy::Hosted,
        issued_at: UnixTime(now.0 - 3_600),
        expires: UnixTime(expires),
    }
}

fn now() -> UnixTime {
    std::time::SystemTime::now().into()
}

/// Whom the authority lists.
fn listed(daemon: &Daemon, data: &Path) -> Vec<String> {
    let keys = data.join("keys");
    let signing = signing_key(&keys.join("signing.key")).verifying_key();
    let roster: Roster =
        document::verify(daemon.api("/v1/roster").1.trim(), &[signing], network(&keys), now()).unwrap();
    roster.supernodes.iter().map(|entry| entry.supernode.to_hex()).collect()
}

#[test]
fn a_supernode_alone_serves_people_and_holds_no_secret_that_signs() {
    let home = tempfile::tempdir().unwrap();
    let (daemon, file) = authority(home.path());
    let machine = Machine::new(home.path(), &daemon);
    assert!(machine.serve_refused().contains("has not enrolled"), "before it has");
    let line = said(&["enrol", "--config", &file, "--region", "north", "--weight", "7"]);
    assert!(line.starts_with("ahoyd join --config ") && line.trim().lines().count() == 1, "{line}");
    assert!(line.contains(&format!("--authority {} --token ", daemon.url())), "{line}");
    let joined = machine.join(line.split_whitespace().last().unwrap());
    let id = joined[0]["supernode"].as_str().unwrap().to_owned();
    let files: BTreeSet<String> =
        machine.keys().read_dir().unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let expected = [
        "call-token.key",
        "revocations.jwt",
        "root.pub",
        "roster.jwt",
        "roster.key",
        "signing.certs",
        "stateless-reset.key",
        "supernode.cert",
    ];
    assert_eq!(files, expected.map(str::to_owned).into());
    for file in files {
        let mode = machine.keys().join(&file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let secrets = ["root.key", "signing.key", "opaque.key", "report.key"].map(|name| {
        let secret = std::fs::read(home.path().join("data/keys").join(name)).unwrap();
        (name, secret)
    });
    let held: Vec<u8> =
        machine.keys().read_dir().unwrap().flat_map(|f| std::fs::read(f.unwrap().path()).unwrap()).collect();
    for (name, secret) in secrets {
        assert!(!held.windows(32).any(|piece| piece == &secret[..32]), "{name}");
    }
    let mut supernode = machine.serve();
    assert_eq!(supernode.api("/.well-known/ahoy").0, 404, "no API here");
    assert_eq!(supernode.api("/session").0, 400, "links by WebSocket, to who asks for one");
    assert!(std::net::UdpSocket::bind(("127.0.0.1", daemon.port)).is_ok(), "no links there");
    let list = objects(&["supernodes", "list", "--config", &file]);
    assert_eq!((list[0]["region"].as_str(), list[0]["weight"].as_u64()), (Some("north"), Some(7)));
    let identity = sign_up(&daemon, "alice");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let profile = tempfile::tempdir().unwrap();
        let (client, mut events) = client(&identity, profile.path()).await;
        let ready = async { while !matches!(events.next().await, Some(Event::Ready)) {} };
        tokio::time::timeout(PATIENCE, ready).await.unwrap();
        client.close().await;
    });
    // The authority's absence changes nothing, a restart included.
    drop(daemon);
    assert_eq!(supernode.end(Signal::TERM).0, Some(0));
    let mut again = machine.serve();
    let (code, log) = again.end(Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains(&id), "ids are cut short in logs");
}

#[test]
fn who_is_revoked_is_out_within_two_seconds_and_does_not_come_back() {
    let home = tempfile::tempdir().unwrap();
    let (daemon, file) = authority(home.path());
    let machine = Machine::new(home.path(), &daemon);
    let joined = machine.join(&token(&file, &[]));
    let id = joined[0]["supernode"].as_str().unwrap().to_owned();
    let mut supernode = machine.serve();
    assert_eq!(listed(&daemon, &home.path().join("data")), [id.as_str()]);
    let changed = objects(&["supernodes", "change", &id[..8], "--config", &file, "--weight", "3"]);
    assert_eq!(changed[0]["weight"], 3);
    let start = Instant::now();
    said(&["supernodes", "revoke", &id, "--yes", "--config", &file]);
    let (code, log) = supernode.ended();
    let took = start.elapsed();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("the operator has revoked this supernode"), "{log}");
    assert!(listed(&daemon, &home.path().join("data")).is_empty());
    // Two looks of a second each; the rest is two processes' starts and ends on a busy machine.
    assert!(took < Duration::from_secs(8), "{took:?}");
    eprintln!("revoked and ended after {took:?}");
    assert!(machine.serve_refused().contains("the operator has revoked this supernode"));
    std::fs::remove_file(machine.keys().join("supernode.cert")).unwrap();
    assert!(machine.join_refused(&token(&file, &[])).contains("this key was revoked"));
    std::fs::remove_dir_all(machine.keys()).unwrap();
    assert_eq!(machine.join(&token(&file, &[]))[0]["number"], 1, "a new key is a new supernode");
}

#[test]
fn a_token_is_good_once_and_refusals_do_not_fill_the_log() {
    let (home, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ((mut daemon, file), (foreign, foreign_file)) = (authority(home.path()), authority(elsewhere.path()));
    let (first, second) = (Machine::new(home.path(), &daemon), Machine::new(home.path(), &daemon));
    let used = token(&file, &[]);
    first.join(&used);
    assert!(refused(&["join", "--config", &first.file, "--token", "x"]).1.contains("already"));
    for token in [&used, "guess", &token(&foreign_file, &[])] {
        assert!(second.join_refused(token).contains("unused enrolment token"));
    }
    drop(foreign);
    assert!(second.serve_refused().contains("has not enrolled"));
    let log = daemon.end(Signal::TERM).1;
    assert_eq!(log.matches("an enrolment was refused").count(), 1, "{log}");
    assert!(!log.contains(&used), "{log}");
}

#[test]
fn a_token_in_the_configuration_enrols_at_the_first_start() {
    let home = tempfile::tempdir().unwrap();
    let (daemon, file) = authority(home.path());
    let machine = Machine::new(home.path(), &daemon);
    let setting = format!("enrolment_token={}", token(&file, &[]));
    let arguments = ["serve", "--config", &machine.file];
    for _ in 0..2 {
        let mut supernode = Daemon::start(&arguments, machine.port, &[&setting]);
        assert_eq!(supernode.end(Signal::TERM).0, Some(0));
    }
    assert_eq!(objects(&["supernodes", "list", "--config", &file]).len(), 1);
}

#[test]
fn only_its_own_authoritys_word_for_its_own_key_makes_a_supernode() {
    let (home, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut daemon, file) = authority(home.path());
    let machine = Machine::new(home.path(), &daemon);
    machine.join(&token(&file, &[]));
    let keys = home.path().join("data/keys");
    let (signing, own, now) = (signing_key(&keys.join("signing.key")), machine.key(), now());
    let alice = sign_up(&daemon, "alice");
    let good_until = now.0 + 3_600;
    fn signed<D: Document>(document: &D, key: &SigningKey) -> String {
        document::sign(document, key)
    }
    let genuine = certificate(network(&keys), &own, now, good_until);
    let stranger = SigningKey::from_bytes(&[7; 32]);
    let other_network = NetworkId::of_root_key(stranger.verifying_key().as_bytes());
    let file_of = machine.keys().join("supernode.cert");
    let cases = [
        ("a stranger's own", signed(&genuine, &own), "not signed by a key of this network"),
        ("another network's", signed(&certificate(other_network, &own, now, good_until), &signing), "another network"),
        (
            "another supernode's",
            signed(&certificate(network(&keys), &stranger, now, good_until), &signing),
            "another supernode's",
        ),
        ("a copied roster", daemon.api("/v1/roster").1, "no certificate of a supernode"),
        ("an account's credential", alice.credential.clone(), "no certificate of a supernode"),
        (
            "long expired",
            signed(
                &SupernodeCertificate {
                    issued_at: UnixTime(now.0 - 100 * 86_400),
                    ..certificate(network(&keys), &own, now, now.0 - 60 * 86_400)
                },
                &signing,
            ),
            "expired too long ago",
        ),
        ("nothing", String::new(), "no certificate of a supernode"),
    ];
    for (what, token, why) in cases {
        std::fs::write(&file_of, token).unwrap();
        let said = machine.serve_refused();
        assert!(said.contains(why), "{what}: {said}");
    }
    // One that has just expired is renewed at the start, by the authority.
    let expired = signed(&certificate(network(&keys), &own, now, now.0 - 1), &signing);
    std::fs::write(&file_of, &expired).unwrap();
    assert_eq!(machine.serve().end(Signal::TERM).0, Some(0));
    std::fs::write(&file_of, &expired).unwrap();
    daemon.end(Signal::TERM);
    assert!(machine.serve_refused().contains("the authority gives it no other"));
    // The whole folder of another machine's authority is no way in either.
    let (foreign, _) = authority(elsewhere.path());
    drop(foreign);
    std::fs::copy(elsewhere.path().join("data/keys/signing.key"), machine.keys().join("signing.key")).unwrap();
    assert!(machine.serve_refused().contains("an authority's secret"));
}

#[test]
fn the_supernode_of_the_authoritys_own_process_has_number_0_and_is_not_revoked_under_it() {
    let home = tempfile::tempdir().unwrap();
    let (daemon, file) = Daemon::serve(home.path());
    let list = objects(&["supernodes", "list", "--config", &file]);
    assert_eq!((list.len(), list[0]["number"].as_u64()), (1, Some(0)));
    let id = list[0]["supernode"].as_str().unwrap();
    assert_eq!(listed(&daemon, &home.path().join("data")), [id]);
    let (code, said) = refused(&["supernodes", "revoke", id, "--yes", "--config", &file]);
    assert_eq!(code, Some(1));
    assert!(said.contains("this very machine"), "{said}");
}
