use std::time::Duration;

use ahoy_client::account::AccountError;
use ahoy_client::driver::{Event, Events};
use ahoy_proto::api::ApiErrorCode;

use crate::harness::{Daemon, PATIENCE, ahoyd, client, objects, refused, said, sign_in, sign_up};

/// The end of a session may take this long: the daemon looks every second, and then signs and hands on the list.
const SECONDS: Duration = Duration::from_secs(5);

fn refusal<T>(result: Result<T, AccountError>) -> Option<ApiErrorCode> {
    match result {
        Err(AccountError::Refused(error)) => Some(error.code),
        _ => None,
    }
}

/// Waits until the client says that it can be called.
async fn ready(events: &mut Events) {
    let ready = async { while !matches!(events.next().await, Some(Event::Ready)) {} };
    tokio::time::timeout(PATIENCE, ready).await.unwrap();
}

/// Waits until the session is over: lost, or for good.
async fn ended(events: &mut Events) {
    let ended = async { while !matches!(events.next().await, Some(Event::LinkLost | Event::Stopped(_)) | None) {} };
    tokio::time::timeout(SECONDS, ended).await.unwrap();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

#[test]
fn a_suspension_beside_the_daemon_closes_sessions_within_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let (daemon, file) = Daemon::serve(folder.path());
    let (alice, bob) = (sign_up(&daemon, "alice"), sign_up(&daemon, "bob"));
    runtime().block_on(async {
        let (_alice, mut of_alice) = client(&alice, &folder.path().join("alice")).await;
        let (_bob, mut of_bob) = client(&bob, &folder.path().join("bob")).await;
        ready(&mut of_alice).await;
        ready(&mut of_bob).await;
        said(&["account", "suspend", "alice", "--config", &file]);
        ended(&mut of_alice).await;
        let quiet = tokio::time::timeout(Duration::from_millis(200), ended(&mut of_bob)).await;
        assert!(quiet.is_err(), "the others stay");
    });
    assert_eq!(refusal(sign_in(&daemon, "alice")), Some(ApiErrorCode::Suspended));
    let shown = objects(&["account", "show", "ALICE", "--config", &file]);
    assert_eq!((&shown[0]["suspended"], &shown[0]["devices"][0]["name"]), (&true.into(), &"test".into()));
    said(&["account", "restore", "alice", "--config", &file]);
    assert!(sign_in(&daemon, "alice").is_ok());
}

#[test]
fn a_deleted_account_is_gone_and_its_session_closed() {
    let folder = tempfile::tempdir().unwrap();
    let (daemon, file) = Daemon::serve(folder.path());
    let alice = sign_up(&daemon, "alice");
    sign_up(&daemon, "bob");
    let delete = ["account", "delete", "alice", "--config", &file];
    let (code, text) = refused(&delete);
    assert_eq!(code, Some(1));
    assert!(text.contains("--yes"), "nobody can be asked: {text}");
    runtime().block_on(async {
        let (_client, mut events) = client(&alice, &folder.path().join("alice")).await;
        ready(&mut events).await;
        said(&[&delete[..], &["--yes"]].concat());
        ended(&mut events).await;
    });
    assert!(matches!(sign_in(&daemon, "alice"), Err(AccountError::WrongPassword)));
    let names: Vec<_> =
        objects(&["account", "list", "--config", &file]).iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["bob"]);
    let (code, text) = refused(&["account", "show", "alice", "--config", &file]);
    assert_eq!((code, text.trim()), (Some(1), "ahoyd: there is no account alice"));
}

#[test]
fn the_list_is_for_people_and_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    let (daemon, file) = Daemon::serve(folder.path());
    let list = ["account", "list", "--config", &file];
    assert_eq!(said(&list), "");
    let alice = sign_up(&daemon, "alice");
    let text = said(&list);
    assert!(text.starts_with("alice ") && text.contains("1 device") && text.lines().count() == 1, "{text}");
    let object = &objects(&list)[0];
    assert_eq!((&object["name"], &object["account"]), (&"alice".into(), &alice.account.to_hex().into()));
}

#[test]
fn the_echo_account_is_deleted_by_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (file, port) = crate::harness::configure(folder.path(), "echo = \"echo\"\n");
    let _daemon = Daemon::start(&["serve", "--config", &file], port, &[]);
    let output = ahoyd(&["account", "delete", "echo", "--yes", "--config", &file]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("echo account"));
}
