//! The way to PostgreSQL, encrypted or refused.

use std::process::Command;
use std::{env, fs};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::*;
use crate::testing::{Database, Postgres};

/// Set in a process that trusts nobody but whom a test says: where it is to connect to.
const CONNECT_TO: &str = "AHOY_STORE_TEST_CONNECT_TO";

/// Stands before what that process has to say.
const SAYS: &str = "the store says: ";

/// Of the server.
const HOST: &str = "db.example.org";

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server that this authority has certified to be `HOST`.
fn server(authority: &Authority) -> Postgres {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    Postgres::start_with_certificate(&certificate.pem(), &key.serialize_pem())
}

/// What comes of connecting to an address in a process that trusts this authority alone: "connected", or why not.
fn outcome(address: &str, authority: &Authority) -> String {
    let folder = TempDir::new().unwrap();
    let trusted = folder.path().join("authority.pem");
    fs::write(&trusted, authority.pem()).unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "tests::tls::what_is_asked_for_is_encrypted_to_a_server_that_proves_its_name_or_refused",
            "--nocapture",
        ])
        .env(CONNECT_TO, address)
        .env("SSL_CERT_FILE", &trusted)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let (_, outcome) = said.split_once(SAYS).unwrap_or_else(|| panic!("it says {said}"));
    outcome.lines().next().unwrap().to_owned()
}

/// In that process.
fn connect(address: &str) {
    match Store::connect(address) {
        Ok(store) => {
            run(&store, sign_up(1, "alice", Admission::Anyone, None)).unwrap();
            println!("{SAYS}connected");
        }
        Err(error) => println!("{SAYS}{error}"),
    }
}

#[test]
fn what_is_asked_for_is_encrypted_to_a_server_that_proves_its_name_or_refused() {
    if let Ok(address) = env::var(CONNECT_TO) {
        return connect(&address);
    }
    let ours = authority("ours");
    let server = server(&ours);
    // The password is proven for this one certificate only.
    let address = server.database_on(HOST) + "&channel_binding=require";
    let encrypted = format!("{address}&sslmode=require");
    assert_eq!(outcome(&encrypted, &ours), "connected");

    let refused = outcome(&encrypted, &authority("another"));
    assert!(refused.contains("certificate: UnknownIssuer"), "{refused}");
    let refused = outcome(&encrypted.replace(HOST, "db.example.net"), &ours);
    assert!(refused.contains("certificate not valid for name \"db.example.net\""), "{refused}");

    let refused = outcome(&address, &ours);
    assert!(refused.contains("no encryption"), "without `sslmode` nothing is encrypted: {refused}");
    let plain = Database::new();
    let refused = outcome(&format!("{}&sslmode=require", plain.address()), &ours);
    assert!(refused.contains("server does not support TLS"), "{refused}");
}

#[test]
fn a_move_to_postgresql_is_as_particular() {
    let server = server(&authority("nobody's"));
    let home = File::new();
    drop(home.open());
    let address = server.database_on(HOST) + "&sslmode=require";
    let refused = migrate(&home.path(), &address, &mut |_| std::ops::ControlFlow::Continue(())).unwrap_err();
    // Of what this machine trusts, nobody has certified the server.
    assert!(matches!(refused, MoveError::Target(OpenError::Unreachable(_) | OpenError::Trust(_))), "{refused}");
}
