//! Requests to the store, their limits, and who else hears of what they change.

use super::*;

fn pair() -> (Member, Member) {
    (Member::new(1, 11), Member::new(2, 22))
}

fn commit(epoch: u64, welcome_for: Option<&Member>) -> Ask {
    let welcomes = welcome_for.map(|member| v1::Welcoming {
        devices: vec![member.device.to_bytes()],
        welcome: Bytes::from_static(b"welcome"),
    });
    Ask::Commit(v1::Commit {
        conversation: CONVERSATION.to_bytes(),
        generation: 1,
        epoch,
        commit: Bytes::from_static(b"commit"),
        group_info: Bytes::from_static(b"info"),
        welcomes: welcomes.into_iter().collect(),
        ..Default::default()
    })
}

#[test]
fn accounts_are_found_by_their_exact_name() {
    let mut rig = Rig::new(1, 0);
    let (alice, bob) = pair();
    rig.introduce(&[&alice, &bob]);
    let link = rig.sign_in(&alice);
    let find = |name: &str| Ask::FindAccount(v1::FindAccount { name: name.to_owned() });
    let Say::AccountFound(found) = rig.request(link, find("Member2")) else { panic!("not found") };
    assert_eq!((found.account, found.name, found.account_key.len()), (bob.account.to_bytes(), "member2".into(), 32));
    assert_eq!(error_code(&rig.request(link, find("member3"))), v1::ErrorCode::NotFound);
    assert_eq!(error_code(&rig.request(link, find("no name"))), v1::ErrorCode::InvalidArgument);
}

#[test]
fn a_commit_reaches_all_online_devices_of_the_members_but_its_sender() {
    in_all_orders(|rig| {
        let (alice, bob) = pair();
        let (other_alice, stranger) = (Member::new(1, 12), Member::new(3, 33));
        rig.introduce(&[&alice, &other_alice, &bob, &stranger]);
        rig.store.add_conversation(CONVERSATION, [alice.account, bob.account]);
        let links = [&alice, &other_alice, &bob, &stranger].map(|member| rig.sign_in(member));
        let accepted = rig.request(links[0], commit(1, Some(&bob)));
        assert_eq!(accepted, Say::CommitAccepted(v1::CommitAccepted { sequence: 1 }));
        assert_eq!(rig.events(links[0]), []);
        assert!(matches!(&rig.events(links[1])[..], [Say::LogEntry(entry)] if entry.sequence == 1));
        assert!(matches!(&rig.events(links[2])[..], [Say::LogEntry(_), Say::InboxEntry(_)]));
        assert_eq!(rig.events(links[3]), []);
    });
}

#[test]
fn a_stale_commit_conflicts_and_changes_nothing() {
    let mut rig = Rig::new(1, 0);
    let (alice, bob) = pair();
    rig.introduce(&[&alice, &bob]);
    rig.store.add_conversation(CONVERSATION, [alice.account, bob.account]);
    let (link, other) = (rig.sign_in(&alice), rig.sign_in(&bob));
    assert_eq!(error_code(&rig.request(link, commit(9, Some(&bob)))), v1::ErrorCode::Conflict);
    assert_eq!(rig.events(other), []);
    assert_eq!((rig.store.log(CONVERSATION).len(), rig.store.inbox(bob.device).len()), (0, 0));
}

#[test]
fn a_new_conversation_puts_its_welcomes_into_inboxes_at_once() {
    in_all_orders(|rig| {
        let (alice, bob) = pair();
        rig.introduce(&[&alice, &bob]);
        rig.store.add_contact(alice.account, bob.account);
        let (link, other) = (rig.sign_in(&alice), rig.sign_in(&bob));
        let create = |id| {
            Ask::CreateConversation(v1::CreateConversation {
                conversation: ConversationId(id).to_bytes(),
                peer: bob.account.to_bytes(),
                epoch: 1,
                group_info: Bytes::from_static(b"info"),
                welcomes: vec![v1::Welcoming {
                    devices: vec![bob.device.to_bytes()],
                    welcome: Bytes::from_static(b"welcome"),
                }],
            })
        };
        for (proposed, times) in [([5; 16], 1), ([6; 16], 0)] {
            let Say::Conversations(made) = rig.request(link, create(proposed)) else { panic!("not made") };
            assert_eq!(made.conversations[0].conversation, ConversationId([5; 16]).to_bytes());
            let events = rig.events(other);
            assert_eq!(events.iter().filter(|event| matches!(event, Say::InboxEntry(_))).count(), times);
        }
        let Say::InboxEntries(inbox) = rig.request(other, Ask::FetchInbox(v1::FetchInbox { after: 0 })) else {
            panic!("no inbox");
        };
        let inbox = inbox.entries[0].sequence;
        rig.request(other, Ask::Acknowledge(v1::Acknowledge { inbox, logs: vec![] }));
        assert!(rig.store.inbox(bob.device).is_empty());
    });
}

