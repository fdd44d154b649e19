//! Ringing, answering, and every cause that a call can end with; each side sees it once.

use super::*;

/// Two accounts with a conversation, one with two devices.
pub(super) struct People {
    pub(super) alice: Member,
    pub(super) bob: Member,
    pub(super) bobs_other: Member,
}

pub(super) fn people(rig: &mut Rig) -> People {
    let people = People { alice: Member::new(1, 11), bob: Member::new(2, 22), bobs_other: Member::new(2, 23) };
    rig.introduce(&[&people.alice, &people.bob, &people.bobs_other]);
    rig.store.add_contact(people.alice.account, people.bob.account);
    rig.store.add_conversation(CONVERSATION, [people.alice.account, people.bob.account]);
    people
}

pub(super) fn call_id(first: u8) -> CallId {
    let mut id = [0xca; 16];
    id[0] = first;
    CallId(id)
}

pub(super) fn start(call: CallId, leg: u8) -> Ask {
    Ask::StartCall(v1::StartCall {
        call: call.to_bytes(),
        conversation: CONVERSATION.to_bytes(),
        leg: LegId([leg; 16]).to_bytes(),
        sealed: vec![leg; 3].into(),
    })
}

pub(super) fn answer(call: CallId, leg: u8) -> Ask {
    Ask::AnswerCall(v1::AnswerCall {
        call: call.to_bytes(),
        leg: LegId([leg; 16]).to_bytes(),
        sealed: vec![leg; 3].into(),
    })
}

pub(super) fn decline(call: CallId, cause: v1::Cause) -> Ask {
    Ask::DeclineCall(v1::DeclineCall { call: call.to_bytes(), cause: cause.into() })
}

pub(super) fn hang_up(call: CallId, cause: v1::Cause) -> Ask {
    Ask::HangUp(v1::HangUp { call: call.to_bytes(), cause: cause.into() })
}

pub(super) fn ended(call: CallId, cause: v1::Cause) -> Say {
    Say::CallEnded(v1::CallEnded { call: call.to_bytes(), cause: cause.into() })
}

fn ringing(call: CallId) -> Say {
    Say::CallRinging(v1::CallRinging { call: call.to_bytes() })
}

pub(super) const DONE: Say = Say::Done(v1::Done {});

