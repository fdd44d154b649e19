use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ahoy_client::driver::{Event, Events};
use ahoy_client::member::{Change, MessageBody};
use ahoy_store::{AddInvite, Admission, Store};
use rusqlite::Connection;
use rustix::process::Signal;

use crate::harness::{Daemon, PATIENCE, ahoyd, client, configure, objects, refused, said, sign_in, sign_up};

const TABLES: [&str; 4] = ["accounts", "devices", "account_key_log", "serials"];

fn count(database: &Path, table: &str) -> u64 {
    let query = format!("SELECT count(*) FROM {table}");
    Connection::open(database).unwrap().query_row(&query, [], |row| row.get(0)).unwrap()
}

/// Keeps invites, one after the other, until told to stop: how many, each answered and so on the disk.
fn write_until(database: PathBuf, stop: &AtomicBool) -> u64 {
    let store = Store::open(&database).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut written = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&written.to_be_bytes());
        let (at, expires) = (ahoy_proto::UnixTime(1), ahoy_proto::UnixTime(u64::from(u32::MAX)));
        runtime.block_on(store.call(AddInvite { hash, admission: Admission::Invited, expires, at })).unwrap();
        written += 1;
    }
    written
}

#[test]
fn a_backup_under_load_is_a_network_again_with_everybody_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut daemon, file) = Daemon::serve(folder.path());
    let alice = sign_up(&daemon, "alice");
    sign_up(&daemon, "bob");
    let (data, to) = (folder.path().join("data"), folder.path().join("backup"));
    let (database, copy) = (data.join("ahoy.sqlite"), to.join("ahoy.sqlite"));
    let root_key = |daemon: &Daemon| {
        let known: ahoy_proto::api::WellKnown = serde_json::from_str(&daemon.api("/.well-known/ahoy").1).unwrap();
        known.root_key
    };
    let key = root_key(&daemon);
    let backup = ["backup", "--config", &file, "--with-keys", "--to", to.to_str().unwrap()];
    let stop = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(database.clone(), &stop));
        let start = Instant::now();
        while count(&database, "invites") < 50 {
            assert!(start.elapsed() < PATIENCE, "the load does not begin");
        }
        let told = objects(&backup);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(told.last().unwrap()["keys"], true);
        writer.join().unwrap()
    });
    assert!((50..=written).contains(&count(&copy, "invites")));
    for table in TABLES {
        assert_eq!(count(&copy, table), count(&database, table), "{table}");
    }
    for file in ["ahoy.sqlite", "backup.json", "keys/root.key", "keys/report.key"] {
        assert_eq!(to.join(file).metadata().unwrap().mode() & 0o777, 0o600, "{file}");
    }
    let (code, text) = refused(&backup);
    assert!(code == Some(1) && text.contains("holds a backup already"), "{text}");

    sign_up(&daemon, "too-late");
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
    let restore = ["restore", "--config", &file, "--from", to.to_str().unwrap()];
    let (code, text) = refused(&restore);
    assert!(code == Some(1) && text.contains("not empty"), "{text}");
    fs::remove_dir_all(&data).unwrap();
    said(&restore);
    let port = daemon.port;
    let daemon = Daemon::start(&["serve", "--config", &file], port, &[]);
    assert_eq!(root_key(&daemon), key, "the same network");
    for name in ["alice", "bob"] {
        assert!(sign_in(&daemon, name).is_ok(), "{name}");
    }
    assert!(sign_in(&daemon, "too-late").is_err());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (_client, mut events) = client(&alice, &folder.path().join("alice")).await;
        // A device from before the backup goes on.
        ready(&mut events).await;
    });
}

/// Waits until somebody has said this.
async fn heard(events: &mut Events, words: &str) {
    let heard = async {
        while let Some(event) = events.next().await {
            let Event::History { change: Change::Put(message), .. } = event else { continue };
            if matches!(&message.body, MessageBody::Text { text, .. } if text == words) {
                return;
            }
        }
        panic!("the client has stopped");
    };
    tokio::time::timeout(PATIENCE, heard).await.unwrap_or_else(|_| panic!("{words:?} does not arrive"));
}

async fn ready(events: &mut Events) {
    let ready = async { while !matches!(events.next().await, Some(Event::Ready)) {} };
    tokio::time::timeout(PATIENCE, ready).await.unwrap();
}

