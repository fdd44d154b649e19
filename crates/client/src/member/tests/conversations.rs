//! How devices get into groups and stay up to date.

use super::*;
use crate::member::conversation::Conversation;

/// The one conversation that a client knows.
fn conversation(client: &Client) -> &Conversation {
    let mut all = client.member.conversations.values();
    let (first, None) = (all.next().expect("a conversation"), all.next()) else { panic!("more than one") };
    first
}

fn leaves(client: &Client) -> usize {
    let group = conversation(client).group(&client.member.mls).unwrap();
    group.leaves().unwrap().len()
}

fn log_length(world: &World) -> usize {
    let ids = world.store.conversations(AccountId([1; 16]));
    world.store.head(ids[0]).unwrap() as usize
}

impl World {
    fn hang_up_after(&mut self, caller: Who, callee: Who) {
        let call = self.connect(caller, callee);
        self.hang_up(caller, call);
    }

    fn wipe(&mut self, who: Who) {
        self.lose_state(who);
        self.restart(who);
    }
}

#[test]
fn first_contact_brings_in_all_devices_of_both_at_once() {
    let (mut world, alice, bob) = World::of_two();
    let laptop = world.device(1, "alice", 12);
    let tablet = world.device(2, "bob", 22);
    world.hang_up_after(alice, bob);
    for who in [alice, bob, laptop, tablet] {
        assert_eq!(leaves(&world.clients[who]), 4);
    }
    world.hang_up_after(laptop, tablet);
    assert_eq!(log_length(&world), 0);
}

#[test]
fn as_many_devices_as_there_may_be_come_in_at_once() {
    let mut world = World::new();
    let alice = world.newcomer(1, "alice", 11);
    let last_of_alice = (12..=18).map(|device| world.device(1, "alice", device)).last().unwrap();
    world.newcomer(2, "bob", 21);
    let last_of_bob = (22..=28).map(|device| world.device(2, "bob", device)).last().unwrap();
    world.hang_up_after(alice, last_of_bob);
    assert_eq!((leaves(&world.clients[alice]), log_length(&world)), (16, 0));
    world.hang_up_after(last_of_alice, last_of_bob);
    world.hang_up_after(last_of_bob, last_of_alice);
}

#[test]
fn welcomes_that_are_told_out_of_order_are_all_used() {
    let (mut world, alice, bob) = World::of_two();
    let carol = world.newcomer(3, "carol", 31);
    world.store.add_contact(AccountId([3; 16]), AccountId([2; 16]));
    for who in [alice, carol] {
        world.lose_link(who);
        world.sign_in(who);
    }
    // The first one told is overtaken by the second, and may be told last or never.
    let mut overtaken = false;
    world.clients[bob].tamper = Some(Box::new(move |message| {
        if matches!(message.body, Some(Body::InboxEntry(_))) && !std::mem::replace(&mut overtaken, true) {
            message.body = None;
        }
    }));
    for who in [alice, carol] {
        let now = world.now.instant;
        world.member(who).call(&name("bob"), now).unwrap();
    }
    world.settle();
    for account in [1, 3] {
        let [conversation] = world.store.conversations(AccountId([account; 16]))[..] else { panic!("one each") };
        assert_eq!(world.store.head(conversation), Some(0), "bob entered {account}'s from outside");
        assert_eq!(world.store.cursor(conversation, DeviceId([21; 16])), Some((0, 0)));
    }
}

#[test]
fn a_welcome_that_nobody_told_of_is_used_all_the_same() {
    let (mut world, alice, bob) = World::of_two();
    world.clients[bob].tamper = Some(Box::new(|message| {
        if matches!(message.body, Some(Body::InboxEntry(_))) {
            message.body = None;
        }
    }));
    let conversation = world.pair(alice, bob);
    world.say(alice, conversation, "hello");
    world.both_read(conversation, &[alice, bob], &["hello"]);
    assert_eq!(world.store.head(conversation), Some(1), "bob entered from outside");
}

#[test]
fn a_new_device_enters_by_itself_and_rings() {
    let (mut world, alice, bob) = World::of_two();
    world.hang_up_after(alice, bob);
    let tablet = world.device(2, "bob", 22);
    assert_eq!(leaves(&world.clients[alice]), 3);
    world.hang_up_after(alice, tablet);
    world.hang_up_after(tablet, alice);
    world.hang_up_after(bob, alice);
}

