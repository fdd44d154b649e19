//! Messages, receipts, signals and memberships: who else hears of them, and what is refused.

use super::*;

/// A group of Alice with two devices, and Bob; and Carol, who is not in it. All of them are contacts of Alice's.
struct Group {
    alice: Recipient,
    alices_other: Recipient,
    bob: Recipient,
    carol: Recipient,
}

const BOB: AccountId = AccountId([2; 16]);
const CAROL: AccountId = AccountId([3; 16]);

fn group(rig: &mut Rig) -> Group {
    let members = [Member::new(1, 11), Member::new(1, 12), Member::new(2, 22), Member::new(3, 33)];
    rig.introduce(&members.each_ref());
    rig.store.add_contact(members[0].account, BOB);
    rig.store.add_contact(members[0].account, CAROL);
    let links = members.each_ref().map(|member| rig.sign_in(member));
    let create = v1::CreateConversation {
        conversation: CONVERSATION.to_bytes(),
        epoch: 1,
        group_info: Bytes::from_static(b"info"),
        welcomes: vec![welcoming(&members[1])],
        ..Default::default()
    };
    assert!(matches!(rig.request(links[0], Ask::CreateConversation(create)), Say::Conversations(_)));
    let invite = v1::Commit { add: vec![BOB.to_bytes()], welcomes: vec![welcoming(&members[2])], ..commit(1) };
    assert!(matches!(rig.request(links[0], Ask::Commit(invite)), Say::CommitAccepted(_)));
    for link in links {
        rig.take(link);
    }
    let [alice, alices_other, bob, carol] = links;
    Group { alice, alices_other, bob, carol }
}

fn welcoming(member: &Member) -> v1::Welcoming {
    v1::Welcoming { devices: vec![member.device.to_bytes()], welcome: Bytes::from_static(b"welcome") }
}

fn commit(epoch: u64) -> v1::Commit {
    v1::Commit {
        conversation: CONVERSATION.to_bytes(),
        generation: 1,
        epoch,
        commit: Bytes::from_static(b"commit"),
        group_info: Bytes::from_static(b"info"),
        ..Default::default()
    }
}

fn message(number: u64, epoch: u64) -> v1::SendMessage {
    v1::SendMessage {
        conversation: CONVERSATION.to_bytes(),
        number,
        generation: 1,
        epoch,
        sealed: Bytes::from_static(b"hello"),
    }
}

fn send(number: u64, epoch: u64) -> Ask {
    Ask::SendMessage(message(number, epoch))
}

fn signal(length: usize) -> Ask {
    Ask::SendSignal(v1::SendSignal { conversation: CONVERSATION.to_bytes(), sealed: vec![1; length].into() })
}

fn receipt(length: usize) -> Ask {
    Ask::SetReceipt(v1::SetReceipt { conversation: CONVERSATION.to_bytes(), sealed: vec![1; length].into() })
}

fn leave() -> Ask {
    Ask::LeaveConversation(v1::LeaveConversation { conversation: CONVERSATION.to_bytes() })
}

fn sequence(say: &Say) -> u64 {
    match say {
        Say::MessageAccepted(accepted) => accepted.sequence,
        other => panic!("not accepted but {other:?}"),
    }
}

#[test]
fn a_message_reaches_all_other_devices_of_all_members_and_nobody_else() {
    in_all_orders(|rig| {
        let Group { alice, alices_other, bob, carol } = group(rig);
        let Say::MessageAccepted(accepted) = rig.request(alice, send(1, 2)) else { panic!("not accepted") };
        assert_eq!((accepted.sequence, accepted.at_ms), (2, rig.now.unix_ms));
        for link in [alices_other, bob] {
            let events = rig.events(link);
            let [Say::LogEntry(entry)] = &events[..] else { panic!("{events:?}") };
            assert_eq!((entry.sequence, entry.at_ms, entry.epoch), (2, rig.now.unix_ms, 2));
            assert_eq!((&entry.account[..], &entry.device[..]), (&[1; 16][..], &[11; 16][..]));
        }
        assert_eq!((rig.events(alice), rig.events(carol)), (vec![], vec![]));
        assert_eq!(rig.counters(|c| c.messages), 1);
    });
}

#[test]
fn a_repeated_message_is_accepted_and_stands_in_the_log_once() {
    in_all_orders(|rig| {
        let Group { alice, bob, .. } = group(rig);
        let requests = [rig.ask_quietly(alice, send(1, 2)), rig.ask_quietly(alice, send(1, 2))];
        rig.settle();
        let places = requests.map(|request| sequence(&rig.reply(alice, request)));
        assert_eq!(places, [2, 0]);
        let events = rig.events(bob);
        assert!(matches!(&events[..], [Say::LogEntry(first), Say::LogEntry(again)] if first == again), "{events:?}");
        assert_eq!(rig.store.log(CONVERSATION).len(), 2);
    });
}

