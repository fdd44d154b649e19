//! A copy made while the store writes is whole, of one moment, and never in the place of another file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::on_sqlite::World;
use super::on_sqlite::messages::{message, pair, sent};
use super::*;
use crate::backup::{self, BackupError};

#[test]
fn a_copy_made_while_others_write_is_whole_and_of_one_moment() {
    let (world, alice, _) = pair();
    let filler = SendMessage { sealed: vec![7; 32_000].into(), ..message(alice, 10, 1, 1) };
    for number in 1..=400 {
        sent(world.run(SendMessage { number, sealed: filler.sealed.clone(), ..message(alice, 10, 1, 1) }));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (store, stop) = (world.store.clone(), stop.clone());
        std::thread::spawn(move || {
            let mut number = 401;
            while !stop.load(Ordering::Relaxed) {
                sent(run(&store, message(alice, 10, number, 1)));
                number += 1;
            }
            number - 1
        })
    };
    let to = world.home.0.path().join("copy.db");
    let mut steps = Vec::new();
    world
        .store
        .backup(&to, |progress| {
            steps.push(progress);
            // The store goes on in the middle of the copy.
            assert!(world.run(KeyLogHeadNow).is_ok());
        })
        .unwrap();
    stop.store(true, Ordering::Relaxed);
    let sent_in_the_end = writer.join().unwrap();
    assert!(steps.len() > 2 && steps.iter().all(|step| step.copied <= step.pages), "{steps:?}");
    assert_eq!(steps.last().map(|step| step.copied), steps.last().map(|step| step.pages));

    assert_eq!(backup::check(&to).unwrap(), 6);
    let copy = Store::open(&to).unwrap();
    let listed = run(&copy, ListConversations { account: alice, device: DeviceId([1; 16]), after: None }).unwrap();
    let of_the_moment = &listed.conversations[0];
    assert!((400..=sent_in_the_end).contains(&of_the_moment.sent));
    assert_eq!(of_the_moment.sent, of_the_moment.head);
    let other = Connection::open(&to).unwrap();
    let logged: u64 = other.query_row("SELECT count(*) FROM log", [], |row| row.get(0)).unwrap();
    assert_eq!(logged, of_the_moment.head);
}

#[test]
fn a_backup_overwrites_nothing() {
    let world = World::new();
    let to = world.home.0.path().join("copy.db");
    std::fs::write(&to, "precious").unwrap();
    assert!(matches!(world.store.backup(&to, |_| {}), Err(BackupError::Exists)));
    assert_eq!(std::fs::read(&to).unwrap(), b"precious");
    let nowhere = world.home.0.path().join("no such folder").join("copy.db");
    assert!(matches!(world.store.backup(&nowhere, |_| {}), Err(BackupError::Io(_))));
}

#[test]
fn a_backup_is_one_file_and_leaves_no_other() {
    let world = World::new();
    let folder = TempDir::new().unwrap();
    world.store.backup(&folder.path().join("copy.db"), |_| {}).unwrap();
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["copy.db"]);
}

#[test]
fn a_damaged_an_empty_and_a_newer_copy_are_refused() {
    let world = World::new();
    for number in 1..=100 {
        world.account(number);
    }
    let to = world.home.0.path().join("copy.db");
    world.store.backup(&to, |_| {}).unwrap();
    let whole = std::fs::read(&to).unwrap();
    let mut damaged = whole.clone();
    for byte in &mut damaged[whole.len() / 2..][..4_096] {
        *byte ^= 0x55;
    }
    std::fs::write(&to, damaged).unwrap();
    assert!(backup::check(&to).is_err());
    std::fs::write(&to, "").unwrap();
    assert!(matches!(backup::check(&to), Err(BackupError::Damaged(_))));
    std::fs::write(&to, &whole).unwrap();
    assert!(backup::check(&to).is_ok());
    Connection::open(&to).unwrap().pragma_update(None, "user_version", 1_000).unwrap();
    assert!(matches!(backup::check(&to), Err(BackupError::Newer { found: 1_000, .. })));
}

#[test]
fn a_store_on_postgresql_says_who_copies_it() {
    let world = on_postgres::World::new();
    let folder = TempDir::new().unwrap();
    let error = world.store.backup(&folder.path().join("copy"), |_| {}).unwrap_err();
    assert!(matches!(error, BackupError::Postgres), "{error}");
    assert!(!folder.path().join("copy").exists());
}
