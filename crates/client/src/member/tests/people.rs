//! Names, pinned keys, comparison codes.

use super::*;

impl World {
    fn verify(&mut self, who: Who, named: &str) -> Result<String, Refusal> {
        let now = self.now.instant;
        self.member(who).verify(&name(named), Ticket(1), now).unwrap();
        self.settle();
        let answer = self.answer_to(who, Ticket(1));
        self.clients[who].events.clear();
        match answer? {
            Answer::Comparison(code) => Ok(code),
            other => panic!("{other:?}"),
        }
    }

    /// The authority says another key for an account.
    fn change_key(&mut self, account: u8, named: &str, key: &SigningKey) {
        self.account(account, named, key);
    }

    fn accept(&mut self, who: Who, named: &str) -> Result<(), CommandError> {
        let now = self.now.instant;
        let result = self.member(who).accept_key(&name(named), now);
        self.settle();
        result
    }
}

#[test]
fn both_see_the_same_comparison_code() {
    let (mut world, alice, bob) = World::of_two();
    let code = world.verify(alice, "bob").unwrap();
    assert_eq!(world.verify(bob, "alice"), Ok(code.clone()));
    world.lose_link(alice);
    assert_eq!(world.verify(alice, "bob"), Ok(code), "the pinned key needs no session");
}

#[test]
fn nobody_can_be_compared_or_called_under_a_name_that_is_not_taken() {
    let (mut world, alice, _) = World::of_two();
    assert_eq!(world.verify(alice, "nemo"), Err(Refusal::NoSuchName));
    let call = world.call(alice, "nemo");
    let ending = Ending::Refused(Refusal::NoSuchName);
    assert_eq!(world.events(alice), [Event::Ended { call, ending }]);
    let now = world.now.instant;
    assert_eq!(world.member(alice).verify(&name("alice"), Ticket(1), now), Err(CommandError::OwnName));
    world.lose_link(alice);
    assert_eq!(world.member(alice).verify(&name("nemo"), Ticket(1), now), Err(CommandError::NotSignedIn));
}

#[test]
fn a_changed_account_key_is_announced_and_stops_calls_until_accepted() {
    let (mut world, alice, bob) = World::of_two();
    let call = world.connect(alice, bob);
    world.hang_up(alice, call);
    let code = world.verify(alice, "bob").unwrap();
    world.change_key(2, "bob", &SigningKey::from_bytes(&[99; 32]));
    world.forget_events();
    let changed = Event::AccountKeyChanged { name: name("bob") };
    let call = world.call(alice, "bob");
    let ending = Ending::Refused(Refusal::AccountKeyChanged);
    assert_eq!(world.events(alice), [changed.clone(), Event::Ended { call, ending }]);
    assert!(!world.events(bob).iter().any(|event| matches!(event, Event::Incoming { .. })));
    assert_eq!(world.verify(alice, "bob"), Err(Refusal::AccountKeyChanged));
    world.restart(alice);
    assert_eq!(world.verify(alice, "bob"), Err(Refusal::AccountKeyChanged), "it is remembered");

    world.change_key(2, "bob", &account_key(2));
    assert_eq!(world.verify(alice, "bob"), Err(Refusal::AccountKeyChanged), "it stays announced");
    world.change_key(2, "bob", &SigningKey::from_bytes(&[99; 32]));
    assert_eq!(world.accept(alice, "bob"), Ok(()));
    assert_eq!(world.accept(alice, "bob"), Err(CommandError::NothingToAccept));
    let other = world.verify(alice, "bob").unwrap();
    assert_ne!(other, code);
}

#[test]
fn a_name_that_another_account_took_over_is_announced_and_can_be_accepted() {
    let (mut world, alice, bob) = World::of_two();
    let call = world.connect(alice, bob);
    world.hang_up(alice, call);
    world.account(2, "bobby", &account_key(2));
    let other = world.newcomer(5, "bob", 51);
    world.forget_events();
    world.call(alice, "bob");
    assert!(world.events(alice).contains(&Event::AccountKeyChanged { name: name("bob") }));
    world.accept(alice, "bob").unwrap();
    world.connect(alice, other);
}

#[test]
fn a_device_under_another_account_key_stops_the_first_call() {
    let (mut world, alice, bob) = World::of_two();
    world.verify(alice, "bob").unwrap();
    // The supernode slips in a device that is Bob's on somebody else's word.
    let spy = world.add(identity(2, "bob", 29, &SigningKey::from_bytes(&[66; 32])));
    world.sign_in(spy);
    let call = world.call(alice, "bob");
    let ending = Ending::Refused(Refusal::AccountKeyChanged);
    let seen = world.events(alice);
    assert!(seen.contains(&Event::AccountKeyChanged { name: name("bob") }), "{seen:?}");
    assert!(seen.contains(&Event::Ended { call, ending }));
    assert!(!world.events(spy).iter().any(|event| matches!(event, Event::Incoming { .. })));
    assert!(world.store.conversations(AccountId([1; 16])).is_empty());
    let _ = bob;
}
