//! Contacts: the table of docs/protocol.md, section 6.2, and what nobody is told.

use ahoy_proto::limits::{CONTACT_REQUESTS_IN_MAX, CONTACT_REQUESTS_OUT_MAX, CONTACTS_MAX, DECLINE_LASTS};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use v1::ContactState as State;

use super::*;

fn request(account: AccountId, peer: AccountId, note: &'static str) -> RequestContact {
    RequestContact { account, peer, note: Bytes::from_static(note.as_bytes()), at: NOW }
}

fn answer(account: AccountId, peer: AccountId, accept: bool) -> AnswerContact {
    AnswerContact { account, peer, accept, at: NOW }
}

fn block(account: AccountId, peer: AccountId, block: bool) -> BlockAccount {
    BlockAccount { account, peer, block, at: NOW }
}

fn list(world: &World, account: AccountId) -> v1::Contacts {
    world.run(ListContacts { account, after: None, today: Day::of(NOW) }).unwrap()
}

/// How an account sees another in its list.
fn state(world: &World, account: AccountId, peer: AccountId) -> State {
    let contacts = list(world, account).contacts;
    contacts.iter().find(|contact| contact.account == peer.to_bytes()).map_or(State::None, v1::Contact::state)
}

fn states(world: &World, one: AccountId, other: AccountId) -> (State, State) {
    (state(world, one, other), state(world, other, one))
}

fn told(change: &ContactChange) -> Option<State> {
    change.other.as_ref().map(|other| other.contact.as_ref().unwrap().state())
}

fn own(change: &ContactChange) -> State {
    change.own.contact.as_ref().unwrap().state()
}

#[test]
fn a_request_is_told_with_its_note_and_accepted_by_both() {
    let world = World::new();
    let (alice, bob) = (world.account(1), world.account(2));
    let asked = world.run(request(alice, bob, "it is alice")).unwrap();
    assert_eq!((own(&asked), told(&asked)), (State::Asked, Some(State::Asks)));
    let at_bob = asked.other.unwrap();
    let contact = at_bob.contact.unwrap();
    assert_eq!((&contact.name[..], &contact.note[..], contact.since), ("name1", &b"it is alice"[..], NOW.0));
    assert_eq!((contact.account_key, at_bob.serial), (Bytes::from_static(&[1; 32]), 1));
    let accepted = world.run(answer(bob, alice, true)).unwrap();
    assert_eq!((own(&accepted), told(&accepted)), (State::Accepted, Some(State::Accepted)));
    assert_eq!(states(&world, alice, bob), (State::Accepted, State::Accepted));
    assert!(list(&world, bob).contacts[0].note.is_empty());
    assert_eq!((list(&world, alice).serial, list(&world, bob).serial), (2, 2));
    let again = world.run(request(alice, bob, "")).unwrap();
    assert_eq!((own(&again), told(&again), again.own.serial), (State::Accepted, None, 2));
}

#[test]
fn two_who_ask_each_other_are_contacts_at_once() {
    let world = World::new();
    let (alice, bob) = (world.account(1), world.account(2));
    world.run(request(alice, bob, "")).unwrap();
    let change = world.run(request(bob, alice, "")).unwrap();
    assert_eq!((own(&change), told(&change)), (State::Accepted, Some(State::Accepted)));
}

#[test]
fn asking_again_replaces_the_note_and_moves_only_the_other_s_serial() {
    let world = World::new();
    let (alice, bob) = (world.account(1), world.account(2));
    world.run(request(alice, bob, "first")).unwrap();
    let again = world.run(request(alice, bob, "second")).unwrap();
    assert_eq!((own(&again), told(&again)), (State::Asked, Some(State::Asks)));
    assert_eq!((again.own.serial, again.other.unwrap().serial), (1, 2));
    assert_eq!(list(&world, bob).contacts[0].note, "second");
}

