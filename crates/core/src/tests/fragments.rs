//! Long messages: put together from fragments, cut into them, and what bounds those that are unfinished.

use super::*;

fn long_commit(length: usize) -> Ask {
    Ask::Commit(v1::Commit {
        conversation: CONVERSATION.to_bytes(),
        generation: 1,
        epoch: 1,
        commit: Bytes::from_static(b"commit"),
        group_info: vec![5; length].into(),
        ..Default::default()
    })
}

fn fragment(length: usize, last: bool) -> Ask {
    Ask::Fragment(v1::Fragment { piece: vec![1; length].into(), last })
}

/// A session of somebody who has a conversation.
fn session(rig: &mut Rig) -> Recipient {
    let (alice, bob) = (Member::new(1, 11), Member::new(2, 22));
    rig.introduce(&[&alice, &bob]);
    rig.store.add_conversation(CONVERSATION, [alice.account, bob.account]);
    rig.sign_in(&alice)
}

/// How the link was closed, and that nothing of the fragments is held.
fn refused(rig: &Rig, link: Recipient) -> Option<v1::ErrorCode> {
    assert_eq!(rig.counters(|c| c.fragments_refused), 1);
    assert_eq!(rig.gauges(|g| g.long_bytes), 0);
    rig.closed(link)
}

#[test]
fn a_long_commit_is_taken_in_and_what_it_left_is_fetched_in_fragments() {
    let mut rig = Rig::new(2, 0);
    let link = session(&mut rig);
    let request = rig.ask(link, long_commit(2_000_000));
    assert_eq!(rig.reply(link, request), Say::CommitAccepted(v1::CommitAccepted { sequence: 1 }));
    let fetch = Ask::FetchGroupInfo(v1::FetchGroupInfo { conversation: CONVERSATION.to_bytes() });
    let Say::GroupInfo(info) = rig.request(link, fetch) else { panic!("no GroupInfo") };
    assert_eq!((info.epoch, info.group_info.len()), (2, 2_000_000));
    assert_eq!(rig.gauges(|g| g.long_bytes), 0);
}

#[test]
fn other_messages_may_stand_between_fragments() {
    let mut rig = Rig::new(1, 0);
    let link = session(&mut rig);
    let stream = frame::encode_message(&v1::ClientMessage { request: 9, body: Some(long_commit(100_000)) });
    let mut deframer = Deframer::default();
    deframer.push(&stream);
    // The first frame has its length in three bytes.
    let boundary = 3 + deframer.next(limits::MESSAGE_MAX).unwrap().unwrap().len();
    rig.bytes(link, &stream[..boundary]);
    assert!(rig.gauges(|g| g.long_bytes) > 60_000);
    assert!(matches!(rig.request(link, Ask::FetchInbox(v1::FetchInbox { after: 0 })), Say::InboxEntries(_)));
    rig.bytes(link, &stream[boundary..]);
    assert!(matches!(rig.reply(link, 9), Say::CommitAccepted(_)));
}

#[test]
fn what_is_unfinished_goes_with_its_link() {
    let mut rig = Rig::new(1, 0);
    let link = session(&mut rig);
    rig.send(link, 0, Some(fragment(1000, false)));
    assert_eq!(rig.gauges(|g| g.long_bytes), 1000);
    rig.lose(link);
    assert_eq!(rig.gauges(|g| g.long_bytes), 0);
}

#[test]
fn what_is_not_whole_in_time_ends_its_link() {
    let mut rig = Rig::new(1, 0);
    let (slow, steady) = (session(&mut rig), rig.sign_in(&Member::new(2, 2)));
    rig.send(slow, 0, Some(fragment(1000, false)));
    for request in 1..=3 {
        let whole = v1::ClientMessage { request, body: Some(long_commit(100_000)) }.encode_to_vec();
        let (first, rest) = whole.split_at(60_000);
        for (piece, last) in [(first, false), (rest, true)] {
            let piece = Bytes::copy_from_slice(piece);
            rig.send(steady, 0, Some(Ask::Fragment(v1::Fragment { piece, last })));
            assert_eq!(rig.closed(slow), None);
            rig.pass(limits::LARGE_MESSAGE_TIME / 6 - Duration::from_millis(1));
        }
    }
    assert_eq!(rig.closed(slow), None);
    rig.pass(Duration::from_millis(6));
    assert_eq!(refused(&rig, slow), Some(v1::ErrorCode::Overloaded));
    assert_eq!(rig.counters(|c| c.violations[Violation::NoRoom.index()]), 1);
    assert_eq!((rig.closed(steady), rig.gauges(|g| g.long_bytes)), (None, 0));
}

