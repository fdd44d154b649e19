//! Calls from beginning to end, and what survives the loss of a link or a supernode.

use super::*;

#[test]
fn strangers_who_call_for_the_first_time_are_connected() {
    let (mut world, alice, bob) = World::of_two();
    assert_eq!(world.events(alice), [Event::Ready]);
    let call = world.connect(alice, bob);
    world.hang_up(bob, call);
    assert_eq!(world.events(alice), [ended(call, v1::Cause::HungUp)]);
    assert_eq!(world.events(bob), [ended(call, v1::Cause::HungUp)]);
}

#[test]
fn a_second_call_uses_the_conversation_and_other_keys() {
    let (mut world, alice, bob) = World::of_two();
    let first = world.connect(alice, bob);
    world.hang_up(alice, first);
    let second = world.connect(bob, alice);
    assert_ne!(first, second);
    assert_eq!(world.store.conversations(AccountId([1; 16])).len(), 1);
}

#[test]
fn each_way_to_end_a_call_has_its_cause_on_both_sides() {
    let (mut world, alice, bob) = World::of_two();
    let now = world.now.instant;
    let call = world.call(alice, "bob");
    world.forget_events();
    world.member(bob).decline(call, v1::Cause::Declined, now).unwrap();
    world.settle();
    assert_eq!(world.events(alice), [ended(call, v1::Cause::Declined)]);
    assert_eq!(world.events(bob), [ended(call, v1::Cause::Declined)]);

    let call = world.call(alice, "bob");
    world.forget_events();
    world.hang_up(alice, call);
    assert_eq!(world.events(alice), [ended(call, v1::Cause::Cancelled)]);
    assert_eq!(world.events(bob), [ended(call, v1::Cause::Cancelled)]);

    let call = world.call(alice, "bob");
    world.forget_events();
    world.pass(limits::RING_TIMEOUT);
    assert_eq!(world.events(alice), [ended(call, v1::Cause::NoAnswer)]);
    assert_eq!(world.events(bob), [ended(call, v1::Cause::NoAnswer)]);

    world.lose_link(bob);
    let call = world.call(alice, "bob");
    assert_eq!(world.events(alice), [ended(call, v1::Cause::Unreachable)]);
}

#[test]
fn a_call_that_can_not_be_asked_for_again_is_hung_up_where_it_rings() {
    let (mut world, alice, bob) = World::of_two();
    let conversation = world.pair(alice, bob);
    // The supernode has the call, and says that it is not sure of it.
    world.clients[alice].tamper = Some(Box::new(|message| {
        if matches!(message.body, Some(Body::Done(_))) {
            let code = v1::ErrorCode::Unavailable.into();
            message.body = Some(Body::Error(v1::Error { code, text: String::new(), retry_after_ms: 0 }));
        }
    }));
    let call = world.call(alice, "bob");
    world.clients[alice].tamper = None;
    world.forget_events();
    world.member(alice).conversations.get_mut(&conversation).unwrap().refused = Some(Refusal::ConversationRefused);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.events(alice), [ended(call, v1::Cause::Incompatible)]);
    assert_eq!(world.events(bob), [ended(call, v1::Cause::Cancelled)]);
}

#[test]
fn whoever_wants_no_calls_looks_absent() {
    let (mut world, alice, bob) = World::of_two();
    let call = world.connect(alice, bob);
    world.hang_up(alice, call);
    world.store.set_calls_from(AccountId([2; 16]), v1::CallsFrom::Nobody);
    world.forget_events();
    let call = world.call(alice, "bob");
    assert_eq!(world.events(alice), [ended(call, v1::Cause::Unreachable)]);
    assert_eq!(world.events(bob), []);
}

#[test]
fn a_third_is_told_busy_and_the_call_goes_on() {
    let (mut world, alice, bob) = World::of_two();
    let carol = world.newcomer(3, "carol", 31);
    world.connect(alice, bob);
    world.forget_events();
    let call = world.call(carol, "bob");
    assert_eq!(world.events(carol), [Event::Ringing { call }, ended(call, v1::Cause::Busy)]);
    assert_eq!(world.events(bob), []);
}

#[test]
fn one_who_rings_is_busy_for_others_and_the_caller_who_was_first_gets_through() {
    let (mut world, alice, bob) = World::of_two();
    let carol = world.newcomer(3, "carol", 31);
    let first = world.call(alice, "bob");
    world.forget_events();
    let second = world.call(carol, "bob");
    assert_eq!(world.events(carol), [Event::Ringing { call: second }, ended(second, v1::Cause::Busy)]);
    assert_eq!(world.events(bob), []);
    world.answer(bob, first);
    let (theirs, ours) = (world.events(bob), world.events(alice));
    assert_keys_agree(&connected(&theirs, first), &connected(&ours, first));
}

