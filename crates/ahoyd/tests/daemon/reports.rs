use std::path::Path;

use ahoy_proto::report::{ReportSecret, seal};
use ahoy_proto::{AccountId, v1};
use ahoy_store::{Report, Store};
use rustix::process::Signal;

use crate::harness::{Daemon, objects, refused, said, sign_up};

/// Files a report as a supernode does.
fn file_report(data: &Path, key: &[u8; 32], by: AccountId, about: AccountId) {
    let message = v1::RevealedMessage { account: about.to_bytes(), text: "go \u{1b}[2Jaway".to_owned(), at_ms: 1_000 };
    let content = v1::ReportContent { reason: "they are rude\nto everybody".to_owned(), messages: vec![message] };
    let sealed = seal(&content, by, about, key, [7; 32]).unwrap().into();
    let store = Store::open(&data.join("ahoy.sqlite")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = Report { account: by, about, sealed, at: std::time::SystemTime::now().into() };
    runtime.block_on(store.call(report)).unwrap();
}

#[test]
fn reports_are_read_and_forgotten_by_the_operator() {
    let folder = tempfile::tempdir().unwrap();
    let (mut daemon, file) = Daemon::serve(folder.path());
    let (alice, bob) = (sign_up(&daemon, "alice").account, sign_up(&daemon, "bob").account);
    let known: ahoy_proto::api::WellKnown = serde_json::from_str(&daemon.api("/.well-known/ahoy").1).unwrap();
    let data = folder.path().join("data");
    file_report(&data, &known.report_key.0.try_into().unwrap(), alice, bob);
    file_report(&data, &ReportSecret::new([1; 32]).report_key(), bob, alice);

    let list = said(&["reports", "list", "--config", &file]);
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines[0].contains("alice about bob: they are rude to everybody"), "{list}");
    assert!(lines[1].contains("does not open"), "{list}");
    let text = said(&["reports", "show", "1", "--config", &file]);
    assert!(text.contains("alice complains of bob") && text.contains("nothing proves it"), "{text}");
    assert!(text.contains("go \\u{1b}[2Jaway") && !text.contains('\u{1b}'), "{text:?}");
    let shown = &objects(&["reports", "show", "1", "--config", &file])[0];
    assert_eq!(shown["reason"], "they are rude\nto everybody");
    assert_eq!(shown["messages"][0], serde_json::json!({ "by": "bob", "at": 1, "text": "go \u{1b}[2Jaway" }));

    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
    said(&["reports", "forget", "1", "--config", &file]);
    for verb in ["show", "forget"] {
        let (code, text) = refused(&["reports", verb, "1", "--config", &file]);
        assert_eq!((code, text.trim()), (Some(1), "ahoyd: there is no report 1"));
    }
    assert_eq!(objects(&["reports", "list", "--config", &file]).len(), 1);
}
