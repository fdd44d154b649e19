//! Names, contacts, settings, devices and reports; and what becomes of a stranger's call.

use super::calls::{DONE, ended, start};
use super::*;

pub(super) fn pair(rig: &mut Rig) -> (Member, Member) {
    let (alice, bob) = (Member::new(1, 11), Member::new(2, 22));
    rig.introduce(&[&alice, &bob]);
    (alice, bob)
}

fn find(name: &str) -> Ask {
    Ask::FindAccount(v1::FindAccount { name: name.to_owned() })
}

fn search(prefix: &str) -> Ask {
    Ask::SearchDirectory(v1::SearchDirectory { prefix: prefix.to_owned() })
}

fn ask_contact(account: AccountId) -> Ask {
    Ask::RequestContact(v1::RequestContact { account: account.to_bytes(), note: Bytes::from_static(b"note") })
}

fn answer_contact(account: AccountId, accept: bool) -> Ask {
    Ask::AnswerContact(v1::AnswerContact { account: account.to_bytes(), accept })
}

/// The state that a response or event tells.
fn state(say: &Say) -> v1::ContactState {
    match say {
        Say::ContactChanged(v1::ContactChanged { contact: Some(contact), .. }) => contact.state(),
        other => panic!("no contact but {other:?}"),
    }
}

fn states(rig: &mut Rig, link: Recipient) -> Vec<v1::ContactState> {
    rig.events(link).iter().filter(|event| !matches!(event, Say::PresenceChanged(_))).map(state).collect()
}

use v1::ContactState::{Accepted, Asked, Asks, Blocked, None as Gone};

#[test]
fn a_request_reaches_all_devices_of_both_and_so_does_the_answer() {
    in_all_orders(|rig| {
        let (alice, bob) = pair(rig);
        let (alices_other, bobs_other) = (Member::new(1, 12), Member::new(2, 23));
        let links = [&alice, &alices_other, &bob, &bobs_other].map(|member| rig.sign_in(member));
        let reply = rig.request(links[0], ask_contact(bob.account));
        assert_eq!(state(&reply), Asked);
        assert_eq!(links.map(|link| states(rig, link)), [vec![], vec![Asked], vec![Asks], vec![Asks]]);
        let reply = rig.request(links[2], answer_contact(alice.account, true));
        assert_eq!(state(&reply), Accepted);
        assert_eq!(links.map(|link| states(rig, link)), [vec![Accepted], vec![Accepted], vec![], vec![Accepted]]);
        let remove = Ask::RemoveContact(v1::RemoveContact { account: bob.account.to_bytes() });
        let reply = rig.request(links[0], remove.clone());
        assert_eq!(state(&reply), Gone);
        assert_eq!(links.map(|link| states(rig, link)), [vec![], vec![Gone], vec![Gone], vec![Gone]]);
        assert_eq!(error_code(&rig.request(links[0], remove)), v1::ErrorCode::NotFound);
    });
}

#[test]
fn new_contacts_hear_of_each_others_presence_at_once() {
    in_all_orders(|rig| {
        let (alice, bob) = pair(rig);
        let links = [&alice, &bob].map(|member| rig.sign_in(member));
        for link in links {
            rig.request(link, presence::list());
        }
        rig.request(links[0], ask_contact(bob.account));
        for link in links {
            rig.take(link);
        }
        rig.request(links[1], answer_contact(alice.account, true));
        for link in links {
            let events = rig.events(link);
            let told = events.iter().filter(|event| matches!(event, Say::PresenceChanged(_))).count();
            assert!(told > 0, "{events:?}");
        }
    });
}

#[test]
fn a_no_is_not_told_and_asking_again_does_not_get_through_for_30_days() {
    let mut rig = Rig::new(2, 0);
    let (alice, bob) = pair(&mut rig);
    let (link, other) = (rig.sign_in(&alice), rig.sign_in(&bob));
    rig.request(link, ask_contact(bob.account));
    let declined = rig.request(other, answer_contact(alice.account, false));
    assert_eq!(state(&declined), Gone);
    rig.take(other);
    assert_eq!(rig.events(link), []);
    let again = rig.request(link, ask_contact(bob.account));
    assert_eq!((state(&again), rig.events(other)), (Asked, vec![]));
    rig.now.unix_ms += limits::DECLINE_LASTS.as_millis() as u64;
    rig.request(link, ask_contact(bob.account));
    assert_eq!(states(&mut rig, other), [Asks]);
}

