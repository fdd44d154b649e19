//! A member against a supernode that says what the test wants: check-in, lists and changes in unlucky orders.

use ahoy_proto::report::{self, ReportSecret};

use super::*;

/// A member whose session is up, and what it has sent and told.
pub(super) struct Scripted {
    pub(super) member: Member,
    pub(super) now: Instant,
    pub(super) disk: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) sent: VecDeque<(u64, Ask)>,
    pub(super) events: Vec<Event>,
}

impl Scripted {
    pub(super) fn new(disk: BTreeMap<Vec<u8>, Vec<u8>>) -> Self {
        let member = Member::new(identity(1, "alice", 11, &account_key(1)), disk.clone(), [5; 32]);
        let mut scripted = Self { member, now: origin(), disk, sent: VecDeque::new(), events: Vec::new() };
        scripted.session_up();
        scripted
    }

    /// Checked in, everything else unanswered.
    pub(super) fn checked_in() -> Self {
        let mut scripted = Self::new(BTreeMap::new());
        scripted.check_in();
        scripted
    }

    pub(super) fn session_up(&mut self) {
        self.member.handle_session_up(self.now);
        self.drain();
    }

    pub(super) fn session_down(&mut self) {
        self.member.handle_session_down(self.now);
        self.sent.clear();
        self.drain();
    }

    pub(super) fn check_in(&mut self) -> u64 {
        let (number, serial) = self.take(|ask| if let Ask::CheckIn(ask) = ask { Some(ask.state_serial) } else { None });
        let device = |device: u8| v1::DeviceRecord { device: vec![device; 16].into(), ..Default::default() };
        self.reply(number, Body::CheckedIn(v1::CheckedIn { devices: vec![device(11)] }));
        serial
    }

    pub(super) fn drain(&mut self) {
        loop {
            match self.member.poll_output() {
                Output::Idle { .. } => return,
                Output::Send(message) => self.sent.push_back((message.request, message.body.unwrap())),
                Output::Event(event) => self.events.push(event),
                Output::Persist(batch) => {
                    for (key, value) in batch.pairs {
                        match value {
                            Some(value) => self.disk.insert(key, value),
                            None => self.disk.remove(&key),
                        };
                    }
                }
            }
        }
    }

    pub(super) fn reply(&mut self, in_reply_to: u64, body: Body) {
        self.member.handle_message(&v1::SupernodeMessage { in_reply_to, body: Some(body) }, self.now);
        self.drain();
    }

    pub(super) fn refuse(&mut self, in_reply_to: u64, code: v1::ErrorCode) {
        self.reply(in_reply_to, Body::Error(v1::Error { code: code.into(), text: "no".into(), retry_after_ms: 0 }));
    }

    pub(super) fn tell(&mut self, body: Body) {
        self.reply(0, body);
    }

    /// The next request of a kind that has been sent.
    pub(super) fn take<T>(&mut self, kind: impl Fn(&Ask) -> Option<T>) -> (u64, T) {
        let at = self.sent.iter().position(|(_, ask)| kind(ask).is_some());
        let at = at.unwrap_or_else(|| panic!("not among {:?}", self.sent));
        let (number, ask) = self.sent.remove(at).unwrap();
        (number, kind(&ask).unwrap())
    }

    /// The next list of contacts that is asked for: its number, and after whom.
    pub(super) fn list(&mut self) -> (u64, Bytes) {
        self.take(|ask| if let Ask::ListContacts(ask) = ask { Some(ask.after.clone()) } else { None })
    }

    pub(super) fn is_listing(&self) -> bool {
        self.sent.iter().any(|(_, ask)| matches!(ask, Ask::ListContacts(_)))
    }

    /// Answers the list that is asked for with one page.
    pub(super) fn page(&mut self, serial: u64, contacts: &[v1::Contact], more: bool) {
        let (number, after) = self.list();
        let settings = after.is_empty().then(v1::Settings::default);
        self.reply(number, Body::Contacts(v1::Contacts { contacts: contacts.to_vec(), more, serial, settings }));
    }

