//! How far others have received and read, and who types.

use super::*;

fn receipts(events: &[Event]) -> Vec<(u8, u64, u64)> {
    let receipt = |event: &Event| match event {
        Event::Receipt { account, delivered, read, .. } => Some((account.0[0], *delivered, *read)),
        _ => None,
    };
    events.iter().filter_map(receipt).collect()
}

fn typing(events: &[Event]) -> Vec<(u8, bool)> {
    let typing = |event: &Event| match event {
        Event::Typing { account, typing, .. } => Some((account.0[0], *typing)),
        _ => None,
    };
    events.iter().filter_map(typing).collect()
}

fn read_by(world: &mut World, who: Who) -> u64 {
    world.member(who).conversations()[0].read
}

#[test]
fn what_was_received_and_read_is_told_once_in_a_while() {
    let (mut world, alice, bob) = World::of_two();
    let conversation = world.pair(alice, bob);
    for text in ["one", "two", "three"] {
        world.say(alice, conversation, text);
    }
    world.forget_events();
    world.pass(Duration::from_secs(2));
    assert_eq!(receipts(&world.tidings(alice)), [(2, 3, 0)]);
    let now = world.now.instant;
    world.member(bob).mark_read(conversation, 2, now).unwrap();
    world.member(bob).mark_read(conversation, 1, now).unwrap();
    world.pass(Duration::from_secs(2));
    assert_eq!(receipts(&world.tidings(alice)), [(2, 3, 2)]);
    world.pass(Duration::from_secs(60));
    assert_eq!(receipts(&world.tidings(alice)), []);
}

#[test]
fn whoever_was_away_fetches_the_receipts_that_have_changed() {
    let (mut world, alice, bob) = World::of_two();
    let conversation = world.pair(alice, bob);
    world.say(alice, conversation, "one");
    world.lose_link(alice);
    let now = world.now.instant;
    world.member(bob).mark_read(conversation, 1, now).unwrap();
    world.pass(Duration::from_secs(3));
    world.forget_events();
    world.sign_in(alice);
    assert_eq!(receipts(&world.tidings(alice)), [(2, 1, 1)]);
    world.restart(alice);
    assert_eq!(receipts(&world.tidings(alice)), [], "they are known");
}

#[test]
fn reading_on_one_device_is_reading_on_all() {
    let (mut world, alice, bob) = World::of_two();
    let tablet = world.device(2, "bob", 22);
    let conversation = world.pair(alice, bob);
    world.say(alice, conversation, "one");
    let now = world.now.instant;
    world.member(bob).mark_read(conversation, 1, now).unwrap();
    assert_eq!((read_by(&mut world, bob), read_by(&mut world, tablet)), (1, 0));
    world.pass(Duration::from_secs(3));
    assert_eq!((read_by(&mut world, bob), read_by(&mut world, tablet)), (1, 1));
    world.restart(tablet);
    assert_eq!(read_by(&mut world, tablet), 1);
}

#[test]
fn whoever_does_not_want_to_tells_nothing() {
    for (delivered, read, told) in
        [(true, false, vec![(2, 1, 0)]), (false, true, vec![(2, 0, 1)]), (false, false, vec![])]
    {
        let (mut world, alice, bob) = World::of_two();
        let conversation = world.pair(alice, bob);
        world.member(bob).set_receipts(delivered, read);
        world.settle();
        world.restart(bob);
        world.say(alice, conversation, "one");
        let now = world.now.instant;
        world.member(bob).mark_read(conversation, 1, now).unwrap();
        world.pass(Duration::from_secs(10));
        assert_eq!(receipts(&world.tidings(alice)), told);
    }
}

