use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use ureq::tls::{RootCerts, TlsConfig};

use crate::harness::{Daemon, PATIENCE, free_port};

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
