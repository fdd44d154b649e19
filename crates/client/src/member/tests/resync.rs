//! Resync: whatever is under way when a part of the fleet is lost, things end as if it had not been.

use super::*;

/// What happens to a client's request, and the Resync that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Whoever it was for was dead already: it is refused.
    Unheard,
    /// It was carried out, and whoever carried it out died before saying so: it is refused.
    Unanswered,
    /// It is answered after the Resync.
    Late,
}

/// Which of a client's requests, counted from now on, meets with which fate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accident {
    pub(super) sends_left: usize,
    pub(super) fate: Fate,
    /// The request, once it has been sent.
    pub(super) number: Option<u64>,
}

/// More requests than the scenario has of one device.
const SENDS_MAX: usize = 100;

fn refused(in_reply_to: u64) -> v1::SupernodeMessage {
    let error = v1::Error { code: v1::ErrorCode::Unavailable.into(), text: "gone".into(), retry_after_ms: 500 };
    v1::SupernodeMessage { in_reply_to, body: Some(Body::Error(error)) }
}

fn resync() -> v1::SupernodeMessage {
    v1::SupernodeMessage { in_reply_to: 0, body: Some(Body::Resync(v1::Resync { spread_ms: 0 })) }
}

impl Client {
    /// A request leaves; `false` when it does not arrive.
    pub(super) fn meet_accident(&mut self, number: u64) -> bool {
        let Some(accident) = self.accident.as_mut().filter(|accident| accident.number.is_none()) else { return true };
        if accident.sends_left > 0 {
            accident.sends_left -= 1;
            return true;
        }
        accident.number = Some(number);
        match accident.fate {
            Fate::Unheard => self.from_supernode.extend([refused(number), resync()]),
            Fate::Unanswered => {}
            Fate::Late => self.from_supernode.push_back(resync()),
        }
        accident.fate != Fate::Unheard
    }

    /// A message comes.
    pub(super) fn take_from_supernode(&mut self, message: v1::SupernodeMessage) {
        let met =
            |accident: &Accident| accident.fate == Fate::Unanswered && accident.number == Some(message.in_reply_to);
        if self.accident.as_ref().is_some_and(met) {
            self.from_supernode.extend([refused(message.in_reply_to), resync()]);
        } else {
            self.from_supernode.push_back(message);
        }
    }
}

/// What a device was told of a call: how often it rang, was connected and ended, and the legs at the end.
#[derive(Debug, Default)]
struct Told {
    incoming: usize,
    connected: usize,
    endings: Vec<Ending>,
    own: Option<OwnLeg>,
    legs: BTreeMap<DeviceId, PeerLeg>,
}

impl Told {
    fn of(events: Vec<Event>, of: CallId) -> Self {
        let mut told = Self::default();
        for event in events {
            match event {
                Event::Incoming { call, .. } if call == of => told.incoming += 1,
                Event::Connected { call, own, legs, .. } if call == of => {
                    told.connected += 1;
                    told.own = Some(own);
                    told.legs.extend(legs.into_iter().map(|leg| (leg.device, leg)));
                }
                Event::OwnLegChanged { call, own } if call == of => told.own = Some(own),
                Event::PeerLegChanged { call, leg } if call == of => drop(told.legs.insert(leg.device, leg)),
                Event::Ended { call, ending } if call == of => told.endings.push(ending),
                _ => {}
            }
        }
        told
    }

    fn side(self) -> Side {
        assert_eq!((self.connected, &self.endings[..]), (1, &[][..]));
        Side { own: self.own.unwrap(), legs: self.legs.into_values().collect() }
    }
}