#[test]
fn a_refusal_is_not_told_and_lasts_its_time() {
    let world = World::new();
    let (alice, bob) = (world.account(1), world.account(2));
    world.run(request(alice, bob, "")).unwrap();
    let no = world.run(answer(bob, alice, false)).unwrap();
    assert_eq!((own(&no), told(&no)), (State::None, None));
    assert_eq!(states(&world, alice, bob), (State::Asked, State::None));
    assert_eq!(world.run(answer(bob, alice, true)), Err(StoreError::NotFound));
    assert_eq!(told(&world.run(request(alice, bob, "")).unwrap()), None);
    world.run(RemoveContact { account: alice, peer: bob }).unwrap();
    let soon = RequestContact { at: UnixTime(NOW.plus(DECLINE_LASTS).0 - 1), ..request(alice, bob, "") };
    assert_eq!(told(&world.run(soon).unwrap()), None);
    let later = RequestContact { at: NOW.plus(DECLINE_LASTS), ..request(alice, bob, "") };
    assert_eq!(told(&world.run(later).unwrap()), Some(State::Asks));
}

#[test]
fn whoever_declined_may_ask_and_is_heard_at_once() {
    let world = World::new();
    let (alice, bob) = (world.account(1), world.account(2));
    world.run(request(alice, bob, "")).unwrap();
    world.run(answer(bob, alice, false)).unwrap();
    world.run(request(bob, alice, "")).unwrap();
    assert_eq!(states(&world, alice, bob), (State::Accepted, State::Accepted));
}

#[test]
fn removing_ends_a_contact_on_both_sides_or_withdraws_a_request() {
    let world = World::new();
    let (alice, bob) = world.contacts(1, 2);
    let remove = |account, peer| world.run(RemoveContact { account, peer });
    let removed = remove(bob, alice).unwrap();
    assert_eq!((own(&removed), told(&removed)), (State::None, Some(State::None)));
    assert_eq!(states(&world, alice, bob), (State::None, State::None));
    assert_eq!(remove(bob, alice), Err(StoreError::NotFound));
    world.run(request(alice, bob, "")).unwrap();
    assert_eq!(remove(bob, alice), Err(StoreError::NotFound), "who is asked answers");
    assert_eq!(told(&remove(alice, bob).unwrap()), Some(State::None));
    assert_eq!(states(&world, alice, bob), (State::None, State::None));
}

#[test]
fn a_block_does_not_show_and_its_end_brings_the_contact_back() {
    let world = World::new();
    let (alice, bob) = world.contacts(1, 2);
    let blocked = world.run(block(bob, alice, true)).unwrap();
    assert_eq!((own(&blocked), told(&blocked)), (State::Blocked, None));
    assert_eq!(states(&world, alice, bob), (State::Accepted, State::Blocked));
    assert_eq!(told(&world.run(request(alice, bob, "")).unwrap()), None);
    assert_eq!(world.run(request(bob, alice, "")), Err(StoreError::Forbidden));
    let back = world.run(block(bob, alice, false)).unwrap();
    assert_eq!((own(&back), told(&back)), (State::Accepted, None));
}

#[test]
fn a_contact_that_the_blocked_one_removed_does_not_come_back() {
    let world = World::new();
    let (alice, bob) = world.contacts(1, 2);
    world.run(block(bob, alice, true)).unwrap();
    let removed = world.run(RemoveContact { account: alice, peer: bob }).unwrap();
    assert_eq!((own(&removed), told(&removed)), (State::None, None));
    assert_eq!(world.run(RemoveContact { account: bob, peer: alice }), Err(StoreError::NotFound));
    assert_eq!(own(&world.run(block(bob, alice, false)).unwrap()), State::None);
    assert_eq!(told(&world.run(request(alice, bob, "")).unwrap()), Some(State::Asks));
}

#[test]
fn blocking_swallows_requests_and_withdraws_one_s_own() {
    let world = World::new();
    let (alice, bob) = (world.account(1), world.account(2));
    world.run(request(bob, alice, "")).unwrap();
    let blocked = world.run(block(bob, alice, true)).unwrap();
    assert_eq!((own(&blocked), told(&blocked)), (State::Blocked, Some(State::None)));
    let asked = world.run(request(alice, bob, "")).unwrap();
    assert_eq!((own(&asked), told(&asked)), (State::Asked, None));
    assert_eq!(states(&world, alice, bob), (State::Asked, State::Blocked));
    let twice = world.run(block(bob, alice, true)).unwrap();
    assert_eq!(twice.own.serial, blocked.own.serial, "nothing changed");
}

