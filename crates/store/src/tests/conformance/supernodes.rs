//! Enrolment, and the lists that supernodes read.

use ahoy_proto::SupernodeId;

use super::*;

fn who(seed: u8, region: &str) -> Enrolling {
    let place = Place { addresses: vec![format!("192.0.2.{seed}:443")], region: region.to_owned(), weight: 100 };
    Enrolling { supernode: SupernodeId([seed; 16]), key: [seed; 32], place }
}

pub(in crate::tests) fn own(seed: u8, region: &str) -> EnrolOwn {
    EnrolOwn { who: who(seed, region), at: NOW }
}

fn token(hash: u8, granted: Granted) -> AddEnrolment {
    AddEnrolment { hash: [hash; 32], granted, expires: UnixTime(NOW.0 + 10), at: NOW }
}

fn enrol(hash: u8, who: Enrolling) -> Enrol {
    Enrol { hash: [hash; 32], who, at: NOW }
}

impl World {
    /// Enrols one with a token of its own.
    fn enrolled(&self, seed: u8) -> Enrolled {
        self.run(token(seed, Granted::default())).unwrap();
        self.run(enrol(seed, who(seed, ""))).unwrap()
    }

    fn roster_serial(&self) -> u64 {
        self.run(ListSerials).unwrap().roster
    }
}

#[test]
fn a_token_enrols_once_and_in_its_time() {
    let world = World::new();
    world.run(token(1, Granted::default())).unwrap();
    let late = Enrol { at: UnixTime(NOW.0 + 11), ..enrol(1, who(1, "")) };
    assert_eq!(world.run(late), Err(StoreError::EnrolmentRefused));
    assert_eq!(world.run(enrol(2, who(1, ""))), Err(StoreError::EnrolmentRefused), "unknown");
    let enrolled = world.run(enrol(1, who(1, ""))).unwrap();
    assert_eq!((enrolled.number, enrolled.supernode, enrolled.revoked_at), (0, SupernodeId([1; 16]), None));
    assert_eq!(world.run(enrol(1, who(1, ""))), Err(StoreError::EnrolmentRefused), "used");
    assert_eq!(world.run(enrol(1, who(2, ""))), Err(StoreError::EnrolmentRefused), "used");
    assert_eq!(world.run(SupernodeOf { supernode: SupernodeId([1; 16]) }), Ok(enrolled));
    assert_eq!(world.run(SupernodeOf { supernode: SupernodeId([2; 16]) }), Err(StoreError::NotFound));
}

#[test]
fn of_two_that_show_a_token_at_the_same_moment_one_enrols() {
    let world = World::new();
    world.run(token(1, Granted::default())).unwrap();
    // A handle, a thread and a connection each, as two authority processes have them.
    let stores = [1, 2].map(|_| world.home.open());
    let (reply, answers) = mpsc::channel();
    for (seed, store) in [1, 2].into_iter().zip(&stores) {
        let reply = reply.clone();
        store.submit(enrol(1, who(seed, "")), move |result| _ = reply.send(result));
    }
    let results = [answers.recv().unwrap(), answers.recv().unwrap()];
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert!(results.contains(&Err(StoreError::EnrolmentRefused)), "{results:?}");
}

#[test]
fn the_operators_word_goes_before_the_supernodes() {
    let world = World::new();
    let granted = Granted { region: Some("granted".to_owned()), weight: Some(7), addresses: None };
    world.run(token(1, granted)).unwrap();
    let place = world.run(enrol(1, who(1, "said"))).unwrap().place;
    assert_eq!((place.region.as_str(), place.weight, place.addresses), ("granted", 7, who(1, "").place.addresses));
}