    pub(super) fn change(&mut self, serial: u64, contact: v1::Contact) {
        self.tell(Body::ContactChanged(v1::ContactChanged { contact: Some(contact), serial }));
    }

    pub(super) fn names(&self) -> Vec<String> {
        let names = self.member.contacts().into_iter().map(|contact| contact.person.name.as_str().to_owned());
        names.collect()
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.member.handle_timeout(self.now);
        self.drain();
    }
}

pub(super) fn row(account: u8, named: &str, state: v1::ContactState) -> v1::Contact {
    v1::Contact {
        account: vec![account; 16].into(),
        name: named.into(),
        account_key: account_key(account).verifying_key().to_bytes().to_vec().into(),
        state: state.into(),
        since: START,
        ..Default::default()
    }
}

fn accepted(account: u8, named: &str) -> v1::Contact {
    row(account, named, v1::ContactState::Accepted)
}

#[test]
fn nothing_is_sent_before_the_check_in_is_answered_and_a_later_session_needs_none() {
    let mut alice = Scripted::new(BTreeMap::new());
    let now = alice.now;
    alice.member.find(&name("bob"), Ticket(1), now).unwrap();
    alice.drain();
    assert!(matches!(&alice.sent.make_contiguous()[..], [(_, Ask::CheckIn(_))]), "{:?}", alice.sent);
    assert_eq!(alice.check_in(), 1);
    alice.take(|ask| if let Ask::FindAccount(_) = ask { Some(()) } else { None });
    assert!(alice.is_listing());
    alice.session_down();
    alice.session_up();
    assert!(!alice.sent.iter().any(|(_, ask)| matches!(ask, Ask::CheckIn(_))));
    assert!(alice.is_listing());
}

#[test]
fn each_process_and_each_repeated_check_in_shows_a_serial_that_was_not_shown_before() {
    let mut alice = Scripted::new(BTreeMap::new());
    let serial = |alice: &mut Scripted| {
        alice.take(|ask| if let Ask::CheckIn(ask) = ask { Some(ask.state_serial) } else { None })
    };
    let (number, first) = serial(&mut alice);
    assert_eq!(first, 1);
    // The store is away.
    alice.refuse(number, v1::ErrorCode::Unavailable);
    alice.pass(Duration::from_secs(2));
    assert_eq!(serial(&mut alice).1, 2);
    // The answer is lost with the session.
    alice.session_down();
    alice.session_up();
    assert_eq!(alice.check_in(), 3);
    assert_eq!(Scripted::new(alice.disk).check_in(), 4);
}

#[test]
fn a_state_that_is_too_old_is_not_used_any_more() {
    let mut alice = Scripted::new(BTreeMap::new());
    let now = alice.now;
    alice.member.find(&name("bob"), Ticket(1), now).unwrap();
    let (number, ()) = alice.take(|ask| if let Ask::CheckIn(_) = ask { Some(()) } else { None });
    alice.refuse(number, v1::ErrorCode::StateTooOld);
    let lost = Event::Answer { ticket: Ticket(1), answer: Err(Refusal::SessionLost) };
    assert_eq!(alice.events, [lost, Event::StateTooOld]);
    assert_eq!(alice.member.find(&name("bob"), Ticket(2), now), Err(CommandError::NotSignedIn));
    alice.session_up();
    alice.pass(Duration::from_secs(3600));
    assert!(alice.sent.is_empty(), "{:?}", alice.sent);
    assert_eq!(alice.events.len(), 2);
}