#[test]
fn a_busy_device_says_so_for_all_devices_of_the_account() {
    let (mut world, alice, bob) = World::of_two();
    let carol = world.newcomer(3, "carol", 31);
    let first = world.connect(carol, bob);
    world.hang_up(bob, first);
    world.connect(alice, bob);
    let tablet = world.device(2, "bob", 22);
    world.forget_events();
    let call = world.call(carol, "bob");
    assert_eq!(world.events(carol).last(), Some(&ended(call, v1::Cause::Busy)));
    assert_eq!(world.events(bob), []);
    let theirs = world.events(tablet);
    assert!(theirs.is_empty() || theirs.last() == Some(&ended(call, v1::Cause::DeclinedElsewhere)), "{theirs:?}");
}

#[test]
fn a_call_to_somebody_else_does_not_keep_a_caller_waiting() {
    let (mut world, alice, bob) = World::of_two();
    world.newcomer(3, "carol", 31);
    let now = world.now.instant;
    world.forget_events();
    // Whom Alice calls is not known yet when Bob's call comes in, and then is somebody else.
    world.member(alice).call(&name("carol"), now).unwrap();
    let call = world.call(bob, "alice");
    assert_eq!(world.events(bob).last(), Some(&ended(call, v1::Cause::Busy)));
    assert!(world.events(alice).iter().any(|event| matches!(event, Event::Ringing { .. })));
}

#[test]
fn while_it_is_not_known_whom_a_call_goes_to_one_caller_waits_and_the_next_is_told_busy() {
    let (mut world, alice, bob) = World::of_two();
    world.newcomer(3, "carol", 31);
    let dave = world.newcomer(4, "dave", 41);
    world.forget_events();
    world.clients[alice].tamper = Some(Box::new(|message| {
        message.body.take_if(|body| matches!(body, Body::AccountFound(_)));
    }));
    let ours = world.call(alice, "carol");
    let waits = world.call(bob, "alice");
    let refused = world.call(dave, "alice");
    assert_eq!(world.events(dave).last(), Some(&ended(refused, v1::Cause::Busy)));
    assert_eq!((world.events(alice), world.events(bob)), (vec![], vec![Event::Ringing { call: waits }]));
    world.clients[alice].tamper = None;
    world.hang_up(alice, ours);
    let rings = |event: &Event| matches!(event, Event::Incoming { call, .. } if *call == waits);
    assert!(world.events(alice).iter().any(rings));
}

#[test]
fn a_device_that_takes_several_calls_is_in_all_of_them_at_once() {
    let (mut world, alice, echo) = World::of_two();
    let (carol, dave, erin) =
        (world.newcomer(3, "carol", 31), world.newcomer(4, "dave", 41), world.newcomer(5, "erin", 51));
    world.member(echo).set_calls_max(NonZeroUsize::new(3).unwrap());
    let calls = [alice, carol, dave].map(|caller| world.connect(caller, echo));
    world.forget_events();
    let fourth = world.call(erin, "bob");
    assert_eq!(world.events(erin), [Event::Ringing { call: fourth }, ended(fourth, v1::Cause::Busy)]);
    assert_eq!([alice, carol, dave, echo].map(|who| world.events(who).len()), [0; 4]);
    // All legs return, each with a key of its own, and nobody else's call is touched by an end.
    world.lose_link(echo);
    world.pass(Duration::from_secs(5));
    world.forget_events();
    world.sign_in(echo);
    let own: BTreeMap<CallId, OwnLeg> = world.events(echo).into_iter().filter_map(returned).collect();
    for (who, call) in [alice, carol, dave].into_iter().zip(calls) {
        let [Event::PeerLegChanged { leg, .. }] = &world.events(who)[..] else { panic!("the leg is not back") };
        assert_eq!((leg.leg, leg.flow), (own[&call].leg, own[&call].flow));
        assert!(leg.key == own[&call].key);
    }
    world.hang_up(carol, calls[1]);
    assert_eq!(world.events(echo), [ended(calls[1], v1::Cause::HungUp)]);
    assert_eq!([alice, dave].map(|who| world.events(who).len()), [0; 2]);
    world.connect(erin, echo);
}

