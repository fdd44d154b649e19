//! Supernodes come, go and die: what their homes held is told anew.

use super::calls::*;
use super::legs::{Talk, attach, talk};
use super::presence::availability;
use super::relay::voice;
use super::*;

/// A fleet of three, where these have their links on the first two and whatever is at home on the third can die with it.
fn fleet(seed: u64) -> Rig {
    Rig::of(3, seed, true)
}

/// The third supernode dies: the others see it.
fn third_dies(rig: &mut Rig) {
    rig.trunks.retain(|(from, to), _| from.0 != 2 && to.0 != 2);
    rig.asked.retain(|(shard, _, _)| shard.0 != 2);
    rig.answered.remove(&ShardId(2));
    rig.lost.extend(rig.seen.keys().filter(|link| link.shard.0 == 2).copied().collect::<Vec<_>>());
    for seer in [0, 1] {
        rig.sees(seer, &[0, 1]);
    }
    rig.settle();
}

fn home_of(rig: &Rig, id: &[u8; 16]) -> Node {
    let nodes = (0..rig.shards.len() as u8).map(|shard| FleetNode {
        node: Node(u32::from(shard)),
        supernode: SupernodeId([shard + 1; 16]),
        incarnation: 1,
        shards: 1,
        weight: 1,
        near: false,
    });
    Fleet::new(nodes.collect()).home_of_account(AccountId(*id)).node
}

fn is_resync(say: &Say) -> bool {
    matches!(say, Say::Resync(_))
}

/// A member whose account is at home on that supernode.
fn member_at(rig: &Rig, shard: u32, device: u8) -> Member {
    let account = (10..=255).find(|account| home_of(rig, &[*account; 16]) == Node(shard)).unwrap();
    Member::new(account, device)
}

#[test]
fn a_session_whose_home_dies_is_asked_to_tell_everything_anew_and_is_found_again() {
    for seed in 0..20 {
        let mut rig = fleet(seed);
        let member = member_at(&rig, 2, 1);
        let other = member_at(&rig, 0, 2);
        rig.introduce(&[&member, &other]);
        rig.store.add_contact(member.account, other.account);
        let link = sign_in_on(&mut rig, 0, &member);
        let there = sign_in_on(&mut rig, 1, &other);
        third_dies(&mut rig);
        let events = rig.events(link);
        assert_eq!(events.iter().filter(|say| is_resync(say)).count(), 1, "{events:?}");
        assert!(!rig.events(there).iter().any(is_resync));
        // What the client does then makes presence whole again, on both sides.
        rig.request(link, list_contacts());
        rig.request(there, list_contacts());
        rig.request(there, Ask::SetActivity(v1::SetActivity { away: false }));
        let told = rig.events(link).into_iter().filter_map(|say| match say {
            Say::PresenceChanged(changed) => changed.presence.map(|presence| presence.availability()),
            _ => None,
        });
        assert_eq!(told.last(), Some(v1::Availability::Online));
    }
}

#[test]
fn sessions_on_both_sides_of_a_partition_that_heals_tell_everything_anew_wherever_they_are_at_home() {
    let mut rig = fleet(4);
    let homes = [0, 1, 2];
    let members = homes.map(|shard| member_at(&rig, shard, shard as u8 + 1));
    rig.introduce(&members.each_ref());
    let links = homes.map(|shard| sign_in_on(&mut rig, shard as usize, &members[shard as usize]));
    let resyncs = |rig: &mut Rig| links.map(|link| rig.events(link).iter().filter(|say| is_resync(say)).count());
    rig.sees(0, &[0, 1]);
    rig.sees(1, &[0, 1]);
    rig.sees(2, &[2]);
    rig.settle();
    assert_eq!(resyncs(&mut rig), [0, 0, 0], "each is at home on its own side");
    for seer in [0, 1, 2] {
        rig.sees(seer, &[0, 1, 2]);
    }
    rig.settle();
    assert_eq!(resyncs(&mut rig), [1, 1, 1]);
    // What has been told once is not told again by the next change.
    rig.sees(0, &[0, 2]);
    rig.settle();
    assert_eq!(resyncs(&mut rig), [0, 0, 0]);
}