#[test]
fn a_message_whose_sender_never_got_the_answer_is_told_to_others_when_it_is_repeated() {
    in_all_orders(|rig| {
        let Group { alice, bob, .. } = group(rig);
        // The store has taken it, and nobody hears of that.
        rig.store.answer(Question::SendMessage {
            account: AccountId([1; 16]),
            device: DeviceId([11; 16]),
            conversation: CONVERSATION,
            number: 1,
            generation: 1,
            epoch: 2,
            sealed: Bytes::from_static(b"hello"),
            at_ms: 1,
        });
        assert_eq!(sequence(&rig.request(alice, send(1, 2))), 0);
        let events = rig.events(bob);
        assert!(matches!(&events[..], [Say::LogEntry(entry)] if entry.sequence == 2), "{events:?}");
    });
}

#[test]
fn a_message_that_leaves_a_gap_or_is_of_an_epoch_that_is_over_conflicts() {
    let mut rig = Rig::new(2, 0);
    let Group { alice, bob, carol, .. } = group(&mut rig);
    for bad in [message(2, 2), message(1, 3), v1::SendMessage { generation: 2, ..message(1, 2) }] {
        assert_eq!(error_code(&rig.request(alice, Ask::SendMessage(bad))), v1::ErrorCode::Conflict);
    }
    assert_eq!(error_code(&rig.request(carol, send(1, 2))), v1::ErrorCode::NotFound);
    assert_eq!(sequence(&rig.request(bob, send(1, 2))), 2);
    rig.request(alice, Ask::Commit(commit(2)));
    assert_eq!(error_code(&rig.request(bob, send(2, 2))), v1::ErrorCode::Conflict);
    assert_eq!(sequence(&rig.request(bob, send(2, 3))), 4);
}

#[test]
fn a_message_sealed_before_somebody_was_removed_conflicts() {
    let mut rig = Rig::new(1, 0);
    let Group { alice, alices_other, .. } = group(&mut rig);
    let removal = v1::Commit { remove: vec![BOB.to_bytes()], ..commit(2) };
    assert!(matches!(rig.request(alice, Ask::Commit(removal)), Say::CommitAccepted(_)));
    assert_eq!(error_code(&rig.request(alices_other, send(1, 2))), v1::ErrorCode::Conflict);
    assert_eq!(sequence(&rig.request(alices_other, send(1, 3))), 3);
}

#[test]
fn whoever_is_removed_hears_of_it_and_has_access_no_more() {
    in_all_orders(|rig| {
        let Group { alice, alices_other, bob, .. } = group(rig);
        assert_eq!(
            error_code(
                &rig.request(bob, Ask::Commit(v1::Commit { remove: vec![Bytes::from_static(&[1; 16])], ..commit(2) }))
            ),
            v1::ErrorCode::Forbidden
        );
        rig.request(alice, Ask::Commit(v1::Commit { remove: vec![BOB.to_bytes()], ..commit(2) }));
        for link in [alices_other, bob] {
            let events = rig.events(link);
            assert!(matches!(&events[..], [Say::LogEntry(entry)] if entry.removed == [BOB.to_bytes()]), "{events:?}");
        }
        for ask in [send(1, 3), signal(5), receipt(5), leave()] {
            assert_eq!(error_code(&rig.request(bob, ask)), v1::ErrorCode::NotFound);
        }
    });
}

#[test]
fn whoever_may_not_be_written_to_is_not_invited() {
    let mut rig = Rig::new(1, 0);
    let Group { alice, bob, carol, .. } = group(&mut rig);
    let invite = |account: AccountId, epoch| Ask::Commit(v1::Commit { add: vec![account.to_bytes()], ..commit(epoch) });
    assert_eq!(error_code(&rig.request(bob, invite(CAROL, 2))), v1::ErrorCode::Forbidden);
    assert!(matches!(rig.request(alice, invite(CAROL, 2)), Say::CommitAccepted(_)));
    assert!(matches!(&rig.events(carol)[..], [Say::LogEntry(entry)] if entry.added == [CAROL.to_bytes()]));
    let create = v1::CreateConversation {
        conversation: ConversationId([5; 16]).to_bytes(),
        peer: CAROL.to_bytes(),
        epoch: 1,
        group_info: Bytes::from_static(b"info"),
        welcomes: vec![],
    };
    assert_eq!(error_code(&rig.request(bob, Ask::CreateConversation(create))), v1::ErrorCode::Forbidden);
}