/// Waits until a client that was ahead of the backup is up to date, and inside its conversation again.
async fn entered_anew(events: &mut Events) {
    let entered = async {
        let (mut ready, mut inside) = (false, false);
        while !(ready && inside) {
            match events.next().await {
                Some(Event::Ready) => ready = true,
                // Numbers leap by that much after a restore.
                Some(Event::Conversation(summary)) => inside |= summary.head > 1 << 32,
                Some(_) => {}
                None => panic!("the client has stopped"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, entered).await.expect("a client finds its way back");
}

#[test]
fn people_who_are_ahead_of_a_restored_backup_talk_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut daemon, file) = Daemon::serve(folder.path());
    let identities = [sign_up(&daemon, "alice"), sign_up(&daemon, "bob")];
    let names = identities.each_ref().map(|identity| identity.name.clone());
    let profiles = ["alice", "bob"].map(|name| folder.path().join(name));
    let to = folder.path().join("backup");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let conversation = runtime.block_on(async {
        let (alice, mut of_alice) = client(&identities[0], &profiles[0]).await;
        let (bob, mut of_bob) = client(&identities[1], &profiles[1]).await;
        ready(&mut of_alice).await;
        ready(&mut of_bob).await;
        alice.request_contact(&names[1], "").await.unwrap();
        bob.request_contact(&names[0], "").await.unwrap();
        let conversation = alice.conversation_with(&names[1]).await.unwrap();
        alice.post(conversation, "in the backup").await.unwrap();
        heard(&mut of_bob, "in the backup").await;
        said(&["backup", "--config", &file, "--with-keys", "--to", to.to_str().unwrap()]);
        for words in ["after it", "and more"] {
            alice.post(conversation, words).await.unwrap();
            heard(&mut of_bob, words).await;
        }
        alice.close().await;
        bob.close().await;
        conversation
    });
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
    fs::remove_dir_all(folder.path().join("data")).unwrap();
    said(&["restore", "--config", &file, "--from", to.to_str().unwrap()]);
    let _daemon = Daemon::start(&["serve", "--config", &file], daemon.port, &[]);
    runtime.block_on(async {
        // Both at once: what one seals before the other has entered is sealed again.
        let (alice, mut of_alice) = client(&identities[0], &profiles[0]).await;
        let (bob, mut of_bob) = client(&identities[1], &profiles[1]).await;
        entered_anew(&mut of_alice).await;
        entered_anew(&mut of_bob).await;
        for words in ["here again", "and again"] {
            alice.post(conversation, words).await.unwrap();
            heard(&mut of_bob, words).await;
        }
        bob.post(conversation, "so am I").await.unwrap();
        heard(&mut of_alice, "so am I").await;
        // Nothing that was said has made way for what was said later.
        let mut lines = bob.history(conversation, None, 100).await.unwrap();
        lines.retain(|line| line.message.account == identities[0].account);
        lines.reverse();
        let said = lines.iter().map(|line| match &line.message.body {
            MessageBody::Text { text, .. } => text.as_str(),
            _ => "no text",
        });
        let said: Vec<_> = said.collect();
        assert_eq!(said, ["in the backup", "after it", "and more", "here again", "and again"]);
    });
}

#[test]
fn keys_come_from_the_backup_or_are_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let (mut daemon, file) = Daemon::serve(folder.path());
    sign_up(&daemon, "alice");
    let (data, to) = (folder.path().join("data"), folder.path().join("backup"));
    said(&["backup", "--config", &file, "--to", to.to_str().unwrap()]);
    assert!(!to.join("keys").exists());
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
    let aside = folder.path().join("aside");
    fs::rename(&data, &aside).unwrap();
    let restore = ["restore", "--config", &file, "--from", to.to_str().unwrap()];
    let (code, text) = refused(&restore);
    assert!(code == Some(1) && text.contains("holds no keys"), "{text}");

    let other = tempfile::tempdir().unwrap();
    Daemon::dev(other.path(), &["echo="]).end(Signal::TERM);
    fs::rename(other.path().join("keys"), data.join("keys")).unwrap();
    let (code, text) = refused(&restore);
    assert!(code == Some(1) && text.contains("another network"), "{text}");

    fs::remove_dir_all(data.join("keys")).unwrap();
    fs::rename(aside.join("keys"), data.join("keys")).unwrap();
    said(&restore);
    assert!(objects(&["account", "list", "--config", &file]).iter().any(|account| account["name"] == "alice"));
}

#[test]
fn a_backup_that_is_not_what_it_was_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut daemon, file) = Daemon::serve(folder.path());
    let to = folder.path().join("backup");
    said(&["backup", "--config", &file, "--with-keys", "--to", to.to_str().unwrap()]);
    daemon.end(Signal::TERM);
    fs::remove_dir_all(folder.path().join("data")).unwrap();
    let copy = to.join("ahoy.sqlite");
    let mut bytes = fs::read(&copy).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&copy, bytes).unwrap();
    let restore = ["restore", "--config", &file, "--from", to.to_str().unwrap()];
    let (code, text) = refused(&restore);
    assert!(code == Some(1) && text.contains("not as it was"), "{text}");
    fs::remove_file(to.join("backup.json")).unwrap();
    let (code, text) = refused(&restore);
    assert!(code == Some(1) && text.contains("no finished backup"), "{text}");
    assert!(!folder.path().join("data/ahoy.sqlite").exists());
}

#[test]
fn a_backup_killed_in_the_middle_passes_for_none() {
    let folder = tempfile::tempdir().unwrap();
    let (file, port) = configure(folder.path(), "");
    let mut daemon = Daemon::start(&["serve", "--config", &file], port, &[]);
    // Big enough for the copy to be caught at it.
    let database = folder.path().join("data/ahoy.sqlite");
    let big = "CREATE TABLE ballast (bytes BLOB);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 256)
        INSERT INTO ballast SELECT zeroblob(1048576) FROM n";
    Connection::open(&database).unwrap().execute_batch(big).unwrap();
    let to = folder.path().join("backup");
    let backup = ["backup", "--config", &file, "--with-keys", "--to", to.to_str().unwrap()];
    let mut child = ahoyd(&backup).spawn().unwrap();
    let partial = to.join("ahoy.sqlite.partial");
    let start = Instant::now();
    while fs::metadata(&partial).map_or(0, |file| file.len()) == 0 {
        assert!(start.elapsed() < PATIENCE, "the backup does not begin");
        assert!(child.try_wait().unwrap().is_none(), "the backup was over before it was seen");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(partial.exists() && !to.join("backup.json").exists(), "killed in the middle");
    assert_eq!(fs::metadata(to.join("ahoy.sqlite")).unwrap().len(), 0, "what has the name is empty");

    let (code, text) = refused(&backup);
    assert!(code == Some(1) && text.contains("never finished"), "{text}");
    daemon.end(Signal::TERM);
    fs::remove_dir_all(folder.path().join("data")).unwrap();
    let (code, text) = refused(&["restore", "--config", &file, "--from", to.to_str().unwrap()]);
    assert!(code == Some(1) && text.contains("no finished backup"), "{text}");
}
