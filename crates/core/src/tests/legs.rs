//! Legs that lose their links and return, to the same supernode or to its successor.

use ahoy_proto::call_token::{self, CallTokenClaims};

use super::calls::*;
use super::relay::voice;
use super::*;

/// An answered call: what each side needs to go on.
pub(super) struct Talk {
    pub(super) call: CallId,
    pub(super) members: [Member; 2],
    pub(super) links: [Recipient; 2],
    pub(super) attached: [v1::LegAttached; 2],
}

pub(super) fn talk(rig: &mut Rig) -> Talk {
    let People { alice, bob, .. } = people(rig);
    let members = [alice, bob];
    let links = [0, 1].map(|side: usize| rig.sign_in(&members[side]));
    // No two of a test are alike.
    let mut call = call_id(rig.rng.random());
    call.0[15] = rig.next_request as u8;
    rig.request(links[0], start(call, 1));
    let Say::LegAttached(callee) = rig.request(links[1], answer(call, 2)) else { panic!("not attached") };
    let events = rig.events(links[0]);
    let [_, Say::LegAttached(caller), Say::LegUp(_)] = &events[..] else { panic!("{events:?}") };
    rig.take(links[1]);
    Talk { call, members, links, attached: [caller.clone(), callee] }
}

pub(super) fn attach(call_token: &Bytes, leg: u8) -> Ask {
    Ask::AttachLeg(v1::AttachLeg {
        call_token: call_token.clone(),
        leg: LegId([leg; 16]).to_bytes(),
        sealed: vec![leg; 3].into(),
    })
}

fn up(events: &[Say]) -> &v1::LegUp {
    let [Say::LegUp(up)] = events else { panic!("{events:?}") };
    up
}

fn assert_voice_flows(rig: &mut Rig, links: [Recipient; 2], flows: [u64; 2]) {
    assert_eq!(voice(rig, links[0], flows[0]), Ok(vec![links[1]]));
    assert_eq!(voice(rig, links[1], flows[1]), Ok(vec![links[0]]));
}

#[test]
fn a_leg_returns_with_its_token_and_voice_goes_on() {
    in_all_orders(|rig| {
        for side in [0, 1] {
            let Talk { call, members, links, attached } = talk(rig);
            rig.lose(links[side]);
            let down = v1::LegDown { call: call.to_bytes(), leg: attached[side].leg.clone() };
            assert_eq!(rig.events(links[1 - side]), [Say::LegDown(down)]);
            assert_eq!(voice(rig, links[1 - side], attached[1 - side].flow), Err(DropCause::NoPeer));
            rig.pass(limits::LEG_RETURN - Duration::from_millis(1));
            let again = rig.sign_in(&members[side]);
            let Say::LegAttached(mine) = rig.request(again, attach(&attached[side].call_token, 7)) else {
                panic!("not attached");
            };
            assert_ne!(mine.flow, attached[side].flow);
            let (theirs, ours) = (rig.events(links[1 - side]), rig.events(again));
            assert_eq!((up(&theirs).flow, &up(&theirs).leg[..]), (mine.flow, &[7; 16][..]));
            assert_eq!(up(&ours).flow, attached[1 - side].flow);
            let mut now = [(links[0], attached[0].flow), (links[1], attached[1].flow)];
            now[side] = (again, mine.flow);
            assert_voice_flows(rig, now.map(|(link, _)| link), now.map(|(_, flow)| flow));
            rig.pass(limits::LEG_RETURN * 2);
            assert_eq!(rig.gauges(|g| g.calls_answered), 1);
            rig.request(again, hang_up(call, v1::Cause::HungUp));
            rig.assert_no_calls();
            rig.lose(again);
            rig.lose(links[1 - side]);
        }
    });
}