#[test]
fn a_request_that_waits_at_a_home_that_dies_is_refused_once_and_not_answered_later() {
    for seed in 0..20 {
        let mut rig = fleet(seed);
        let member = member_at(&rig, 2, 1);
        rig.introduce(&[&member]);
        let link = sign_in_on(&mut rig, 0, &member);
        let request = rig.ask_quietly(link, list_contacts());
        third_dies(&mut rig);
        assert_eq!(error_code(&rig.reply(link, request)), v1::ErrorCode::Unavailable);
        rig.settle();
        assert!(rig.take(link).iter().all(|message| message.in_reply_to != request));
    }
}

fn list_contacts() -> Ask {
    Ask::ListContacts(v1::ListContacts { after: Bytes::new() })
}

/// What a link was told of its contacts since it was asked last.
fn told(rig: &mut Rig, link: Recipient) -> Vec<v1::Availability> {
    let availability = |say| match say {
        Say::PresenceChanged(changed) => changed.presence.map(|presence| presence.availability()),
        _ => None,
    };
    rig.events(link).into_iter().filter_map(availability).collect()
}

/// Somebody at home on the first supernode, whose contact at home on the third has just come.
struct Watched {
    rig: Rig,
    contact: Member,
    /// Of the one who watches, on the first supernode.
    link: Recipient,
    /// Of the contact.
    theirs: Recipient,
}

/// The contact has its link on that supernode.
fn watched(on: usize) -> Watched {
    let mut rig = fleet(1);
    let watcher = member_at(&rig, 0, 1);
    let contact = member_at(&rig, 2, 2);
    rig.introduce(&[&watcher, &contact]);
    rig.store.add_contact(watcher.account, contact.account);
    let link = sign_in_on(&mut rig, 0, &watcher);
    rig.request(link, list_contacts());
    let theirs = sign_in_on(&mut rig, on, &contact);
    rig.request(theirs, list_contacts());
    assert_eq!(told(&mut rig, link), [v1::Availability::Away]);
    Watched { rig, contact, link, theirs }
}

#[test]
fn contacts_who_were_at_home_on_a_dead_supernode_are_told_to_be_gone_unless_they_come_back() {
    for comes_back in [false, true] {
        let Watched { mut rig, contact, link, .. } = watched(2);
        third_dies(&mut rig);
        if comes_back {
            let theirs = sign_in_on(&mut rig, 1, &contact);
            rig.request(theirs, list_contacts());
            assert_eq!(told(&mut rig, link), [v1::Availability::Away]);
        }
        rig.pass(Duration::from_secs(20));
        let expected: &[_] = if comes_back { &[] } else { &[v1::Availability::Offline] };
        assert_eq!(told(&mut rig, link), expected);
    }
}

#[test]
fn whoever_turns_invisible_while_its_home_moves_by_a_drain_is_told_to_be_gone() {
    for turns_invisible in [false, true] {
        let Watched { mut rig, link, theirs, .. } = watched(1);
        for seer in [0, 1, 2] {
            rig.sees_draining(seer, &[0, 1, 2], &[2]);
        }
        rig.settle();
        if turns_invisible {
            // The new home does not know the contacts yet.
            rig.request(theirs, availability(v1::Availability::Invisible));
        }
        rig.request(theirs, list_contacts());
        let at_once: &[_] = if turns_invisible { &[] } else { &[v1::Availability::Away] };
        assert_eq!(told(&mut rig, link), at_once);
        rig.pass(Duration::from_secs(50));
        let later: &[_] = if turns_invisible { &[v1::Availability::Offline] } else { &[] };
        assert_eq!(told(&mut rig, link), later);
    }
}

#[test]
fn whoever_spoke_before_this_supernode_saw_its_home_move_is_there_after_all() {
    let Watched { mut rig, link, theirs, .. } = watched(1);
    for seer in [1, 2] {
        rig.sees_draining(seer, &[0, 1, 2], &[2]);
    }
    rig.settle();
    rig.request(theirs, list_contacts());
    rig.sees_draining(0, &[0, 1, 2], &[2]);
    rig.settle();
    rig.pass(Duration::from_secs(50));
    assert_eq!(told(&mut rig, link).last(), Some(&v1::Availability::Away));
}

