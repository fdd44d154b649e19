//! Contacts, blocking, notes and settings between members, by the real exchange.

use ahoy_proto::note;

use super::*;

impl World {
    /// Alice and Bob with a device each, signed in, who have nothing to do with each other.
    fn of_strangers() -> (Self, Who, Who) {
        let mut world = Self::new();
        let alice = world.stranger(1, "alice", 11);
        let bob = world.stranger(2, "bob", 21);
        world.forget_events();
        (world, alice, bob)
    }

    /// Gives a command with a ticket; what came of it.
    fn command(
        &mut self,
        who: Who,
        command: impl FnOnce(&mut Member, Ticket, Instant) -> Result<(), CommandError>,
    ) -> Result<Answer, Refusal> {
        let (now, ticket) = (self.now.instant, Ticket(1_000_000 + self.clients[who].outputs as u64));
        command(self.member(who), ticket, now).unwrap();
        self.settle();
        let answer = self.answer_to(who, ticket);
        let again = |event: &Event| matches!(event, Event::Answer { ticket: of, .. } if *of == ticket);
        assert!(!self.clients[who].events.iter().any(again), "one answer to each command");
        answer
    }

    fn request(&mut self, who: Who, named: &str, note: &str) -> Result<Answer, Refusal> {
        self.command(who, |member, ticket, now| member.request_contact(&name(named), note, ticket, now))
    }

    fn reply(&mut self, who: Who, named: &str, accept: bool) -> Result<Answer, Refusal> {
        self.command(who, |member, ticket, now| member.answer_contact(&name(named), accept, ticket, now))
    }

    fn end_contact(&mut self, who: Who, named: &str) -> Result<Answer, Refusal> {
        self.command(who, |member, ticket, now| member.remove_contact(&name(named), ticket, now))
    }

    fn block(&mut self, who: Who, named: &str, block: bool) -> Result<Answer, Refusal> {
        self.command(who, |member, ticket, now| member.block(&name(named), block, ticket, now))
    }

    fn set(&mut self, who: Who, change: SettingsChange) -> Result<Answer, Refusal> {
        self.command(who, |member, ticket, now| member.change_settings(change, ticket, now))
    }

    fn here(&mut self, who: Who, away: bool) {
        let now = self.now.instant;
        self.member(who).set_activity(away, now);
        self.settle();
    }

    fn befriend(&mut self, one: Who, other: Who) {
        let names = [one, other].map(|who| self.clients[who].identity.name.as_str().to_owned());
        self.request(one, &names[1], "").unwrap();
        self.reply(other, &names[0], true).unwrap();
        self.forget_events();
    }

    fn state(&mut self, who: Who, named: &str) -> ContactState {
        self.member(who).contact(&name(named)).map_or(ContactState::None, |contact| contact.state)
    }

    fn availability(&mut self, who: Who, named: &str) -> v1::Availability {
        self.member(who).contact(&name(named)).expect("a contact").presence.availability
    }

    fn incoming(&mut self, who: Who) -> usize {
        self.events(who).iter().filter(|event| matches!(event, Event::Incoming { .. })).count()
    }
}

#[test]
fn somebody_who_asks_and_is_accepted_is_a_contact_on_all_devices() {
    let (mut world, alice, bob) = World::of_strangers();
    let tablet = world.device(2, "bob", 22);
    assert_eq!(world.request(alice, "bob", "It's me,\nfrom the ferry"), Ok(Answer::Done));
    assert_eq!(world.state(alice, "bob"), ContactState::Asked);
    for device in [bob, tablet] {
        let asking = world.member(device).contact(&name("alice")).unwrap();
        assert_eq!(asking.state, ContactState::Asks);
        assert_eq!(asking.note.as_deref(), Some("It's me, from the ferry"));
        assert!(world.tidings(device).contains(&Event::Contact(asking)));
    }
    assert_eq!(world.reply(tablet, "alice", true), Ok(Answer::Done));
    for (device, other) in [(alice, "bob"), (bob, "alice"), (tablet, "alice")] {
        assert_eq!(world.state(device, other), ContactState::Accepted);
        assert_eq!(world.member(device).contact(&name(other)).unwrap().note, None);
    }
    assert_eq!(world.request(alice, "bob", ""), Err(Refusal::AlreadyContact));
    let call = world.connect(alice, bob);
    world.hang_up(alice, call);
}