#[test]
fn a_number_is_never_given_twice_and_a_revoked_key_does_not_come_back() {
    let world = World::new();
    assert_eq!([1, 2].map(|seed| world.enrolled(seed).number), [0, 1]);
    assert_eq!(world.enrolled(1).number, 0, "who enrols again keeps its number");
    let second = SupernodeId([2; 16]);
    let revoke = || RevokeSupernode { supernode: second, at: NOW };
    world.run(revoke()).unwrap();
    let serial = world.roster_serial();
    assert_eq!((world.run(revoke()), world.roster_serial()), (Ok(()), serial), "once is enough");
    assert_eq!(world.enrolled(3).number, 2);
    world.run(token(9, Granted::default())).unwrap();
    assert_eq!(world.run(enrol(9, who(2, ""))), Err(StoreError::Forbidden));
    assert_eq!(world.run(EnrolOwn { who: who(2, ""), at: NOW }), Err(StoreError::Forbidden));
    assert_eq!(world.run(enrol(9, who(4, ""))).unwrap().number, 3, "a refusal does not use the token up");
    let change = ChangeSupernode { supernode: second, change: Granted::default() };
    assert_eq!(world.run(change), Err(StoreError::NotFound));
    assert_eq!(world.run(RevokeSupernode { supernode: SupernodeId([9; 16]), at: NOW }), Err(StoreError::NotFound));
    let listed = world.run(ListSupernodes).unwrap().supernodes;
    assert_eq!(listed.iter().map(|one| one.revoked_at.is_some()).collect::<Vec<_>>(), [false, true, false, false]);
    world.run(AfterRestore).unwrap();
    assert!(world.enrolled(5).number > 60, "numbers given after the backup was made are not given again");
}

#[test]
fn an_id_that_is_enrolled_with_another_key_stays_as_it_is() {
    let world = World::new();
    let first = world.enrolled(1);
    world.run(token(2, Granted::default())).unwrap();
    let thief = Enrolling { key: [7; 32], ..who(1, "") };
    assert_eq!(world.run(enrol(2, thief)), Err(StoreError::AlreadyExists));
    assert_eq!(world.run(SupernodeOf { supernode: first.supernode }), Ok(first));
}

#[test]
fn the_roster_serial_moves_only_with_the_roster() {
    let world = World::new();
    let own = |region| own(1, region);
    world.run(own("here")).unwrap();
    assert_eq!(world.roster_serial(), 1);
    world.run(own("here")).unwrap();
    assert_eq!(world.roster_serial(), 1);
    world.run(own("there")).unwrap();
    let weight = Granted { weight: Some(3), ..Granted::default() };
    let change = || ChangeSupernode { supernode: SupernodeId([1; 16]), change: weight.clone() };
    world.run(change()).unwrap();
    world.run(change()).unwrap();
    assert_eq!(world.roster_serial(), 3);
    assert_eq!(world.run(own("there")).unwrap().place.weight, 3, "the operator's weight outlives a restart");
    assert_eq!((world.roster_serial(), world.run(ListSupernodes).unwrap().serial), (3, 3));
}

#[test]
fn a_list_is_handed_on_when_it_is_new_or_signed_anew_and_never_goes_back() {
    let world = World::new();
    let publish = |serial, token: &str| Publish { list: PublishedList::Roster, serial, token: token.to_owned() };
    let read = |version| world.run(Published { revocations: 0, roster: version }).unwrap();
    assert_eq!(read(0), Publications { revocations: None, roster: None });
    world.run(publish(5, "five")).unwrap();
    let first = read(0).roster.unwrap();
    assert_eq!((first.token.as_str(), read(first.version).roster), ("five", None));
    world.run(publish(5, "five, signed anew")).unwrap();
    let second = read(first.version).roster.unwrap();
    assert_eq!(second.token, "five, signed anew");
    world.run(publish(4, "four")).unwrap();
    assert_eq!(read(second.version).roster, None);
    world.run(Publish { list: PublishedList::Revocations, serial: 1, token: "one".to_owned() }).unwrap();
    assert_eq!(read(second.version).revocations.unwrap().token, "one");
}
