//! Groups: who may add, remove, leave and call, and what goes with them.

use ahoy_proto::limits::GROUP_MEMBERS_MAX;

use super::conversations::{commit, create, created};
use super::messages::{acknowledge, message, sent};
use super::*;

const GROUP: ConversationId = ConversationId([10; 16]);

fn group(world: &World, account: AccountId) {
    created(world.run(CreateConversation { peer: None, ..create(account, account, 10, &[]) }));
}

fn add(account: AccountId, epoch: u64, add: &[AccountId]) -> Commit {
    let welcomes = vec![Welcoming {
        devices: add.iter().map(|account| DeviceId(account.0)).collect(),
        welcome: Bytes::from_static(b"welcome"),
    }];
    let welcomes = if add.is_empty() { Vec::new() } else { welcomes };
    Commit { add: add.to_vec(), welcomes, ..commit(account, 10, epoch, &[]) }
}

fn remove(account: AccountId, epoch: u64, remove: &[AccountId]) -> Commit {
    Commit { remove: remove.to_vec(), ..commit(account, 10, epoch, &[]) }
}

fn leave(account: AccountId) -> LeaveConversation {
    LeaveConversation { account, device: DeviceId(account.0), conversation: GROUP, at_ms: NOW.0 * 1_000 }
}

/// Alice's group with Bob and Carol, both added by the commit that is entry 1; Alice knows both, they don't know each other.
fn three() -> (World, AccountId, AccountId, AccountId) {
    let world = World::new();
    let ((alice, bob), carol) = (world.contacts(1, 2), world.account(3));
    world.befriend(alice, carol);
    group(&world, alice);
    world.run(add(alice, 1, &[bob, carol])).unwrap();
    (world, alice, bob, carol)
}

#[test]
fn a_group_begins_with_its_maker_alone() {
    let world = World::new();
    let (alice, bob) = world.contacts(1, 2);
    group(&world, alice);
    let members = |account| world.run(FetchMembers { account, conversation: GROUP });
    let made = members(alice).unwrap();
    let maker = v1::Member {
        account: alice.to_bytes(),
        name: "name1".to_owned(),
        account_key: Bytes::from_static(&[1; 32]),
        since: 0,
    };
    assert_eq!(made, v1::Members { conversation: GROUP.to_bytes(), members: vec![maker] });
    assert_eq!(members(bob), Err(StoreError::NotFound));
    assert_eq!(world.run(ListMemberIds { account: bob, conversation: GROUP }), Err(StoreError::NotFound));
    let listed = world.run(ListConversations { account: alice, device: DeviceId([1; 16]), after: None }).unwrap();
    assert!(listed.conversations[0].peer.is_empty());
}

#[test]
fn a_commit_that_adds_brings_membership_welcome_and_log_entry_together() {
    let world = World::new();
    let ((alice, bob), carol) = (world.contacts(1, 2), world.account(3));
    world.befriend(alice, carol);
    group(&world, alice);
    let committed = world.run(add(alice, 1, &[bob, carol])).unwrap();
    assert_eq!(committed.members, [alice, bob, carol]);
    assert_eq!(committed.entry.added, [bob.to_bytes(), carol.to_bytes()]);
    assert_eq!((committed.entry.account, committed.entry.at_ms), (alice.to_bytes(), NOW.0 * 1_000));
    let (account, device, delivered) = &committed.deliveries[0];
    assert_eq!((*account, *device), (bob, DeviceId([2; 16])));
    assert_eq!((delivered.head, &delivered.account), (1, &alice.to_bytes()));
    let inbox = world.run(FetchInbox { device: DeviceId([2; 16]), after: 0 }).unwrap();
    assert_eq!(inbox.entries, std::slice::from_ref(delivered));
    assert_eq!(world.run(ListMemberIds { account: bob, conversation: GROUP }), Ok(vec![alice, bob, carol]));
    let standing = world.run(FetchMembers { account: bob, conversation: GROUP }).unwrap().members;
    assert_eq!(standing.iter().map(|member| member.since).collect::<Vec<_>>(), [0, 1, 1]);
    let listed = world.run(ListConversations { account: bob, device: DeviceId([2; 16]), after: None }).unwrap();
    assert_eq!((listed.conversations[0].acknowledged, listed.conversations[0].head), (1, 1));
}