#[test]
fn contacts_are_there_without_a_session_and_after_a_restart() {
    let (mut world, alice, bob) = World::of_strangers();
    world.befriend(alice, bob);
    world.lose_link(alice);
    assert_eq!(world.state(alice, "bob"), ContactState::Accepted);
    let client = &world.clients[alice];
    let offline = Member::new(client.identity.clone(), client.disk.clone(), [3; 32]);
    assert_eq!(offline.contacts().len(), 1);
    assert_eq!(offline.settings().map(|settings| settings.calls_from), Some(v1::CallsFrom::Contacts));
    world.end_contact(bob, "alice").unwrap();
    world.restart(alice);
    assert_eq!(world.state(alice, "bob"), ContactState::None, "the list says so");
}

#[test]
fn a_no_is_not_told_and_asking_again_does_not_get_through() {
    let (mut world, alice, bob) = World::of_strangers();
    world.request(alice, "bob", "please").unwrap();
    world.forget_events();
    assert_eq!(world.reply(bob, "alice", false), Ok(Answer::Done));
    assert_eq!(world.state(bob, "alice"), ContactState::None);
    assert_eq!(world.tidings(alice), []);
    assert_eq!(world.state(alice, "bob"), ContactState::Asked);
    world.forget_events();
    assert_eq!(world.request(alice, "bob", "please, please"), Ok(Answer::Done));
    assert_eq!(world.tidings(bob), []);
    assert_eq!(world.reply(bob, "alice", true), Err(Refusal::NoSuchContact));
}

#[test]
fn two_who_ask_each_other_are_contacts_at_once() {
    let (mut world, alice, bob) = World::of_strangers();
    world.request(alice, "bob", "").unwrap();
    world.request(bob, "alice", "").unwrap();
    assert_eq!(world.state(alice, "bob"), ContactState::Accepted);
    assert_eq!(world.state(bob, "alice"), ContactState::Accepted);
}

#[test]
fn a_request_can_be_taken_back_and_a_contact_ended_by_either_side() {
    let (mut world, alice, bob) = World::of_strangers();
    world.request(alice, "bob", "").unwrap();
    assert_eq!(world.end_contact(bob, "alice"), Err(Refusal::NoSuchContact), "a request is answered, not removed");
    assert_eq!(world.end_contact(alice, "bob"), Ok(Answer::Done));
    assert_eq!((world.state(alice, "bob"), world.state(bob, "alice")), (ContactState::None, ContactState::None));
    world.befriend(alice, bob);
    world.end_contact(bob, "alice").unwrap();
    assert_eq!((world.state(alice, "bob"), world.state(bob, "alice")), (ContactState::None, ContactState::None));
    let gone = |event: &Event| matches!(event, Event::Contact(contact) if contact.state == ContactState::None);
    assert!(world.tidings(alice).iter().any(gone));
}

#[test]
fn to_somebody_blocked_it_is_as_if_nobody_were_there() {
    let (mut world, alice, bob) = World::of_strangers();
    world.befriend(alice, bob);
    world.here(bob, false);
    let call = world.connect(alice, bob);
    world.hang_up(alice, call);
    assert_eq!(world.block(bob, "alice", true), Ok(Answer::Done));
    assert!(world.member(bob).is_blocked(AccountId([1; 16])));
    assert_eq!(world.state(alice, "bob"), ContactState::Accepted, "it is not told");
    assert_eq!(world.availability(alice, "bob"), v1::Availability::Offline);
    world.forget_events();
    let call = world.call(alice, "bob");
    assert_eq!(world.events(alice), [ended(call, v1::Cause::Unreachable)]);
    assert_eq!(world.incoming(bob), 0);
    world.set(bob, SettingsChange { mood: Some("busy".into()), ..SettingsChange::default() }).unwrap();
    assert_eq!(world.tidings(alice), []);

    assert_eq!(world.block(bob, "alice", false), Ok(Answer::Done));
    assert_eq!(world.state(bob, "alice"), ContactState::Accepted, "they were contacts, and are again");
    assert_eq!(world.availability(alice, "bob"), v1::Availability::Online);
    let call = world.connect(alice, bob);
    world.hang_up(bob, call);
}

