//! Who is told of whose presence, and that in the end everybody knows the truth.

use proptest::prelude::*;

use super::*;

pub(super) fn list() -> Ask {
    Ask::ListContacts(v1::ListContacts::default())
}

pub(super) fn activity(away: bool) -> Ask {
    Ask::SetActivity(v1::SetActivity { away })
}

pub(super) fn availability(availability: v1::Availability) -> Ask {
    Ask::ChangeSettings(v1::ChangeSettings { availability: Some(availability.into()), ..Default::default() })
}

fn block(account: AccountId, block: bool) -> Ask {
    Ask::BlockAccount(v1::BlockAccount { account: account.to_bytes(), block })
}

/// Two contacts and one who knows neither; one of the contacts has two devices.
struct Neighbours {
    alice: Member,
    bob: Member,
    bobs_other: Member,
    carol: Member,
}

fn neighbours(rig: &mut Rig) -> Neighbours {
    let (alice, bob) = (Member::new(1, 11), Member::new(2, 22));
    let (bobs_other, carol) = (Member::new(2, 23), Member::new(3, 33));
    rig.introduce(&[&alice, &bob, &bobs_other, &carol]);
    rig.store.add_contact(alice.account, bob.account);
    Neighbours { alice, bob, bobs_other, carol }
}

/// Signs in, says that somebody is there, and lists contacts; nothing is left to be seen.
fn arrive(rig: &mut Rig, member: &Member) -> Recipient {
    let link = rig.sign_in(member);
    assert_eq!(rig.request(link, activity(false)), Say::Done(v1::Done {}));
    assert!(matches!(rig.request(link, list()), Say::Contacts(_)));
    rig.pass(Duration::from_secs(5));
    link
}

/// What events say of one account's presence, in order; there are no other events.
fn seen_of(rig: &mut Rig, link: Recipient, account: AccountId) -> Vec<v1::Availability> {
    let told = |event: Say| match event {
        Say::PresenceChanged(v1::PresenceChanged { account: of, presence: Some(presence) }) => {
            assert_eq!(of, account.to_bytes());
            presence.availability()
        }
        other => panic!("no presence but {other:?}"),
    };
    rig.events(link).into_iter().map(told).collect()
}

use v1::Availability::{Away, DoNotDisturb, Invisible, Offline, Online as There};

#[test]
fn contacts_hear_of_each_other_and_nobody_else_does() {
    in_all_orders(|rig| {
        let Neighbours { alice, bob, carol, .. } = neighbours(rig);
        let stranger = arrive(rig, &carol);
        let first = arrive(rig, &alice);
        assert_eq!(seen_of(rig, first, bob.account), []);
        let second = arrive(rig, &bob);
        assert_eq!(seen_of(rig, first, bob.account), [There]);
        assert_eq!(seen_of(rig, second, alice.account), [There]);
        rig.lose(second);
        assert_eq!(seen_of(rig, first, bob.account), [Offline]);
        assert_eq!(rig.events(stranger), []);
        assert_eq!(rig.store.last_seen(bob.account), Some(Day((rig.now.unix_ms / 86_400_000) as u32)));
        assert_eq!(rig.store.last_seen(alice.account), None);
    });
}

#[test]
fn an_account_is_away_when_all_of_its_devices_are() {
    in_all_orders(|rig| {
        let Neighbours { alice, bob, bobs_other, .. } = neighbours(rig);
        let watcher = arrive(rig, &alice);
        let (one, other) = (arrive(rig, &bob), arrive(rig, &bobs_other));
        assert_eq!(seen_of(rig, watcher, bob.account), [There]);
        rig.request(one, activity(true));
        assert_eq!(seen_of(rig, watcher, bob.account), []);
        rig.request(other, activity(true));
        assert_eq!(seen_of(rig, watcher, bob.account), [Away]);
        rig.request(one, activity(false));
        assert_eq!(seen_of(rig, watcher, bob.account), [There]);
        rig.lose(one);
        assert_eq!(seen_of(rig, watcher, bob.account), [Away]);
    });
}

#[test]
fn a_device_is_away_until_it_says_otherwise() {
    in_all_orders(|rig| {
        let Neighbours { alice, bob, .. } = neighbours(rig);
        let watcher = arrive(rig, &alice);
        let link = rig.sign_in(&bob);
        rig.request(link, list());
        assert_eq!(seen_of(rig, watcher, bob.account), [Away]);
        rig.request(link, activity(false));
        assert_eq!(seen_of(rig, watcher, bob.account), [There]);
    });
}