/// Alice calls; both of Bob's devices ring.
fn ring(rig: &mut Rig) -> (CallId, [Recipient; 3]) {
    let People { alice, bob, bobs_other } = people(rig);
    let links = [&alice, &bob, &bobs_other].map(|member| rig.sign_in(member));
    let call = call_id(rig.rng.random());
    assert_eq!(rig.request(links[0], start(call, 1)), DONE);
    assert_eq!(rig.events(links[0]), [ringing(call)]);
    for link in &links[1..] {
        let events = rig.events(*link);
        let [Say::IncomingCall(incoming)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((&incoming.call, &incoming.caller), (&call.to_bytes(), &alice.account.to_bytes()));
        assert_eq!((&incoming.leg[..], &incoming.sealed[..]), (&[1; 16][..], &[1; 3][..]));
    }
    (call, links)
}

#[test]
fn an_answered_call_connects_both_legs_and_stops_the_other_devices() {
    in_all_orders(|rig| {
        let (call, [alice, bob, other]) = ring(rig);
        let Say::LegAttached(mine) = rig.request(bob, answer(call, 2)) else { panic!("not attached") };
        assert_eq!(&mine.leg[..], &[2; 16]);
        let events = rig.events(alice);
        let [Say::LegAttached(theirs), Say::LegUp(up)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((up.flow, &up.leg[..], &up.sealed[..]), (mine.flow, &[2; 16][..], &[2; 3][..]));
        assert_ne!(mine.flow, theirs.flow);
        let events = rig.events(bob);
        assert!(matches!(&events[..], [Say::LegUp(up)] if up.flow == theirs.flow && up.device == [11; 16][..]));
        assert_eq!(rig.events(other), [ended(call, v1::Cause::AnsweredElsewhere)]);
        assert_eq!(rig.gauges(|g| g.calls_answered), 1);
    });
}

#[test]
fn of_two_devices_that_answer_at_once_the_first_wins() {
    in_all_orders(|rig| {
        let (call, [alice, bob, other]) = ring(rig);
        let (one, two) = (rig.ask_quietly(bob, answer(call, 2)), rig.ask_quietly(other, answer(call, 3)));
        rig.settle();
        let replies = [rig.reply(bob, one), rig.reply(other, two)];
        let attached = replies.iter().filter(|reply| matches!(reply, Say::LegAttached(_))).count();
        let refused = replies.iter().filter(|reply| matches!(reply, Say::Error(_))).count();
        assert_eq!((attached, refused), (1, 1));
        let elsewhere = [bob, other].map(|link| rig.events(link).contains(&ended(call, v1::Cause::AnsweredElsewhere)));
        assert_eq!(elsewhere, replies.map(|reply| matches!(reply, Say::Error(_))));
        assert_eq!(rig.events(alice).len(), 2);
    });
}

#[test]
fn a_declined_call_ends_for_all() {
    for cause in [v1::Cause::Declined, v1::Cause::Busy, v1::Cause::Incompatible] {
        in_all_orders(|rig| {
            let (call, [alice, bob, other]) = ring(rig);
            assert_eq!(rig.request(bob, decline(call, cause)), DONE);
            assert_eq!(rig.events(alice), [ended(call, cause)]);
            assert_eq!(rig.events(bob), [ended(call, cause)]);
            assert_eq!(rig.events(other), [ended(call, v1::Cause::DeclinedElsewhere)]);
            rig.assert_no_calls();
        });
    }
}

#[test]
fn a_caller_who_hangs_up_early_cancels() {
    in_all_orders(|rig| {
        let (call, links) = ring(rig);
        assert_eq!(rig.request(links[0], hang_up(call, v1::Cause::HungUp)), DONE);
        for link in links {
            assert_eq!(rig.events(link), [ended(call, v1::Cause::Cancelled)]);
        }
        rig.assert_no_calls();
    });
}

#[test]
fn a_caller_who_hangs_up_before_anything_rang_cancels() {
    in_all_orders(|rig| {
        let People { alice, bob, .. } = people(rig);
        let (caller, callee) = (rig.sign_in(&alice), rig.sign_in(&bob));
        let call = call_id(3);
        rig.ask_quietly(caller, start(call, 1));
        rig.ask_quietly(caller, hang_up(call, v1::Cause::HungUp));
        rig.settle();
        // The start waits for the store and the end does not; whoever rang meanwhile is told.
        let (theirs, mine) = (rig.take(callee), rig.take(caller));
        let rang = theirs.iter().any(|message| matches!(message.body, Some(Say::IncomingCall(_))));
        let told = |events: &VecDeque<v1::SupernodeMessage>| events.iter().filter_map(cause_of).collect::<Vec<_>>();
        assert_eq!(told(&mine).len(), 1);
        assert_eq!(told(&theirs), if rang { told(&mine) } else { vec![] });
        rig.assert_no_calls();
    });
}

fn cause_of(message: &v1::SupernodeMessage) -> Option<v1::Cause> {
    match &message.body {
        Some(Say::CallEnded(ended)) => Some(ended.cause()),
        _ => None,
    }
}

#[test]
fn a_call_that_nobody_answers_ends_after_45_seconds() {
    in_all_orders(|rig| {
        let (call, links) = ring(rig);
        rig.pass(limits::RING_TIMEOUT - Duration::from_millis(1));
        assert_eq!(rig.events(links[0]), []);
        rig.pass(Duration::from_millis(1));
        for link in links {
            assert_eq!(rig.events(link), [ended(call, v1::Cause::NoAnswer)]);
        }
        rig.assert_no_calls();
    });
}

#[test]
fn each_way_to_hang_up_is_seen_by_both_sides() {
    for cause in [v1::Cause::HungUp, v1::Cause::Incompatible, v1::Cause::Lost] {
        in_all_orders(|rig| {
            let (call, [alice, bob, other]) = ring(rig);
            rig.request(bob, answer(call, 2));
            for link in [alice, bob, other] {
                rig.take(link);
            }
            assert_eq!(rig.request(bob, hang_up(call, cause)), DONE);
            assert_eq!(rig.events(alice), [ended(call, cause)]);
            assert_eq!(rig.events(bob), [ended(call, cause)]);
            assert_eq!(rig.events(other), []);
            rig.assert_no_calls();
        });
    }
}

#[test]
fn both_may_hang_up_at_once() {
    in_all_orders(|rig| {
        let (call, [alice, bob, _]) = ring(rig);
        rig.request(bob, answer(call, 2));
        rig.take(alice);
        rig.take(bob);
        let asks = [alice, bob].map(|link| (link, rig.ask_quietly(link, hang_up(call, v1::Cause::HungUp))));
        rig.settle();
        for (link, request) in asks {
            rig.reply(link, request);
            let events = rig.events(link);
            assert!(events.iter().all(|event| *event == ended(call, v1::Cause::HungUp)) && !events.is_empty());
        }
        rig.assert_no_calls();
    });
}

#[test]
fn nobody_online_and_nobody_wanted_look_alike() {
    let outcome = |online: bool| {
        let mut rig = Rig::new(3, 5);
        let People { alice, bob, .. } = people(&mut rig);
        let caller = rig.sign_in(&alice);
        if online {
            let callee = rig.sign_in(&bob);
            let calls_from = Some(v1::CallsFrom::Nobody.into());
            let nobody = v1::ChangeSettings { calls_from, ..Default::default() };
            assert!(matches!(rig.request(callee, Ask::ChangeSettings(nobody)), Say::SettingsChanged(_)));
            rig.request(caller, start(call_id(1), 1));
            assert_eq!(rig.events(callee), []);
        } else {
            rig.request(caller, start(call_id(1), 1));
        }
        rig.assert_no_calls();
        (rig.events(caller), rig.now.unix_ms)
    };
    assert_eq!(outcome(true), outcome(false));
    assert_eq!(outcome(true).0, [ended(call_id(1), v1::Cause::Unreachable)]);
}

/// A call in another conversation.
fn start_in(conversation: ConversationId, call: CallId, leg: u8) -> Ask {
    let Ask::StartCall(start) = start(call, leg) else { unreachable!() };
    Ask::StartCall(v1::StartCall { conversation: conversation.to_bytes(), ..start })
}

#[test]
fn whoever_is_in_a_call_rings_for_others_and_may_say_busy() {
    in_all_orders(|rig| {
        let (call, [alice, bob, _]) = ring(rig);
        let carol = Member::new(3, 33);
        rig.introduce(&[&carol]);
        let conversation = ConversationId([90; 16]);
        rig.store.add_contact(carol.account, AccountId([2; 16]));
        rig.store.add_conversation(conversation, [carol.account, AccountId([2; 16])]);
        let third = rig.sign_in(&carol);
        for (answered, second) in [(false, call_id(101)), (true, call_id(102))] {
            if answered {
                assert!(matches!(rig.request(bob, answer(call, 2)), Say::LegAttached(_)));
                rig.take(alice);
                rig.take(bob);
            }
            assert_eq!(rig.request(third, start_in(conversation, second, 9)), DONE);
            assert_eq!(rig.events(third), [ringing(second)]);
            assert!(matches!(&rig.events(bob)[..], [Say::IncomingCall(_)]));
            assert_eq!(rig.request(bob, decline(second, v1::Cause::Busy)), DONE);
            assert_eq!(rig.events(third), [ended(second, v1::Cause::Busy)]);
            assert_eq!(rig.events(bob), [ended(second, v1::Cause::Busy)]);
        }
        assert_eq!((rig.events(alice), rig.gauges(|g| g.calls_answered)), (vec![], 1));
    });
}

#[test]
fn a_device_can_be_in_several_calls_and_each_ends_by_itself() {
    in_all_orders(|rig| {
        let (first, [alice, bob, _]) = ring(rig);
        let carol = Member::new(3, 33);
        rig.introduce(&[&carol]);
        let conversation = ConversationId([90; 16]);
        rig.store.add_contact(carol.account, AccountId([2; 16]));
        rig.store.add_conversation(conversation, [carol.account, AccountId([2; 16])]);
        let third = rig.sign_in(&carol);
        let second = call_id(rig.rng.random());
        if second == first {
            return;
        }
        rig.request(bob, answer(first, 2));
        rig.request(third, start_in(conversation, second, 9));
        assert!(matches!(rig.request(bob, answer(second, 3)), Say::LegAttached(_)));
        assert_eq!(rig.gauges(|g| g.calls_answered + g.flows), 6);
        for link in [alice, bob, third] {
            rig.take(link);
        }
        rig.request(third, hang_up(second, v1::Cause::HungUp));
        assert_eq!((rig.events(alice), rig.events(bob)), (vec![], vec![ended(second, v1::Cause::HungUp)]));
        rig.request(alice, hang_up(first, v1::Cause::HungUp));
        assert_eq!(rig.events(bob), [ended(first, v1::Cause::HungUp)]);
        rig.assert_no_calls();
    });
}

#[test]
fn of_two_calls_that_cross_the_one_with_the_lower_id_goes_on() {
    in_all_orders(|rig| {
        let People { alice, bob, .. } = people(rig);
        let links = [rig.sign_in(&alice), rig.sign_in(&bob)];
        let (low, high) = (call_id(10), call_id(11));
        let calls = if rig.rng.random() { [low, high] } else { [high, low] };
        let asks = [0, 1].map(|side| (links[side], rig.ask_quietly(links[side], start(calls[side], 1))));
        rig.settle();
        for (link, request) in asks {
            assert_eq!(rig.reply(link, request), DONE);
        }
        let winner = calls.iter().position(|call| *call == low).unwrap();
        let (wins, loses) = (rig.events(links[winner]), rig.events(links[1 - winner]));
        assert!(wins.contains(&ringing(low)), "{wins:?}");
        assert_eq!(loses.iter().filter(|event| **event == ended(high, v1::Cause::Busy)).count(), 1, "{loses:?}");
        assert!(loses.iter().any(|event| matches!(event, Say::IncomingCall(call) if call.call == low.to_bytes())));
        // Where the other call rang for a moment, it stopped too.
        let rang = wins.iter().filter(|event| matches!(event, Say::IncomingCall(_))).count();
        assert_eq!(wins.iter().filter(|event| **event == ended(high, v1::Cause::Busy)).count(), rang);
        assert!(matches!(rig.request(links[1 - winner], answer(low, 2)), Say::LegAttached(_)));
        assert_eq!(rig.gauges(|g| g.calls), 1);
    });
}

#[test]
fn nobody_ends_a_call_to_come_that_is_not_its_own() {
    in_all_orders(|rig| {
        let People { alice, bob, .. } = people(rig);
        let stranger = Member::new(3, 33);
        rig.introduce(&[&stranger]);
        let [caller, callee, strangers] = [&alice, &bob, &stranger].map(|member| rig.sign_in(member));
        let call = call_id(rig.rng.random());
        rig.request(strangers, hang_up(call, v1::Cause::HungUp));
        rig.request(caller, start(call, 1));
        assert!(matches!(&rig.events(callee)[..], [Say::IncomingCall(_)]));
    });
}

#[test]
fn a_device_that_signs_in_while_it_rings_rings_too() {
    in_all_orders(|rig| {
        let People { alice, bob, bobs_other } = people(rig);
        let (caller, callee) = (rig.sign_in(&alice), rig.sign_in(&bob));
        let call = call_id(1);
        rig.request(caller, start(call, 1));
        let late = rig.sign_in(&bobs_other);
        assert!(matches!(&rig.events(late)[..], [Say::IncomingCall(_)]));
        rig.lose(callee);
        let again = rig.sign_in(&bob);
        assert!(matches!(&rig.events(again)[..], [Say::IncomingCall(_)]));
        assert!(matches!(rig.request(again, answer(call, 2)), Say::LegAttached(_)));
        assert_eq!(rig.events(late), [ended(call, v1::Cause::AnsweredElsewhere)]);
    });
}

#[test]
fn only_members_call_in_a_conversation() {
    in_all_orders(|rig| {
        let People { bob, .. } = people(rig);
        let stranger = Member::new(3, 33);
        rig.introduce(&[&stranger]);
        let (link, callee) = (rig.sign_in(&stranger), rig.sign_in(&bob));
        assert_eq!(error_code(&rig.request(link, start(call_id(1), 1))), v1::ErrorCode::NotFound);
        assert_eq!(rig.events(callee), []);
        rig.assert_no_calls();
    });
}

#[test]
fn a_call_is_nobody_elses_to_answer_decline_or_end() {
    in_all_orders(|rig| {
        let (call, [alice, bob, _]) = ring(rig);
        let stranger = rig.sign_in(&Member::new(3, 33));
        let answered = rig.rng.random();
        if answered {
            rig.request(bob, answer(call, 2));
        }
        for body in [answer(call, 3), decline(call, v1::Cause::Declined), hang_up(call, v1::Cause::HungUp)] {
            assert_eq!(error_code(&rig.request(stranger, body)), v1::ErrorCode::NotFound);
        }
        // Nor the caller's to answer or decline.
        for body in [answer(call, 3), decline(call, v1::Cause::Declined)] {
            assert_eq!(error_code(&rig.request(alice, body)), v1::ErrorCode::NotFound);
        }
        assert_eq!(error_code(&rig.request(stranger, start(call, 4))), v1::ErrorCode::NotFound);
        assert_eq!(rig.gauges(|g| g.calls_answered), usize::from(answered));
        assert_eq!(rig.gauges(|g| g.calls), 1);
    });
}

#[test]
fn a_call_id_is_used_once() {
    in_all_orders(|rig| {
        let (call, [alice, bob, other]) = ring(rig);
        // Somebody in the call, and somebody else, take its id for a call of their own.
        assert_eq!(error_code(&rig.request(bob, start(call, 5))), v1::ErrorCode::AlreadyExists);
        let carol = Member::new(3, 33);
        rig.introduce(&[&carol]);
        rig.store.add_contact(carol.account, AccountId([1; 16]));
        rig.store.add_conversation(ConversationId([90; 16]), [carol.account, AccountId([1; 16])]);
        let third = rig.sign_in(&carol);
        let Ask::StartCall(theirs) = start(call, 9) else { unreachable!() };
        let theirs = v1::StartCall { conversation: ConversationId([90; 16]).to_bytes(), ..theirs };
        let reply = rig.request(third, Ask::StartCall(theirs.clone()));
        assert_eq!(error_code(&reply), v1::ErrorCode::AlreadyExists);
        rig.request(alice, hang_up(call, v1::Cause::HungUp));
        for link in [alice, bob, other] {
            assert_eq!(rig.events(link), [ended(call, v1::Cause::Cancelled)]);
        }
        assert_eq!(error_code(&rig.request(third, Ask::StartCall(theirs))), v1::ErrorCode::NotFound);
        assert_eq!(rig.events(third), []);
        rig.assert_no_calls();
        for link in [alice, bob, other, third] {
            rig.lose(link);
        }
        assert_eq!(rig.gauges(|g| g.accounts), 0);
    });
}

#[test]
fn whoever_asks_for_an_ended_call_hears_how_it_ended() {
    in_all_orders(|rig| {
        let (call, [alice, bob, other]) = ring(rig);
        rig.request(bob, decline(call, v1::Cause::Declined));
        for link in [alice, bob, other] {
            rig.take(link);
        }
        for (link, body) in [(alice, start(call, 4)), (alice, hang_up(call, v1::Cause::HungUp)), (bob, answer(call, 2))]
        {
            assert_eq!(error_code(&rig.request(link, body)), v1::ErrorCode::NotFound);
            assert_eq!(rig.events(link), [ended(call, v1::Cause::Declined)]);
        }
        rig.assert_no_calls();
    });
}

#[test]
fn an_account_is_in_64_calls_at_most() {
    let mut rig = Rig::new(2, 1);
    // Of several devices, because one may not start so many calls at once.
    let devices: Vec<_> = (0..8).map(|device| Member::new(1, 100 + device)).collect();
    rig.introduce(&devices.iter().collect::<Vec<_>>());
    let links: Vec<_> = devices.iter().map(|device| rig.sign_in(device)).collect();
    let start_one = |rig: &mut Rig, other: u8, outgoing: bool| {
        let (callee, conversation) = (Member::new(other, other), ConversationId([other; 16]));
        rig.introduce(&[&callee]);
        rig.store.add_contact(devices[0].account, callee.account);
        rig.store.add_conversation(conversation, [devices[0].account, callee.account]);
        let theirs = rig.sign_in(&callee);
        let caller = if outgoing { links[usize::from(other) % links.len()] } else { theirs };
        let reply = rig.request(caller, start_in(conversation, call_id(other), 1));
        (reply, caller)
    };
    for other in 10..10 + limits::CALLS_PER_ACCOUNT_MAX as u8 {
        assert_eq!(start_one(&mut rig, other, other % 2 == 0).0, DONE);
    }
    assert_eq!(rig.gauges(|g| g.calls), limits::CALLS_PER_ACCOUNT_MAX);
    let (refused, _) = start_one(&mut rig, 90, true);
    assert_eq!(error_code(&refused), v1::ErrorCode::LimitReached);
    let (taken, caller) = start_one(&mut rig, 91, false);
    assert_eq!((taken, rig.events(caller)), (DONE, vec![ended(call_id(91), v1::Cause::Busy)]));
}

#[test]
fn a_shard_full_of_calls_refuses_more_and_forgets_nothing_of_the_caller() {
    let mut rig = Rig::new(1, 0);
    let config = ExchangeConfig { calls_max: 0, ..config(0, 1) };
    rig.shards = vec![Exchange::new(config, [0; 32])];
    let now = rig.now;
    rig.shards[0].handle_lists(lists(no_revocations(), 1), now);
    let People { alice, bob, .. } = people(&mut rig);
    let (caller, _) = (rig.sign_in(&alice), rig.sign_in(&bob));
    for id in 0..6 {
        assert_eq!(error_code(&rig.request(caller, start(call_id(id), 1))), v1::ErrorCode::Unavailable);
    }
    rig.lose(caller);
    assert_eq!(rig.gauges(|g| g.accounts), 1);
}