#[test]
fn whoever_was_here_before_is_told_where_the_numbers_of_its_messages_go_on_before_it_is_inside() {
    let (world, alice, bob, _) = three();
    let device = DeviceId([2; 16]);
    world.run(commit(bob, 10, 2, &[])).unwrap();
    sent(world.run(message(bob, 10, 1, 3)));
    sent(world.run(message(bob, 10, 2, 3)));
    world.run(leave(bob)).unwrap();
    // Without a Welcome: the device has to enter from outside.
    world.run(Commit { welcomes: Vec::new(), ..add(alice, 3, &[bob]) }).unwrap();
    let listed = world.run(ListConversations { account: bob, device, after: None }).unwrap();
    assert_eq!(listed.conversations[0].sent, 2);
    world.run(commit(bob, 10, 4, &[])).unwrap();
    assert!(matches!(world.run(message(bob, 10, 1, 5)), Ok(Sent::Repeated(_))));
    sent(world.run(message(bob, 10, 3, 5)));
}

#[test]
fn a_welcome_is_kept_once_and_goes_with_its_last_inbox() {
    let (world, ..) = three();
    let kept = || world.number("SELECT count(*) FROM welcomes");
    assert_eq!((kept(), world.number("SELECT count(*) FROM inbox")), (1, 2));
    for (device, left) in [(2, 1), (3, 0)] {
        let device = DeviceId([device; 16]);
        let sequence = world.run(FetchInbox { device, after: 0 }).unwrap().entries[0].sequence;
        world.run(Acknowledge { device, inbox: sequence, logs: Vec::new() }).unwrap();
        assert_eq!(kept(), left);
    }
}

#[test]
fn a_welcome_longer_than_a_page_is_still_fetched() {
    let world = World::new();
    let (alice, bob) = world.contacts(1, 2);
    group(&world, alice);
    let long = Welcoming { devices: vec![DeviceId([2; 16])], welcome: vec![7; 1_000_000].into() };
    let verb = Commit { welcomes: vec![long.clone(), long], ..add(alice, 1, &[bob]) };
    world.run(verb).unwrap();
    let device = DeviceId([2; 16]);
    let page = world.run(FetchInbox { device, after: 0 }).unwrap();
    assert_eq!((page.entries.len(), page.more), (1, true));
    let page = world.run(FetchInbox { device, after: page.entries[0].sequence }).unwrap();
    assert_eq!((page.entries.len(), page.more), (1, false));
}

#[test]
fn only_contacts_and_those_who_take_calls_from_anyone_are_added() {
    let world = World::new();
    let ((alice, bob), carol) = (world.contacts(1, 2), world.account(3));
    group(&world, alice);
    assert_eq!(world.run(add(alice, 1, &[carol])), Err(StoreError::Forbidden));
    assert_eq!(world.run(add(alice, 1, &[AccountId([9; 16])])), Err(StoreError::Forbidden));
    let anyone = v1::ChangeSettings { calls_from: Some(v1::CallsFrom::Anyone.into()), ..Default::default() };
    world.run(ChangeSettings { account: carol, change: anyone }).unwrap();
    world.run(BlockAccount { account: carol, peer: alice, block: true, at: NOW }).unwrap();
    world.run(BlockAccount { account: bob, peer: alice, block: true, at: NOW }).unwrap();
    assert!(world.run(add(alice, 1, &[bob, carol])).is_ok(), "a block does not show");
    assert_eq!(world.run(add(alice, 2, &[bob])), Err(StoreError::Conflict), "a member already");
}