fn returned(event: Event) -> Option<(CallId, OwnLeg)> {
    match event {
        Event::OwnLegChanged { call, own } => Some((call, own)),
        _ => None,
    }
}

#[test]
fn calls_hung_up_without_a_session_all_end_for_the_others() {
    let (mut world, alice, echo) = World::of_two();
    let carol = world.newcomer(3, "carol", 31);
    world.member(echo).set_calls_max(NonZeroUsize::new(2).unwrap());
    let calls = [alice, carol].map(|caller| world.connect(caller, echo));
    world.lose_link(echo);
    for call in calls {
        world.hang_up(echo, call);
    }
    world.sign_in(echo);
    for (who, call) in [alice, carol].into_iter().zip(calls) {
        assert!(world.events(who).contains(&ended(call, v1::Cause::HungUp)));
    }
}

#[test]
fn of_two_calls_that_cross_one_is_left() {
    let (mut world, alice, bob) = World::of_two();
    world.forget_events();
    let now = world.now.instant;
    let calls =
        [world.member(alice).call(&name("bob"), now).unwrap(), world.member(bob).call(&name("alice"), now).unwrap()];
    world.settle();
    assert_eq!(world.store.conversations(AccountId([1; 16])).len(), 1, "the pair has one conversation");
    let call = calls.into_iter().min().unwrap();
    let (winner, loser) = if call == calls[0] { (alice, bob) } else { (bob, alice) };
    world.answer(loser, call);
    let (theirs, ours) = (world.events(winner), world.events(loser));
    assert_keys_agree(&connected(&theirs, call), &connected(&ours, call));
    assert!(ours.contains(&ended(calls.into_iter().max().unwrap(), v1::Cause::Busy)));
}

#[test]
fn all_devices_ring_and_one_answers() {
    let (mut world, alice, bob) = World::of_two();
    let first = world.connect(alice, bob);
    world.hang_up(alice, first);
    let tablet = world.device(2, "bob", 22);
    world.forget_events();
    let call = world.call(alice, "bob");
    let rings = |events: &[Event]| events.iter().any(|event| matches!(event, Event::Incoming { .. }));
    assert!(rings(&world.events(bob)) && rings(&world.events(tablet)));
    world.answer(tablet, call);
    assert_eq!(world.events(bob), [ended(call, v1::Cause::AnsweredElsewhere)]);
    let (theirs, ours) = (world.events(tablet), world.events(alice));
    assert_keys_agree(&connected(&theirs, call), &connected(&ours, call));
}

#[test]
fn a_program_that_starts_while_it_rings_rings_and_answers() {
    let (mut world, alice, bob) = World::of_two();
    let first = world.connect(alice, bob);
    world.hang_up(alice, first);
    world.device(2, "bob", 22);
    world.lose_link(bob);
    let call = world.call(alice, "bob");
    // The call comes before the device has checked in.
    world.restart(bob);
    let events = world.events(bob);
    assert!(events.iter().any(|event| matches!(event, Event::Incoming { .. })), "{events:?}");
    assert!(!events.iter().any(|event| matches!(event, Event::Ended { .. })), "{events:?}");
    world.forget_events();
    world.answer(bob, call);
    let (theirs, ours) = (world.events(bob), world.events(alice));
    assert_keys_agree(&connected(&theirs, call), &connected(&ours, call));
}

#[test]
fn a_leg_whose_link_is_lost_returns_with_a_fresh_key() {
    let (mut world, alice, bob) = World::of_two();
    let call = world.connect(alice, bob);
    world.lose_link(alice);
    assert!(matches!(world.events(bob)[..], [Event::PeerLost { .. }]));
    world.pass(Duration::from_secs(5));
    world.sign_in(alice);
    let own = world.events(alice).into_iter().find_map(|event| match event {
        Event::OwnLegChanged { call: of, own } if of == call => Some(own),
        _ => None,
    });
    let [Event::PeerLegChanged { leg, .. }] = &world.events(bob)[..] else { panic!("the leg is not back") };
    let own = own.expect("the leg is attached again");
    assert_eq!((leg.leg, leg.flow), (own.leg, own.flow));
    assert!(leg.key == own.key);
}

#[test]
fn a_leg_that_stays_away_is_lost_for_both() {
    let (mut world, alice, bob) = World::of_two();
    let call = world.connect(alice, bob);
    world.lose_link(alice);
    world.pass(limits::LEG_RETURN);
    assert!(world.events(bob).contains(&ended(call, v1::Cause::Lost)));
    world.sign_in(alice);
    assert!(world.events(alice).contains(&ended(call, v1::Cause::Lost)));
}