#[test]
fn what_an_account_has_set_goes_before_what_its_devices_say() {
    in_all_orders(|rig| {
        let Neighbours { alice, bob, bobs_other, .. } = neighbours(rig);
        let watcher = arrive(rig, &alice);
        let (one, other) = (arrive(rig, &bob), arrive(rig, &bobs_other));
        rig.take(watcher);
        rig.take(other);
        for set in [DoNotDisturb, Away, Invisible, There] {
            let Say::SettingsChanged(changed) = rig.request(one, availability(set)) else { panic!("not changed") };
            assert_eq!(rig.events(other), [Say::SettingsChanged(changed)]);
        }
        assert_eq!(seen_of(rig, watcher, bob.account), [DoNotDisturb, Away, Offline, There]);
    });
}

#[test]
fn a_mood_is_told_to_those_who_are_there_and_to_those_who_come() {
    in_all_orders(|rig| {
        let Neighbours { alice, bob, .. } = neighbours(rig);
        let (watcher, link) = (arrive(rig, &alice), arrive(rig, &bob));
        rig.take(watcher);
        let mood = Some("at sea".to_owned());
        rig.request(link, Ask::ChangeSettings(v1::ChangeSettings { mood, ..Default::default() }));
        let told = rig.events(watcher);
        let [Say::PresenceChanged(changed)] = &told[..] else { panic!("{told:?}") };
        assert_eq!(changed.presence.as_ref().unwrap().mood, "at sea");
        rig.lose(watcher);
        let again = arrive(rig, &alice);
        assert_eq!(rig.events(again), told);
    });
}

#[test]
fn whoever_is_invisible_looks_like_nobody_there_from_the_first_moment_on() {
    let outcome = |online: bool| {
        let mut rig = Rig::new(3, 5);
        let Neighbours { alice, bob, .. } = neighbours(&mut rig);
        let link = arrive(&mut rig, &bob);
        rig.request(link, availability(Invisible));
        rig.lose(link);
        let watcher = arrive(&mut rig, &alice);
        if online {
            let link = arrive(&mut rig, &bob);
            rig.request(link, activity(true));
            rig.request(watcher, list());
            rig.lose(link);
        } else {
            rig.request(watcher, list());
        }
        (rig.events(watcher), rig.store.last_seen(bob.account))
    };
    assert_eq!(outcome(true), outcome(false));
    assert_eq!(outcome(true).0, []);
}

#[test]
fn a_second_device_hears_of_contacts_without_their_hearing_anew() {
    in_all_orders(|rig| {
        let Neighbours { alice, bob, bobs_other, .. } = neighbours(rig);
        let (watcher, one) = (arrive(rig, &alice), arrive(rig, &bob));
        rig.take(watcher);
        rig.take(one);
        let other = arrive(rig, &bobs_other);
        assert_eq!(seen_of(rig, other, alice.account), [There]);
        assert_eq!((rig.events(watcher), rig.events(one)), (vec![], vec![]));
    });
}

#[test]
fn whoever_is_blocked_sees_what_it_would_see_if_nobody_were_there() {
    in_all_orders(|rig| {
        let Neighbours { alice, bob, .. } = neighbours(rig);
        let (blocked, link) = (arrive(rig, &alice), arrive(rig, &bob));
        rig.take(blocked);
        rig.take(link);
        rig.request(link, block(alice.account, true));
        assert_eq!(seen_of(rig, blocked, bob.account), [Offline]);
        rig.request(link, activity(true));
        rig.request(link, availability(DoNotDisturb));
        rig.request(blocked, list());
        assert_eq!(rig.events(blocked), []);
        // Nor does the one who blocks hear.
        rig.take(link);
        rig.request(blocked, activity(true));
        assert_eq!(rig.events(link), []);
        rig.request(link, block(alice.account, false));
        assert_eq!(seen_of(rig, blocked, bob.account), [DoNotDisturb]);
        assert_eq!(seen_of(rig, link, alice.account), [Away]);
    });
}