#[test]
fn one_to_one_needs_a_contact_too() {
    let world = World::new();
    let (alice, bob) = (world.account(1), world.account(2));
    assert_eq!(world.run(create(alice, bob, 10, &[])), Err(StoreError::Forbidden));
    world.befriend(alice, bob);
    created(world.run(create(alice, bob, 10, &[])));
    world.run(RemoveContact { account: alice, peer: bob }).unwrap();
    let again = world.run(create(alice, bob, 11, &[])).unwrap();
    assert!(matches!(again, Created::Existing { .. }), "what there is stays");
}

#[test]
fn a_pair_stays_a_pair() {
    let world = World::new();
    let ((alice, bob), carol) = (world.contacts(1, 2), world.account(3));
    world.befriend(alice, carol);
    created(world.run(create(alice, bob, 10, &[])));
    assert_eq!(world.run(add(alice, 1, &[carol])), Err(StoreError::Forbidden));
    assert_eq!(world.run(remove(alice, 1, &[bob])), Err(StoreError::Forbidden));
    assert_eq!(world.run(leave(alice)), Err(StoreError::Forbidden));
}

#[test]
fn only_the_member_of_longest_standing_removes() {
    let (world, alice, bob, carol) = three();
    assert_eq!(world.run(remove(bob, 2, &[carol])), Err(StoreError::Forbidden));
    assert_eq!(world.run(remove(alice, 2, &[AccountId([9; 16])])), Err(StoreError::Conflict));
    assert_eq!(world.run(remove(alice, 2, &[alice])), Err(StoreError::Forbidden), "whoever goes leaves");
    let removed = world.run(remove(alice, 2, &[carol])).unwrap();
    assert_eq!(removed.members, [alice, bob, carol], "who is removed hears of it");
    assert_eq!(removed.entry.removed, [carol.to_bytes()]);
    world.run(leave(alice)).unwrap();
    assert_eq!(world.run(remove(bob, 3, &[bob])), Err(StoreError::Forbidden));
    world.befriend(bob, carol);
    world.run(add(bob, 3, &[carol])).unwrap();
    assert!(world.run(remove(bob, 4, &[carol])).is_ok(), "the next in line owns it");
}

#[test]
fn being_removed_ends_access_at_once() {
    let (world, alice, _, carol) = three();
    world
        .run(SetReceipt { account: carol, device: DeviceId([3; 16]), conversation: GROUP, sealed: Bytes::new() })
        .unwrap();
    world.run(remove(alice, 2, &[carol])).unwrap();
    let (account, conversation, device) = (carol, GROUP, DeviceId([3; 16]));
    assert_eq!(world.run(FetchLog { account, conversation, after: 0 }), Err(StoreError::NotFound));
    assert_eq!(world.run(FetchGroupInfo { account, conversation }), Err(StoreError::NotFound));
    assert_eq!(world.run(message(carol, 10, 1, 3)), Err(StoreError::NotFound));
    assert_eq!(world.run(commit(carol, 10, 3, &[])).unwrap_err(), StoreError::NotFound);
    let receipts = world.run(FetchReceipts { account: alice, conversation, after: 0 }).unwrap();
    assert!(receipts.receipts.is_empty());
    assert!(world.run(ListConversations { account, device, after: None }).unwrap().conversations.is_empty());
}

#[test]
fn after_a_change_of_members_no_message_of_an_earlier_epoch_is_taken() {
    let (world, alice, bob, carol) = three();
    sent(world.run(message(bob, 10, 1, 2)));
    world.run(remove(alice, 2, &[carol])).unwrap();
    assert_eq!(world.run(message(bob, 10, 2, 2)), Err(StoreError::Conflict), "carol could read it");
    sent(world.run(message(bob, 10, 2, 3)));
    world.run(add(alice, 3, &[carol])).unwrap();
    assert_eq!(world.run(message(bob, 10, 3, 3)), Err(StoreError::Conflict), "carol could not read it");
    sent(world.run(message(bob, 10, 3, 4)));
    world.run(leave(carol)).unwrap();
    sent(world.run(message(bob, 10, 4, 4)));
    world.run(commit(alice, 10, 4, &[])).unwrap();
    assert_eq!(world.run(message(bob, 10, 5, 4)), Err(StoreError::Conflict));
    sent(world.run(message(bob, 10, 5, 5)));
}