#[test]
fn a_blocked_stranger_asks_in_vain_and_sees_nothing_of_it() {
    let (mut world, alice, bob) = World::of_strangers();
    assert_eq!(world.block(bob, "alice", true), Ok(Answer::Done), "no contact is needed for that");
    world.forget_events();
    assert_eq!(world.request(alice, "bob", "hello?"), Ok(Answer::Done));
    assert_eq!(world.state(alice, "bob"), ContactState::Asked);
    assert_eq!(world.tidings(bob), []);
    assert_eq!(world.state(bob, "alice"), ContactState::Blocked);
    assert!(matches!(world.request(bob, "alice", ""), Err(Refusal::Supernode { code: v1::ErrorCode::Forbidden, .. })));
    world.block(bob, "alice", false).unwrap();
    assert_eq!(world.state(bob, "alice"), ContactState::None);
    assert_eq!(world.block(bob, "alice", false), Err(Refusal::NoSuchContact));
}

#[test]
fn a_blocked_caller_does_not_ring_even_if_the_supernode_lets_it() {
    let (mut world, alice, bob) = World::of_strangers();
    world.befriend(alice, bob);
    let call = world.connect(alice, bob);
    world.hang_up(alice, call);
    // The supernode never hears of it.
    let row =
        v1::Contact { state: v1::ContactState::Blocked.into(), ..scripted::row(1, "alice", v1::ContactState::None) };
    let now = world.now.instant;
    let changed = Body::ContactChanged(v1::ContactChanged { contact: Some(row), serial: 1_000 });
    world.clients[bob].tamper = Some(Box::new(|message| {
        if matches!(message.body, Some(Body::Contacts(_) | Body::ContactChanged(_))) {
            message.body = None;
        }
    }));
    world.member(bob).handle_message(&v1::SupernodeMessage { in_reply_to: 0, body: Some(changed) }, now);
    world.settle();
    assert!(world.member(bob).is_blocked(AccountId([1; 16])));
    world.forget_events();
    world.call(alice, "bob");
    assert_eq!(world.incoming(bob), 0);
}

#[test]
fn an_alias_stays_on_its_device_and_outlives_lists() {
    let (mut world, alice, bob) = World::of_strangers();
    let laptop = world.device(1, "alice", 12);
    world.befriend(alice, bob);
    assert_eq!(world.member(alice).set_alias(&name("bob"), Some(" Bobby\n")), Ok(()));
    world.settle();
    let alias = |world: &mut World, who| world.member(who).contact(&name("bob")).unwrap().alias;
    assert_eq!(alias(&mut world, alice).as_deref(), Some("Bobby"));
    assert_eq!(alias(&mut world, laptop), None);
    world.block(laptop, "bob", true).unwrap();
    world.block(laptop, "bob", false).unwrap();
    world.restart(alice);
    assert_eq!(alias(&mut world, alice).as_deref(), Some("Bobby"));
    assert_eq!(world.member(alice).set_alias(&name("bob"), None), Ok(()));
    world.settle();
    world.restart(alice);
    assert_eq!(alias(&mut world, alice), None);
    assert_eq!(world.member(alice).set_alias(&name("nemo"), None), Err(CommandError::NoSuchContact));
}

#[test]
fn an_account_is_as_present_as_its_most_present_device() {
    let (mut world, alice, bob) = World::of_strangers();
    world.befriend(alice, bob);
    let tablet = world.device(2, "bob", 22);
    assert_eq!(world.availability(alice, "bob"), v1::Availability::Away, "devices are away until they say otherwise");
    world.here(bob, false);
    assert_eq!(world.availability(alice, "bob"), v1::Availability::Online);
    world.lose_link(tablet);
    assert_eq!(world.availability(alice, "bob"), v1::Availability::Online);
    world.here(bob, true);
    assert_eq!(world.availability(alice, "bob"), v1::Availability::Away);
    world.lose_link(bob);
    let presence = world.member(alice).contact(&name("bob")).unwrap().presence;
    assert_eq!(presence.availability, v1::Availability::Offline);
    assert_eq!(presence.last_seen, v1::LastSeen::Today);
    world.here(bob, false);
    world.sign_in(bob);
    assert_eq!(world.availability(alice, "bob"), v1::Availability::Online, "what was said without a session lasts");
}

