//! The end of an account: nothing of it stays but what must.

use ahoy_proto::document::Revoked;
use ahoy_proto::limits::RETENTION;

use super::conversations::{create, created};
use super::messages::{message, sent};
use super::*;
use crate::sql::{FromValue, Value};

const DAY: u64 = 86_400;

/// An account in every table: Alice (1, with devices 1 and 4), Bob (2) and Carol (3) as her contacts, a pair with Bob, groups
/// of hers and of Bob's.
fn full() -> (World, AccountId, AccountId, AccountId) {
    let world = World::new();
    let ((alice, bob), carol) = (world.contacts(1, 2), world.account(3));
    let dave = world.account(5);
    world.befriend(bob, carol);
    world.run(add_device(alice, 4)).unwrap();
    let ask = |account, peer| RequestContact { account, peer, note: Bytes::from_static(b"note"), at: NOW };
    world.run(ask(carol, alice)).unwrap();
    world.run(ask(dave, alice)).unwrap();
    world.run(AnswerContact { account: alice, peer: dave, accept: false, at: NOW }).unwrap();
    for device in [1, 4] {
        let packages = vec![Bytes::from_static(b"package")];
        let device = DeviceId([device; 16]);
        world.run(PublishKeyPackages { account: alice, device, packages, last_resort: None }).unwrap();
    }
    created(world.run(create(alice, bob, 10, &[(2, b"welcome"), (4, b"welcome")])));
    for (id, owner, other) in [(11, alice, bob), (12, bob, alice), (13, alice, alice)] {
        let device = DeviceId([other.0[0]; 16]);
        let group = CreateConversation { peer: None, ..create(owner, owner, id, &[]) };
        created(world.run(group));
        let welcomes = vec![Welcoming { devices: vec![device], welcome: Bytes::from_static(b"welcome") }];
        let add = if other == owner { vec![] } else { vec![other] };
        world.run(Commit { add, welcomes, ..conversations::commit(owner, id, 1, &[]) }).unwrap();
    }
    for id in [10, 11, 12, 13] {
        let epoch = if id == 10 { 1 } else { 2 };
        sent(world.run(message(alice, id, 1, epoch)));
        let conversation = ConversationId([id; 16]);
        let sealed = Bytes::from_static(b"receipt");
        world.run(SetReceipt { account: alice, device: DeviceId([1; 16]), conversation, sealed }).unwrap();
    }
    world.run(Report { account: alice, about: bob, sealed: Bytes::new(), at: NOW }).unwrap();
    world.run(Report { account: bob, about: alice, sealed: Bytes::new(), at: NOW }).unwrap();
    (world, alice, bob, carol)
}

/// Bytes or text.
struct Anything(Vec<u8>);

impl FromValue for Anything {
    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Blob(bytes) => Some(Self(bytes.to_vec())),
            Value::Text(text) => Some(Self(text.as_bytes().to_vec())),
            Value::Null | Value::Integer(_) => None,
        }
    }
}

