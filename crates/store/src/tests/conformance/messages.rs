//! Messages: each once and in order, kept until all have them, on their sender's account; and receipts.

use ahoy_proto::limits::MAILBOX_BYTES_MAX;

use super::conversations::{commit, create, created};
use super::*;

pub(in crate::tests) fn message(account: AccountId, id: u8, number: u64, epoch: u64) -> SendMessage {
    SendMessage {
        account,
        device: DeviceId(account.0),
        conversation: ConversationId([id; 16]),
        number,
        generation: 1,
        epoch,
        sealed: Bytes::from(format!("message {number}")),
        at_ms: NOW.0 * 1_000,
    }
}

pub(in crate::tests) fn sent(result: Result<Sent, StoreError>) -> v1::LogEntry {
    match result.unwrap() {
        Sent::Appended(appended) => appended.entry,
        Sent::Repeated(_) => panic!("it stood there already"),
    }
}

pub(in crate::tests) fn acknowledge(account: AccountId, id: u8, sequence: u64) -> Acknowledge {
    Acknowledge { device: DeviceId(account.0), inbox: 0, logs: vec![(ConversationId([id; 16]), sequence)] }
}

/// Alice's conversation with Bob, whose devices both stand in the group.
pub(in crate::tests) fn pair() -> (World, AccountId, AccountId) {
    let world = World::new();
    let (alice, bob) = world.contacts(1, 2);
    created(world.run(create(alice, bob, 10, &[(2, b"welcome")])));
    (world, alice, bob)
}

fn log(world: &World, account: AccountId, after: u64) -> Vec<u64> {
    let page = world.run(FetchLog { account, conversation: ConversationId([10; 16]), after }).unwrap();
    page.entries.iter().map(|entry| entry.sequence).collect()
}

fn usage(world: &World, account: AccountId) -> u64 {
    world.behind(move |transaction| {
        let used =
            transaction.first("SELECT bytes FROM usage WHERE account = ?1", params![account], |row| row.get(0))?;
        Ok(used.unwrap_or(0))
    })
}

#[test]
fn a_message_stands_in_the_log_once_whatever_is_repeated() {
    let (world, alice, bob) = pair();
    let entry = sent(world.run(message(alice, 10, 1, 1)));
    assert_eq!((entry.sequence, entry.epoch, entry.at_ms), (1, 1, NOW.0 * 1_000));
    assert_eq!((entry.account, entry.device), (alice.to_bytes(), DeviceId([1; 16]).to_bytes()));
    for _ in 0..3 {
        assert!(matches!(world.run(message(alice, 10, 1, 1)), Ok(Sent::Repeated(_))));
    }
    assert_eq!(world.run(message(alice, 10, 3, 1)), Err(StoreError::Conflict), "a gap");
    assert_eq!(sent(world.run(message(alice, 10, 2, 1))).sequence, 2);
    assert_eq!(sent(world.run(message(bob, 10, 1, 1))).sequence, 3, "each device has its own numbers");
    assert_eq!(log(&world, bob, 0), [1, 2, 3]);
    let listed = world.run(ListConversations { account: alice, device: DeviceId([1; 16]), after: None }).unwrap();
    assert_eq!((listed.conversations[0].sent, listed.conversations[0].head), (2, 3));
}

#[test]
fn a_repeat_is_known_though_its_epoch_is_over() {
    let (world, alice, _) = pair();
    sent(world.run(message(alice, 10, 1, 1)));
    world.run(commit(alice, 10, 1, &[])).unwrap();
    assert!(matches!(world.run(message(alice, 10, 1, 1)), Ok(Sent::Repeated(_))));
    assert_eq!(world.run(message(alice, 10, 2, 1)), Err(StoreError::Conflict));
    sent(world.run(message(alice, 10, 2, 2)));
    assert_eq!(world.run(message(alice, 10, 3, 3)), Err(StoreError::Conflict), "an epoch to come");
    let generation = SendMessage { generation: 2, ..message(alice, 10, 3, 2) };
    assert_eq!(world.run(generation), Err(StoreError::Conflict));
}

#[test]
fn a_device_outside_the_group_sends_nothing_until_it_has_entered() {
    let (world, alice, _) = pair();
    world.run(add_device(alice, 3)).unwrap();
    let device = DeviceId([3; 16]);
    let other_device = |epoch| SendMessage { device, ..message(alice, 10, 1, epoch) };
    assert_eq!(world.run(other_device(1)), Err(StoreError::Conflict));
    sent(world.run(message(alice, 10, 1, 1)));
    let entered = world.run(Commit { device, ..commit(alice, 10, 1, &[]) }).unwrap();
    sent(world.run(other_device(2)));
    let listed = world.run(ListConversations { account: alice, device, after: None }).unwrap();
    assert_eq!(listed.conversations[0].acknowledged, entered.entry.sequence, "it waits for nothing before");
}

#[test]
fn those_outside_send_and_learn_nothing() {
    let (world, ..) = pair();
    let carol = world.account(3);
    let conversation = ConversationId([10; 16]);
    assert_eq!(world.run(message(carol, 10, 1, 1)), Err(StoreError::NotFound));
    assert_eq!(world.run(message(carol, 11, 1, 1)), Err(StoreError::NotFound));
    let receipt = SetReceipt { account: carol, device: DeviceId([3; 16]), conversation, sealed: Bytes::new() };
    assert_eq!(world.run(receipt), Err(StoreError::NotFound));
    assert_eq!(world.run(FetchReceipts { account: carol, conversation, after: 0 }), Err(StoreError::NotFound));
    assert_eq!(world.run(acknowledge(carol, 10, 1)), Ok(()), "passed over");
}

