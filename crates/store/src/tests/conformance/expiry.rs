//! What has its time goes, and what has not stays.

use ahoy_proto::limits::{DECLINE_LASTS, RETENTION};

use super::conversations::{commit, create, created};
use super::messages::{acknowledge, message, pair, sent};
use super::*;

fn expire(world: &World, now: UnixTime) -> Expired {
    world.run(Expire { now }).unwrap()
}

fn after(time: UnixTime, seconds: u64) -> UnixTime {
    UnixTime(time.0 + seconds)
}

#[test]
fn log_entries_have_their_time_and_leave_a_floor() {
    let (world, alice, bob) = pair();
    sent(world.run(message(alice, 10, 1, 1)));
    let later = SendMessage { at_ms: (NOW.0 + 100) * 1_000, ..message(alice, 10, 2, 1) };
    sent(world.run(later));
    let conversation = ConversationId([10; 16]);
    let log = || world.run(FetchLog { account: bob, conversation, after: 0 }).unwrap().entries;
    expire(&world, NOW.plus(RETENTION));
    assert_eq!(log().len(), 2);
    assert_eq!(expire(&world, after(NOW.plus(RETENTION), 1)), Expired::All);
    assert_eq!(log().iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [2]);
    world.run(acknowledge(alice, 10, 2)).unwrap();
    world.run(acknowledge(bob, 10, 2)).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM log"), 0, "whoever was below the floor still moves it");
    assert_eq!(world.number("SELECT sum(bytes) FROM usage"), 0);
}

#[test]
fn a_step_is_bounded_and_says_whether_there_is_more() {
    let (world, alice, _) = pair();
    for number in 1..=1_100 {
        sent(world.run(message(alice, 10, number, 1)));
    }
    let now = after(NOW.plus(RETENTION), 1);
    assert_eq!(
        [expire(&world, now), expire(&world, now), expire(&world, now)],
        [Expired::Some, Expired::Some, Expired::All]
    );
    assert_eq!(world.number("SELECT count(*) FROM log"), 0);
    assert_eq!(world.number("SELECT floor FROM conversations"), 1_100);
}

#[test]
fn a_welcome_has_its_time_from_when_it_was_first_seen() {
    let world = World::new();
    let (alice, bob) = world.contacts(1, 2);
    created(world.run(create(alice, bob, 10, &[(2, b"first")])));
    expire(&world, NOW);
    world.run(commit(alice, 10, 1, &[(2, b"second")])).unwrap();
    expire(&world, after(NOW, 100));
    let inbox = || world.run(FetchInbox { device: DeviceId([2; 16]), after: 0 }).unwrap().entries.len();
    expire(&world, NOW.plus(RETENTION));
    assert_eq!(inbox(), 2);
    expire(&world, after(NOW.plus(RETENTION), 1));
    assert_eq!((inbox(), world.number("SELECT count(*) FROM welcomes")), (1, 1));
    expire(&world, after(NOW.plus(RETENTION), 101));
    assert_eq!((inbox(), world.number("SELECT count(*) FROM inbox")), (0, 0));
}

#[test]
fn reports_and_refusals_have_their_time() {
    let world = World::new();
    let (alice, bob) = (world.account(1), world.account(2));
    world.run(Report { account: alice, about: bob, sealed: Bytes::new(), at: NOW }).unwrap();
    world.run(RequestContact { account: alice, peer: bob, note: Bytes::new(), at: NOW }).unwrap();
    world.run(AnswerContact { account: bob, peer: alice, accept: false, at: NOW }).unwrap();
    let left = || (world.number("SELECT count(*) FROM reports"), world.number("SELECT count(*) FROM contacts"));
    expire(&world, UnixTime(NOW.plus(DECLINE_LASTS).0 - 1));
    assert_eq!(left(), (1, 2));
    expire(&world, after(NOW.plus(RETENTION), 1));
    assert_eq!(left(), (0, 1));
}