#[test]
fn a_blocked_account_asks_in_vain_and_sees_no_difference() {
    let outcome = |blocked: bool| {
        let mut rig = Rig::new(3, 4);
        let (alice, bob) = pair(&mut rig);
        let (link, other) = (rig.sign_in(&alice), rig.sign_in(&bob));
        if blocked {
            let block = Ask::BlockAccount(v1::BlockAccount { account: alice.account.to_bytes(), block: true });
            let reply = rig.request(other, block);
            assert_eq!(state(&reply), Blocked);
        }
        let reply = rig.request(link, ask_contact(bob.account));
        assert_eq!(states(&mut rig, other).is_empty(), blocked);
        (reply, rig.events(link))
    };
    assert_eq!(outcome(true), outcome(false));
}

#[test]
fn whom_one_has_blocked_one_does_not_ask() {
    let mut rig = Rig::new(1, 0);
    let (alice, bob) = pair(&mut rig);
    let link = rig.sign_in(&alice);
    let block = Ask::BlockAccount(v1::BlockAccount { account: bob.account.to_bytes(), block: true });
    rig.request(link, block);
    assert_eq!(error_code(&rig.request(link, ask_contact(bob.account))), v1::ErrorCode::Forbidden);
}

#[test]
fn strangers_are_asked_so_many_at_a_time() {
    let mut rig = Rig::new(1, 0);
    let (alice, _) = pair(&mut rig);
    let link = rig.sign_in(&alice);
    let mut last = None;
    for other in 10..=10 + limits::CONTACT_REQUESTS_OUT_MAX as u8 {
        rig.introduce(&[&Member::new(other, other)]);
        last = Some(rig.request(link, ask_contact(AccountId([other; 16]))));
        rig.pass(Duration::from_secs(6));
    }
    assert_eq!(error_code(&last.unwrap()), v1::ErrorCode::LimitReached);
}

#[test]
fn names_are_found_exactly_and_searched_by_their_beginning_where_their_owner_wishes() {
    let mut rig = Rig::new(2, 0);
    let (alice, bob) = pair(&mut rig);
    rig.store.set_request_key(bob.account, Bytes::from_static(&[8; 96]));
    let (link, other) = (rig.sign_in(&alice), rig.sign_in(&bob));
    let Say::AccountFound(found) = rig.request(link, find("Member2")) else { panic!("not found") };
    assert_eq!((found.account, found.request_key.len()), (bob.account.to_bytes(), 96));
    let Say::AccountsFound(found) = rig.request(link, search("MEM")) else { panic!("no result") };
    assert_eq!(found.accounts, []);
    rig.request(other, Ask::ChangeSettings(v1::ChangeSettings { listed: Some(true), ..Default::default() }));
    let Say::AccountsFound(found) = rig.request(link, search("MEM")) else { panic!("no result") };
    assert_eq!(found.accounts.iter().map(|account| &account.name[..]).collect::<Vec<_>>(), ["member2"]);
    for prefix in ["me", "mem ber", "memé", &"m".repeat(33)] {
        assert_eq!(error_code(&rig.request(link, search(prefix))), v1::ErrorCode::InvalidArgument, "{prefix}");
    }
}

#[test]
fn an_account_learns_300_names_an_hour_on_all_of_its_devices_and_links() {
    in_all_orders(|rig| {
        let (alice, _) = pair(rig);
        let alices_other = Member::new(1, 12);
        let mut learnt = 0;
        // 15 searches, and 150 look-ups, on one device and then another, each on a link of its own.
        for (member, ask, cost, times) in [(&alice, search("mem"), 10, 15), (&alices_other, find("member2"), 1, 150)] {
            for _ in 0..times {
                let link = rig.sign_in(member);
                assert!(!matches!(rig.request(link, ask.clone()), Say::Error(_)));
                learnt += cost;
                rig.lose(link);
            }
        }
        assert_eq!((learnt, rig.gauges(|g| g.accounts)), (limits::NAMES_PER_HOUR, 0));
        rig.pass(Duration::from_secs(600));
        let link = rig.sign_in(&alice);
        let Say::Error(error) = rig.request(link, find("member2")) else { panic!("no error") };
        assert_eq!((error.code(), error.retry_after_ms), (v1::ErrorCode::RateLimited, 3_000_000));
        assert_eq!(rig.counters(|c| c.names_refused), 1);
        rig.pass(Duration::from_secs(3000));
        assert!(matches!(rig.request(link, find("member2")), Say::AccountFound(_)));
        rig.lose(link);
        rig.pass(Duration::from_secs(3600));
        assert_eq!(rig.gauges(|g| g.timers), 0);
    });
}