#[test]
fn leaving_is_said_in_the_log_and_an_empty_group_is_gone() {
    let (world, alice, bob, carol) = three();
    let departed = world.run(leave(alice)).unwrap();
    assert_eq!((departed.entry.sequence, departed.members), (2, vec![bob, carol, alice]));
    assert_eq!(departed.entry.body, Some(v1::log_entry::Body::Departed(alice.to_bytes())));
    let log = world.run(FetchLog { account: bob, conversation: GROUP, after: 1 }).unwrap();
    assert_eq!(log.entries, [departed.entry]);
    assert_eq!(world.run(leave(alice)), Err(StoreError::NotFound));
    world.run(leave(bob)).unwrap();
    world.run(leave(carol)).unwrap();
    for table in ["conversations", "members", "cursors", "log", "receipts", "group_infos", "welcomes", "inbox"] {
        assert_eq!(world.number(&format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
}

#[test]
fn whoever_leaves_is_not_waited_for() {
    let (world, alice, bob, carol) = three();
    sent(world.run(message(bob, 10, 1, 2)));
    for account in [alice, bob] {
        world.run(acknowledge(account, 10, 2)).unwrap();
    }
    assert_eq!(world.number("SELECT min(sequence) FROM log"), 2, "carol has not seen the message");
    world.run(leave(carol)).unwrap();
    assert_eq!(world.number("SELECT min(sequence) FROM log"), 3, "only that she left");
}

#[test]
fn a_group_has_so_many_members() {
    let world = World::new();
    let (alice, bob) = world.contacts(1, 2);
    group(&world, alice);
    world.crowd(GROUP_MEMBERS_MAX - 1);
    let fill = "INSERT INTO members (account, conversation)
        SELECT accounts.account, conversation FROM accounts, conversations WHERE name LIKE 'crowd%'";
    world.behind(|transaction| transaction.execute(fill, params![]));
    assert_eq!(world.run(add(alice, 1, &[bob])), Err(StoreError::LimitReached));
    let leave = "DELETE FROM members WHERE account = ?1";
    world.behind(|transaction| transaction.execute(leave, params![numbered(1)]));
    assert!(world.run(add(alice, 1, &[bob])).is_ok());
}

#[test]
fn what_a_call_comes_to_is_decided_by_who_has_whom() {
    use CallWelcome::{BecomesRequest, Rings, Unreachable};
    use v1::CallsFrom::{Anyone, Contacts, Nobody};
    let (world, alice, bob, carol) = three();
    let callee = |caller, callee: AccountId| {
        let callees = world.run(Callees { account: caller, conversation: GROUP }).unwrap();
        callees.into_iter().find(|other| other.account == callee).unwrap().welcome
    };
    let calls_from = |account, from: v1::CallsFrom| {
        let change = v1::ChangeSettings { calls_from: Some(from.into()), ..Default::default() };
        world.run(ChangeSettings { account, change }).unwrap();
    };
    let block = |block| _ = world.run(BlockAccount { account: bob, peer: alice, block, at: NOW }).unwrap();
    let block_carol = |block| _ = world.run(BlockAccount { account: bob, peer: carol, block, at: NOW }).unwrap();
    let outcomes = || (callee(alice, bob), callee(carol, bob));
    for (from, contact_and_stranger, blocked) in [
        (Contacts, (Rings, BecomesRequest), (Unreachable, BecomesRequest)),
        (Anyone, (Rings, Rings), (Unreachable, Unreachable)),
        (Nobody, (Unreachable, Unreachable), (Unreachable, Unreachable)),
    ] {
        calls_from(bob, from);
        assert_eq!(outcomes(), contact_and_stranger, "{from:?}");
        block(true);
        block_carol(true);
        assert_eq!(outcomes(), blocked, "{from:?}");
        block(false);
        block_carol(false);
    }
    assert_eq!(world.run(Callees { account: AccountId([9; 16]), conversation: GROUP }), Err(StoreError::NotFound));
}