#[test]
fn whoever_is_a_contact_no_more_is_offline_to_both_sides_devices() {
    in_all_orders(|rig| {
        let Neighbours { alice, bob, .. } = neighbours(rig);
        let links = [arrive(rig, &alice), arrive(rig, &bob)];
        links.iter().for_each(|link| drop(rig.take(*link)));
        rig.request(links[0], Ask::RemoveContact(v1::RemoveContact { account: bob.account.to_bytes() }));
        for link in links {
            let told = rig.events(link).into_iter().filter_map(|event| match event {
                Say::PresenceChanged(changed) => Some(changed.presence.unwrap().availability()),
                _ => None,
            });
            let told: Vec<_> = told.collect();
            assert!(!told.is_empty() && told.iter().all(|told| *told == Offline), "{told:?}");
        }
    });
}

#[test]
fn a_link_that_is_replaced_by_the_same_device_is_no_leaving() {
    in_all_orders(|rig| {
        let Neighbours { alice, bob, .. } = neighbours(rig);
        let (watcher, first) = (arrive(rig, &alice), arrive(rig, &bob));
        rig.take(watcher);
        rig.pass(Duration::from_millis(1));
        arrive(rig, &bob);
        assert_eq!(rig.closed(first), Some(v1::ErrorCode::SessionReplaced));
        assert_eq!(seen_of(rig, watcher, bob.account), [Away, There]);
    });
}

#[test]
fn a_sign_in_costs_one_list_and_one_message_to_each_home_of_contacts() {
    let mut rig = Rig::new(3, 1);
    let member = Member::new(0, 200);
    rig.introduce(&[&member]);
    let mut watchers = Vec::new();
    for contact in 1..=150 {
        let contact = Member::new(contact, contact);
        rig.introduce(&[&contact]);
        rig.store.add_contact(member.account, contact.account);
        if contact.account.0[0] <= 60 {
            watchers.push(arrive(&mut rig, &contact));
        }
    }
    watchers.iter().for_each(|link| drop(rig.take(*link)));
    rig.questions.clear();
    let told = rig.counters(|c| c.presence_told);
    let link = rig.link_up_on(0);
    let nonce = rig.nonce(link);
    rig.request(link, Ask::Prove(member.prove(&nonce, None)));
    rig.request(link, activity(false));
    rig.presence_tells = 0;
    assert!(matches!(rig.request(link, list()), Say::Contacts(_)));
    assert!(matches!(&rig.questions[..], [Question::ListContacts { .. }]), "{:?}", rig.questions);
    // The link is on the shard of its home: two other shards are told, and answer.
    assert_eq!(rig.presence_tells, 4);
    assert_eq!(rig.counters(|c| c.presence_told) - told, 150 + 60);
    let heard = rig.events(link).into_iter().filter(|event| matches!(event, Say::PresenceChanged(_))).count();
    assert_eq!(heard, 60);
    watchers.iter().for_each(|link| assert_eq!(seen_of(&mut rig, *link, member.account), [There]));
}

#[test]
fn contacts_of_all_pages_are_watched() {
    let mut rig = Rig::new(3, 2);
    let member = Member::new(0, 200);
    rig.introduce(&[&member]);
    for number in 1..limits::CONTACTS_MAX as u16 {
        let [high, low] = number.to_be_bytes();
        let mut account = AccountId([9; 16]);
        (account.0[0], account.0[1]) = (low, high);
        let name = Name::parse(&format!("contact{number}")).unwrap();
        rig.store.add_account(account, name, [3; 32]);
        rig.store.add_contact(member.account, account);
    }
    // The last one of all is there.
    let last = Member { account: AccountId([0xff; 16]), ..Member::new(0, 99) };
    rig.introduce(&[&last]);
    rig.store.add_contact(member.account, last.account);
    let watched = arrive(&mut rig, &last);
    let link = rig.sign_in(&member);
    let (mut after, mut pages, mut listed) = (Bytes::new(), 0, 0);
    loop {
        let Say::Contacts(page) = rig.request(link, Ask::ListContacts(v1::ListContacts { after })) else {
            panic!("no page");
        };
        pages += 1;
        listed += page.contacts.len();
        assert_eq!(page.settings.is_some(), pages == 1);
        after = page.contacts.last().unwrap().account.clone();
        if !page.more {
            break;
        }
    }
    assert!(pages > 1 && listed == limits::CONTACTS_MAX, "{pages} pages, {listed} contacts");
    assert_eq!(seen_of(&mut rig, link, last.account), [There]);
    assert_eq!(seen_of(&mut rig, watched, member.account), [Away]);
}

