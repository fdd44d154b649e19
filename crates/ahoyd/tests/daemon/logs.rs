use ahoy_client::account::{NetworkUrl, NewAccount, contact, sign_up};
use ahoy_client::driver::{Client, ClientOptions, Event};
use ahoy_client::profile::Profile;
use ahoy_client::voice::Speaker;
use ahoy_proto::Name;
use rustix::process::Signal;

use crate::harness::{Daemon, PATIENCE};

const EVERYTHING_OF_OURS: &str = "log.level=info,ahoyd=trace,ahoy_core=trace,ahoy_net=trace,ahoy_store=trace,\
                                  ahoy_supernode=trace,ahoy_authority=trace,ahoy_client=trace";

/// Whole ids that must not be logged.
struct Secrets(Vec<String>);

/// Signs up, calls echo, hears something, hangs up.
fn call_echo(daemon: &Daemon, folder: &std::path::Path) -> Secrets {
    let now = || std::time::SystemTime::now().into();
    let network = contact(&NetworkUrl::parse(&daemon.url()).unwrap(), None, now()).unwrap().network;
    let name = Name::parse("alice").unwrap();
    let new = NewAccount { name: &name, password: "correct horse".into(), invite: None, device_name: "test" };
    let identity = sign_up(&network, new, now()).unwrap().identity;
    let profile = Profile::open(folder).unwrap();
    profile.keep(&identity).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let call = runtime.block_on(async {
        let (client, mut events) = Client::start(profile, ClientOptions::default()).await.unwrap();
        let call = client.call(Name::parse("echo").unwrap(), Speaker::Echo).await.unwrap();
        let connected = async { while !matches!(events.next().await, Some(Event::Connected { .. })) {} };
        tokio::time::timeout(PATIENCE, connected).await.unwrap();
        client.hang_up(call).await.unwrap();
        client.close().await;
        call
    });
    Secrets(vec![identity.account.to_hex(), identity.device.to_hex(), call.to_hex(), "correct horse".to_owned()])
}

#[test]
fn no_log_line_holds_a_whole_id_or_a_clients_address() {
    for format in ["log.format=text", "log.format=json"] {
        let folder = tempfile::tempdir().unwrap();
        let mut daemon = Daemon::dev(&folder.path().join("data"), &[EVERYTHING_OF_OURS, format]);
        let own = [format!("127.0.0.1:{}", daemon.port), format!("[::1]:{}", daemon.port)];
        let Secrets(secrets) = call_echo(&daemon, &folder.path().join("profile"));
        let (code, log) = daemon.end(Signal::TERM);
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("ending"), "{log}");
        for secret in secrets {
            assert!(!log.contains(&secret), "{secret} in {log}");
        }
        let without_own = own.iter().fold(log, |log, own| log.replace(own, ""));
        for address in ["127.0.0.1:", "[::1]:"] {
            let line = without_own.lines().find(|line| line.contains(address) && !line.contains("admin"));
            assert!(line.is_none(), "{line:?}");
        }
    }
}

#[test]
fn json_logs_are_json() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::dev(folder.path(), &["log.format=json", "log.level=info", "echo="]);
    let (_, log) = daemon.end(Signal::TERM);
    assert!(!log.is_empty());
    for line in log.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(event["level"].is_string(), "{line}");
    }
}
