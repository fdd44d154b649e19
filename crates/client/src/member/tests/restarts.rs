//! A device may die between any two outputs: what was committed is enough to go on.

use super::*;

/// Outputs after which nothing of the scenario is left.
const OUTPUTS_MAX: usize = 200;

/// Lets `victim` die after each number of outputs during `scenario`, starts it again, and calls in both directions.
fn dies_everywhere(victim: Who, scenario: impl Fn(&mut World)) {
    for outputs in 0..OUTPUTS_MAX {
        let (mut world, alice, bob) = World::of_two();
        let before = world.clients[victim].outputs;
        world.clients[victim].dies_after = Some(before + outputs);
        scenario(&mut world);
        let done = world.clients[victim].dies_after.is_some_and(|limit| world.clients[victim].outputs < limit);
        world.restart(victim);
        world.pass(limits::LEG_RETURN + limits::RING_TIMEOUT);
        let call = world.connect(alice, bob);
        world.hang_up(bob, call);
        let call = world.connect(bob, alice);
        world.hang_up(bob, call);
        assert_eq!(world.store.conversations(AccountId([1; 16])).len(), 1);
        if done {
            return;
        }
    }
    panic!("the scenario has no end");
}

fn first_call(world: &mut World) {
    let call = world.call(0, "bob");
    let now = world.now.instant;
    let _ = world.member(1).answer(call, now);
    world.settle();
    let _ = world.member(0).hang_up(call, now);
    world.settle();
}

#[test]
fn the_caller_of_a_first_call_may_die_at_any_point() {
    dies_everywhere(0, first_call);
}

#[test]
fn the_one_called_for_the_first_time_may_die_at_any_point() {
    dies_everywhere(1, first_call);
}

#[test]
fn a_device_that_enters_from_outside_may_die_at_any_point() {
    dies_everywhere(1, |world| {
        // Its life is counted from when it has lost its state.
        let limit = world.clients[1].dies_after.take().map(|limit| limit - world.clients[1].outputs);
        let call = world.connect(0, 1);
        world.hang_up(0, call);
        world.drop_link(1);
        world.lose_state(1);
        let (identity, disk) = (world.clients[1].identity.clone(), world.clients[1].disk.clone());
        let before = world.clients[1].outputs;
        world.clients[1].member = Member::new(identity, disk, [77; 32]);
        world.clients[1].dies_after = limit.map(|limit| before + limit);
        world.sign_in(1);
    });
}

#[test]
fn a_newcomer_may_die_at_any_point_of_its_first_session() {
    for outputs in 0..OUTPUTS_MAX {
        let mut world = World::new();
        let alice = world.newcomer(1, "alice", 11);
        world.account(2, "bob", &account_key(2));
        let bob = world.add(identity(2, "bob", 21, &account_key(2)));
        world.clients[bob].dies_after = Some(outputs);
        world.sign_in(bob);
        let done = world.clients[bob].outputs < outputs;
        world.restart(bob);
        world.connect(alice, bob);
        if done {
            return;
        }
    }
    panic!("the first session has no end");
}

#[test]
fn whatever_pair_is_missing_the_device_recovers() {
    let (mut world, alice, bob) = World::of_two();
    let call = world.connect(alice, bob);
    world.hang_up(alice, call);
    // Without the serial of its state a device is taken for a copy.
    let keys = world.clients[bob].disk.keys().filter(|key| *key != b"state-serial").cloned();
    let keys: Vec<Vec<u8>> = keys.collect();
    // Key packages are many and alike.
    let (shelf, others): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| key.starts_with(b"key-package/"));
    for key in others.iter().chain(shelf.first()) {
        world.clients[bob].disk.remove(key);
        world.restart(bob);
        // A group that does not load is noticed when it is needed.
        let call = world.call(alice, "bob");
        world.hang_up(alice, call);
        world.pass(Duration::from_secs(10));
        let call = world.connect(alice, bob);
        world.hang_up(alice, call);
    }
}

#[test]
fn records_that_can_not_be_read_are_made_anew() {
    let (mut world, alice, bob) = World::of_two();
    let call = world.connect(alice, bob);
    world.hang_up(alice, call);
    let other =
        |key: &Vec<u8>| key.starts_with(b"group/") || key.starts_with(b"key-package/") || key == b"state-serial";
    let records: Vec<Vec<u8>> = world.clients[bob].disk.keys().filter(|key| !other(key)).cloned().collect();
    assert_eq!(records.len(), 7, "conversation, roll, key packages, name, pin, own devices, settings");
    for key in records {
        world.clients[bob].disk.insert(key, some_bytes(40).to_vec());
        world.restart(bob);
        let call = world.connect(alice, bob);
        world.hang_up(alice, call);
    }
}