#[test]
fn whoever_leaves_is_a_member_no_more_and_the_log_says_so() {
    in_all_orders(|rig| {
        let Group { alice, alices_other, bob, .. } = group(rig);
        assert_eq!(rig.request(bob, leave()), Say::Done(v1::Done {}));
        assert_eq!(rig.events(bob), []);
        for link in [alice, alices_other] {
            let events = rig.events(link);
            let [Say::LogEntry(entry)] = &events[..] else { panic!("{events:?}") };
            assert_eq!(entry.body, Some(v1::log_entry::Body::Departed(BOB.to_bytes())));
        }
        assert_eq!(rig.counters(|c| c.messages), 0);
        // What was sealed for those who were there before is not taken once somebody has removed the leaves.
        rig.request(alice, Ask::Commit(commit(2)));
        assert_eq!(error_code(&rig.request(alice, send(1, 2))), v1::ErrorCode::Conflict);
        rig.request(alice, leave());
        assert!(!rig.store.has_conversation(CONVERSATION));
    });
}

#[test]
fn a_conversation_of_two_is_not_left() {
    let mut rig = Rig::new(1, 0);
    let (alice, bob) = people::pair(&mut rig);
    rig.store.add_conversation(CONVERSATION, [alice.account, bob.account]);
    let link = rig.sign_in(&alice);
    assert_eq!(error_code(&rig.request(link, leave())), v1::ErrorCode::Forbidden);
}

#[test]
fn members_are_listed_by_how_long_they_have_been() {
    let mut rig = Rig::new(2, 0);
    let Group { bob, .. } = group(&mut rig);
    let fetch = Ask::FetchMembers(v1::FetchMembers { conversation: CONVERSATION.to_bytes() });
    let Say::Members(members) = rig.request(bob, fetch) else { panic!("no members") };
    let since = members.members.iter().map(|member| (member.name.clone(), member.since)).collect::<Vec<_>>();
    assert_eq!(since, [("member1".to_owned(), 0), ("member2".to_owned(), 1)]);
}

#[test]
fn receipts_reach_the_other_devices_and_can_be_fetched_by_their_serial() {
    in_all_orders(|rig| {
        let Group { alice, alices_other, bob, carol } = group(rig);
        for (link, serial) in [(bob, 1), (alice, 2), (bob, 3)] {
            assert_eq!(rig.request(link, receipt(5)), Say::Done(v1::Done {}));
            let told = rig.events(alices_other);
            assert!(matches!(&told[..], [Say::Receipt(receipt)] if receipt.serial == serial), "{told:?}");
        }
        assert_eq!((rig.events(alice).len(), rig.events(bob).len(), rig.events(carol).len()), (2, 1, 0));
        let fetch = |after| Ask::FetchReceipts(v1::FetchReceipts { conversation: CONVERSATION.to_bytes(), after });
        for (after, serials) in [(0, vec![2, 3]), (2, vec![3]), (3, vec![])] {
            let Say::Receipts(receipts) = rig.request(alice, fetch(after)) else { panic!("no receipts") };
            assert_eq!(receipts.receipts.iter().map(|receipt| receipt.serial).collect::<Vec<_>>(), serials);
        }
        assert_eq!(rig.counters(|c| c.receipts), 3);
    });
}

#[test]
fn signals_reach_the_other_devices_and_are_kept_nowhere() {
    in_all_orders(|rig| {
        let Group { alice, alices_other, bob, carol } = group(rig);
        assert_eq!(rig.request(bob, signal(5)), Say::Done(v1::Done {}));
        let expected = Say::Signal(v1::Signal {
            conversation: CONVERSATION.to_bytes(),
            account: BOB.to_bytes(),
            device: DeviceId([22; 16]).to_bytes(),
            sealed: vec![1; 5].into(),
        });
        assert_eq!((rig.events(alice), rig.events(alices_other)), (vec![expected.clone()], vec![expected]));
        assert_eq!((rig.events(bob), rig.events(carol)), (vec![], vec![]));
        assert_eq!((rig.store.log(CONVERSATION).len(), rig.counters(|c| c.signals)), (1, 1));
    });
}

