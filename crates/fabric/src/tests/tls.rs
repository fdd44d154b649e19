//! The way to Valkey, encrypted or refused. The processes that go it trust nobody but the authority of their test.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::*;
use crate::testing::{RedisCluster, RedisSentinel, RedisServer};

/// Set in such a process: the folder with the certificates of its test.
const CERTIFICATES: &str = "AHOY_FABRIC_TEST_CERTIFICATES";

/// Runs a test of this file in a process of its own that trusts one of two authorities. In that process: the folder with a
/// certificate of each for `127.0.0.1`.
fn certificates(test: &str) -> Option<PathBuf> {
    if let Some(folder) = env::var_os(CERTIFICATES) {
        // As `ahoyd` does when it starts.
        let _ = rustls::crypto::ring::default_provider().install_default();
        return Some(folder.into());
    }
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path(), "trusted");
    certify(folder.path(), "unknown");
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("tests::tls::{test}"), "--nocapture"])
        .env(CERTIFICATES, folder.path())
        .env("SSL_CERT_FILE", folder.path().join("trusted-authority.pem"))
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, complained) = (said(&output.stdout), said(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}{complained}");
    None
}

/// Makes an authority, and what a server needs to prove itself by its word.
fn certify(folder: &Path, by: &str) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, by);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    for (name, pem) in
        [("authority", authority.pem()), ("certificate", certificate.pem()), ("key", key.serialize_pem())]
    {
        fs::write(folder.join(format!("{by}-{name}.pem")), pem).unwrap();
    }
}

/// What lets a server, sentinels and nodes of a cluster among them, speak with whom it may by TLS alone.
fn encrypted(folder: &Path, by: &str) -> Vec<String> {
    let file = |name: &str| folder.join(format!("{by}-{name}.pem")).to_str().unwrap().to_owned();
    let [authority, certificate, key] = ["authority", "certificate", "key"].map(file);
    let files = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &authority];
    let rest = ["--tls-auth-clients", "no", "--tls-replication", "yes", "--tls-cluster", "yes"];
    files.into_iter().chain(rest).map(str::to_owned).collect()
}

/// Two supernodes who see each other there.
async fn two_meet(url: &str) {
    let fleet = Fleet::new(&Fabric::Valkey(url.parse().unwrap()));
    let (first, second) = (fleet.join(0), fleet.join(1));
    fleet.until(&first, &[(0, 1), (1, 1)]).await;
    fleet.until(&second, &[(0, 1), (1, 1)]).await;
}

#[tokio::test]
async fn a_fleet_meets_encrypted_on_every_kind_of_valkey() {
    let Some(folder) = certificates("a_fleet_meets_encrypted_on_every_kind_of_valkey") else { return };
    let arguments = encrypted(&folder, "trusted");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let single = RedisServer::start_with(&arguments);
    two_meet(&single.url()).await;
    let sentinel = RedisSentinel::start_with(&arguments);
    two_meet(&sentinel.url()).await;
    let cluster = RedisCluster::start_with(&arguments);
    for node in &cluster.nodes {
        two_meet(&node.url().replace("rediss://", "rediss-cluster://")).await;
    }
}

#[tokio::test]
async fn a_valkey_that_does_not_prove_its_name_is_refused() {
    let Some(folder) = certificates("a_valkey_that_does_not_prove_its_name_is_refused") else { return };
    let refusal = async |url: String| {
        let config: ValkeyConfig = url.parse().unwrap();
        config.connect(0, "key".to_owned(), Arc::default()).await.expect_err(&url).to_string()
    };
    let start = |by: &str| {
        let arguments = encrypted(&folder, by);
        RedisServer::start_with(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let trusted = start("trusted");
    let refused = refusal(trusted.url().replace("127.0.0.1", "localhost")).await;
    assert!(refused.contains("certificate not valid for name \"localhost\""), "{refused}");
    let refused = refusal(start("unknown").url()).await;
    assert!(refused.contains("certificate: UnknownIssuer"), "{refused}");
    // What it is taken for depends on chance, and so does what is said of it.
    let plain = RedisServer::start();
    refusal(plain.url().replace("redis://", "rediss://")).await;
    refusal(trusted.url().replace("rediss://", "redis://")).await;
}