#[test]
fn contacts_come_in_pages_and_are_known_when_the_last_one_is_here() {
    let mut alice = Scripted::checked_in();
    alice.page(7, &[accepted(2, "bob"), accepted(3, "claire")], true);
    assert!(alice.names().is_empty());
    assert_eq!(alice.list().1, vec![3; 16]);
    let number = alice.member.session.as_ref().unwrap().requests.last_number();
    alice.reply(number, page(7, &[accepted(4, "dora")]));
    assert_eq!(alice.names(), ["bob", "claire", "dora"]);
}

fn page(serial: u64, contacts: &[v1::Contact]) -> Body {
    Body::Contacts(v1::Contacts { contacts: contacts.to_vec(), more: false, serial, settings: None })
}

#[test]
fn pages_that_differ_in_serial_are_not_one_list() {
    let mut alice = Scripted::checked_in();
    alice.page(7, &[accepted(2, "bob")], true);
    alice.page(8, &[accepted(3, "claire")], false);
    assert!(alice.names().is_empty());
    let (number, after) = alice.list();
    assert!(after.is_empty(), "it begins again");
    alice.reply(number, page(8, &[accepted(3, "claire")]));
    assert_eq!(alice.names(), ["claire"]);
}

#[test]
fn a_list_that_comes_later_than_a_newer_change_is_asked_for_again() {
    let mut alice = Scripted::checked_in();
    let (number, _) = alice.list();
    alice.change(8, accepted(3, "claire"));
    alice.reply(number, page(7, &[accepted(2, "bob")]));
    assert_eq!(alice.names(), ["claire"], "what is newer stays");
    let (number, _) = alice.list();
    alice.reply(number, page(8, &[accepted(2, "bob"), accepted(3, "claire")]));
    assert_eq!(alice.names(), ["bob", "claire"]);
    assert!(!alice.is_listing());
}

#[test]
fn changes_follow_on_the_list_by_their_serials() {
    let mut alice = Scripted::checked_in();
    alice.page(7, &[accepted(2, "bob")], false);
    alice.change(7, row(2, "bob", v1::ContactState::None));
    assert_eq!(alice.names(), ["bob"], "the list knew of it");
    alice.change(8, accepted(3, "claire"));
    assert_eq!(alice.names(), ["bob", "claire"]);
    assert!(!alice.is_listing());
    alice.change(10, accepted(4, "dora"));
    assert!(alice.is_listing(), "one is missing");
    alice.page(10, &[accepted(4, "dora")], false);
    assert_eq!(alice.names(), ["dora"]);
}

#[test]
fn a_supernode_whose_contacts_never_stand_still_is_asked_at_a_slow_pace_only() {
    let mut alice = Scripted::checked_in();
    let mut lists = 0;
    while alice.is_listing() {
        lists += 1;
        assert!(lists < 10, "lists without end");
        alice.change(u64::MAX, accepted(3, "claire"));
        alice.page(7, &[accepted(2, "bob")], false);
    }
    assert_eq!(alice.names(), ["bob"], "the newest list there is");
    alice.pass(Duration::from_secs(60));
    assert!(alice.is_listing(), "it is tried again");
}

#[test]
fn pages_that_do_not_move_on_end_the_list() {
    let mut alice = Scripted::checked_in();
    alice.page(7, &[accepted(2, "bob")], true);
    alice.page(7, &[accepted(2, "bob")], true);
    assert!(!alice.is_listing());
    assert_eq!(alice.names(), ["bob"]);
    let mut alice = Scripted::checked_in();
    alice.page(7, &[], true);
    assert!(!alice.is_listing());
}