#[test]
fn a_leg_that_does_not_return_ends_the_call_as_lost() {
    in_all_orders(|rig| {
        let Talk { call, members, links, attached } = talk(rig);
        rig.lose(links[0]);
        rig.take(links[1]);
        // Its device is back, but does not take up the leg.
        let idle = rig.sign_in(&members[0]);
        rig.pass(limits::LEG_RETURN);
        assert_eq!(rig.events(links[1]), [ended(call, v1::Cause::Lost)]);
        assert_eq!(rig.events(idle), [ended(call, v1::Cause::Lost)]);
        rig.assert_no_calls();
        // Too late, and it is told why.
        let reply = rig.request(idle, attach(&attached[0].call_token, 7));
        assert_eq!(error_code(&reply), v1::ErrorCode::NotFound);
        assert_eq!(rig.events(idle), [ended(call, v1::Cause::Lost)]);
    });
}

#[test]
fn a_token_does_not_bring_back_a_call_that_was_hung_up() {
    in_all_orders(|rig| {
        let Talk { call, members, links, attached } = talk(rig);
        rig.lose(links[0]);
        rig.request(links[1], hang_up(call, v1::Cause::HungUp));
        let again = rig.sign_in(&members[0]);
        let reply = rig.request(again, attach(&attached[0].call_token, 7));
        assert_eq!(error_code(&reply), v1::ErrorCode::NotFound);
        assert_eq!(rig.events(again), [ended(call, v1::Cause::HungUp)]);
        rig.assert_no_calls();
    });
}

#[test]
fn a_call_survives_the_death_of_its_supernode() {
    in_all_orders(|rig| {
        let Talk { call, members, attached, .. } = talk(rig);
        rig.restart();
        let links = [0, 1].map(|side: usize| rig.sign_in(&members[side]));
        let tokens = [0, 1].map(|side: usize| attach(&attached[side].call_token, 30 + side as u8));
        let asks = [0, 1].map(|side| rig.ask_quietly(links[side], tokens[side].clone()));
        rig.settle();
        let flows = [0, 1].map(|side| match rig.reply(links[side], asks[side]) {
            Say::LegAttached(attached) => attached.flow,
            other => panic!("{other:?}"),
        });
        for side in [0, 1] {
            let events = rig.events(links[side]);
            assert_eq!((up(&events).flow, &up(&events).leg[..]), (flows[1 - side], &[31 - side as u8; 16][..]));
        }
        assert_voice_flows(rig, links, flows);
        assert_eq!(rig.counters(|c| c.calls_recreated), 1);
        rig.pass(limits::LEG_RETURN * 2);
        // Each can end the call, and with it what is known of an account without a link.
        rig.lose(links[1]);
        assert_eq!(rig.gauges(|g| g.accounts), 1);
        assert!(rig.gauges(|g| g.timers) > rig.gauges(|g| g.sessions), "what is known of calls is looked over");
        rig.request(links[0], hang_up(call, v1::Cause::HungUp));
        assert!(rig.events(links[0]).contains(&ended(call, v1::Cause::HungUp)));
        assert_eq!(rig.gauges(|g| g.accounts), 1);
        rig.assert_no_calls();
    });
}

#[test]
fn a_call_that_only_one_side_takes_up_after_a_restart_ends_as_lost() {
    in_all_orders(|rig| {
        let Talk { call, members, attached, .. } = talk(rig);
        rig.restart();
        let link = rig.sign_in(&members[1]);
        assert!(matches!(rig.request(link, attach(&attached[1].call_token, 7)), Say::LegAttached(_)));
        assert_eq!(rig.events(link), []);
        rig.pass(limits::LEG_RETURN);
        assert_eq!(rig.events(link), [ended(call, v1::Cause::Lost)]);
        rig.assert_no_calls();
    });
}

#[test]
fn a_token_works_for_its_own_device_only() {
    in_all_orders(|rig| {
        let Talk { attached, .. } = talk(rig);
        for other in [Member::new(1, 12), Member::new(3, 33), Member::new(2, 22)] {
            rig.pass(Duration::from_millis(1));
            let link = rig.sign_in(&other);
            let reply = rig.request(link, attach(&attached[0].call_token, 7));
            assert_eq!(error_code(&reply), v1::ErrorCode::CallTokenRefused);
        }
        assert_eq!(rig.counters(|c| c.call_tokens_refused), 3);
    });
}