/// Which columns of which tables hold an id of Alice's or her name, anywhere in a value.
fn mentions(world: &World) -> Vec<String> {
    let needles: [&[u8]; 3] = [&[1; 16], &[4; 16], b"name1"];
    let is_found =
        |value: &[u8]| needles.iter().any(|needle| value.windows(needle.len()).any(|window| window == *needle));
    let columns = world.behind(|transaction| {
        transaction.all(World::COLUMNS, params![], |row| Ok((row.get::<String>(0)?, row.get::<String>(1)?)))
    });
    let mut found = Vec::new();
    for (table, column) in columns {
        let query: &str = format!("SELECT {column} FROM {table} WHERE {column} IS NOT NULL").leak();
        let values =
            world.behind(move |transaction| transaction.all(query, params![], |row| Ok(row.get::<Anything>(0)?.0)));
        if values.iter().any(|value| is_found(value)) {
            found.push(format!("{table}.{column}"));
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn of_a_deleted_account_only_the_key_log_and_what_waits_for_others_stays() {
    let (world, alice, ..) = full();
    let before: Vec<String> = mentions(&world);
    for table in
        ["accounts", "devices", "contacts", "key_packages", "conversations", "members", "cursors", "usage", "log"]
    {
        assert!(before.iter().any(|column| column.starts_with(table)), "the test would not notice {table}: {before:?}");
    }
    world.run(DeleteAccount { account: alice, at: NOW }).unwrap();
    let waiting = ["log.account", "log.entry", "welcomes.entry"];
    let kept = ["account_key_log.account", "account_key_log.account_key", "revocations.id"];
    let mut expected = [&kept[..], &["departed_names.name"], &waiting].concat();
    expected.sort_unstable();
    assert_eq!(mentions(&world), expected);

    let later = UnixTime(NOW.plus(RETENTION).0 + DAY);
    for now in [NOW, later] {
        assert_eq!(world.run(Expire { now }), Ok(Expired::All));
    }
    assert_eq!(mentions(&world), kept, "what waited for others has its time");
    world.run(PruneRevocations { before: later }).unwrap();
    assert_eq!(mentions(&world), kept[..2]);
}

#[test]
fn a_deletion_says_whom_it_concerns() {
    let (world, alice, bob, carol) = full();
    let gone = world.run(DeleteAccount { account: alice, at: NOW }).unwrap();
    assert_eq!(gone.devices, [DeviceId([1; 16]), DeviceId([4; 16])]);
    assert_eq!(gone.ended, [(ConversationId([10; 16]), bob)]);
    let departures: Vec<_> =
        gone.departures.iter().map(|gone| (gone.entry.conversation.clone(), gone.members.clone())).collect();
    let group = |id: u8| ConversationId([id; 16]).to_bytes();
    assert_eq!(departures, [(group(11), vec![bob]), (group(12), vec![bob])]);
    assert_eq!(gone.departures[0].entry.body, Some(v1::log_entry::Body::Departed(alice.to_bytes())));
    let mut told: Vec<AccountId> = gone.contacts.iter().map(|(account, _)| *account).collect();
    told.sort_unstable();
    assert_eq!(told, [bob, carol, AccountId([5; 16])]);
    for (account, change) in gone.contacts {
        let contact = change.contact.unwrap();
        assert_eq!((contact.account.clone(), contact.state()), (alice.to_bytes(), v1::ContactState::None));
        let listed = world.run(ListContacts { account, after: None, today: Day(1) }).unwrap();
        assert_eq!(listed.serial, change.serial);
    }
    assert_eq!(world.run(DeleteAccount { account: alice, at: NOW }), Err(StoreError::NotFound));
}

#[test]
fn a_deleted_account_s_credentials_are_void_and_its_group_goes_on() {
    let (world, alice, bob, _) = full();
    world.run(DeleteAccount { account: alice, at: NOW }).unwrap();
    assert_eq!(world.run(Revocations).unwrap().accounts, [Revoked { id: alice, at: NOW }]);
    let conversation = ConversationId([11; 16]);
    assert_eq!(world.run(ListMemberIds { account: bob, conversation }), Ok(vec![bob]));
    sent(world.run(message(bob, 11, 1, 2)));
    let late = RequestContact { account: alice, peer: bob, note: Bytes::new(), at: NOW };
    assert_eq!(world.run(late), Err(StoreError::NotFound), "a session that has not closed yet");
}

#[test]
fn a_deleted_account_s_name_is_kept_back_for_a_time() {
    let world = World::new();
    let alice = world.account(1);
    world.run(DeleteAccount { account: alice, at: NOW }).unwrap();
    let take = |days| {
        let at = UnixTime(NOW.0 + days * DAY);
        world.run(AddAccount { at, ..sign_up(7, "name1", Admission::Anyone, None) })
    };
    assert_eq!(take(29), Err(StoreError::NameTaken));
    let at = UnixTime(NOW.0 + 29 * DAY);
    let name = Name::parse("name1").unwrap();
    let check = CheckAdmission { name, admission: Admission::Anyone, invite: None, at };
    assert_eq!(world.run(check), Err(StoreError::NameTaken));
    assert_eq!(take(30), Ok(()));
}