/// A call that is at home on that supernode, between links on the first two.
fn talk_at(seed: u64, home: u32) -> (Rig, Talk) {
    for seed in (0..).map(|more| seed + 1000 * more) {
        let mut rig = fleet(seed);
        let talk = talk(&mut rig);
        let on_survivors = talk.links[0].shard.0 != 2 && talk.links[1].shard.0 != 2;
        if on_survivors && home_of(&rig, &talk.call.0) == Node(home) {
            return (rig, talk);
        }
    }
    unreachable!("some seed does")
}

#[test]
fn voice_goes_on_when_the_home_of_its_call_dies_and_legs_attach_anew_without_a_new_link() {
    for seed in 0..10 {
        let (mut rig, talk) = talk_at(seed, 2);
        let Talk { call, links, attached, .. } = &talk;
        third_dies(&mut rig);
        for side in [0, 1] {
            assert!(rig.events(links[side]).iter().any(|say| matches!(say, Say::Resync(v1::Resync { spread_ms: 0 }))));
            assert_eq!(voice(&mut rig, links[side], attached[side].flow), Ok(vec![links[1 - side]]));
        }
        let mut flows = Vec::new();
        for side in [0, 1] {
            let again = rig.request(links[side], attach(&attached[side].call_token, 7 + side as u8));
            let Say::LegAttached(mine) = again else { panic!("{again:?}") };
            flows.push(mine.flow);
        }
        for side in [0, 1] {
            assert_eq!(voice(&mut rig, links[side], flows[side]), Ok(vec![links[1 - side]]));
            assert_eq!(voice(&mut rig, links[side], attached[side].flow), Err(DropCause::NoFlow));
        }
        rig.pass(limits::LEG_RETURN * 2);
        assert_eq!(rig.gauges(|g| g.calls_answered), 1 + 1, "the dead one's, and the new one");
        assert!(matches!(rig.request(links[0], hang_up(*call, v1::Cause::HungUp)), Say::Done(_)));
        assert!(rig.events(links[1]).iter().any(|say| matches!(say, Say::CallEnded(_))));
    }
}

#[test]
fn a_call_that_was_answered_across_a_partition_goes_on_at_a_home_where_it_still_rings() {
    let mut rig = fleet(7);
    let people = people(&mut rig);
    let links = [sign_in_on(&mut rig, 0, &people.alice), sign_in_on(&mut rig, 1, &people.bob)];
    let id = (1..=255).find(|id| home_of(&rig, &[*id; 16]) == Node(2)).unwrap();
    let call = CallId([id; 16]);
    rig.request(links[0], start(call, 1));
    rig.sees(0, &[0, 1]);
    rig.sees(1, &[0, 1]);
    rig.sees(2, &[2]);
    rig.settle();
    rig.request(links[0], start(call, 3));
    let Say::LegAttached(callee) = rig.request(links[1], answer(call, 4)) else { panic!("not attached") };
    let caller = rig.events(links[0]).into_iter().find_map(|say| match say {
        Say::LegAttached(attached) => Some(attached),
        _ => None,
    });
    for seer in [0, 1, 2] {
        rig.sees(seer, &[0, 1, 2]);
    }
    rig.settle();
    assert_eq!(rig.shards[2].gauges().calls, 1, "it rings there");
    for (side, token) in [caller.unwrap().call_token, callee.call_token].iter().enumerate() {
        let again = rig.request(links[side], attach(token, 7 + side as u8));
        assert!(matches!(again, Say::LegAttached(_)), "{again:?}");
    }
    assert_eq!([0, 1, 2].map(|shard| rig.shards[shard].gauges().calls), [0, 0, 1]);
    assert!(matches!(rig.request(links[0], hang_up(call, v1::Cause::HungUp)), Say::Done(_)));
    assert_eq!(rig.gauges(|g| g.calls), 0);
}

#[test]
fn flows_that_find_no_home_again_are_closed() {
    let (mut rig, talk) = talk_at(3, 2);
    third_dies(&mut rig);
    rig.pass(limits::LEG_RETURN + Duration::from_secs(1));
    for side in [0, 1] {
        assert_eq!(voice(&mut rig, talk.links[side], talk.attached[side].flow), Err(DropCause::NoFlow));
    }
}