#[test]
fn whoever_comes_later_sees_who_is_there_and_in_what_mood() {
    let (mut world, alice, bob) = World::of_strangers();
    world.befriend(alice, bob);
    world.here(bob, false);
    world.lose_link(alice);
    let change = SettingsChange {
        mood: Some("at\tsea".into()),
        availability: Some(v1::Availability::DoNotDisturb),
        ..SettingsChange::default()
    };
    world.set(bob, change).unwrap();
    world.restart(alice);
    let presence = world.member(alice).contact(&name("bob")).unwrap().presence;
    assert_eq!((presence.availability, presence.mood.as_str()), (v1::Availability::DoNotDisturb, "at sea"));
}

#[test]
fn somebody_invisible_looks_offline_and_settings_are_those_of_all_devices() {
    let (mut world, alice, bob) = World::of_strangers();
    let tablet = world.device(2, "bob", 22);
    world.befriend(alice, bob);
    world.here(bob, false);
    let invisible = SettingsChange { availability: Some(v1::Availability::Invisible), ..SettingsChange::default() };
    assert_eq!(world.set(bob, invisible), Ok(Answer::Done));
    assert_eq!(world.availability(alice, "bob"), v1::Availability::Offline);
    for device in [bob, tablet] {
        let settings = world.member(device).settings().unwrap();
        assert_eq!(settings.availability, v1::Availability::Invisible);
        assert!(world.tidings(device).contains(&Event::Settings(settings)));
    }
    let long = SettingsChange { mood: Some("a".repeat(141)), ..SettingsChange::default() };
    assert_eq!(world.set(bob, long), Err(Refusal::Length));
}

#[test]
fn whoever_does_not_want_to_be_disturbed_is_rung_quietly() {
    let (mut world, alice, bob) = World::of_strangers();
    world.befriend(alice, bob);
    let quiet = SettingsChange { availability: Some(v1::Availability::DoNotDisturb), ..SettingsChange::default() };
    world.set(bob, quiet).unwrap();
    world.forget_events();
    let call = world.call(alice, "bob");
    let from = Person { account: AccountId([1; 16]), name: name("alice") };
    assert!(world.events(bob).contains(&Event::Incoming { call, from, quiet: true }));
}

#[test]
fn a_call_to_a_stranger_becomes_a_request_without_a_note() {
    let (mut world, alice, bob) = World::of_strangers();
    let call = world.call(alice, "bob");
    let seen = world.events(alice);
    assert!(seen.contains(&ended(call, v1::Cause::Requested)), "{seen:?}");
    assert_eq!(world.incoming(bob), 0);
    assert_eq!(world.state(alice, "bob"), ContactState::Asked);
    let asking = world.member(bob).contact(&name("alice")).unwrap();
    assert_eq!((asking.state, asking.note), (ContactState::Asks, None));
    assert!(world.store.conversations(AccountId([1; 16])).is_empty());
    world.reply(bob, "alice", true).unwrap();
    let call = world.connect(alice, bob);
    world.hang_up(alice, call);
}

#[test]
fn a_call_to_somebody_who_was_asked_leaves_the_note_and_one_to_somebody_blocked_asks_nobody() {
    let (mut world, alice, bob) = World::of_strangers();
    world.request(alice, "bob", "hello").unwrap();
    world.forget_events();
    let call = world.call(alice, "bob");
    assert!(world.events(alice).contains(&ended(call, v1::Cause::Requested)));
    assert_eq!(world.member(bob).contact(&name("alice")).unwrap().note.as_deref(), Some("hello"));
    world.block(alice, "bob", true).unwrap();
    world.forget_events();
    world.call(alice, "bob");
    let refused = |event: &Event| matches!(event, Event::Ended { ending: Ending::Refused(_), .. });
    assert!(world.events(alice).iter().any(refused));
    assert_eq!(world.state(alice, "bob"), ContactState::Blocked);
}

