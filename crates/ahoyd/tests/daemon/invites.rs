use ahoy_client::account::{AccountError, NetworkUrl, NewAccount, contact, sign_up};
use ahoy_proto::Name;
use ahoy_proto::api::ApiErrorCode;

use crate::harness::{Daemon, ahoyd, configure, objects};

#[test]
fn an_invite_made_beside_the_running_daemon_lets_one_person_in() {
    let folder = tempfile::tempdir().unwrap();
    let (file, port) = configure(folder.path(), "");
    let daemon = Daemon::start(&["serve", "--config", &file], port, &[]);
    let output = ahoyd(&["invite", "--config", &file]).output().unwrap();
    assert!(output.status.success());
    let invite = String::from_utf8(output.stdout).unwrap();

    let now = || ahoy_proto::UnixTime::from(std::time::SystemTime::now());
    let network = contact(&NetworkUrl::parse(&daemon.url()).unwrap(), None, now()).unwrap().network;
    let try_as = |name: &str, invite: Option<&str>| {
        let name = Name::parse(name).unwrap();
        let new = NewAccount { name: &name, password: "correct horse".into(), invite, device_name: "test" };
        sign_up(&network, new, now()).map(|signed_up| signed_up.identity.name)
    };
    let refused = |result: Result<Name, AccountError>| matches!(result, Err(AccountError::Refused(error)) if error.code == ApiErrorCode::SignUpRefused);
    assert!(refused(try_as("alice", None)));
    assert_eq!(try_as("alice", Some(invite.trim())).unwrap().as_str(), "alice");
    assert!(refused(try_as("bob", Some(invite.trim()))));
    let several = objects(&["invite", "--config", &file, "--count", "2"]);
    for (name, made) in ["bob", "carol"].into_iter().zip(&several) {
        assert!(try_as(name, made["invite"].as_str()).is_ok());
        assert!(made["expires"].as_u64() > Some(now().0));
    }
    assert_eq!(several.len(), 2);
}

#[test]
fn no_invite_is_made_for_a_network_that_does_not_exist() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ahoy.toml");
    std::fs::write(&file, "name = \"example.org\"\nlisten = [\"127.0.0.1:1\"]\ndata = \"/nonexistent\"\n").unwrap();
    let output = ahoyd(&["invite", "--config", file.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("no network"));
}