#[test]
fn calls_go_over_to_a_supernode_that_joins_while_their_voice_goes_on() {
    for seed in 0..10 {
        let mut rig = fleet(seed);
        rig.sees(0, &[0, 1]);
        rig.sees(1, &[0, 1]);
        rig.sees(2, &[2]);
        let people = people(&mut rig);
        let links = [sign_in_on(&mut rig, 0, &people.alice), sign_in_on(&mut rig, 1, &people.bob)];
        // A call whose home is the third one once that has joined.
        let id = (1..=255).find(|id| home_of(&rig, &[*id; 16]) == Node(2)).unwrap();
        let call = CallId([id; 16]);
        rig.request(links[0], start(call, 1));
        let Say::LegAttached(callee) = rig.request(links[1], answer(call, 2)) else { panic!("not attached") };
        let caller = rig.events(links[0]).into_iter().find_map(|say| match say {
            Say::LegAttached(attached) => Some(attached),
            _ => None,
        });
        let attached = [caller.unwrap(), callee];
        for seer in [0, 1, 2] {
            rig.sees(seer, &[0, 1, 2]);
        }
        rig.settle();
        for side in [0, 1] {
            assert!(rig.events(links[side]).iter().any(|say| matches!(say, Say::Resync(v1::Resync { spread_ms: 0 }))));
            assert_eq!(voice(&mut rig, links[side], attached[side].flow), Ok(vec![links[1 - side]]));
        }
        for side in [0, 1] {
            let again = rig.request(links[side], attach(&attached[side].call_token, 7 + side as u8));
            let Say::LegAttached(mine) = again else { panic!("{again:?}") };
            rig.settle();
            if side == 1 {
                assert_eq!(voice(&mut rig, links[1], mine.flow), Ok(vec![links[0]]));
            }
        }
        assert_eq!([0, 1, 2].map(|shard| rig.shards[shard].gauges().calls), [0, 0, 1]);
        assert!(matches!(rig.request(links[0], hang_up(call, v1::Cause::HungUp)), Say::Done(_)));
        assert_eq!(rig.gauges(|g| g.calls), 0);
    }
}

#[test]
fn what_arrives_at_a_home_that_has_moved_is_sent_on_to_where_it_is_now() {
    let mut rig = fleet(1);
    let member = member_at(&rig, 1, 1);
    rig.introduce(&[&member]);
    // The first one does not know yet that the second has joined.
    rig.sees(0, &[0, 2]);
    rig.settle();
    let link = rig.link_up_on(0);
    let nonce = rig.nonce(link);
    rig.ask(link, Ask::Prove(member.prove(&nonce, None)));
    rig.settle();
    assert!(rig.shards[2].counters().forwarded_messages > 0);
    assert_eq!([0, 1, 2].map(|shard| rig.shards[shard].gauges().accounts), [0, 1, 0]);
    assert_eq!(rig.shards[1].counters().forwarded_messages, 0);
}

/// A member whose account is at home on the third supernode, which has died, signs in on the first, which knows that. The second
/// does not, and has sent on what it was told.
fn sent_on_to_the_dead() -> Rig {
    let mut rig = fleet(1);
    let member = member_at(&rig, 2, 1);
    rig.introduce(&[&member]);
    rig.sees(0, &[0, 1]);
    rig.settle();
    let link = rig.link_up_on(0);
    let nonce = rig.nonce(link);
    rig.ask(link, Ask::Prove(member.prove(&nonce, None)));
    assert!(rig.shards[1].counters().forwarded_messages > 0);
    assert_eq!(rig.shards[1].gauges().accounts, 0);
    rig
}

#[test]
fn what_was_sent_on_to_a_supernode_that_turns_out_to_be_dead_is_taken_here() {
    let mut rig = sent_on_to_the_dead();
    third_dies(&mut rig);
    assert_eq!(rig.shards[1].gauges().accounts, 1);
}

#[test]
fn what_was_sent_on_long_ago_is_not_taken_again() {
    let mut rig = sent_on_to_the_dead();
    rig.pass(Duration::from_secs(6));
    third_dies(&mut rig);
    assert_eq!(rig.shards[1].gauges().accounts, 0);
}