#[test]
fn a_key_package_is_handed_out_once_and_the_last_resort_again_and_again() {
    let mut rig = Rig::new(1, 0);
    let (alice, bob) = pair();
    rig.introduce(&[&alice, &bob]);
    let (link, other) = (rig.sign_in(&alice), rig.sign_in(&bob));
    let publish = Ask::PublishKeyPackages(v1::PublishKeyPackages {
        key_packages: vec![Bytes::from_static(b"once")],
        last_resort: Bytes::from_static(b"last"),
    });
    assert_eq!(rig.request(other, publish), Say::Done(v1::Done {}));
    for expected in ["once", "last", "last"] {
        let claim = Ask::ClaimKeyPackages(v1::ClaimKeyPackages { account: bob.account.to_bytes() });
        let Say::KeyPackages(claimed) = rig.request(link, claim) else { panic!("none") };
        assert_eq!(claimed.packages[0].key_package, expected.as_bytes());
    }
}

#[test]
fn a_store_that_fails_makes_requests_unavailable_for_a_while() {
    let mut rig = Rig::new(2, 0);
    let (alice, bob) = pair();
    rig.introduce(&[&alice, &bob]);
    rig.store.add_conversation(CONVERSATION, [alice.account, bob.account]);
    let link = rig.sign_in(&alice);
    rig.store_fails = true;
    for body in [commit(1, None), Ask::FetchInbox(v1::FetchInbox { after: 0 }), start_call()] {
        let Say::Error(error) = rig.request(link, body) else { panic!("no error") };
        assert_eq!(error.code(), v1::ErrorCode::Unavailable);
        assert!(error.retry_after_ms > 0);
    }
    assert_eq!(rig.counters(|c| c.store_errors), 3);
    rig.store_fails = false;
    assert!(matches!(rig.request(link, commit(1, None)), Say::CommitAccepted(_)));
}

fn start_call() -> Ask {
    Ask::StartCall(v1::StartCall {
        call: CallId([1; 16]).to_bytes(),
        conversation: CONVERSATION.to_bytes(),
        leg: LegId([1; 16]).to_bytes(),
        sealed: Bytes::from_static(b"offer"),
    })
}

#[test]
fn an_unknown_request_is_unimplemented_and_the_link_goes_on() {
    let mut rig = Rig::new(1, 0);
    let link = rig.sign_in(&Member::new(1, 1));
    // Field 500, which no schema has yet, beside the number of the request.
    rig.bytes(link, &[6, 0x08, 5, 0xa2, 0x1f, 1, 0]);
    assert_eq!(error_code(&rig.reply(link, 5)), v1::ErrorCode::Unimplemented);
    for request in 6..100 {
        rig.send(link, request, None);
    }
    assert_eq!(error_code(&rig.reply(link, 99)), v1::ErrorCode::RateLimited);
    assert_eq!(rig.closed(link), None);
}

