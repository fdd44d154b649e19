//! One-to-one conversations: one a pair, commits in order, inboxes bounded.

use ahoy_proto::limits::{CONVERSATIONS_MAX, INBOX_MAX, PAGE_BYTES_MAX};
use prost::Message;

use super::*;

pub(in crate::tests) fn create(
    account: AccountId,
    peer: AccountId,
    id: u8,
    welcomes: &[(u8, &'static [u8])],
) -> CreateConversation {
    CreateConversation {
        account,
        device: DeviceId(account.0),
        conversation: ConversationId([id; 16]),
        peer: Some(peer),
        epoch: 1,
        group_info: Bytes::from_static(b"group info 1"),
        welcomes: welcomes
            .iter()
            .map(|(device, welcome)| Welcoming {
                devices: vec![DeviceId([*device; 16])],
                welcome: Bytes::from_static(welcome),
            })
            .collect(),
    }
}

pub(in crate::tests) fn commit(account: AccountId, id: u8, epoch: u64, welcomes: &[(u8, &'static [u8])]) -> Commit {
    let CreateConversation { device, conversation, welcomes, .. } = create(account, account, id, welcomes);
    Commit {
        account,
        device,
        conversation,
        generation: 1,
        epoch,
        commit: Bytes::from(format!("commit {epoch}")),
        group_info: Bytes::from(format!("group info {}", epoch + 1)),
        welcomes,
        add: Vec::new(),
        remove: Vec::new(),
        at_ms: NOW.0 * 1_000,
    }
}

pub(in crate::tests) fn created(result: Result<Created, StoreError>) -> (v1::Conversation, Vec<Delivery>) {
    match result.unwrap() {
        Created::New { conversation, deliveries } => (conversation, deliveries),
        Created::Existing { .. } => panic!("the pair has a conversation already"),
    }
}

#[test]
fn a_pair_has_one_conversation_whoever_makes_it() {
    let world = World::new();
    let (alice, bob) = world.contacts(1, 2);
    let (made, deliveries) = created(world.run(create(alice, bob, 10, &[(2, b"welcome")])));
    assert_eq!((made.generation, made.epoch, made.head), (1, 1, 0));
    assert_eq!(made.peer, bob.to_bytes());
    assert_eq!((deliveries[0].0, deliveries[0].1), (bob, DeviceId([2; 16])));
    let again = world.run(create(bob, alice, 11, &[])).unwrap();
    let of_bob = v1::Conversation { peer: alice.to_bytes(), ..made.clone() };
    assert_eq!(again, Created::Existing { conversation: of_bob.clone() });
    for (account, conversation) in [(alice, made), (bob, of_bob)] {
        let listed = world.run(ListConversations { account, device: DeviceId(account.0), after: None }).unwrap();
        assert_eq!(listed, v1::Conversations { conversations: vec![conversation], more: false });
    }
}

#[test]
fn of_many_who_make_it_at_once_one_does() {
    let world = World::new();
    let (alice, bob) = world.contacts(1, 2);
    let (reply, answers) = mpsc::channel();
    for id in 10..40 {
        let reply = reply.clone();
        let (account, peer) = if id % 2 == 0 { (alice, bob) } else { (bob, alice) };
        let store = world.store.clone();
        std::thread::spawn(move || reply.send(run(&store, create(account, peer, id, &[]))).unwrap());
    }
    drop(reply);
    let made = answers.iter().filter(|answer| matches!(answer, Ok(Created::New { .. }))).count();
    assert_eq!(made, 1);
}

#[test]
fn what_can_t_be_a_conversation_is_refused_and_leaves_nothing() {
    let world = World::new();
    let ((alice, bob), carol) = (world.contacts(1, 2), world.account(3));
    world.befriend(alice, carol);
    let refused = |verb| world.run(verb).unwrap_err();
    assert_eq!(refused(create(alice, alice, 10, &[])), StoreError::Invalid);
    assert_eq!(refused(create(alice, AccountId([9; 16]), 10, &[])), StoreError::NotFound);
    assert_eq!(refused(create(alice, bob, 10, &[(2, b"welcome"), (3, b"not for carol")])), StoreError::Conflict);
    let huge = CreateConversation { epoch: u64::MAX, ..create(alice, bob, 10, &[]) };
    assert_eq!(refused(huge), StoreError::Invalid);
    assert!(world.run(FetchInbox { device: DeviceId([2; 16]), after: 0 }).unwrap().entries.is_empty());
    created(world.run(create(alice, bob, 10, &[])));
    assert_eq!(refused(create(alice, carol, 10, &[])), StoreError::AlreadyExists);
}

#[test]
fn a_commit_moves_the_conversation_on_whole_or_not_at_all() {
    let world = World::new();
    let (alice, bob) = world.contacts(1, 2);
    created(world.run(create(alice, bob, 10, &[])));
    let committed = world.run(commit(bob, 10, 1, &[(1, b"welcome")])).unwrap();
    assert_eq!((committed.entry.sequence, committed.entry.epoch), (1, 1));
    assert_eq!(committed.members, [alice, bob]);
    assert_eq!(committed.deliveries.len(), 1);
    assert_eq!(world.run(commit(alice, 10, 1, &[])).unwrap_err(), StoreError::Conflict, "one commit an epoch");
    let other_generation = Commit { generation: 2, ..commit(alice, 10, 2, &[]) };
    assert_eq!(world.run(other_generation).unwrap_err(), StoreError::Conflict);
    assert_eq!(world.run(commit(alice, 10, 2, &[(9, b"nobody's")])).unwrap_err(), StoreError::Conflict);
    let conversation = ConversationId([10; 16]);
    let info = world.run(FetchGroupInfo { account: alice, conversation }).unwrap();
    assert_eq!((info.epoch, info.head, &info.group_info[..]), (2, 1, &b"group info 2"[..]));
    let log = world.run(FetchLog { account: alice, conversation, after: 0 }).unwrap();
    assert_eq!(log, v1::LogEntries { entries: vec![committed.entry], more: false });
}

#[test]
fn those_outside_a_conversation_learn_nothing_of_it() {
    let world = World::new();
    let ((alice, bob), carol) = (world.contacts(1, 2), world.account(3));
    world.befriend(alice, carol);
    created(world.run(create(alice, bob, 10, &[])));
    let conversation = ConversationId([10; 16]);
    let account = carol;
    assert_eq!(world.run(FetchGroupInfo { account, conversation }), Err(StoreError::NotFound));
    assert_eq!(world.run(FetchLog { account, conversation, after: 0 }), Err(StoreError::NotFound));
    assert_eq!(world.run(Callees { account, conversation }), Err(StoreError::NotFound));
    assert_eq!(world.run(commit(carol, 10, 1, &[])).unwrap_err(), StoreError::NotFound);
}

#[test]
fn a_long_log_comes_in_pages_that_fit_a_message() {
    let world = World::new();
    let (alice, bob) = world.contacts(1, 2);
    created(world.run(create(alice, bob, 10, &[])));
    for epoch in 1..=7 {
        let commit = Commit { commit: Bytes::from(vec![7; 20_000]), ..commit(alice, 10, epoch, &[]) };
        world.run(commit).unwrap();
    }
    let (mut after, mut pages) = (0, 0);
    loop {
        let conversation = ConversationId([10; 16]);
        let page = world.run(FetchLog { account: bob, conversation, after }).unwrap();
        assert!(page.encoded_len() <= PAGE_BYTES_MAX);
        let sequences: Vec<u64> = page.entries.iter().map(|entry| entry.sequence).collect();
        assert_eq!(sequences, (after + 1..=after + sequences.len() as u64).collect::<Vec<_>>());
        after += sequences.len() as u64;
        pages += 1;
        if !page.more {
            break;
        }
    }
    assert_eq!((after, pages), (7, 3));
}

#[test]
fn conversations_are_listed_in_pages_up_to_the_limit_and_no_more_are_made() {
    let world = World::new();
    let (alice, bob) = world.contacts(1, 2);
    // Made behind the store's back: ten thousand peers would only take longer.
    for_each_of(CONVERSATIONS_MAX, |numbers| {
        world.behind(move |transaction| {
            for number in numbers.clone() {
                let conversation =
                    "INSERT INTO conversations (conversation, generation, epoch, head) VALUES (?1, 1, 1, 0)";
                transaction.execute(conversation, params![numbered(number)])?;
                let member = "INSERT INTO members (account, conversation) VALUES (?1, ?2)";
                transaction.execute(member, params![alice, numbered(number)])?;
            }
            Ok(())
        });
    });
    let (mut after, mut seen) = (None, 0);
    loop {
        let page = world.run(ListConversations { account: alice, device: DeviceId([1; 16]), after }).unwrap();
        assert!(page.encoded_len() <= PAGE_BYTES_MAX + 2);
        seen += page.conversations.len();
        after = page.conversations.last().map(|last| ConversationId::try_from(&last.conversation[..]).unwrap());
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, CONVERSATIONS_MAX);
    assert_eq!(world.run(create(alice, bob, 200, &[])).unwrap_err(), StoreError::LimitReached);
    assert_eq!(world.run(create(bob, alice, 200, &[])).unwrap_err(), StoreError::LimitReached);
}

#[test]
fn an_inbox_keeps_what_is_not_acknowledged_and_never_reuses_a_number() {
    let world = World::new();
    let (alice, bob) = world.contacts(1, 2);
    created(world.run(create(alice, bob, 10, &[(2, b"first"), (2, b"second")])));
    let device = DeviceId([2; 16]);
    let fetch = |after| world.run(FetchInbox { device, after }).unwrap().entries;
    let entries = fetch(0);
    assert_eq!(entries[1].body, Some(v1::inbox_entry::Body::Welcome(Bytes::from_static(b"second"))));
    assert_eq!(fetch(entries[0].sequence), entries[1..]);
    world.run(Acknowledge { device, inbox: entries[1].sequence, logs: Vec::new() }).unwrap();
    assert!(fetch(0).is_empty());
    world.run(commit(alice, 10, 1, &[(2, b"third")])).unwrap();
    assert!(fetch(0)[0].sequence > entries[1].sequence);
}

#[test]
fn an_inbox_beyond_the_limit_loses_the_oldest() {
    let world = World::new();
    let (alice, bob) = world.contacts(1, 2);
    let many = vec![(2, &b"welcome"[..]); INBOX_MAX];
    let (_, deliveries) = created(world.run(create(alice, bob, 10, &many)));
    world.run(commit(alice, 10, 1, &[(2, b"one more")])).unwrap();
    let (count, oldest) = (world.number("SELECT count(*) FROM inbox"), world.number("SELECT min(sequence) FROM inbox"));
    assert_eq!((count, oldest), (INBOX_MAX as u64, deliveries[1].2.sequence));
}

#[test]
fn a_revoked_device_leaves_no_key_package_and_no_inbox_behind() {
    let world = World::new();
    let (alice, bob) = world.contacts(1, 2);
    let device = DeviceId([2; 16]);
    let packages = vec![Bytes::from_static(b"package")];
    world.run(PublishKeyPackages { account: bob, device, packages, last_resort: None }).unwrap();
    created(world.run(create(alice, bob, 10, &[(2, b"welcome")])));
    world.run(RevokeDevice { account: bob, device, at: NOW }).unwrap();
    assert_eq!(world.run(ClaimKeyPackages { account: bob }), Err(StoreError::NotFound));
    assert!(world.run(FetchInbox { device, after: 0 }).unwrap().entries.is_empty());
}