#[test]
fn a_request_for_a_call_whose_home_dies_is_refused() {
    let (mut rig, talk) = talk_at(1, 2);
    // Of somebody who is not at home there.
    let at_home = |member: &Member| home_of(&rig, &member.account.0) == Node(2);
    let side = talk.members.iter().position(|member| !at_home(member)).unwrap();
    rig.pass(Duration::from_secs(1));
    let link = sign_in_on(&mut rig, 0, &talk.members[side]);
    let request = rig.ask_quietly(link, attach(&talk.attached[side].call_token, 7));
    third_dies(&mut rig);
    assert_eq!(error_code(&rig.reply(link, request)), v1::ErrorCode::Unavailable);
}

/// A first device writes in a conversation with the second account.
fn write() -> Ask {
    Ask::SendMessage(v1::SendMessage {
        conversation: CONVERSATION.to_bytes(),
        number: 1,
        generation: 1,
        epoch: 1,
        sealed: Bytes::from_static(b"hello"),
    })
}

fn is_entry(say: &Say) -> bool {
    matches!(say, Say::LogEntry(_))
}

#[test]
fn what_is_written_while_a_device_signs_in_is_in_its_list_or_told_to_it() {
    for seed in 0..300 {
        let mut rig = fleet(seed);
        let reader = member_at(&rig, 2, 1);
        let writer = member_at(&rig, 1, 2);
        rig.introduce(&[&reader, &writer]);
        rig.store.add_conversation(CONVERSATION, [reader.account, writer.account]);
        let there = sign_in_on(&mut rig, 1, &writer);
        let link = rig.link_up_on(0);
        let nonce = rig.nonce(link);
        rig.ask_quietly(link, Ask::Prove(reader.prove(&nonce, None)));
        let list = rig.ask_quietly(link, Ask::ListConversations(v1::ListConversations { after: Bytes::new() }));
        rig.ask_quietly(there, write());
        rig.settle();
        let Say::Conversations(list) = rig.reply(link, list) else { panic!("no list") };
        let told = rig.take(link).into_iter().any(|message| is_entry(message.body.as_ref().unwrap()));
        assert!(list.conversations[0].head == 1 || told, "seed {seed}");
    }
}

#[test]
fn what_was_told_to_a_home_that_is_none_by_the_view_of_others_is_told_to_the_home() {
    let mut rig = fleet(1);
    // At home on the third by the view of the first, where it is signed in, and on the second by the view of the second.
    let home = |shards: [u16; 2], account: u8| {
        let nodes = shards.map(|shard| FleetNode {
            node: Node(shard.into()),
            supernode: SupernodeId([shard as u8 + 1; 16]),
            incarnation: 1,
            shards: 1,
            weight: 1,
            near: false,
        });
        Fleet::new(nodes.to_vec()).home_of_account(AccountId([account; 16])).node
    };
    let fits = |account: &u8| home([0, 2], *account) == Node(2) && home([0, 1], *account) == Node(1);
    let account = (10..=255).filter(fits).find(|account| home_of(&rig, &[*account; 16]) == Node(2)).unwrap();
    let (reader, writer) = (Member::new(account, 1), member_at(&rig, 0, 2));
    rig.introduce(&[&reader, &writer]);
    rig.store.add_conversation(CONVERSATION, [reader.account, writer.account]);
    rig.sees(1, &[0, 1]);
    rig.sees(2, &[0, 2]);
    rig.settle();
    let link = sign_in_on(&mut rig, 0, &reader);
    let there = sign_in_on(&mut rig, 1, &writer);
    assert!(matches!(rig.request(there, write()), Say::MessageAccepted(_)));
    assert!(!rig.events(link).iter().any(is_entry), "the second has told itself");
    rig.sees(1, &[0, 1, 2]);
    rig.sees(2, &[0, 1, 2]);
    rig.settle();
    assert!(rig.events(link).iter().any(is_entry));
}

fn sign_in_on(rig: &mut Rig, shard: usize, member: &Member) -> Recipient {
    let link = rig.link_up_on(shard);
    let nonce = rig.nonce(link);
    let request = rig.ask(link, Ask::Prove(member.prove(&nonce, None)));
    assert!(matches!(rig.reply(link, request), Say::Welcome(_)));
    link
}
