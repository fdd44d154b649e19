//! Settings, the directory, devices, request keys, reports, and what the operator sees.

use ahoy_proto::limits::{MOOD_CHARACTERS_MAX, REPORTS_PER_DAY_MAX, SEARCH_RESULTS_MAX};

use super::*;

fn change(account: AccountId, change: v1::ChangeSettings) -> ChangeSettings {
    ChangeSettings { account, change }
}

fn listed(account: AccountId, listed: bool) -> ChangeSettings {
    change(account, v1::ChangeSettings { listed: Some(listed), ..v1::ChangeSettings::default() })
}

fn search(world: &World, prefix: &str) -> Vec<String> {
    let found = world.run(SearchDirectory { prefix: prefix.to_owned() }).unwrap();
    found.into_iter().map(|found| found.name.as_str().to_owned()).collect()
}

#[test]
fn settings_begin_safe_and_change_one_by_one() {
    let world = World::new();
    let alice = world.account(1);
    let first = world.run(ListContacts { account: alice, after: None, today: Day(1) }).unwrap();
    let mut expected = v1::Settings {
        calls_from: v1::CallsFrom::Contacts.into(),
        availability: v1::Availability::Online.into(),
        mood: String::new(),
        listed: false,
    };
    assert_eq!((first.settings, first.serial), (Some(expected.clone()), 0));
    let away = v1::ChangeSettings { availability: Some(v1::Availability::Away.into()), ..Default::default() };
    world.run(change(alice, away)).unwrap();
    let mood = v1::ChangeSettings { mood: Some("ahoy".to_owned()), ..Default::default() };
    let changed = world.run(change(alice, mood)).unwrap();
    expected.availability = v1::Availability::Away.into();
    expected.mood = "ahoy".to_owned();
    assert_eq!(changed, v1::SettingsChanged { settings: Some(expected), serial: 2 });
}

#[test]
fn a_setting_that_is_none_is_refused_and_changes_nothing() {
    let world = World::new();
    let alice = world.account(1);
    let wrong = [
        v1::ChangeSettings { calls_from: Some(0), ..Default::default() },
        v1::ChangeSettings { calls_from: Some(99), ..Default::default() },
        v1::ChangeSettings { availability: Some(v1::Availability::Offline.into()), ..Default::default() },
        v1::ChangeSettings { mood: Some("é".repeat(MOOD_CHARACTERS_MAX + 1)), ..Default::default() },
    ];
    for wrong in wrong {
        assert_eq!(world.run(change(alice, wrong)), Err(StoreError::Invalid));
    }
    assert_eq!(world.run(ListContacts { account: alice, after: None, today: Day(1) }).unwrap().serial, 0);
    let longest = v1::ChangeSettings { mood: Some("é".repeat(MOOD_CHARACTERS_MAX)), ..Default::default() };
    assert!(world.run(change(alice, longest)).is_ok());
}

#[test]
fn the_directory_shows_only_those_who_wish_it_and_only_by_how_their_names_begin() {
    let world = World::new();
    for (number, name) in (1..).zip(["anna", "annabel", "ann.x", "ann_y", "bann", "anz", "ann-hidden"]) {
        world.run(sign_up(number, name, Admission::Anyone, None)).unwrap();
        world.run(listed(AccountId([number; 16]), name != "ann-hidden")).unwrap();
    }
    assert_eq!(search(&world, "ann"), ["ann.x", "ann_y", "anna", "annabel"]);
    assert_eq!(search(&world, "annab"), ["annabel"]);
    assert_eq!(search(&world, "ann_"), ["ann_y"], "no character stands for others");
    assert!(search(&world, "an%").is_empty());
    assert!(search(&world, "anzz").is_empty());
    world.run(listed(AccountId([1; 16]), false)).unwrap();
    world.run(Suspend { account: AccountId([2; 16]), suspended: true, at: NOW }).unwrap();
    assert_eq!(search(&world, "ann"), ["ann.x", "ann_y"]);
}

#[test]
fn a_search_shows_so_many() {
    let world = World::new();
    for number in 1..=SEARCH_RESULTS_MAX as u8 + 5 {
        world.run(listed(world.account(number), true)).unwrap();
    }
    assert_eq!(search(&world, "name").len(), SEARCH_RESULTS_MAX);
}

#[test]
fn a_request_key_is_found_with_the_account() {
    let world = World::new();
    let mut with = sign_up(1, "alice", Admission::Anyone, None);
    with.account.request_key = Some(vec![8; 96]);
    world.run(with).unwrap();
    let find = |name| world.run(FindAccount { name: Name::parse(name).unwrap() }).unwrap().request_key;
    assert_eq!(find("alice"), vec![8; 96]);
    let bob = world.account(2);
    assert!(find("name2").is_empty());
    world.run(SetRequestKey { account: bob, request_key: vec![9; 96] }).unwrap();
    assert_eq!(find("name2"), vec![9; 96]);
    assert_eq!(world.run(SetRequestKey { account: bob, request_key: vec![9; 95] }), Err(StoreError::Invalid));
    let nobody = SetRequestKey { account: AccountId([9; 16]), request_key: vec![9; 96] };
    assert_eq!(world.run(nobody), Err(StoreError::NotFound));
}