#[test]
fn an_entry_goes_when_the_last_device_of_the_group_has_it() {
    let (world, alice, bob) = pair();
    for number in 1..=3 {
        sent(world.run(message(alice, 10, number, 1)));
    }
    world.run(acknowledge(alice, 10, 3)).unwrap();
    assert_eq!(log(&world, bob, 0), [1, 2, 3]);
    world.run(acknowledge(bob, 10, 2)).unwrap();
    assert_eq!(log(&world, bob, 0), [3]);
    world.run(acknowledge(bob, 10, 1)).unwrap();
    assert_eq!(log(&world, bob, 0), [3], "marks don't go back");
    world.run(acknowledge(bob, 10, 1_000)).unwrap();
    assert!(log(&world, bob, 0).is_empty());
    assert_eq!(sent(world.run(message(alice, 10, 4, 1))).sequence, 4, "nor beyond what there was");
    assert_eq!(log(&world, bob, 0), [4]);
}

#[test]
fn a_revoked_device_is_not_waited_for() {
    let (world, alice, bob) = pair();
    sent(world.run(message(alice, 10, 1, 1)));
    world.run(acknowledge(alice, 10, 1)).unwrap();
    assert_eq!(log(&world, alice, 0), [1]);
    world.run(RevokeDevice { account: bob, device: DeviceId([2; 16]), at: NOW }).unwrap();
    assert!(log(&world, alice, 0).is_empty());
    sent(world.run(message(alice, 10, 2, 1)));
    world.run(acknowledge(alice, 10, 2)).unwrap();
    assert!(log(&world, alice, 0).is_empty());
}

#[test]
fn a_second_welcome_takes_nothing_from_a_device_that_has_not_fetched_yet() {
    let (world, alice, bob) = pair();
    sent(world.run(message(bob, 10, 1, 1)));
    world.run(acknowledge(alice, 10, 1)).unwrap();
    world.run(commit(alice, 10, 1, &[(2, b"again")])).unwrap();
    assert_eq!(log(&world, bob, 0), [1, 2]);
    assert!(matches!(world.run(message(bob, 10, 1, 2)), Ok(Sent::Repeated(_))));
    sent(world.run(message(bob, 10, 2, 2)));
}

#[test]
fn kept_bytes_count_against_their_sender_until_they_go() {
    let (world, alice, bob) = pair();
    let long = SendMessage { sealed: vec![7; 10_000].into(), ..message(alice, 10, 1, 1) };
    sent(world.run(long));
    sent(world.run(message(bob, 10, 1, 1)));
    assert!((10_000..10_200).contains(&usage(&world, alice)) && usage(&world, bob) < 200);
    world.run(commit(alice, 10, 1, &[])).unwrap();
    let kept = world.number("SELECT sum(length(entry)) FROM log");
    assert_eq!(usage(&world, alice) + usage(&world, bob), kept);
    let room = MAILBOX_BYTES_MAX - usage(&world, alice);
    let fill = "UPDATE usage SET bytes = bytes + ?2 WHERE account = ?1";
    world.behind(move |transaction| transaction.execute(fill, params![alice, room]));
    assert_eq!(world.run(message(alice, 10, 2, 2)), Err(StoreError::LimitReached));
    assert_eq!(world.run(commit(alice, 10, 2, &[])).unwrap_err(), StoreError::LimitReached);
    sent(world.run(message(bob, 10, 2, 2)));
    for account in [alice, bob] {
        world.run(acknowledge(account, 10, 1)).unwrap();
    }
    sent(world.run(message(alice, 10, 2, 2)));
}

#[test]
fn a_device_that_returns_late_does_not_hold_up_the_store_and_everything_goes_in_the_end() {
    let (world, alice, bob) = pair();
    for number in 1..=2_500 {
        sent(world.run(message(alice, 10, number, 1)));
    }
    for account in [alice, bob] {
        world.run(acknowledge(account, 10, 2_500)).unwrap();
    }
    assert!(log(&world, bob, 0).is_empty(), "what is left is not shown");
    assert_eq!(world.number("SELECT count(*) FROM log"), 1_500);
    for number in 2_501..=2_502 {
        sent(world.run(message(alice, 10, number, 1)));
        for account in [alice, bob] {
            world.run(acknowledge(account, 10, number)).unwrap();
        }
    }
    assert_eq!((world.number("SELECT count(*) FROM log"), usage(&world, alice)), (0, 0));
}

#[test]
fn each_device_has_one_receipt_and_serials_tell_what_changed() {
    let (world, alice, bob) = pair();
    let conversation = ConversationId([10; 16]);
    let set = |account: AccountId, sealed: &'static str| {
        let device = DeviceId(account.0);
        world.run(SetReceipt { account, device, conversation, sealed: Bytes::from_static(sealed.as_bytes()) }).unwrap()
    };
    let first = set(alice, "one");
    assert_eq!((first.receipt.serial, first.members), (1, vec![alice, bob]));
    set(bob, "two");
    set(alice, "three");
    let fetch = |after| world.run(FetchReceipts { account: bob, conversation, after }).unwrap().receipts;
    let fetched: Vec<_> =
        fetch(0).into_iter().map(|receipt| (receipt.serial, receipt.account, receipt.sealed)).collect();
    let expected =
        [(2, bob.to_bytes(), Bytes::from_static(b"two")), (3, alice.to_bytes(), Bytes::from_static(b"three"))];
    assert_eq!(fetched, expected);
    assert_eq!(fetch(2).len(), 1);
    let listed = world.run(ListConversations { account: bob, device: DeviceId([2; 16]), after: None }).unwrap();
    assert_eq!(listed.conversations[0].receipts_serial, 3);
}