#[test]
fn a_call_to_somebody_who_ended_the_contact_becomes_a_request() {
    let (mut world, alice, bob) = World::of_strangers();
    world.befriend(alice, bob);
    let call = world.connect(alice, bob);
    world.hang_up(alice, call);
    world.end_contact(bob, "alice").unwrap();
    world.forget_events();
    let call = world.call(alice, "bob");
    assert!(world.events(alice).contains(&ended(call, v1::Cause::Requested)));
    assert_eq!(world.incoming(bob), 0);
    assert_eq!(world.state(bob, "alice"), ContactState::Asks);
}

#[test]
fn a_note_opens_on_a_device_that_was_added_later() {
    let (mut world, alice, bob) = World::of_strangers();
    world.request(alice, "bob", "hello").unwrap();
    let tablet = world.device(2, "bob", 22);
    for device in [bob, tablet] {
        assert_eq!(world.member(device).contact(&name("alice")).unwrap().note.as_deref(), Some("hello"));
    }
}

#[test]
fn a_note_that_was_tampered_with_or_is_for_somebody_else_is_not_shown() {
    let (mut world, alice, bob) = World::of_strangers();
    let carol = world.stranger(3, "carol", 31);
    world.request(alice, "carol", "for carol only").unwrap();
    let note = world.clients[carol].member.contact(&name("alice")).unwrap().note;
    assert_eq!(note.as_deref(), Some("for carol only"));
    // The supernode shows Bob a note that was meant for Carol: the bytes it was given, under Alice's name.
    let key = account_key(3);
    let published = request_key::publish(AccountId([3; 16]), &key);
    let request_key = request_key::verify(&published, AccountId([3; 16]), key.verifying_key().as_bytes()).unwrap();
    let (sender, receiver) = (AccountId([1; 16]), AccountId([3; 16]));
    let stolen = note::seal("for carol only", sender, receiver, &request_key, [7; 32]).unwrap();
    world.clients[bob].tamper = Some(Box::new(move |message| {
        if let Some(Body::ContactChanged(changed)) = &mut message.body
            && let Some(contact) = &mut changed.contact
        {
            contact.note = stolen.clone().into();
        }
    }));
    world.request(alice, "bob", "hello").unwrap();
    let asking = world.member(bob).contact(&name("alice")).unwrap();
    assert_eq!((asking.state, asking.note), (ContactState::Asks, None));
}

#[test]
fn a_request_key_that_the_account_key_did_not_sign_takes_no_notes() {
    let (mut world, alice, bob) = World::of_strangers();
    let forged = request_key::publish(AccountId([2; 16]), &SigningKey::from_bytes(&[66; 32]));
    world.store.set_request_key(AccountId([2; 16]), forged.to_vec().into());
    assert_eq!(world.request(alice, "bob", "hello"), Err(Refusal::NoKey));
    assert_eq!(world.state(bob, "alice"), ContactState::None);
    world.store.set_request_key(AccountId([2; 16]), Bytes::new());
    assert_eq!(world.request(alice, "bob", "hello"), Err(Refusal::NoKey));
    assert_eq!(world.request(alice, "bob", ""), Ok(Answer::Done), "without a note it goes");
    assert_eq!(world.request(alice, "bob", &"a".repeat(281)), Err(Refusal::Length));
}

#[test]
fn a_name_whose_key_has_changed_is_not_asked() {
    let (mut world, alice, bob) = World::of_strangers();
    let found = world.command(alice, |member, ticket, now| member.find(&name("bob"), ticket, now));
    let person = Person { account: AccountId([2; 16]), name: name("bob") };
    assert_eq!(found, Ok(Answer::Found(vec![person])));
    let other = SigningKey::from_bytes(&[99; 32]);
    world.store.add_account(AccountId([2; 16]), name("bob"), other.verifying_key().to_bytes());
    assert_eq!(world.request(alice, "bob", ""), Err(Refusal::AccountKeyChanged));
    assert_eq!(world.state(bob, "alice"), ContactState::None);
    assert_eq!(world.block(alice, "bob", true), Ok(Answer::Done), "blocking needs no key");
}