#[test]
fn presence_costs_an_account_200_bytes_and_16_a_contact() {
    use crate::accounts::Account;
    use crate::presence::Presence;
    assert!(size_of::<Presence>() <= 200, "{}", size_of::<Presence>());
    assert!(size_of::<Account>() <= 128, "{}", size_of::<Account>());
    assert_eq!(size_of::<AccountId>(), 16);
}

/// What one device does, or that time passes.
#[derive(Debug, Clone)]
enum Deed {
    SignIn(usize),
    Lose(usize),
    List(usize),
    Ask(usize, Ask),
    /// So many things happen.
    Steps(usize),
}

const ACCOUNTS: u8 = 4;

/// Two devices of each account.
fn devices() -> Vec<Member> {
    (0..ACCOUNTS).flat_map(|account| [0, 1].map(|device| Member::new(account, 100 + 2 * account + device))).collect()
}

fn deed() -> impl Strategy<Value = Deed> {
    // Two accounts have most to do with each other, so that their changes overtake one another.
    let device = || prop_oneof![4 => 0usize..4, 1 => 0..2 * usize::from(ACCOUNTS)];
    let account = || prop_oneof![4 => 0u8..2, 1 => 0..ACCOUNTS];
    let account = move || account().prop_map(|account| AccountId([account; 16]).to_bytes());
    let ask = prop_oneof![
        4 => any::<bool>().prop_map(activity),
        2 => prop_oneof![Just(There), Just(Away), Just(DoNotDisturb), Just(Invisible)].prop_map(availability),
        1 => "[a-c]{0,2}".prop_map(|mood| {
            Ask::ChangeSettings(v1::ChangeSettings { mood: Some(mood), ..Default::default() })
        }),
        3 => account().prop_map(|account| {
            Ask::RequestContact(v1::RequestContact { account, note: Bytes::new() })
        }),
        1 => (account(), any::<bool>())
            .prop_map(|(account, accept)| Ask::AnswerContact(v1::AnswerContact { account, accept })),
        2 => account().prop_map(|account| Ask::RemoveContact(v1::RemoveContact { account })),
        5 => (account(), any::<bool>())
            .prop_map(|(account, block)| Ask::BlockAccount(v1::BlockAccount { account, block })),
    ];
    prop_oneof![
        4 => device().prop_map(Deed::SignIn),
        2 => device().prop_map(Deed::Lose),
        1 => device().prop_map(Deed::List),
        12 => (device(), ask).prop_map(|(device, ask)| Deed::Ask(device, ask)),
        4 => (0usize..12).prop_map(Deed::Steps),
    ]
}

/// What a device makes of what it is told, as a client would.
#[derive(Debug, Default)]
struct View {
    listed: bool,
    list_serial: u64,
    serials: BTreeMap<AccountId, u64>,
    told: BTreeMap<AccountId, (v1::Availability, String)>,
    away: BTreeMap<u64, bool>,
    is_away: bool,
}

impl View {
    fn hear(&mut self, v1::SupernodeMessage { in_reply_to, body }: v1::SupernodeMessage) {
        let id = |bytes: &Bytes| AccountId::try_from(&bytes[..]).unwrap();
        match body.unwrap() {
            Say::Contacts(contacts) => {
                (self.listed, self.list_serial) = (true, contacts.serial);
                self.told.clear();
            }
            Say::PresenceChanged(v1::PresenceChanged { account, presence: Some(presence) }) => {
                self.told.insert(id(&account), (presence.availability(), presence.mood));
            }
            Say::ContactChanged(v1::ContactChanged { contact: Some(contact), serial }) => {
                let known = self.serials.entry(id(&contact.account)).or_insert(self.list_serial);
                if serial >= *known {
                    *known = serial;
                    if contact.state() != v1::ContactState::Accepted {
                        self.told.remove(&id(&contact.account));
                    }
                }
            }
            Say::Done(_) => self.is_away = self.away.remove(&in_reply_to).unwrap_or(self.is_away),
            _ => {}
        }
    }
}

struct Town {
    rig: Rig,
    devices: Vec<Member>,
    /// All links that there have been, and whose.
    links: Vec<(usize, Recipient)>,
    views: BTreeMap<Recipient, View>,
}