#[test]
fn strange_and_expired_tokens_are_refused() {
    let mut rig = Rig::new(2, 0);
    let Talk { members, links, call, attached } = talk(&mut rig);
    let claims = CallTokenClaims {
        call,
        conversation: CONVERSATION,
        account: members[0].account,
        device: members[0].device,
        peers: vec![(members[1].account, members[1].device)],
        answered_at: UnixTime(START),
        expires: UnixTime(START + 60),
    };
    let key = CallTokenKey::new([9; 32]);
    let sealed = |claims: &CallTokenClaims, network, key: &CallTokenKey| {
        Bytes::from(call_token::seal(claims, network, key, [1; 24]))
    };
    let mut cut = attached[0].call_token.to_vec();
    cut.pop();
    let refused = [
        sealed(&claims, NetworkId([3; 16]), &key),
        sealed(&claims, NETWORK, &CallTokenKey::new([8; 32])),
        sealed(&CallTokenClaims { expires: UnixTime(START - 1), ..claims.clone() }, NETWORK, &key),
        cut.into(),
        Bytes::new(),
    ];
    for token in refused {
        let reply = rig.request(links[0], attach(&token, 7));
        assert_eq!(error_code(&reply), v1::ErrorCode::CallTokenRefused);
    }
    // Sealed rightly, so the same claims are good until they expire.
    let good = sealed(&claims, NETWORK, &key);
    assert!(matches!(rig.request(links[0], attach(&good, 7)), Say::LegAttached(_)));
    rig.pass(Duration::from_secs(61));
    assert_eq!(error_code(&rig.request(links[0], attach(&good, 8))), v1::ErrorCode::CallTokenRefused);
}

#[test]
fn a_token_with_no_peer_or_many_is_no_call_of_two() {
    let mut rig = Rig::new(1, 0);
    let alice = Member::new(1, 11);
    let link = rig.sign_in(&alice);
    let peer = (AccountId([2; 16]), DeviceId([2; 16]));
    for peers in [vec![], vec![peer; 2]] {
        let claims = CallTokenClaims {
            call: call_id(1),
            conversation: CONVERSATION,
            account: alice.account,
            device: alice.device,
            peers,
            answered_at: UnixTime(START),
            expires: UnixTime(START + 60),
        };
        let token = call_token::seal(&claims, NETWORK, &CallTokenKey::new([9; 32]), [1; 24]);
        assert_eq!(error_code(&rig.request(link, attach(&token.into(), 7))), v1::ErrorCode::NotFound);
    }
    rig.assert_no_calls();
}

#[test]
fn a_parallel_dial_takes_the_leg_over_from_a_link_that_still_stands() {
    in_all_orders(|rig| {
        let Talk { members, links, attached, .. } = talk(rig);
        rig.pass(Duration::from_millis(1));
        let second = rig.sign_in(&members[0]);
        assert_eq!(rig.closed(links[0]), Some(v1::ErrorCode::SessionReplaced));
        let Say::LegAttached(mine) = rig.request(second, attach(&attached[0].call_token, 7)) else {
            panic!("not attached");
        };
        assert_voice_flows(rig, [second, links[1]], [mine.flow, attached[1].flow]);
        rig.pass(limits::LEG_RETURN * 2);
        assert_eq!(rig.gauges(|g| g.calls_answered), 1);
    });
}

#[test]
fn a_leg_may_attach_anew_on_its_own_link() {
    in_all_orders(|rig| {
        let Talk { links, attached, .. } = talk(rig);
        let Say::LegAttached(mine) = rig.request(links[0], attach(&attached[0].call_token, 7)) else {
            panic!("not attached");
        };
        assert_eq!(voice(rig, links[0], attached[0].flow), Err(DropCause::NoFlow));
        assert_voice_flows(rig, links, [mine.flow, attached[1].flow]);
        assert_eq!(rig.gauges(|g| g.flows), 2);
    });
}