/// A first call, messages both ways, legs that attach anew, and the end; `false` when no accident happened.
fn whole_life(victim: Who, accident: Accident) -> bool {
    let breath = Duration::from_secs(10);
    let (mut world, alice, bob) = World::of_two();
    world.forget_events();
    world.clients[victim].accident = Some(accident);

    let call = world.call(alice, "bob");
    world.pass(breath);
    let rung = Told::of(world.events(bob), call);
    assert_eq!((rung.incoming, &rung.endings[..]), (1, &[][..]), "it rings, once");
    let told = Told::of(world.clients[alice].events.iter().cloned().collect(), call);
    assert!(told.endings.is_empty(), "{told:?}");
    world.answer(bob, call);
    world.pass(breath);

    let conversation = world.store.conversations(AccountId([1; 16]))[0];
    world.say(alice, conversation, "hello");
    world.pass(breath);
    world.say(bob, conversation, "hello yourself");
    world.pass(breath);

    // A leg that was attached attaches anew.
    let now = world.now.instant;
    world.member(victim).resync(now);
    world.pass(breath);
    let (ours, theirs) = (world.events(alice), world.events(bob));
    assert_keys_agree(&Told::of(ours, call).side(), &Told::of(theirs, call).side());

    world.hang_up(victim, call);
    world.pass(breath);
    for who in [alice, bob] {
        let told = Told::of(world.events(who), call);
        assert_eq!(told.endings, [Ending::Cause(v1::Cause::HungUp)], "client {who}");
    }
    world.both_read(conversation, &[alice, bob], &["hello", "hello yourself"]);
    assert!(world.clients[alice].history.lines(conversation).iter().all(|line| line.message.sequence.is_some()));
    assert_eq!(world.store.conversations(AccountId([1; 16])).len(), 1);
    assert_eq!((world.member(alice).passed_over(), world.member(bob).passed_over()), (0, 0));
    world.clients[victim].accident.is_some_and(|accident| accident.number.is_some())
}

fn at_every_request(victim: Who, fate: Fate) {
    for sends in 0..SENDS_MAX {
        if !whole_life(victim, Accident { sends_left: sends, fate, number: None }) {
            assert!(sends > 10, "the scenario has few requests");
            return;
        }
    }
    panic!("the scenario has no end");
}

#[test]
fn a_caller_whose_request_is_not_heard_by_a_dying_home_gets_all_done() {
    at_every_request(0, Fate::Unheard);
}

#[test]
fn a_caller_whose_request_is_carried_out_by_a_dying_home_gets_all_done_once() {
    at_every_request(0, Fate::Unanswered);
}

#[test]
fn a_caller_whose_request_is_answered_after_the_resync_gets_all_done_once() {
    at_every_request(0, Fate::Late);
}

#[test]
fn one_called_whose_request_is_not_heard_by_a_dying_home_gets_all_done() {
    at_every_request(1, Fate::Unheard);
}

#[test]
fn one_called_whose_request_is_carried_out_by_a_dying_home_gets_all_done_once() {
    at_every_request(1, Fate::Unanswered);
}

#[test]
fn one_called_whose_request_is_answered_after_the_resync_gets_all_done_once() {
    at_every_request(1, Fate::Late);
}

#[test]
fn request_numbers_go_on_over_a_resync_and_answers_from_before_change_nothing() {
    let mut alice = scripted::Scripted::checked_in();
    let (old, _) = alice.list();
    let now = alice.now;
    alice.sent.clear();
    alice.member.resync(now);
    alice.drain();
    assert!(alice.sent.iter().all(|(number, _)| *number > old), "{:?}", alice.sent);
    assert!(!alice.sent.iter().any(|(_, ask)| matches!(ask, Ask::CheckIn(_))));
    let contacts = vec![scripted::row(2, "bob", v1::ContactState::Accepted)];
    let page = v1::Contacts { contacts, more: false, serial: 7, settings: None };
    alice.reply(old, Body::Contacts(page.clone()));
    assert!(alice.names().is_empty());
    let (new, _) = alice.list();
    alice.reply(new, Body::Contacts(page));
    assert_eq!(alice.names(), ["bob"]);
}