impl Town {
    fn new(seed: u64) -> Self {
        let mut rig = Rig::new(3, seed);
        let devices = devices();
        rig.introduce(&devices.iter().collect::<Vec<_>>());
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            rig.store.add_contact(AccountId([one; 16]), AccountId([other; 16]));
        }
        Self { rig, devices, links: Vec::new(), views: BTreeMap::new() }
    }

    /// The newest link of a device that is open: at rest the only one.
    fn open(&self, device: usize) -> Option<Recipient> {
        let of_device = self.links.iter().rev().filter(|(of, _)| *of == device).map(|(_, link)| *link);
        of_device.filter(|link| self.rig.closed(*link).is_none()).find(|link| !self.rig.lost.contains(link))
    }

    fn act(&mut self, deed: Deed) {
        match deed {
            Deed::SignIn(device) => {
                self.rig.now.instant += Duration::from_millis(1);
                let shard = self.rig.rng.random_range(0..3);
                let link = self.rig.link_up_quietly(shard);
                let nonce = self.rig.nonce(link);
                let prove = self.devices[device].prove(&nonce, None);
                self.rig.ask_quietly(link, Ask::Prove(prove));
                self.rig.ask_quietly(link, list());
                self.links.push((device, link));
                self.views.insert(link, View { is_away: true, ..View::default() });
            }
            Deed::Lose(device) => {
                if let Some(link) = self.open(device) {
                    self.rig.lose_quietly(link);
                }
            }
            Deed::List(device) => self.act(Deed::Ask(device, list())),
            Deed::Ask(device, ask) => {
                let Some(link) = self.open(device) else { return };
                let away = match ask {
                    Ask::SetActivity(v1::SetActivity { away }) => Some(away),
                    _ => None,
                };
                let request = self.rig.ask_quietly(link, ask);
                let view = self.views.get_mut(&link).unwrap();
                view.away.extend(away.map(|away| (request, away)));
            }
            Deed::Steps(steps) => {
                for _ in 0..steps {
                    self.rig.step();
                }
            }
        }
    }

    /// The presence of an account, as one who knows everything sees it.
    fn truth(&self, account: AccountId) -> (v1::Availability, String) {
        let of_account = (0..self.devices.len()).filter(|device| self.devices[*device].account == account);
        let views: Vec<_> = of_account.filter_map(|device| Some(&self.views[&self.open(device)?])).collect();
        let settings = self.rig.store.settings(account).unwrap();
        let shown = match settings.availability() {
            _ if views.is_empty() => Offline,
            Invisible => Offline,
            There if views.iter().all(|view| view.is_away) => Away,
            set => set,
        };
        (shown, if shown == Offline { String::new() } else { settings.mood.clone() })
    }

    fn assert_everybody_knows_the_truth(&mut self) {
        self.rig.settle();
        let open: Vec<_> = (0..self.devices.len()).filter_map(|device| Some((device, self.open(device)?))).collect();
        for (_, link) in &open {
            let view = self.views.get_mut(link).unwrap();
            self.rig.seen.get_mut(link).unwrap().messages.drain(..).for_each(|message| view.hear(message));
            assert!(view.listed);
        }
        for (device, link) in open {
            let account = self.devices[device].account;
            for peer in (0..ACCOUNTS).map(|peer| AccountId([peer; 16])) {
                if self.rig.store.contact_state(account, peer) != v1::ContactState::Accepted {
                    continue;
                }
                let mutual = self.rig.store.contact_state(peer, account) == v1::ContactState::Accepted;
                let expected = if mutual { self.truth(peer) } else { (Offline, String::new()) };
                let told = self.views[&link].told.get(&peer).cloned().unwrap_or((Offline, String::new()));
                assert_eq!(told, expected, "{account} device {device} of {peer}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn at_rest_each_device_was_last_told_the_true_presence_of_each_contact(
        seed in any::<u64>(),
        deeds in proptest::collection::vec(proptest::collection::vec(deed(), 1..60), 1..4),
    ) {
        let mut town = Town::new(seed);
        for stretch in deeds {
            stretch.into_iter().for_each(|deed| town.act(deed));
            town.assert_everybody_knows_the_truth();
        }
        for device in 0..town.devices.len() {
            town.act(Deed::Lose(device));
        }
        town.rig.settle();
        prop_assert_eq!(town.rig.gauges(|g| g.links + g.accounts + g.queries), 0);
    }
}