#[test]
fn without_a_session_a_call_is_given_up_in_the_end() {
    let (mut world, alice, bob) = World::of_two();
    let call = world.connect(alice, bob);
    world.lose_link(alice);
    world.pass(Duration::from_secs(61));
    assert_eq!(world.events(alice), [ended(call, v1::Cause::Lost)]);
}

#[test]
fn a_call_outlives_its_supernode() {
    let (mut world, alice, bob) = World::of_two();
    let call = world.connect(alice, bob);
    world.restart_supernode();
    world.pass(Duration::from_secs(20));
    world.forget_events();
    world.sign_in(alice);
    world.sign_in(bob);
    let side = |events: Vec<Event>| {
        let mut found = (None, Vec::new());
        for event in events {
            match event {
                Event::OwnLegChanged { call: of, own } if of == call => found.0 = Some(own),
                Event::PeerLegChanged { call: of, leg } if of == call => found.1.push(leg),
                Event::Ready => {}
                other => panic!("{other:?}"),
            }
        }
        Side { own: found.0.expect("attached again"), legs: found.1 }
    };
    let (ours, theirs) = (side(world.events(alice)), side(world.events(bob)));
    assert_keys_agree(&ours, &theirs);
    world.hang_up(alice, call);
    assert_eq!(world.events(bob), [ended(call, v1::Cause::HungUp)]);
}

#[test]
fn ringing_outlives_the_links_of_both() {
    let (mut world, alice, bob) = World::of_two();
    let call = world.call(alice, "bob");
    world.forget_events();
    world.lose_link(bob);
    assert_eq!(world.events(bob), [ended(call, v1::Cause::Lost)]);
    world.sign_in(bob);
    assert!(matches!(world.events(bob)[..], [Event::Incoming { .. }, Event::Ready]));
    world.lose_link(alice);
    world.sign_in(alice);
    world.answer(bob, call);
    let (theirs, ours) = (world.events(bob), world.events(alice));
    assert_keys_agree(&connected(&theirs, call), &connected(&ours, call));
}

#[test]
fn a_call_hung_up_without_a_session_ends_for_the_other_too() {
    let (mut world, alice, bob) = World::of_two();
    let call = world.connect(alice, bob);
    world.lose_link(alice);
    world.hang_up(alice, call);
    assert_eq!(world.events(alice), [ended(call, v1::Cause::HungUp)]);
    world.sign_in(alice);
    assert!(world.events(bob).contains(&ended(call, v1::Cause::HungUp)));
}

#[test]
fn commands_that_make_no_sense_are_refused() {
    let (mut world, alice, bob) = World::of_two();
    let now = world.now.instant;
    assert_eq!(world.member(alice).call(&name("alice"), now), Err(CommandError::OwnName));
    assert_eq!(world.member(alice).answer(CallId([9; 16]), now), Err(CommandError::NoSuchCall));
    assert_eq!(world.member(alice).hang_up(CallId([9; 16]), now), Err(CommandError::NoSuchCall));
    world.connect(alice, bob);
    assert_eq!(world.member(alice).call(&name("carol"), now), Err(CommandError::InCall));
    world.lose_link(bob);
    let (mut world, alice, _) = World::of_two();
    world.lose_link(alice);
    assert_eq!(world.member(alice).call(&name("bob"), now), Err(CommandError::NotSignedIn));
}

#[test]
fn a_leg_whose_call_has_lost_its_home_asks_again_before_anybody_wonders() {
    let (mut world, alice, bob) = World::of_two();
    world.connect(alice, bob);
    world.lose_link(alice);
    world.forget_events();
    let mut refusals = 2;
    world.clients[alice].tamper = Some(Box::new(move |message| {
        if refusals > 0 && matches!(message.body, Some(Body::LegAttached(_))) {
            refusals -= 1;
            let error = v1::Error { code: v1::ErrorCode::Unavailable.into(), text: "gone".into(), retry_after_ms: 100 };
            message.body = Some(Body::Error(error));
        }
    }));
    let attached = |event: &Event| matches!(event, Event::OwnLegChanged { .. });
    world.sign_in(alice);
    assert!(!world.events(alice).iter().any(attached), "it is refused");
    // 100 ms and 200 ms, and half as much again at most.
    world.pass(Duration::from_millis(450));
    assert_eq!(world.events(alice).iter().filter(|event| attached(event)).count(), 1);
}