#[test]
fn what_is_out_counts_over_a_resync_until_it_is_answered() {
    let mut alice = scripted::Scripted::checked_in();
    let now = alice.now;
    for number in 0..100 {
        alice.member.find(&name("bob"), Ticket(number), now).unwrap();
    }
    alice.drain();
    let mut sent: Vec<u64> = alice.sent.drain(..).map(|(number, _)| number).collect();
    // Those that were answered before the requests counted here.
    assert!(sent.len() <= limits::REQUESTS_IN_FLIGHT_MAX);
    alice.member.resync(now);
    alice.drain();
    assert!(alice.sent.is_empty(), "the link has as many as it takes: {:?}", alice.sent);
    for number in sent.drain(..) {
        alice.refuse(number, v1::ErrorCode::Unavailable);
    }
    assert!(alice.is_listing());
    assert!(alice.sent.len() < limits::REQUESTS_IN_FLIGHT_MAX);
    let lost = |event: &&Event| matches!(event, Event::Answer { answer: Err(Refusal::SessionLost), .. });
    assert_eq!(alice.events.iter().filter(lost).count(), 100, "whoever asked is told");
}

#[test]
fn a_ring_that_has_lost_its_call_ends_in_time_and_one_that_has_not_goes_on() {
    let (mut world, alice, bob) = World::of_two();
    let call = world.call(alice, "bob");
    world.forget_events();
    let now = world.now.instant;
    world.member(bob).resync(now);
    world.settle();
    assert_eq!(world.events(bob), [], "it rings on");
    // The caller goes, and nobody tells.
    world.clients[bob].tamper = Some(Box::new(|message| {
        message.body.take_if(|body| matches!(body, Body::CallEnded(_)));
    }));
    world.hang_up(alice, call);
    world.pass(limits::RING_TIMEOUT);
    assert_eq!(world.events(bob), [ended(call, v1::Cause::Lost)]);
}

#[test]
fn contacts_do_not_flicker_over_a_resync_and_those_of_whom_nothing_is_heard_are_gone_in_time() {
    let mut alice = scripted::Scripted::checked_in();
    let row = |account, named| scripted::row(account, named, v1::ContactState::Accepted);
    alice.page(7, &[row(2, "bob"), row(3, "claire")], false);
    let online = |account: u8| {
        let presence =
            v1::Presence { availability: v1::Availability::Online.into(), mood: String::new(), ..Default::default() };
        Body::PresenceChanged(v1::PresenceChanged { account: vec![account; 16].into(), presence: Some(presence) })
    };
    alice.tell(online(2));
    alice.tell(online(3));
    alice.events.clear();
    let now = alice.now;
    alice.member.resync(now);
    alice.drain();
    alice.page(7, &[row(2, "bob"), row(3, "claire")], false);
    alice.tell(online(2));
    assert_eq!(alice.events, [], "no flicker");
    alice.pass(Duration::from_secs(20));
    assert!(matches!(&alice.events[..], [Event::Presence { account: AccountId([3, ..]), .. }]), "{:?}", alice.events);
    assert_eq!(alice.member.presence(AccountId([2; 16])).availability, v1::Availability::Online);
}

#[test]
fn a_decline_that_a_dying_home_did_not_hear_is_said_again() {
    let (mut world, alice, bob) = World::of_two();
    let call = world.call(alice, "bob");
    world.forget_events();
    world.clients[bob].accident = Some(Accident { sends_left: 0, fate: Fate::Unheard, number: None });
    let now = world.now.instant;
    world.member(bob).decline(call, v1::Cause::Declined, now).unwrap();
    world.settle();
    assert_eq!(world.events(alice), [ended(call, v1::Cause::Declined)]);
}

#[test]
fn a_session_that_moves_keeps_calls_and_rings_without_a_word() {
    let (mut world, alice, bob) = World::of_two();
    let call = world.call(alice, "bob");
    world.forget_events();
    world.move_link(bob);
    assert!(!world.events(bob).iter().any(|event| matches!(event, Event::Ended { .. } | Event::Incoming { .. })));
    world.answer(bob, call);
    let (mut ours, mut theirs) = (world.events(alice), world.events(bob));
    assert_keys_agree(&connected(&ours, call), &connected(&theirs, call));
    world.move_link(alice);
    ours.extend(world.events(alice));
    theirs.extend(world.events(bob));
    assert_keys_agree(&Told::of(ours, call).side(), &Told::of(theirs, call).side());
}