#[test]
fn what_all_devices_have_acknowledged_is_forgotten() {
    let mut rig = Rig::new(2, 0);
    let Group { alice, alices_other, bob, .. } = group(&mut rig);
    rig.request(alice, send(1, 2));
    let acknowledge = |sequence| {
        let logs = vec![v1::LogMark { conversation: CONVERSATION.to_bytes(), sequence }];
        Ask::Acknowledge(v1::Acknowledge { inbox: 0, logs })
    };
    for (link, sequence, left) in
        [(alice, 2, 2), (bob, 99, 2), (alices_other, 1, 1), (alice, 0, 1), (alices_other, 2, 0)]
    {
        assert_eq!(rig.request(link, acknowledge(sequence)), Say::Done(v1::Done {}));
        assert_eq!(rig.store.log(CONVERSATION).len(), left);
    }
    assert_eq!(rig.store.cursor(CONVERSATION, DeviceId([22; 16])), Some((2, 0)));
    let Say::Conversations(list) = rig.request(alice, Ask::ListConversations(v1::ListConversations::default())) else {
        panic!("no list");
    };
    let listed = &list.conversations[0];
    assert_eq!((listed.head, listed.acknowledged, listed.sent, listed.peer.len()), (2, 2, 1, 0));
}

#[test]
fn what_an_account_has_sent_and_nobody_fetches_takes_up_so_much_at_most() {
    let mut rig = Rig::new(1, 0);
    let Group { alice, .. } = group(&mut rig);
    let big = Bytes::from(vec![7; limits::MESSAGE_SEALED_MAX]);
    let fit = limits::MAILBOX_BYTES_MAX / limits::MESSAGE_SEALED_MAX as u64;
    for number in 1..=fit {
        rig.pass(Duration::from_millis(100));
        rig.request(alice, Ask::SendMessage(v1::SendMessage { sealed: big.clone(), ..message(number, 2) }));
    }
    assert_eq!(rig.store.head(CONVERSATION), Some(1 + fit));
    rig.pass(Duration::from_secs(1));
    assert_eq!(error_code(&rig.request(alice, send(fit + 1, 2))), v1::ErrorCode::LimitReached);
    rig.store.expire(rig.now.unix_ms + limits::RETENTION.as_millis() as u64 + 1);
    rig.pass(Duration::from_secs(1));
    assert_eq!(sequence(&rig.request(alice, send(fit + 1, 2))), 2 + fit);
}

#[test]
fn people_type_ten_a_second_and_twenty_at_once() {
    let mut rig = Rig::new(1, 0);
    let Group { alice, .. } = group(&mut rig);
    for number in 1..=20 {
        assert!(sequence(&rig.request(alice, send(number, 2))) > 0);
    }
    let Say::Error(error) = rig.request(alice, send(21, 2)) else { panic!("no error") };
    assert_eq!((error.code(), error.retry_after_ms), (v1::ErrorCode::RateLimited, 100));
    rig.pass(Duration::from_millis(100));
    assert!(sequence(&rig.request(alice, send(21, 2))) > 0);
}

#[test]
fn fields_of_messages_out_of_range_are_invalid() {
    let mut rig = Rig::new(1, 0);
    let Group { alice, .. } = group(&mut rig);
    let long = |max: usize| Bytes::from(vec![1; max + 1]);
    let id = || CONVERSATION.to_bytes();
    let mark = || v1::LogMark { conversation: id(), sequence: 1 };
    let bad = [
        send(0, 2),
        send(u64::MAX, 2),
        Ask::SendMessage(v1::SendMessage { sealed: Bytes::new(), ..message(1, 2) }),
        Ask::SendMessage(v1::SendMessage { sealed: long(limits::MESSAGE_SEALED_MAX), ..message(1, 2) }),
        Ask::SendMessage(v1::SendMessage { conversation: Bytes::new(), ..message(1, 2) }),
        signal(0),
        signal(limits::SIGNAL_SEALED_MAX + 1),
        receipt(0),
        receipt(limits::SIGNAL_SEALED_MAX + 1),
        Ask::Acknowledge(v1::Acknowledge { inbox: 0, logs: vec![mark(); limits::LOG_MARKS_MAX + 1] }),
        Ask::Acknowledge(v1::Acknowledge { inbox: 0, logs: vec![v1::LogMark::default()] }),
        Ask::FetchReceipts(v1::FetchReceipts { conversation: id(), after: u64::MAX }),
        Ask::FetchMembers(v1::FetchMembers { conversation: long(16) }),
        Ask::LeaveConversation(v1::LeaveConversation::default()),
        Ask::Commit(v1::Commit { add: vec![id(), id()], ..commit(2) }),
        Ask::Commit(v1::Commit { remove: vec![Bytes::new()], ..commit(2) }),
        Ask::Commit(v1::Commit { add: vec![id(); limits::GROUP_MEMBERS_MAX + 1], ..commit(2) }),
    ];
    let asked = rig.counters(|c| c.questions);
    for body in bad {
        let reply = rig.request(alice, body.clone());
        assert_eq!(error_code(&reply), v1::ErrorCode::InvalidArgument, "{body:?}");
    }
    assert_eq!(rig.counters(|c| c.questions), asked);
}