#[test]
fn a_device_that_attaches_twice_at_once_gets_two_responses_and_one_leg() {
    in_all_orders(|rig| {
        let Talk { call, links, attached, .. } = talk(rig);
        let asks = [7, 8].map(|leg| rig.ask_quietly(links[0], attach(&attached[0].call_token, leg)));
        rig.settle();
        let replies = asks.map(|request| rig.reply(links[0], request));
        assert!(replies.iter().any(|reply| matches!(reply, Say::LegAttached(_))));
        assert_eq!(rig.gauges(|g| g.flows), 2);
        rig.request(links[0], hang_up(call, v1::Cause::HungUp));
        rig.assert_no_calls();
    });
}

#[test]
fn tokens_are_renewed_at_half_of_their_life() {
    let mut rig = Rig::new(2, 3);
    let Talk { call, links, attached, members } = talk(&mut rig);
    for _ in 0..3 {
        rig.pass(limits::CALL_TOKEN_LIFE / 2);
        for (side, link) in links.into_iter().enumerate() {
            let events = rig.events(link);
            let [Say::CallToken(renewed)] = &events[..] else { panic!("{events:?}") };
            assert_eq!(renewed.call, call.to_bytes());
            let now = UnixTime(rig.now.unix_ms / 1000);
            let claims = call_token::open(&renewed.call_token, NETWORK, &CallTokenKey::new([9; 32]), now).unwrap();
            assert_eq!(claims.expires, now.plus(limits::CALL_TOKEN_LIFE));
            assert_eq!((claims.device, claims.answered_at), (members[side].device, UnixTime(START)));
        }
    }
    assert_eq!(error_code(&rig.request(links[0], attach(&attached[0].call_token, 7))), v1::ErrorCode::CallTokenRefused);
}

#[test]
fn a_caller_whose_link_is_lost_while_it_rings_asks_again() {
    in_all_orders(|rig| {
        let People { alice, bob, .. } = people(rig);
        let (link, callee) = (rig.sign_in(&alice), rig.sign_in(&bob));
        let call = call_id(rig.rng.random());
        rig.request(link, start(call, 1));
        rig.take(callee);
        rig.lose(link);
        rig.pass(Duration::from_secs(9));
        assert_eq!(rig.events(callee), []);
        let again = rig.sign_in(&alice);
        assert_eq!(rig.request(again, start(call, 5)), DONE);
        assert!(matches!(&rig.events(again)[..], [Say::CallRinging(_)]));
        rig.pass(Duration::from_secs(20));
        assert!(matches!(rig.request(callee, answer(call, 2)), Say::LegAttached(_)));
        let events = rig.events(callee);
        assert_eq!(&up(&events).leg[..], &[5; 16]);
        assert!(matches!(&rig.events(again)[..], [Say::LegAttached(_), Say::LegUp(_)]));
    });
}

#[test]
fn a_caller_that_is_away_when_the_call_is_answered_still_gets_it() {
    in_all_orders(|rig| {
        let People { alice, bob, .. } = people(rig);
        let (link, callee) = (rig.sign_in(&alice), rig.sign_in(&bob));
        let call = call_id(rig.rng.random());
        rig.request(link, start(call, 1));
        rig.lose(link);
        let Say::LegAttached(theirs) = rig.request(callee, answer(call, 2)) else { panic!("not attached") };
        let again = rig.sign_in(&alice);
        assert_eq!(rig.request(again, start(call, 5)), DONE);
        let events = rig.events(again);
        let [Say::LegAttached(mine), Say::LegUp(_)] = &events[..] else { panic!("{events:?}") };
        assert_voice_flows(rig, [again, callee], [mine.flow, theirs.flow]);
    });
}

