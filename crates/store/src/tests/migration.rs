//! A database of the first release, brought up to date.

use prost::Message;

use super::on_sqlite::{conversations, messages};
use super::*;

#[test]
fn what_the_first_release_kept_is_there_after_the_change() {
    let home = File(TempDir::new().unwrap());
    let path = home.path();
    let (alice, bob) = (AccountId([1; 16]), AccountId([2; 16]));
    let conversation = ConversationId([10; 16]);
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../../migrations/sqlite/0001.sql")).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    for account in [alice, bob] {
        let row = "INSERT INTO accounts VALUES (?1, ?2, zeroblob(32), x'', x'', zeroblob(32), x'', 1, 0, 5)";
        old.execute(row, rusqlite::params![account.0, format!("name{}", account.0[0])]).unwrap();
        let device = "INSERT INTO devices VALUES (?1, ?1, 'telephone', zeroblob(32), x'', 5)";
        old.execute(device, [account.0]).unwrap();
    }
    let pair = [alice.0, bob.0].concat();
    let row = "INSERT INTO conversations VALUES (?1, ?2, 1, 2, 1, ?3)";
    old.execute(row, rusqlite::params![conversation.0, pair, b"group info"]).unwrap();
    for account in [alice, bob] {
        old.execute("INSERT INTO members VALUES (?1, ?2)", [account.0, conversation.0]).unwrap();
    }
    let entry = v1::LogEntry { conversation: conversation.to_bytes(), sequence: 1, ..v1::LogEntry::default() };
    let log = "INSERT INTO log (conversation, sequence, entry) VALUES (?1, 1, ?2)";
    old.execute(log, rusqlite::params![conversation.0, entry.encode_to_vec()]).unwrap();
    let welcome = v1::inbox_entry::Body::Welcome(Bytes::from_static(b"welcome"));
    let inbox_entry = v1::InboxEntry { body: Some(welcome), ..v1::InboxEntry::default() };
    let inbox = "INSERT INTO inbox (sequence, device, entry) VALUES (?1, ?2, ?3)";
    for sequence in [3, 4] {
        old.execute(inbox, rusqlite::params![sequence, bob.0, inbox_entry.encode_to_vec()]).unwrap();
    }
    old.execute("DELETE FROM inbox WHERE sequence = 4", []).unwrap();
    drop(old);

    let world = World { store: home.open(), home };
    let settings = world.run(ListContacts { account: bob, after: None, today: Day(1) }).unwrap().settings.unwrap();
    assert_eq!(settings.calls_from(), v1::CallsFrom::Anyone, "what was set stays");
    let info = world.run(FetchGroupInfo { account: alice, conversation }).unwrap();
    assert_eq!((info.epoch, info.head, &info.group_info[..]), (2, 1, &b"group info"[..]));
    assert_eq!(world.run(FetchLog { account: bob, conversation, after: 0 }).unwrap().entries, [entry]);
    let device = DeviceId(bob.0);
    let inbox = world.run(FetchInbox { device, after: 0 }).unwrap().entries;
    assert_eq!(inbox, [v1::InboxEntry { sequence: 3, ..inbox_entry }]);
    let committed = world.run(conversations::commit(alice, 10, 2, &[(2, b"more")])).unwrap();
    assert!(committed.deliveries[0].2.sequence > 4, "a sequence number is never given twice");
    messages::sent(world.run(messages::message(bob, 10, 1, 3)));
    assert_eq!(world.run(Expire { now: UnixTime(0) }), Ok(Expired::All));
    assert_eq!(world.number("SELECT count(*) FROM log"), 3);
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ahoy.db");
    drop(Store::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 1000).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 1000, .. }), "{error}");
    assert!(error.to_string().contains("newer"));
    std::fs::write(&path, [7; 4096]).unwrap();
    assert!(matches!(Store::open(&path), Err(OpenError::Sqlite(_))));
}