#[test]
fn names_in_other_scripts_and_look_alikes_are_no_names() {
    let mut alice = Scripted::checked_in();
    // Cyrillic а; fullwidth; a zero-width joiner; capitals, which nobody has.
    let strange = ["аlice", "ｂｏｂ", "bo\u{200d}b", "Bob", "", "o\u{308}rjan"];
    let rows: Vec<_> = strange.iter().zip(2..).map(|(named, account)| accepted(account, named)).collect();
    alice.page(7, &rows, false);
    assert!(alice.names().is_empty());
    alice.change(8, row(9, "сlaire", v1::ContactState::Asks));
    assert!(alice.names().is_empty());
    let now = alice.now;
    alice.member.search("аli", Ticket(1), now).unwrap();
    alice.drain();
    assert!(!alice.sent.iter().any(|(_, ask)| matches!(ask, Ask::SearchDirectory(_))));
    let none = Event::Answer { ticket: Ticket(1), answer: Ok(Answer::Found(Vec::new())) };
    assert_eq!(alice.events.last(), Some(&none));
    alice.member.search("ali", Ticket(2), now).unwrap();
    alice.drain();
    let (number, ()) = alice.take(|ask| if let Ask::SearchDirectory(_) = ask { Some(()) } else { None });
    let found = |account, named: &str| v1::AccountFound {
        account: vec![account; 16].into(),
        name: named.into(),
        ..Default::default()
    };
    let accounts = vec![found(2, "alіna"), found(3, "alina")];
    alice.reply(number, Body::AccountsFound(v1::AccountsFound { accounts }));
    let alina = Person { account: AccountId([3; 16]), name: name("alina") };
    let found = Event::Answer { ticket: Ticket(2), answer: Ok(Answer::Found(vec![alina])) };
    assert_eq!(alice.events.last(), Some(&found));
}

#[test]
fn what_a_contact_says_of_itself_is_kept_within_bounds() {
    let mut alice = Scripted::checked_in();
    alice.page(7, &[accepted(2, "bob")], false);
    let mut told = |availability: v1::Availability, mood: &str| {
        let presence = v1::Presence { availability: availability.into(), mood: mood.into(), ..Default::default() };
        let account = vec![2; 16].into();
        alice.tell(Body::PresenceChanged(v1::PresenceChanged { account, presence: Some(presence) }));
        alice.member.presence(AccountId([2; 16]))
    };
    let seen = told(v1::Availability::Online, &format!("at\nsea\u{202e}{}", "🌊".repeat(500)));
    assert_eq!(seen.availability, v1::Availability::Online);
    assert_eq!(seen.mood.chars().count(), limits::MOOD_CHARACTERS_MAX);
    assert!(seen.mood.starts_with("at sea🌊"));
    assert_eq!(told(v1::Availability::Invisible, "").availability, v1::Availability::Offline);
    assert_eq!(told(v1::Availability::Unspecified, "").availability, v1::Availability::Offline);
}

#[test]
fn presence_is_of_accepted_contacts_and_of_this_session() {
    let mut alice = Scripted::checked_in();
    let online = |account: u8| {
        let presence = v1::Presence {
            availability: v1::Availability::Online.into(),
            mood: "sailing".into(),
            ..Default::default()
        };
        Body::PresenceChanged(v1::PresenceChanged { account: vec![account; 16].into(), presence: Some(presence) })
    };
    // Presence may overtake the list.
    alice.tell(online(2));
    alice.tell(online(3));
    alice.page(7, &[accepted(2, "bob"), row(3, "claire", v1::ContactState::Asks)], false);
    let (bob, claire) = (AccountId([2; 16]), AccountId([3; 16]));
    assert_eq!(alice.member.presence(bob).availability, v1::Availability::Online);
    assert_eq!(alice.member.presence(claire), Presence::default());
    alice.session_down();
    alice.session_up();
    let gone = Presence { mood: "sailing".into(), ..Presence::default() };
    assert_eq!(alice.member.presence(bob), gone, "nothing was told yet, but the mood is known");
    assert!(alice.events.contains(&Event::Presence { account: bob, presence: gone }));
    alice.change(8, row(2, "bob", v1::ContactState::None));
    assert_eq!(alice.member.presence(bob), Presence::default());
}