#[test]
fn nobody_is_a_contact_of_itself_or_of_somebody_who_is_not_there() {
    let world = World::new();
    let alice = world.account(1);
    assert_eq!(world.run(request(alice, alice, "")), Err(StoreError::Invalid));
    assert_eq!(world.run(request(alice, AccountId([9; 16]), "")), Err(StoreError::NotFound));
    assert_eq!(world.run(block(alice, AccountId([9; 16]), true)), Err(StoreError::NotFound));
}

/// Makes the account have the whole crowd so.
fn has_all_of_the_crowd(world: &World, account: AccountId, state: State, note: usize) {
    world.behind(move |transaction| {
        let rows = "INSERT INTO contacts (account, peer, state, since, note)
            SELECT ?1, account, ?2, 0, ?3 FROM accounts WHERE name LIKE 'crowd%'";
        transaction.execute(rows, params![account, state as i32, vec![0; note]])
    });
}

#[test]
fn unanswered_requests_are_bounded_each_way_and_the_surplus_is_swallowed() {
    let world = World::new();
    let (alice, bob) = (world.account(1), world.account(2));
    world.crowd(CONTACT_REQUESTS_OUT_MAX.max(CONTACT_REQUESTS_IN_MAX));
    has_all_of_the_crowd(&world, alice, State::Asked, 0);
    assert_eq!(world.run(request(alice, bob, "")), Err(StoreError::LimitReached));
    has_all_of_the_crowd(&world, bob, State::Asks, 0);
    let carol = world.account(3);
    let swallowed = world.run(request(carol, bob, "")).unwrap();
    assert_eq!((own(&swallowed), told(&swallowed)), (State::Asked, None));
    assert_eq!(state(&world, bob, carol), State::None);
    world.run(request(bob, carol, "")).unwrap();
    assert_eq!(states(&world, bob, carol), (State::Accepted, State::Accepted), "both have asked");
}

#[test]
fn contacts_come_in_pages_up_to_the_limit() {
    let world = World::new();
    let (alice, bob) = (world.account(1), world.account(2));
    world.crowd(CONTACTS_MAX);
    has_all_of_the_crowd(&world, alice, State::Accepted, 1_280);
    let (mut after, mut seen, mut pages) = (None, 0, 0);
    loop {
        let page = world.run(ListContacts { account: alice, after, today: Day::of(NOW) }).unwrap();
        assert_eq!(page.settings.is_some(), after.is_none(), "settings stand on the first page");
        seen += page.contacts.len();
        pages += 1;
        after = page.contacts.last().map(|last| AccountId::try_from(&last.account[..]).unwrap());
        if !page.more {
            break;
        }
    }
    assert_eq!((seen, pages > 10), (CONTACTS_MAX, true));
    assert_eq!(world.run(request(alice, bob, "")), Err(StoreError::LimitReached));
    assert_eq!(world.run(block(alice, bob, true)), Err(StoreError::LimitReached));
    let swallowed = world.run(request(bob, alice, "")).unwrap();
    assert_eq!((own(&swallowed), told(&swallowed)), (State::Asked, None));
}

#[test]
fn a_contact_was_last_seen_on_a_coarse_day_and_not_after_it_blocked() {
    let world = World::new();
    let (alice, bob) = world.contacts(1, 2);
    let today = Day::of(NOW);
    let last_seen = |today| {
        let contacts = world.run(ListContacts { account: alice, after: None, today }).unwrap().contacts;
        contacts[0].last_seen()
    };
    assert_eq!(last_seen(today), v1::LastSeen::Unspecified);
    world.run(MarkSeen { account: bob, today }).unwrap();
    assert_eq!(last_seen(today), v1::LastSeen::Today);
    assert_eq!(last_seen(Day(today.0 + 6)), v1::LastSeen::ThisWeek);
    assert_eq!(last_seen(Day(today.0 + 7)), v1::LastSeen::Earlier);
    world.run(block(bob, alice, true)).unwrap();
    world.run(MarkSeen { account: bob, today: Day(today.0 + 7) }).unwrap();
    assert_eq!(last_seen(Day(today.0 + 7)), v1::LastSeen::Earlier);
    world.run(block(bob, alice, false)).unwrap();
    assert_eq!(last_seen(Day(today.0 + 7)), v1::LastSeen::Today);
}