#[test]
fn a_state_serial_is_taken_once_and_a_copy_is_too_old() {
    let world = World::new();
    let (alice, bob) = (world.account(1), world.account(2));
    world.run(add_device(alice, 3)).unwrap();
    let device = DeviceId([1; 16]);
    let check_in = |account, serial, today| world.run(CheckIn { account, device, serial, today: Day(today) });
    let devices = check_in(alice, 1, 20_000).unwrap();
    let seen: Vec<_> = devices.iter().map(|device| (device.device.clone(), device.last_seen())).collect();
    let other = DeviceId([3; 16]).to_bytes();
    assert_eq!(seen, [(device.to_bytes(), v1::LastSeen::Today), (other, v1::LastSeen::Unspecified)]);
    assert_eq!((&devices[0].name[..], devices[0].made_at), ("telephone", NOW.0));
    assert_eq!(check_in(alice, 1, 20_000), Err(StoreError::StateTooOld));
    assert!(check_in(alice, 5, 20_001).is_ok());
    assert_eq!(check_in(alice, 4, 20_001), Err(StoreError::StateTooOld));
    assert_eq!(check_in(bob, 6, 20_001), Err(StoreError::NotFound));
    let listed = world.run(ListDevices { account: alice, today: Day(20_009) }).unwrap();
    assert_eq!(listed[0].last_seen(), v1::LastSeen::Earlier);
}

#[test]
fn a_day_is_written_once_and_never_goes_back() {
    let world = World::new();
    let alice = world.account(1);
    let day = || world.number("SELECT last_seen_day FROM accounts");
    for (today, expected) in [(100, 100), (100, 100), (99, 100), (101, 101)] {
        world.run(MarkSeen { account: alice, today: Day(today) }).unwrap();
        assert_eq!(day(), expected);
    }
}

#[test]
fn a_device_is_renamed_by_its_own_account_only() {
    let world = World::new();
    let (alice, bob) = (world.account(1), world.account(2));
    let rename = |account| RenameDevice { account, device: DeviceId([1; 16]), name: "laptop".to_owned() };
    assert_eq!(world.run(rename(bob)), Err(StoreError::NotFound));
    assert_eq!(world.run(rename(alice)), Ok(()));
    assert_eq!(world.run(ListDevices { account: alice, today: Day(1) }).unwrap()[0].name, "laptop");
}

#[test]
fn reports_are_kept_for_the_operator_and_bounded_a_day() {
    let world = World::new();
    let (alice, bob) = (world.account(1), world.account(2));
    let report = |about, at| Report { account: alice, about, sealed: Bytes::from_static(b"sealed"), at };
    assert_eq!(world.run(report(AccountId([9; 16]), NOW)), Err(StoreError::NotFound));
    for _ in 0..REPORTS_PER_DAY_MAX {
        world.run(report(bob, NOW)).unwrap();
    }
    assert_eq!(world.run(report(bob, NOW)), Err(StoreError::LimitReached));
    assert_eq!(world.run(report(bob, UnixTime(NOW.0 + 86_400))), Ok(()));
    let all = world.run(ListReports { after: 0 }).unwrap();
    assert_eq!(all.len(), REPORTS_PER_DAY_MAX + 1);
    let first = Reported { arrival: 1, reporter: alice, about: bob, at: NOW, sealed: Bytes::from_static(b"sealed") };
    assert_eq!(all[0], first);
    assert_eq!(world.run(ListReports { after: 1 }).unwrap(), all[1..]);
    assert_eq!(world.run(ForgetReport { arrival: 1 }), Ok(()));
    assert_eq!(world.run(ForgetReport { arrival: 1 }), Err(StoreError::NotFound));
}

#[test]
fn the_operator_sees_accounts_in_pages_by_name() {
    let world = World::new();
    let (alice, bob) = (world.account(1), world.account(2));
    world.run(add_device(alice, 3)).unwrap();
    world.run(Suspend { account: bob, suspended: true, at: NOW }).unwrap();
    world.run(MarkSeen { account: alice, today: Day(7) }).unwrap();
    let all = world.run(ListAccounts { after: None }).unwrap();
    let summary = |account, name, suspended, devices, last_seen| AccountSummary {
        account,
        name: Name::parse(name).unwrap(),
        suspended,
        made_at: NOW,
        devices,
        last_seen,
    };
    assert_eq!(all, [summary(alice, "name1", false, 2, Some(Day(7))), summary(bob, "name2", true, 1, None)]);
    let after = |name| world.run(ListAccounts { after: Some(Name::parse(name).unwrap()) }).unwrap();
    assert_eq!(after("name1"), all[1..]);
    assert!(after("name2").is_empty());
}
