use std::path::Path;
use std::time::{Duration, Instant};

use ahoy_fabric::testing::RedisServer;
use ahoy_store::testing::Postgres;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustix::process::Signal;
use ureq::tls::{RootCerts, TlsConfig};

use crate::harness::{Daemon, PATIENCE, ahoyd, configure, free_port, sign_in, sign_up};

/// Writes a new certificate for `localhost` and its key, and gives the certificate.
fn certify(folder: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    ahoyd_key(&folder.join("key.pem"), &made.signing_key.serialize_pem());
    made.cert.pem()
}

fn ahoyd_key(path: &Path, pem: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, pem).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Whether the authority answers over TLS with exactly this certificate.
fn answers(port: u16, certificate: &str) -> bool {
    let root = ureq::tls::Certificate::from_pem(certificate.as_bytes()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[root]))
        .unversioned_rustls_crypto_provider(provider)
        .build();
    let agent =
        ureq::Agent::config_builder().tls_config(tls).proxy(None).timeout_global(Some(PATIENCE)).build().new_agent();
    agent.get(format!("https://localhost:{port}/.well-known/ahoy")).call().is_ok()
}

#[test]
fn a_new_certificate_is_taken_up_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = certify(folder.path());
    let port = free_port();
    let file = folder.path().join("ahoy.toml");
    let at = |name: &str| folder.path().join(name);
    let text = format!(
        "name = \"localhost\"\ndata = {:?}\nlisten = [\"127.0.0.1:{port}\"]\n[tls]\ncertificate = {:?}\nkey = {:?}\n",
        at("data"),
        at("cert.pem"),
        at("key.pem")
    );
    std::fs::write(&file, text).unwrap();
    let mut daemon = Daemon::start(&["serve", "--config", file.to_str().unwrap()], port, &[]);
    assert!(answers(port, &first));

    let second = certify(folder.path());
    assert!(!answers(port, &second));
    daemon.signal(Signal::HUP);
    let start = Instant::now();
    while !answers(port, &second) {
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!answers(port, &first));

    let (code, log) = daemon.end(Signal::TERM);
    assert_eq!(code, Some(0));
    assert!(log.contains("read again"), "{log}");
}

/// An operator's own authority.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "the operator");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[test]
fn databases_are_reached_encrypted_by_the_word_of_the_operators_own_authority_and_not_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (ours, key) = (authority(), KeyPair::generate().unwrap());
    let names = ["db.example.org".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &ours).unwrap().pem();
    for (name, pem) in [("authority", ours.pem()), ("certificate", certificate.clone()), ("key", key.serialize_pem())] {
        std::fs::write(at(name), pem).unwrap();
    }
    let postgres = Postgres::start_with_certificate(&certificate, &key.serialize_pem());
    let (ca, cert, key) = (at("authority"), at("certificate"), at("key"));
    let files =
        ["--tls-ca-cert-file", &ca, "--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-auth-clients", "no"];
    let valkey = RedisServer::start_with(&files);
    let store = postgres.database_on("db.example.org") + "&sslmode=require";
    let more = format!("sign_up = \"open\"\nstore = {store:?}\nfabric = {:?}\n", valkey.url());
    let (file, port) = configure(folder.path(), &more);
    let serve = |trusted: Option<&str>| {
        let mut command = ahoyd(&["serve", "--config", &file]);
        command
            .env_remove("SSL_CERT_DIR")
            .env_remove("SSL_CERT_FILE")
            .envs(trusted.map(|file| ("SSL_CERT_FILE", file)));
        command
    };

    let mut daemon = Daemon::spawn(serve(Some(&ca)), port, &[]);
    sign_up(&daemon, "alice");
    assert!(sign_in(&daemon, "alice").is_ok());
    let (code, log) = daemon.end(Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("in the clear") && !log.contains("the fabric is out of reach"), "{log}");

    let output = serve(None).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("UnknownIssuer"), "{said}");
}