#[test]
fn a_caller_that_never_heard_of_the_answer_finds_it_after_a_restart() {
    in_all_orders(|rig| {
        let Talk { call, members, attached, .. } = talk(rig);
        rig.restart();
        let links = [0, 1].map(|side: usize| rig.sign_in(&members[side]));
        // It has no call token, and the callee has one: they arrive in any order.
        let mut asks = [(links[0], start(call, 5)), (links[1], attach(&attached[1].call_token, 6))];
        if rig.rng.random() {
            asks.reverse();
        }
        let requests = asks.map(|(link, body)| {
            let request = rig.ask_quietly(link, body);
            if rig.rng.random() {
                rig.settle();
            }
            (link, request)
        });
        rig.settle();
        for (link, request) in requests {
            assert!(matches!(rig.reply(link, request), Say::Done(_) | Say::LegAttached(_)));
        }
        assert_eq!((rig.gauges(|g| g.calls_answered), rig.gauges(|g| g.flows)), (1, 2));
        for link in links {
            assert!(matches!(rig.events(link).last(), Some(Say::LegUp(_))));
        }
        rig.pass(limits::RING_TIMEOUT);
        assert_eq!(rig.gauges(|g| g.calls_answered), 1);
    });
}

#[test]
fn a_caller_that_does_not_return_loses_the_call() {
    in_all_orders(|rig| {
        let People { alice, bob, .. } = people(rig);
        let (link, callee) = (rig.sign_in(&alice), rig.sign_in(&bob));
        let call = call_id(rig.rng.random());
        rig.request(link, start(call, 1));
        rig.take(callee);
        rig.lose(link);
        rig.pass(limits::LEG_RETURN);
        assert_eq!(rig.events(callee), [ended(call, v1::Cause::Lost)]);
        rig.assert_no_calls();
    });
}

#[test]
fn a_callee_whose_link_is_lost_with_the_response_answers_again() {
    in_all_orders(|rig| {
        let People { alice, bob, .. } = people(rig);
        let (caller, link) = (rig.sign_in(&alice), rig.sign_in(&bob));
        let call = call_id(rig.rng.random());
        rig.request(caller, start(call, 1));
        rig.take(caller);
        rig.ask_quietly(link, answer(call, 2));
        rig.lose(link);
        let again = rig.sign_in(&bob);
        rig.take(again);
        let Say::LegAttached(mine) = rig.request(again, answer(call, 6)) else { panic!("not attached") };
        let events = rig.events(caller);
        let Some(Say::LegAttached(theirs)) = events.iter().find(|event| matches!(event, Say::LegAttached(_))) else {
            panic!("{events:?}");
        };
        assert!(matches!(events.last(), Some(Say::LegUp(up)) if up.flow == mine.flow));
        assert_voice_flows(rig, [caller, again], [theirs.flow, mine.flow]);
        rig.pass(limits::LEG_RETURN * 2);
        assert_eq!(rig.gauges(|g| g.calls_answered), 1);
    });
}

#[test]
fn links_lost_on_both_sides_at_once_end_the_call_once() {
    in_all_orders(|rig| {
        let Talk { links, .. } = talk(rig);
        for link in links {
            rig.lose(link);
        }
        rig.pass(limits::LEG_RETURN);
        assert_eq!(rig.counters(|c| c.calls_ended[v1::Cause::Lost as usize]), 1);
        rig.assert_no_calls();
        assert_eq!(rig.gauges(|g| g.accounts), 0);
    });
}

#[test]
fn a_call_ends_cleanly_while_a_leg_attaches() {
    in_all_orders(|rig| {
        let Talk { call, links, attached, .. } = talk(rig);
        let attach = rig.ask_quietly(links[0], attach(&attached[0].call_token, 7));
        let hang_up = rig.ask_quietly(links[1], hang_up(call, v1::Cause::HungUp));
        rig.settle();
        rig.reply(links[0], attach);
        rig.reply(links[1], hang_up);
        for link in links {
            assert!(rig.events(link).contains(&ended(call, v1::Cause::HungUp)));
        }
        rig.assert_no_calls();
    });
}