#[test]
fn a_state_that_was_seen_before_is_too_old() {
    let mut rig = Rig::new(1, 0);
    let (alice, _) = pair(&mut rig);
    let link = rig.sign_in(&alice);
    let check_in = |state_serial| Ask::CheckIn(v1::CheckIn { state_serial });
    let Say::CheckedIn(checked) = rig.request(link, check_in(1)) else { panic!("not checked in") };
    assert_eq!(checked.devices.len(), 1);
    assert_eq!(checked.devices[0].last_seen(), v1::LastSeen::Today);
    assert_eq!(error_code(&rig.request(link, check_in(1))), v1::ErrorCode::StateTooOld);
    assert!(matches!(rig.request(link, Ask::ListDevices(v1::ListDevices {})), Say::CheckedIn(same) if same == checked));
    assert!(matches!(rig.request(link, check_in(3)), Say::CheckedIn(_)));
    assert_eq!(error_code(&rig.request(link, check_in(2))), v1::ErrorCode::StateTooOld);
}

#[test]
fn reports_are_taken_ten_a_day() {
    let mut rig = Rig::new(1, 0);
    let (alice, bob) = pair(&mut rig);
    let link = rig.sign_in(&alice);
    let report = |account: AccountId| {
        Ask::Report(v1::Report { account: account.to_bytes(), sealed: Bytes::from_static(b"sealed") })
    };
    assert_eq!(error_code(&rig.request(link, report(AccountId([99; 16])))), v1::ErrorCode::NotFound);
    for _ in 0..limits::REPORTS_PER_DAY_MAX {
        rig.pass(Duration::from_secs(10));
        assert_eq!(rig.request(link, report(bob.account)), DONE);
    }
    rig.pass(Duration::from_secs(10));
    assert_eq!(error_code(&rig.request(link, report(bob.account))), v1::ErrorCode::LimitReached);
}

#[test]
fn a_strangers_call_becomes_a_request_and_never_rings() {
    in_all_orders(|rig| {
        let (alice, bob) = pair(rig);
        let alices_other = Member::new(1, 12);
        rig.store.add_conversation(CONVERSATION, [alice.account, bob.account]);
        let (caller, own, callee) = (rig.sign_in(&alice), rig.sign_in(&alices_other), rig.sign_in(&bob));
        let call = calls::call_id(7);
        assert_eq!(rig.request(caller, start(call, 1)), DONE);
        let told = rig.events(caller);
        assert!(told.contains(&ended(call, v1::Cause::Requested)), "{told:?}");
        assert!(told.iter().any(|event| matches!(event, Say::ContactChanged(_))));
        assert_eq!(told.len(), 2);
        assert_eq!((states(rig, own), states(rig, callee)), (vec![Asked], vec![Asks]));
        rig.assert_no_calls();
        // Asking again for the same call, after a lost link, says the same.
        assert_eq!(error_code(&rig.request(caller, start(call, 2))), v1::ErrorCode::NotFound);
        assert!(rig.events(caller).contains(&ended(call, v1::Cause::Requested)));
        // Once accepted, it rings.
        rig.request(callee, answer_contact(alice.account, true));
        rig.take(caller);
        rig.take(callee);
        rig.request(caller, start(calls::call_id(8), 3));
        let rings = rig.events(callee);
        assert!(matches!(&rings[..], [Say::IncomingCall(_)]), "{rings:?}");
    });
}

#[test]
fn a_call_to_somebody_who_blocks_is_unreachable_or_a_request_as_if_nobody_were_there() {
    let outcome = |contacts: bool, blocked: bool| {
        let mut rig = Rig::new(3, 9);
        let (alice, bob) = pair(&mut rig);
        rig.store.add_conversation(CONVERSATION, [alice.account, bob.account]);
        if contacts {
            rig.store.add_contact(alice.account, bob.account);
        }
        if blocked {
            let callee = rig.sign_in(&bob);
            let block = Ask::BlockAccount(v1::BlockAccount { account: alice.account.to_bytes(), block: true });
            rig.request(callee, block);
        }
        let caller = rig.sign_in(&alice);
        assert_eq!(rig.request(caller, start(calls::call_id(1), 1)), DONE);
        rig.assert_no_calls();
        rig.events(caller)
    };
    for contacts in [true, false] {
        let mut told = [true, false].map(|blocked| outcome(contacts, blocked));
        told.iter_mut().for_each(|events| events.sort_by_key(|event| matches!(event, Say::CallEnded(_))));
        assert_eq!(told[0], told[1]);
        let cause = if contacts { v1::Cause::Unreachable } else { v1::Cause::Requested };
        assert!(told[0].contains(&ended(calls::call_id(1), cause)), "{told:?}");
    }
}

