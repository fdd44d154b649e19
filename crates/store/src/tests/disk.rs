//! A full disk, a full queue, and verbs that fail in the middle of a batch.

use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::on_sqlite::World;
use super::*;

/// Lets the database grow to so many pages.
struct SetMaxPages(u32);

impl Verb for SetMaxPages {
    type Output = ();
    fn run(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let pragma: &str = format!("PRAGMA max_page_count = {}", self.0).leak();
        transaction.one(pragma, params![], |_| Ok(()))
    }
}

/// Holds the store's thread up: says when it does, and waits until told to go on.
pub(super) struct Wait {
    held: Sender<()>,
    go: Receiver<()>,
}

impl Verb for Wait {
    type Output = ();
    fn run(&self, _: &Transaction<'_>) -> Result<(), StoreError> {
        self.held.send(()).unwrap();
        self.go.recv().map_err(|_| StoreError::Unavailable)
    }
}

/// Holds up the store until the sender is used. Its queue is empty then.
pub(super) fn hold(store: &Store) -> Sender<()> {
    let (held, is_held) = channel();
    let (go, wait) = channel();
    store.submit(Wait { held, go: wait }, |_| {});
    is_held.recv().unwrap();
    go
}

pub(super) fn invite(number: u32) -> AddInvite {
    let mut hash = [0; 32];
    hash[..4].copy_from_slice(&number.to_be_bytes());
    AddInvite { hash, admission: Admission::Invited, expires: UnixTime(NOW.0 + 1), at: NOW }
}

pub(super) fn is_kept(store: &Store, number: u32) -> bool {
    let AddInvite { hash, admission, at, .. } = invite(number);
    run(store, CheckAdmission { name: Name::parse("nobody-yet").unwrap(), admission, invite: Some(hash), at }).is_ok()
}

/// Fills the disk, empties it, and checks that each reply told the truth.
fn fill_and_recover(store: &Store, make_space: impl FnOnce()) {
    run(store, sign_up(1, "alice", Admission::Anyone, None)).unwrap();
    let mut kept = Vec::new();
    let full = loop {
        let number = kept.len() as u32;
        match run(store, invite(number)) {
            Ok(()) => kept.push(number),
            Err(error) => break error,
        }
        assert!(number < 100_000, "the disk never fills");
    };
    assert_eq!(full, StoreError::Full);
    assert!(run(store, AccountOf { account: AccountId([1; 16]) }).is_ok(), "what is there can still be read");
    assert!(kept.iter().all(|number| is_kept(store, *number)));
    assert!(!is_kept(store, kept.len() as u32), "a refused verb leaves nothing");
    make_space();
    assert_eq!(run(store, invite(kept.len() as u32)), Ok(()));
    assert!(is_kept(store, kept.len() as u32));
}

#[test]
fn a_database_that_may_not_grow_says_full_and_recovers() {
    let world = World::new();
    run(&world.store, SetMaxPages(40)).unwrap();
    fill_and_recover(&world.store, || run(&world.store, SetMaxPages(1_000_000)).unwrap());
}

#[test]
fn a_full_disk_says_full_loses_nothing_and_recovers() {
    let folder = TempDir::new().unwrap();
    let Some(_mounted) = Tmpfs::mount(folder.path(), "1m") else {
        eprintln!("skipped: only root can mount a small disk");
        return;
    };
    let store = Store::open(&folder.path().join("ahoy.db")).unwrap();
    let ballast = folder.path().join("ballast");
    std::fs::write(&ballast, vec![0; 400_000]).unwrap();
    fill_and_recover(&store, || std::fs::remove_file(&ballast).unwrap());
    drop(store);
    let store = Store::open(&folder.path().join("ahoy.db")).unwrap();
    assert!(is_kept(&store, 0));
    drop(store);
}

struct Tmpfs<'a>(&'a Path);

impl<'a> Tmpfs<'a> {
    fn mount(at: &'a Path, size: &str) -> Option<Self> {
        let options = format!("size={size}");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).status();
        status.is_ok_and(|status| status.success()).then_some(Self(at))
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn a_full_disk_fails_every_verb_of_its_batch_and_nothing_of_it_stays() {
    let world = World::new();
    let (reply, replies) = channel();
    let go = hold(&world.store);
    world.store.submit(SetMaxPages(25), |_| {});
    for number in 0..1_500 {
        let reply = reply.clone();
        world.store.submit(invite(number), move |result| reply.send((number, result)).unwrap());
    }
    drop(reply);
    go.send(()).unwrap();
    let replies: Vec<_> = replies.iter().collect();
    assert_eq!(replies.len(), 1_500);
    assert!(replies.iter().any(|(_, result)| *result == Err(StoreError::Full)));
    run(&world.store, SetMaxPages(1_000_000)).unwrap();
    for (number, result) in replies {
        assert_eq!(is_kept(&world.store, number), result.is_ok(), "{number}: {result:?}");
    }
}

#[test]
fn a_verb_that_fails_does_not_disturb_the_others_of_its_batch() {
    let world = World::new();
    let (reply, replies) = channel();
    let go = hold(&world.store);
    for number in [1, 2, 1, 3] {
        let reply = reply.clone();
        let verb = sign_up(number, &format!("name{number}"), Admission::Anyone, None);
        world.store.submit(verb, move |result| reply.send(result).unwrap());
    }
    go.send(()).unwrap();
    let results: Vec<_> = replies.iter().take(4).collect();
    assert_eq!(results, [Ok(()), Ok(()), Err(StoreError::NameTaken), Ok(())]);
    assert_eq!(world.run(KeyLogHeadNow).unwrap().sequence, 3);
}

#[test]
fn a_full_queue_refuses_at_once() {
    let world = World::new();
    let go = hold(&world.store);
    let (reply, replies) = channel();
    for _ in 0..QUEUE_MAX + 2 {
        let reply = reply.clone();
        world.store.submit(KeyLogHeadNow, move |result| reply.send(result).unwrap());
    }
    assert_eq!(replies.try_recv().unwrap(), Err(StoreError::Busy), "before the others are done");
    go.send(()).unwrap();
    drop(reply);
    assert_eq!(replies.iter().filter(Result::is_ok).count(), QUEUE_MAX);
    assert!(world.run(KeyLogHeadNow).is_ok());
}

#[test]
fn dropping_the_last_handle_waits_for_what_was_submitted() {
    let World { store, home } = World::new();
    for number in 0..2_000 {
        store.submit(invite(number), |_| {});
    }
    drop(store);
    assert!(is_kept(&home.open(), 1_999));
}