#[test]
fn nobody_has_to_do_with_names_that_are_not_taken_or_their_own() {
    let (mut world, alice, _) = World::of_strangers();
    assert_eq!(world.request(alice, "nemo", ""), Err(Refusal::NoSuchName));
    assert_eq!(world.block(alice, "nemo", true), Err(Refusal::NoSuchName));
    assert_eq!(world.end_contact(alice, "nemo"), Err(Refusal::NoSuchContact));
    assert_eq!(world.reply(alice, "nemo", true), Err(Refusal::NoSuchContact));
    let now = world.now.instant;
    let own = name("alice");
    assert_eq!(world.member(alice).request_contact(&own, "", Ticket(1), now), Err(CommandError::OwnName));
    assert_eq!(world.member(alice).block(&own, true, Ticket(1), now), Err(CommandError::OwnName));
    assert_eq!(world.member(alice).find(&own, Ticket(1), now), Err(CommandError::OwnName));
    world.lose_link(alice);
    let bob = name("bob");
    assert_eq!(world.member(alice).request_contact(&bob, "", Ticket(1), now), Err(CommandError::NotSignedIn));
}

#[test]
fn those_who_wish_to_be_listed_are_found_by_how_their_names_begin() {
    let (mut world, alice, bob) = World::of_strangers();
    let search = |world: &mut World, prefix: &str| {
        world.command(alice, |member, ticket, now| member.search(prefix, ticket, now))
    };
    assert_eq!(search(&mut world, "bob"), Ok(Answer::Found(Vec::new())));
    world.set(bob, SettingsChange { listed: Some(true), ..SettingsChange::default() }).unwrap();
    let person = Person { account: AccountId([2; 16]), name: name("bob") };
    assert_eq!(search(&mut world, "BOB"), Ok(Answer::Found(vec![person])));
    assert_eq!(search(&mut world, "bo"), Err(Refusal::Length));
}

#[test]
fn in_a_flood_of_requests_the_first_hundred_wait_and_the_others_are_swallowed() {
    let (mut world, _, bob) = World::of_strangers();
    for at in 0..=limits::CONTACT_REQUESTS_IN_MAX as u8 {
        let who = world.stranger(100 + at, &format!("stranger{at}"), 100 + at);
        assert_eq!(world.request(who, "bob", "buy boats"), Ok(Answer::Done));
        assert_eq!(world.state(who, "bob"), ContactState::Asked, "nobody sees whether it got through");
        world.lose_link(who);
    }
    let waiting = world.member(bob).contacts().into_iter().filter(|contact| contact.state == ContactState::Asks);
    assert_eq!(waiting.count(), limits::CONTACT_REQUESTS_IN_MAX);
    world.restart(bob);
    assert_eq!(world.member(bob).contacts().len(), limits::CONTACT_REQUESTS_IN_MAX);
}

#[test]
fn a_copy_of_a_device_is_found_out() {
    let (mut world, alice, _) = World::of_strangers();
    let copy = world.clients[alice].disk.clone();
    world.restart(alice);
    world.drop_link(alice);
    let identity = world.clients[alice].identity.clone();
    world.clients[alice].member = Member::new(identity, copy, [77; 32]);
    world.forget_events();
    world.sign_in(alice);
    assert_eq!(world.events(alice), [Event::StateTooOld]);
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.events(alice), []);
}

#[test]
fn the_devices_of_an_account_are_listed() {
    let (mut world, alice, _) = World::of_strangers();
    world.device(1, "alice", 12);
    let listed = world.command(alice, |member, ticket, now| member.list_devices(ticket, now));
    let Ok(Answer::Devices(devices)) = listed else { panic!("{listed:?}") };
    let ids: Vec<_> = devices.iter().map(|record| record.device[0]).collect();
    assert_eq!(ids, [11, 12]);
}