#[test]
fn the_account_key_of_an_accepted_contact_is_pinned_at_first_sight_and_a_change_is_announced_once() {
    let mut alice = Scripted::checked_in();
    alice.page(7, &[accepted(2, "bob")], false);
    let other = |serial| {
        let mut other = accepted(2, "bob");
        other.account_key = account_key(9).verifying_key().to_bytes().to_vec().into();
        other.since = serial;
        other
    };
    alice.change(8, other(8));
    alice.change(9, other(9));
    let announced = |event: &&Event| **event == Event::AccountKeyChanged { name: name("bob") };
    assert_eq!(alice.events.iter().filter(announced).count(), 1);
    assert!(alice.member.people.has_changed(&name("bob")));
}

#[test]
fn somebody_who_asks_under_another_key_than_the_pinned_one_is_not_accepted() {
    let mut alice = Scripted::checked_in();
    alice.page(7, &[accepted(2, "bob")], false);
    alice.change(8, row(2, "bob", v1::ContactState::None));
    let mut asks = row(2, "bob", v1::ContactState::Asks);
    asks.account_key = account_key(9).verifying_key().to_bytes().to_vec().into();
    alice.change(9, asks);
    let now = alice.now;
    alice.member.answer_contact(&name("bob"), true, Ticket(1), now).unwrap();
    alice.drain();
    let refused = Event::Answer { ticket: Ticket(1), answer: Err(Refusal::AccountKeyChanged) };
    assert_eq!(alice.events.last(), Some(&refused));
    assert!(!alice.sent.iter().any(|(_, ask)| matches!(ask, Ask::AnswerContact(_))));
    alice.member.answer_contact(&name("bob"), false, Ticket(2), now).unwrap();
    alice.drain();
    let (_, accept) = alice.take(|ask| if let Ask::AnswerContact(ask) = ask { Some(ask.accept) } else { None });
    assert!(!accept);
}

#[test]
fn a_report_is_for_the_operator_only() {
    let mut alice = Scripted::checked_in();
    let secret = ReportSecret::new([8; 32]);
    let (own, bob) = (AccountId([1; 16]), AccountId([2; 16]));
    let message = v1::RevealedMessage { account: bob.to_bytes(), text: "rude".into(), at_ms: 5 };
    let key = secret.report_key();
    alice.member.report(bob, "spam".into(), vec![message.clone()], &key, Ticket(1)).unwrap();
    alice.drain();
    let (number, sealed) = alice.take(|ask| match ask {
        Ask::Report(ask) if ask.account == bob.0[..] => Some(ask.sealed.clone()),
        _ => None,
    });
    let content = v1::ReportContent { reason: "spam".into(), messages: vec![message] };
    assert_eq!(report::open(&sealed, own, bob, &secret), Ok(content));
    alice.reply(number, Body::Done(v1::Done {}));
    assert_eq!(alice.events.last(), Some(&Event::Answer { ticket: Ticket(1), answer: Ok(Answer::Done) }));
    alice.member.report(bob, "a".repeat(1001), vec![], &key, Ticket(2)).unwrap();
    alice.member.report(bob, "spam".into(), vec![], &[0; 32], Ticket(3)).unwrap();
    alice.drain();
    let refused = |ticket, why| Event::Answer { ticket: Ticket(ticket), answer: Err(why) };
    assert_eq!(alice.events[alice.events.len() - 2..], [refused(2, Refusal::Length), refused(3, Refusal::NoKey)]);
}

#[test]
fn what_is_asked_when_the_session_is_lost_is_answered() {
    let mut alice = Scripted::checked_in();
    let now = alice.now;
    alice.member.find(&name("bob"), Ticket(1), now).unwrap();
    alice.member.list_devices(Ticket(2), now).unwrap();
    alice.member.change_settings(SettingsChange::default(), Ticket(3), now).unwrap();
    alice.drain();
    alice.session_down();
    let lost = |ticket| Event::Answer { ticket: Ticket(ticket), answer: Err(Refusal::SessionLost) };
    assert_eq!(alice.events, [lost(1), lost(2), lost(3)]);
}