#[test]
fn a_long_commit_is_counted_while_it_is_with_the_store() {
    let mut rig = Rig::new(1, 0);
    let link = session(&mut rig);
    rig.ask_quietly(link, long_commit(1_000_000));
    assert!(rig.gauges(|g| g.long_bytes) >= 1_000_000);
    rig.settle();
    assert_eq!(rig.gauges(|g| g.long_bytes), 0);
}

#[test]
fn a_message_put_together_is_at_most_so_long() {
    let mut rig = Rig::new(1, 0);
    let link = session(&mut rig);
    for _ in 0..limits::LARGE_MESSAGE_MAX / 60_000 {
        rig.send(link, 0, Some(fragment(60_000, false)));
    }
    assert_eq!(rig.closed(link), None);
    rig.send(link, 0, Some(fragment(60_000, false)));
    assert_eq!(refused(&rig, link), Some(v1::ErrorCode::MessageTooLong));
}

#[test]
fn only_commits_and_conversations_come_in_fragments() {
    let list = v1::ClientMessage { request: 1, body: Some(Ask::ListConversations(v1::ListConversations::default())) };
    let nested = v1::ClientMessage { request: 0, body: Some(fragment(10, true)) };
    for message in [list, nested] {
        let mut rig = Rig::new(1, 0);
        let link = session(&mut rig);
        let piece = message.encode_to_vec().into();
        rig.send(link, 0, Some(Ask::Fragment(v1::Fragment { piece, last: true })));
        assert_eq!(refused(&rig, link), Some(v1::ErrorCode::MessageTooLong));
    }
}

#[test]
fn fragments_that_make_no_message_are_malformed() {
    for bad in [fragment(10, true), fragment(0, false)] {
        let mut rig = Rig::new(1, 0);
        let link = session(&mut rig);
        rig.send(link, 0, Some(bad));
        assert_eq!(refused(&rig, link), Some(v1::ErrorCode::Malformed));
    }
}

#[test]
fn a_fragment_has_no_request_number() {
    let mut rig = Rig::new(1, 0);
    let link = session(&mut rig);
    rig.send(link, 4, Some(fragment(10, false)));
    assert_eq!(refused(&rig, link), Some(v1::ErrorCode::RequestNumber));
}

#[test]
fn a_fragment_before_proof_is_out_of_order() {
    let mut rig = Rig::new(1, 0);
    let link = rig.link_up();
    rig.send(link, 0, Some(fragment(10, false)));
    assert_eq!(refused(&rig, link), Some(v1::ErrorCode::OutOfOrder));
}

#[test]
fn a_shard_holds_so_much_that_is_unfinished_and_no_more() {
    let mut rig = Rig::new(1, 0);
    rig.shards = vec![Exchange::new(ExchangeConfig { sessions_max: 200, half_open_max: 200, ..config(0, 1) }, [0; 32])];
    let now = rig.now;
    rig.shards[0].handle_lists(lists(no_revocations(), 1), now);
    let links: Vec<_> = (0..103).map(|index| rig.sign_in(&Member::new(index, 100 + index))).collect();
    let piece = frame::encode(&v1::ClientMessage { request: 0, body: Some(fragment(60_000, false)) });
    let mut closed = None;
    'filling: for _ in 0..limits::LARGE_MESSAGE_MAX / 60_000 {
        for link in &links {
            rig.bytes(*link, &piece);
            closed = rig.closed(*link);
            if closed.is_some() {
                break 'filling;
            }
            assert!(rig.gauges(|g| g.long_bytes) <= limits::LARGE_MESSAGES_SHARD_MAX);
        }
    }
    assert_eq!(closed, Some(v1::ErrorCode::Overloaded));
    assert_eq!(rig.counters(|c| c.violations[Violation::NoRoom.index()]), 1);
}