#[test]
fn who_is_invisible_is_not_seen_to_sign_in() {
    let world = World::new();
    let (alice, bob) = world.contacts(1, 2);
    let today = Day::of(NOW);
    let last_seen = || {
        let contacts = world.run(ListContacts { account: alice, after: None, today }).unwrap().contacts;
        contacts[0].last_seen()
    };
    let be = |availability: v1::Availability| {
        let change = v1::ChangeSettings { availability: Some(availability.into()), ..Default::default() };
        world.run(ChangeSettings { account: bob, change }).unwrap();
    };
    let check_in = |serial| world.run(CheckIn { account: bob, device: DeviceId([2; 16]), serial, today }).unwrap();
    be(v1::Availability::Invisible);
    let devices = check_in(1);
    assert_eq!(devices[0].last_seen(), v1::LastSeen::Today, "one's own devices are no secret to oneself");
    assert_eq!(last_seen(), v1::LastSeen::Unspecified);
    be(v1::Availability::Away);
    check_in(2);
    assert_eq!(last_seen(), v1::LastSeen::Today);
}

#[derive(Debug, Clone)]
enum Step {
    Request,
    Answer(bool),
    Remove,
    Block(bool),
}

fn steps() -> impl Strategy<Value = Vec<(u8, u8, u64, Step)>> {
    let step = prop_oneof![
        3 => Just(Step::Request),
        2 => any::<bool>().prop_map(Step::Answer),
        1 => Just(Step::Remove),
        2 => any::<bool>().prop_map(Step::Block),
    ];
    proptest::collection::vec((1..=3_u8, 1..=3_u8, 0..40_u64, step), 1..60)
}

/// An accepted contact is one on both sides, or blocked on the other; a request stands on both sides, or only where it was made;
/// and every change that is told is the row as it then is, with a serial that went up.
#[test]
fn whatever_three_accounts_do_accepted_is_mutual_unless_blocked() {
    let world = World::new();
    let accounts = [world.account(1), world.account(2), world.account(3)];
    let mut runner = TestRunner::new(ProptestConfig { cases: 64, ..ProptestConfig::default() });
    let played = runner.run(&steps(), |steps| {
        world.behind(|transaction| transaction.execute("DELETE FROM contacts", params![]));
        play(&world, accounts, steps)
    });
    played.unwrap();
}

fn play(world: &World, accounts: [AccountId; 3], steps: Vec<(u8, u8, u64, Step)>) -> Result<(), TestCaseError> {
    let mut at = NOW;
    for (one, other, days, step) in steps {
        let (account, peer) = (AccountId([one; 16]), AccountId([other; 16]));
        at = UnixTime(at.0 + days * 86_400);
        let serials = accounts.map(|account| list(world, account).serial);
        let change = match step {
            Step::Request => world.run(RequestContact { account, peer, note: Bytes::new(), at }),
            Step::Answer(accept) => world.run(AnswerContact { account, peer, accept, at }),
            Step::Remove => world.run(RemoveContact { account, peer }),
            Step::Block(block) => world.run(BlockAccount { account, peer, block, at }),
        };
        if let Ok(change) = change {
            prop_assert_eq!(own(&change), state(world, account, peer));
            prop_assert_eq!(change.own.serial, list(world, account).serial);
            if let Some(other) = change.other {
                prop_assert_eq!(other.contact.unwrap().state(), state(world, peer, account));
                prop_assert_eq!(other.serial, serials[usize::from(peer.0[0]) - 1] + 1);
            }
        }
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            let (one, other) = states(world, accounts[one], accounts[other]);
            for (own, other) in [(one, other), (other, one)] {
                let sound = match own {
                    State::Accepted => matches!(other, State::Accepted | State::Blocked),
                    State::Asks => other == State::Asked,
                    State::Asked => !matches!(other, State::Asked | State::Accepted),
                    _ => true,
                };
                prop_assert!(sound, "{own:?} beside {other:?}");
            }
        }
    }
    Ok(())
}