#[test]
fn typing_shows_until_it_ends_or_has_not_been_said_for_a_while() {
    let (mut world, alice, bob) = World::of_two();
    let conversation = world.pair(alice, bob);
    let now = world.now.instant;
    world.member(bob).typing(conversation, true, now).unwrap();
    world.settle();
    assert_eq!(typing(&world.tidings(alice)), [(2, true)]);
    world.pass(Duration::from_secs(5));
    let now = world.now.instant;
    world.member(bob).typing(conversation, true, now).unwrap();
    world.settle();
    world.pass(Duration::from_secs(9));
    assert_eq!(typing(&world.tidings(alice)), []);
    world.pass(Duration::from_secs(1));
    assert_eq!(typing(&world.tidings(alice)), [(2, false)]);

    let now = world.now.instant;
    world.member(bob).typing(conversation, true, now).unwrap();
    world.member(bob).typing(conversation, false, now).unwrap();
    world.settle();
    assert_eq!(typing(&world.tidings(alice)), [(2, true), (2, false)]);
    world.member(bob).typing(conversation, true, now).unwrap();
    world.say(bob, conversation, "sent");
    assert_eq!(typing(&world.tidings(alice)), [(2, true), (2, false)], "what was typed is here");
}

#[test]
fn receipts_and_signals_that_do_not_open_change_nothing() {
    let mutations: [fn(&mut Bytes); 3] =
        [|sealed| *sealed = some_bytes(80), |sealed| *sealed = sealed.slice(..7), |sealed| *sealed = Bytes::new()];
    for mutation in mutations {
        let (mut world, alice, bob) = World::of_two();
        let conversation = world.pair(alice, bob);
        world.clients[alice].tamper = Some(Box::new(move |message| match &mut message.body {
            Some(Body::Receipt(receipt)) => mutation(&mut receipt.sealed),
            Some(Body::Signal(signal)) => mutation(&mut signal.sealed),
            _ => {}
        }));
        world.say(alice, conversation, "one");
        let now = world.now.instant;
        world.member(bob).typing(conversation, true, now).unwrap();
        world.pass(Duration::from_secs(3));
        let seen = world.tidings(alice);
        assert_eq!((receipts(&seen), typing(&seen)), (vec![], vec![]));
    }
}

#[test]
fn what_was_read_without_a_session_is_told_with_the_next() {
    for restarts in [false, true] {
        let (mut world, alice, bob) = World::of_two();
        let conversation = world.pair(alice, bob);
        world.say(alice, conversation, "one");
        world.pass(Duration::from_secs(3));
        world.lose_link(bob);
        let now = world.now.instant;
        world.member(bob).mark_read(conversation, 1, now).unwrap();
        world.pass(Duration::from_secs(10));
        world.forget_events();
        if restarts {
            world.restart(bob)
        } else {
            world.sign_in(bob)
        }
        world.pass(Duration::from_secs(3));
        assert_eq!(receipts(&world.tidings(alice)), [(2, 1, 1)], "restarts: {restarts}");
    }
}

#[test]
fn nobody_is_seen_to_type_without_a_session() {
    let (mut world, alice, bob) = World::of_two();
    let conversation = world.pair(alice, bob);
    let now = world.now.instant;
    world.member(bob).typing(conversation, true, now).unwrap();
    world.settle();
    world.lose_link(alice);
    assert_eq!(typing(&world.tidings(alice)), [(2, true), (2, false)]);
}

#[test]
fn in_a_large_group_nobody_tells_what_they_received() {
    let (mut world, alice, _) = World::of_two();
    let others: Vec<Who> = (0..32).map(|at| world.newcomer(50 + at, &format!("guest{at}"), 50 + at)).collect();
    let clients: Vec<Who> = [alice].into_iter().chain(others.iter().copied()).collect();
    let conversation = world.group("Party", &clients[..32]);
    world.say(alice, conversation, "one");
    world.pass(Duration::from_secs(3));
    assert_eq!(receipts(&world.tidings(alice)).len(), 31);
    world.join_group(alice, conversation, others[31]);
    world.forget_events();
    world.say(alice, conversation, "two");
    world.pass(Duration::from_secs(3));
    assert_eq!(receipts(&world.tidings(alice)), []);
    world.both_read(conversation, &clients[1..32], &["one", "two"]);
}