#[test]
fn fields_out_of_range_are_invalid_and_the_link_goes_on() {
    let mut rig = Rig::new(1, 0);
    let link = rig.sign_in(&Member::new(1, 1));
    let id = || Bytes::from_static(&[7; 16]);
    let long = |max: usize| Bytes::from(vec![1; max + 1]);
    let start = |change: fn(&mut v1::StartCall)| {
        let Ask::StartCall(mut start) = start_call() else { unreachable!() };
        change(&mut start);
        Ask::StartCall(start)
    };
    let attach = |call_token| v1::AttachLeg { call_token, leg: id(), sealed: id() };
    let publish = |key_packages, last_resort| v1::PublishKeyPackages { key_packages, last_resort };
    let welcome = |devices| v1::Welcoming { devices, welcome: id() };
    let Ask::Commit(good) = commit(1, None) else { unreachable!() };
    let bad = [
        Ask::PublishKeyPackages(publish(vec![], Bytes::new())),
        Ask::PublishKeyPackages(publish(vec![Bytes::new()], id())),
        Ask::PublishKeyPackages(publish(vec![long(limits::KEY_PACKAGE_MAX)], id())),
        Ask::PublishKeyPackages(publish(vec![id(); limits::KEY_PACKAGES_MAX + 1], id())),
        Ask::ClaimKeyPackages(v1::ClaimKeyPackages { account: long(16) }),
        Ask::ListConversations(v1::ListConversations { after: long(3) }),
        Ask::CreateConversation(v1::CreateConversation { peer: Bytes::from_static(&[1; 16]), ..Default::default() }),
        Ask::Commit(v1::Commit { commit: Bytes::new(), ..good.clone() }),
        Ask::Commit(v1::Commit { welcomes: vec![welcome(vec![])], ..good.clone() }),
        Ask::Commit(v1::Commit { welcomes: vec![welcome(vec![id(); 1025]); 2], ..good }),
        Ask::FetchLog(v1::FetchLog { conversation: id(), after: u64::MAX }),
        Ask::Acknowledge(v1::Acknowledge { inbox: u64::MAX, logs: vec![] }),
        start(|start| start.call = Bytes::new()),
        start(|start| start.sealed = Bytes::new()),
        start(|start| start.sealed = vec![1; limits::SEALED_MAX + 1].into()),
        Ask::DeclineCall(v1::DeclineCall { call: id(), cause: v1::Cause::HungUp.into() }),
        Ask::HangUp(v1::HangUp { call: id(), cause: 99 }),
        Ask::AttachLeg(attach(long(limits::CALL_TOKEN_MAX))),
    ];
    for body in bad {
        let reply = rig.request(link, body.clone());
        assert_eq!(error_code(&reply), v1::ErrorCode::InvalidArgument, "{body:?}");
    }
    assert_eq!((rig.closed(link), rig.counters(|c| c.questions)), (None, 0));
}

#[test]
fn too_many_requests_of_a_kind_are_refused_until_there_is_room_again() {
    let mut rig = Rig::new(1, 0);
    let (alice, bob) = pair();
    rig.introduce(&[&alice, &bob]);
    let (link, other) = (rig.sign_in(&alice), rig.sign_in(&bob));
    let last_resort = Bytes::from_static(b"last");
    rig.request(other, Ask::PublishKeyPackages(v1::PublishKeyPackages { key_packages: vec![], last_resort }));
    let claim = || Ask::ClaimKeyPackages(v1::ClaimKeyPackages { account: bob.account.to_bytes() });
    for _ in 0..50 {
        assert!(matches!(rig.request(link, claim()), Say::KeyPackages(_)));
    }
    let Say::Error(error) = rig.request(link, claim()) else { panic!("no error") };
    assert_eq!((error.code(), error.retry_after_ms), (v1::ErrorCode::RateLimited, 2_000));
    assert!(matches!(rig.request(link, Ask::FetchInbox(v1::FetchInbox { after: 0 })), Say::InboxEntries(_)));
    rig.pass(Duration::from_millis(2_000));
    assert!(matches!(rig.request(link, claim()), Say::KeyPackages(_)));
    assert_eq!(rig.counters(|c| c.rate_limited), 1);
}

#[test]
fn what_others_must_hear_they_hear_though_the_sender_is_gone() {
    in_all_orders(|rig| {
        let (alice, bob) = pair();
        rig.introduce(&[&alice, &bob]);
        rig.store.add_conversation(CONVERSATION, [alice.account, bob.account]);
        let (link, other) = (rig.sign_in(&alice), rig.sign_in(&bob));
        rig.ask_quietly(link, commit(1, None));
        rig.lose(link);
        assert!(matches!(&rig.events(other)[..], [Say::LogEntry(_)]));
    });
}
