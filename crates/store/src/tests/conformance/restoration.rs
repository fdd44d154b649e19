//! A database that was restored, and clients who remember what came after the backup.

use super::conversations::commit;
use super::messages::{acknowledge, message, pair, sent};
use super::*;

/// Where the server's numbers go on.
const LEAP: u64 = 1 << 32;

fn listed(world: &World, account: AccountId) -> v1::Conversation {
    let list = ListConversations { account, device: DeviceId(account.0), after: None };
    world.run(list).unwrap().conversations[0].clone()
}

#[test]
fn a_log_goes_on_with_a_gap_that_every_client_sees() {
    let (world, alice, bob) = pair();
    sent(world.run(message(alice, 10, 1, 1)));
    world.run(AfterRestore).unwrap();
    assert_eq!(listed(&world, bob).head, LEAP + 1, "beyond what any client has seen");
    let page = |after| {
        let conversation = ConversationId([10; 16]);
        let page = world.run(FetchLog { account: bob, conversation, after }).unwrap();
        page.entries.iter().map(|entry| entry.sequence).collect::<Vec<_>>()
    };
    assert_eq!(page(0), [1], "what waited still waits");
    assert!(page(5).is_empty(), "a client that was ahead finds nothing, though there is more");
    // It enters anew, and from there on all is as always.
    let entered = world.run(commit(bob, 10, 1, &[])).unwrap().entry.sequence;
    assert_eq!(entered, LEAP + 2);
    world.run(acknowledge(bob, 10, entered)).unwrap();
    assert_eq!(sent(world.run(message(bob, 10, 1, 2))).sequence, LEAP + 3);
    assert_eq!(page(entered), [LEAP + 3]);
}

#[test]
fn the_next_message_of_each_device_is_taken_whatever_its_number() {
    let (world, alice, bob) = pair();
    sent(world.run(message(alice, 10, 1, 1)));
    world.run(AfterRestore).unwrap();
    assert_eq!(listed(&world, alice).sent, 0, "not a number above the device's own");
    sent(world.run(message(alice, 10, 8, 1)));
    assert!(matches!(world.run(message(alice, 10, 8, 1)), Ok(Sent::Repeated(_))));
    assert_eq!(world.run(message(alice, 10, 10, 1)), Err(StoreError::Conflict), "a gap, as always");
    sent(world.run(message(alice, 10, 9, 1)));
    sent(world.run(message(bob, 10, 1, 1)));
}

#[test]
fn an_inbox_goes_on_above_what_clients_have_acknowledged() {
    let (world, alice, _) = pair();
    world.run(AfterRestore).unwrap();
    world.run(commit(alice, 10, 1, &[(2, b"welcome")])).unwrap();
    let inbox = world.run(FetchInbox { device: DeviceId([2; 16]), after: 1_000 }).unwrap();
    assert_eq!(inbox.entries.len(), 1);
    let empty = World::new();
    empty.account(1);
    empty.run(AfterRestore).unwrap();
    assert_eq!(empty.number("SELECT inbox_sequence FROM devices"), LEAP);
}

#[test]
fn signed_lists_go_on_above_what_was_published() {
    let world = World::new();
    let before = world.run(ListSerials).unwrap().revocations;
    world.run(AfterRestore).unwrap();
    assert_eq!(world.run(ListSerials).unwrap().revocations, before + LEAP);
    assert_eq!(world.run(Revocations).unwrap().serial, before + LEAP);
}