#[test]
fn a_device_that_lost_its_state_enters_anew_in_place_of_its_old_leaf() {
    let (mut world, alice, bob) = World::of_two();
    world.hang_up_after(alice, bob);
    world.wipe(bob);
    assert_eq!((leaves(&world.clients[alice]), log_length(&world)), (2, 1));
    world.hang_up_after(alice, bob);
    world.hang_up_after(bob, alice);
}

#[test]
fn devices_that_enter_at_once_all_get_in() {
    let (mut world, alice, bob) = World::of_two();
    world.hang_up_after(alice, bob);
    let devices: Vec<Who> = (22..26).map(|device| world.add(identity(2, "bob", device, &account_key(2)))).collect();
    for device in &devices {
        world.dial(*device);
    }
    world.settle();
    world.pass(Duration::from_secs(30));
    for device in devices {
        assert_eq!(leaves(&world.clients[device]), 6);
    }
    assert_eq!((leaves(&world.clients[alice]), log_length(&world)), (6, 4));
}

#[test]
fn a_device_that_was_away_for_many_epochs_catches_up() {
    let (mut world, alice, bob) = World::of_two();
    world.hang_up_after(alice, bob);
    world.lose_link(bob);
    for _ in 0..8 {
        world.wipe(alice);
    }
    world.sign_in(bob);
    assert_eq!(conversation(&world.clients[bob]).record.head, 8);
    world.hang_up_after(bob, alice);
}

#[test]
fn an_event_that_got_lost_is_fetched_from_the_log() {
    let (mut world, alice, bob) = World::of_two();
    world.hang_up_after(alice, bob);
    let mut first = true;
    world.clients[alice].tamper = Some(Box::new(move |message| {
        if let Some(Body::LogEntry(_)) = &message.body
            && std::mem::take(&mut first)
        {
            message.body = None;
        }
    }));
    world.wipe(bob);
    assert_eq!(conversation(&world.clients[alice]).record.head, 0, "the event was to be lost");
    world.device(2, "bob", 22);
    assert_eq!(conversation(&world.clients[alice]).record.head, 2);
    world.hang_up_after(alice, bob);
}

#[test]
fn an_offer_from_an_epoch_to_come_waits_for_the_log() {
    let (mut world, alice, bob) = World::of_two();
    world.hang_up_after(alice, bob);
    world.clients[alice].tamper = Some(Box::new(|message| {
        if let Some(Body::LogEntry(_)) = &message.body {
            message.body = None;
        }
    }));
    let tablet = world.device(2, "bob", 22);
    world.hang_up_after(tablet, alice);
}

#[test]
fn a_leg_answered_in_an_older_epoch_keeps_its_key() {
    let (mut world, alice, bob) = World::of_two();
    world.hang_up_after(alice, bob);
    world.forget_events();
    // Bob does not hear of the epoch that Alice calls in before he has answered in the old one.
    let tablet = world.add(identity(1, "alice", 12, &account_key(1)));
    let call = world.call(alice, "bob");
    world.clients[bob].tamper = Some(Box::new(|message| {
        if let Some(Body::LogEntry(_)) = &message.body {
            message.body = None;
        }
    }));
    world.sign_in(tablet);
    assert_eq!(leaves(&world.clients[alice]), 3);
    world.answer(bob, call);
    let (theirs, ours) = (world.events(bob), world.events(alice));
    assert_keys_agree(&connected(&theirs, call), &connected(&ours, call));
}

#[test]
fn key_packages_are_published_anew_before_they_run_out() {
    let (mut world, alice, _) = World::of_two();
    let first = world.clients[alice].published;
    for account in 0..25 {
        let caller = world.newcomer(100 + account, &format!("caller{account}"), 100 + account);
        let call = world.call(caller, "alice");
        world.pass(Duration::from_secs(2));
        world.hang_up(caller, call);
        assert!(world.events(alice).iter().any(|event| matches!(event, Event::Incoming { .. })));
    }
    assert!(world.clients[alice].published >= first + 22, "{}", world.clients[alice].published);
}

#[test]
fn a_device_that_was_away_while_its_key_packages_ran_out_gets_a_new_stock() {
    let (mut world, alice, _) = World::of_two();
    world.lose_link(alice);
    let first = world.clients[alice].published;
    for account in 0..25 {
        let caller = world.newcomer(100 + account, &format!("caller{account}"), 100 + account);
        world.call(caller, "alice");
    }
    world.sign_in(alice);
    assert_eq!(world.clients[alice].member.conversations.len(), 25);
    assert!(world.clients[alice].member.conversations.values().all(Conversation::is_current));
    assert!(world.clients[alice].published > first + 15);
}
