use std::time::{Duration, Instant};

use ahoy_client::profile::read_identity;
use rustix::process::Signal;

use crate::harness::Daemon;

#[test]
fn a_daemon_ends_cleanly_and_is_the_same_network_after_any_end() {
    let folder = tempfile::tempdir().unwrap();
    let network = |daemon: &Daemon| {
        let (status, body) = daemon.api("/.well-known/ahoy");
        assert_eq!(status, 200);
        let said: ahoy_proto::api::WellKnown = serde_json::from_str(&body).unwrap();
        (said.root_key, said.supernodes[0].key.clone())
    };
    let mut first = Daemon::dev(folder.path(), &["echo="]);
    let keys = network(&first);
    assert_eq!(first.end(Signal::TERM).0, Some(0));
    let mut second = Daemon::dev(folder.path(), &["echo="]);
    assert_eq!(network(&second), keys);
    assert_eq!(second.end(Signal::KILL).0, None);
    let mut third = Daemon::dev(folder.path(), &["echo="]);
    assert_eq!(network(&third), keys);
    assert_eq!(third.end(Signal::INT).0, Some(0));
}

#[test]
fn a_clean_end_does_not_wait_for_idle_connections() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::dev(folder.path(), &["echo="]);
    let idle = std::net::TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    let start = Instant::now();
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(idle);
}

#[test]
fn the_echo_account_survives_a_restart_on_another_port() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Daemon::dev(folder.path(), &[]);
    let identity = || read_identity(&folder.path().join("echo/profile")).unwrap().unwrap();
    let before = identity();
    first.end(Signal::TERM);
    let second = Daemon::dev(folder.path(), &[]);
    assert_eq!(identity().account, before.account);
    assert_eq!(identity().network.url.as_str(), second.url());
    let (_, metrics) = second.admin("/metrics");
    assert!(metrics.lines().any(|line| line == "ahoy_sessions 1"), "{metrics}");
}

#[test]
fn health_and_metrics_answer() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::dev(folder.path(), &["echo="]);
    assert_eq!(daemon.admin("/live"), (200, "live\n".to_owned()));
    assert_eq!(daemon.admin("/ready").0, 200);
    let (status, metrics) = daemon.admin("/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("# TYPE ahoy_sessions gauge") && metrics.ends_with("# EOF\n"), "{metrics}");
}