#[test]
fn a_call_to_somebody_whom_one_has_blocked_is_forbidden() {
    let mut rig = Rig::new(2, 0);
    let (alice, bob) = pair(&mut rig);
    rig.store.add_conversation(CONVERSATION, [alice.account, bob.account]);
    let caller = rig.sign_in(&alice);
    let block = Ask::BlockAccount(v1::BlockAccount { account: bob.account.to_bytes(), block: true });
    rig.request(caller, block);
    assert_eq!(error_code(&rig.request(caller, start(calls::call_id(1), 1))), v1::ErrorCode::Forbidden);
    rig.assert_no_calls();
}

#[test]
fn whoever_takes_calls_from_anyone_rings() {
    in_all_orders(|rig| {
        let (alice, bob) = pair(rig);
        rig.store.add_conversation(CONVERSATION, [alice.account, bob.account]);
        rig.store.set_calls_from(bob.account, v1::CallsFrom::Anyone);
        let (caller, callee) = (rig.sign_in(&alice), rig.sign_in(&bob));
        rig.request(caller, start(calls::call_id(1), 1));
        assert!(matches!(&rig.events(callee)[..], [Say::IncomingCall(_)]));
    });
}

#[test]
fn fields_of_people_out_of_range_are_invalid() {
    let mut rig = Rig::new(1, 0);
    let (alice, bob) = pair(&mut rig);
    let link = rig.sign_in(&alice);
    let (me, them) = (alice.account.to_bytes(), bob.account.to_bytes());
    let long = |max: usize| Bytes::from(vec![1; max + 1]);
    let settings = |change: v1::ChangeSettings| Ask::ChangeSettings(change);
    let mood = |mood: String| settings(v1::ChangeSettings { mood: Some(mood), ..Default::default() });
    let longest = "ü".repeat(limits::MOOD_CHARACTERS_MAX);
    assert!(matches!(rig.request(link, mood(longest.clone())), Say::SettingsChanged(_)));
    let bad = [
        mood(longest + "ü"),
        mood("two\nlines".to_owned()),
        settings(v1::ChangeSettings { calls_from: Some(0), ..Default::default() }),
        settings(v1::ChangeSettings { calls_from: Some(9), ..Default::default() }),
        Ask::CheckIn(v1::CheckIn { state_serial: u64::MAX }),
        Ask::RequestContact(v1::RequestContact { account: me.clone(), note: Bytes::new() }),
        Ask::RequestContact(v1::RequestContact { account: them.clone(), note: long(limits::NOTE_SEALED_MAX) }),
        Ask::AnswerContact(v1::AnswerContact { account: me.clone(), accept: true }),
        Ask::RemoveContact(v1::RemoveContact { account: Bytes::new() }),
        Ask::BlockAccount(v1::BlockAccount { account: me.clone(), block: true }),
        Ask::ListContacts(v1::ListContacts { after: long(3) }),
        Ask::Report(v1::Report { account: me, sealed: Bytes::from_static(b"sealed") }),
        Ask::Report(v1::Report { account: them.clone(), sealed: Bytes::new() }),
        Ask::Report(v1::Report { account: them, sealed: long(limits::REPORT_SEALED_MAX) }),
    ];
    let asked = rig.counters(|c| c.questions);
    for body in bad {
        let reply = rig.request(link, body.clone());
        assert_eq!(error_code(&reply), v1::ErrorCode::InvalidArgument, "{body:?}");
    }
    rig.pass(Duration::from_secs(60));
    for availability in [0, v1::Availability::Offline as i32, 77] {
        let change = v1::ChangeSettings { availability: Some(availability), ..Default::default() };
        assert_eq!(error_code(&rig.request(link, settings(change))), v1::ErrorCode::InvalidArgument);
    }
    assert_eq!(rig.counters(|c| c.questions), asked);
}
