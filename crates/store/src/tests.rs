//! What the store promises, on real files.

mod backup;
mod contacts;
mod conversations;
mod deletion;
mod disk;
mod expiry;
mod groups;
mod kill;
mod messages;
mod migration;
mod people;
mod power;
mod restoration;
mod supernodes;

use std::sync::mpsc;

use ahoy_proto::document::Revoked;
use ahoy_proto::limits::{DEVICES_MAX, KEY_PACKAGES_MAX};
use ahoy_proto::{AccountId, ConversationId, DeviceId, Name, UnixTime, v1};
use bytes::Bytes;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

const NOW: UnixTime = UnixTime(1_000_000);

/// A store in a folder of its own.
struct World {
    store: Store,
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        Self { store: Store::open(&folder.path().join("ahoy.db")).unwrap(), folder }
    }

    fn run<V: Verb>(&self, verb: V) -> Result<V::Output, StoreError> {
        run(&self.store, verb)
    }

    /// An account named after its number, with one device of the same number.
    fn account(&self, number: u8) -> AccountId {
        self.run(sign_up(number, &format!("name{number}"), Admission::Anyone, None)).unwrap();
        AccountId([number; 16])
    }

    /// Two accounts that are each other's contacts.
    fn contacts(&self, one: u8, other: u8) -> (AccountId, AccountId) {
        let (account, peer) = (self.account(one), self.account(other));
        self.befriend(account, peer);
        (account, peer)
    }

    fn befriend(&self, account: AccountId, peer: AccountId) {
        let ask = |account, peer| RequestContact { account, peer, note: Bytes::new(), at: NOW };
        self.run(ask(account, peer)).unwrap();
        self.run(ask(peer, account)).unwrap();
    }

    /// Looks behind the store's back.
    fn number(&self, query: &str) -> u64 {
        let other = Connection::open(self.folder.path().join("ahoy.db")).unwrap();
        other.query_row(query, [], |row| row.get(0)).unwrap()
    }
}

fn run<V: Verb>(store: &Store, verb: V) -> Result<V::Output, StoreError> {
    let (reply, answer) = mpsc::channel();
    store.submit(verb, move |result| _ = reply.send(result));
    answer.recv().unwrap()
}

fn sign_up(number: u8, name: &str, admission: Admission, invite: Option<[u8; 32]>) -> AddAccount {
    let recovery = Recovery { verifier: [number; 32], sealed_account_key: vec![2; 72] };
    AddAccount {
        account: NewAccount {
            account: AccountId([number; 16]),
            name: Name::parse(name).unwrap(),
            account_key: [number; 32],
            request_key: None,
            opaque_record: vec![number; 192],
            sealed_account_key: vec![201; 72],
            recovery,
        },
        device: device(number),
        admission,
        invite,
        at: NOW,
    }
}

fn device(number: u8) -> Device {
    Device {
        device: DeviceId([number; 16]),
        name: "telephone".to_owned(),
        device_key: [number; 32],
        binding: vec![3; 200],
    }
}

fn add_device(account: AccountId, number: u8) -> AddDevice {
    AddDevice { account, device: device(number), at: NOW }
}

#[test]
fn an_account_is_found_by_name_and_by_id_after_reopening() {
    let World { store, folder } = World::new();
    run(&store, sign_up(1, "alice", Admission::Anyone, None)).unwrap();
    drop(store);
    let store = Store::open(&folder.path().join("ahoy.db")).unwrap();
    let found = run(&store, FindAccount { name: Name::parse("alice").unwrap() }).unwrap();
    assert_eq!((found.account, found.account_key), (AccountId([1; 16]), [1; 32]));
    assert_eq!(run(&store, AccountOf { account: found.account }).unwrap().opaque_record, vec![1; 192]);
    assert!(run(&store, AccountByName { name: Name::parse("bob").unwrap() }).unwrap().is_none());
    assert_eq!(run(&store, FindAccount { name: Name::parse("bob").unwrap() }), Err(StoreError::NotFound));
}

#[test]
fn a_name_and_a_device_id_belong_to_one_account() {
    let world = World::new();
    world.account(1);
    assert_eq!(world.run(sign_up(2, "name1", Admission::Anyone, None)), Err(StoreError::NameTaken));
    let mut stolen = sign_up(2, "bob", Admission::Anyone, None);
    stolen.device.device = DeviceId([1; 16]);
    assert_eq!(world.run(stolen), Err(StoreError::AlreadyExists));
    assert!(world.run(AccountByName { name: Name::parse("bob").unwrap() }).unwrap().is_none(), "undone whole");
    assert_eq!(world.run(KeyLogHeadNow).unwrap().sequence, 1);
}

#[test]
fn an_invite_admits_once_in_its_time_and_only_to_what_it_is_for() {
    let world = World::new();
    let add = |hash, admission| AddInvite { hash, admission, expires: UnixTime(NOW.0 + 10), at: NOW };
    world.run(add([1; 32], Admission::Invited)).unwrap();
    world.run(add([2; 32], Admission::Operator)).unwrap();
    let refused = Err(StoreError::InviteRefused);
    assert_eq!(world.run(sign_up(1, "alice", Admission::Invited, None)), refused);
    assert_eq!(world.run(sign_up(1, "alice", Admission::Invited, Some([9; 32]))), refused);
    assert_eq!(world.run(sign_up(1, "echo", Admission::Operator, Some([1; 32]))), refused);
    let late = AddAccount { at: UnixTime(NOW.0 + 11), ..sign_up(1, "alice", Admission::Invited, Some([1; 32])) };
    assert_eq!(world.run(late), refused);
    assert_eq!(world.run(sign_up(1, "alice", Admission::Invited, Some([1; 32]))), Ok(()));
    assert_eq!(world.run(sign_up(2, "bob", Admission::Invited, Some([1; 32]))), refused);
    assert_eq!(world.run(sign_up(3, "echo", Admission::Operator, Some([2; 32]))), Ok(()));
}

#[test]
fn the_account_key_log_is_a_chain_that_nobody_can_rewrite() {
    let world = World::new();
    let empty = world.run(KeyLogHeadNow).unwrap();
    world.account(1);
    let first = world.run(KeyLogHeadNow).unwrap();
    world.account(2);
    let second = world.run(KeyLogHeadNow).unwrap();
    assert_eq!([empty.sequence, first.sequence, second.sequence], [0, 1, 2]);
    assert_ne!(first.head, second.head);
    let other = Connection::open(world.folder.path().join("ahoy.db")).unwrap();
    assert!(other.execute("UPDATE account_key_log SET account_key = zeroblob(32)", []).is_err());
    assert!(other.execute("DELETE FROM account_key_log", []).is_err());
}

#[test]
fn an_account_has_so_many_devices_and_the_same_one_twice_is_one() {
    let world = World::new();
    let account = world.account(1);
    for number in 2..=DEVICES_MAX as u8 {
        world.run(add_device(account, number)).unwrap();
    }
    assert_eq!(world.run(add_device(account, 100)), Err(StoreError::LimitReached));
    assert_eq!(world.run(add_device(account, 2)), Ok(()));
    let revoke = || RevokeDevice { account, device: DeviceId([2; 16]), at: NOW };
    assert_eq!(world.run(revoke()), Ok(()));
    assert_eq!(world.run(revoke()), Err(StoreError::NotFound));
    assert_eq!(world.run(add_device(account, 100)), Ok(()));
}

#[test]
fn a_device_is_revoked_by_its_own_account_only() {
    let world = World::new();
    let (alice, bob) = (world.account(1), world.account(2));
    let device = DeviceId([1; 16]);
    assert_eq!(world.run(RevokeDevice { account: bob, device, at: NOW }), Err(StoreError::NotFound));
    assert_eq!(world.run(DeviceOf { device }), Ok((alice, [1; 32])));
}

#[test]
fn a_password_changes_only_on_the_record_that_the_change_is_based_on() {
    let world = World::new();
    let account = world.account(1);
    let change = |old: u8, new: u8, recovery| ChangePassword {
        account,
        old_record: vec![old; 192],
        opaque_record: vec![new; 192],
        sealed_account_key: vec![new; 72],
        recovery,
    };
    assert_eq!(world.run(change(1, 2, None)), Ok(()));
    assert_eq!(world.run(change(1, 3, None)), Err(StoreError::Conflict));
    assert_eq!(world.run(AccountOf { account }).unwrap().recovery.verifier, [1; 32], "the code stays");
    let recovery = Recovery { verifier: [7; 32], sealed_account_key: vec![7; 72] };
    assert_eq!(world.run(change(2, 3, Some(recovery))), Ok(()));
    assert_eq!(world.run(AccountOf { account }).unwrap().recovery.verifier, [7; 32]);
}

#[test]
fn the_revocation_list_grows_by_device_and_account_and_forgets_in_time() {
    let world = World::new();
    let (alice, bob) = (world.account(1), world.account(2));
    let first = world.run(Revocations).unwrap();
    world.run(RevokeDevice { account: alice, device: DeviceId([1; 16]), at: NOW }).unwrap();
    world.run(Suspend { account: bob, suspended: true, at: UnixTime(NOW.0 + 5) }).unwrap();
    let list = world.run(Revocations).unwrap();
    assert_eq!(list.devices, [Revoked { id: DeviceId([1; 16]), at: NOW }]);
    assert_eq!(list.accounts, [Revoked { id: bob, at: UnixTime(NOW.0 + 5) }]);
    assert_eq!(list.serial, first.serial + 2);
    world.run(PruneRevocations { before: UnixTime(NOW.0 + 5) }).unwrap();
    let pruned = world.run(Revocations).unwrap();
    assert_eq!((pruned.devices.len(), pruned.accounts.len(), pruned.serial), (0, 1, list.serial + 1));
    world.run(PruneRevocations { before: UnixTime(NOW.0 + 5) }).unwrap();
    assert_eq!(world.run(Revocations).unwrap(), pruned, "nothing pruned, no new serial");
}

#[test]
fn key_packages_are_handed_out_once_and_the_last_resort_for_ever() {
    let world = World::new();
    let account = world.account(1);
    let claim = || world.run(ClaimKeyPackages { account }).map(|claimed| claimed.packages[0].key_package.clone());
    assert_eq!(claim(), Err(StoreError::NotFound));
    let publish = |packages: &[&'static str], last_resort: Option<&'static str>| PublishKeyPackages {
        account,
        device: DeviceId([1; 16]),
        packages: packages.iter().map(|package| Bytes::from_static(package.as_bytes())).collect(),
        last_resort: last_resort.map(|package| Bytes::from_static(package.as_bytes())),
    };
    world.run(publish(&["a", "b"], Some("last"))).unwrap();
    let claimed: Vec<Bytes> = (0..4).map(|_| claim().unwrap()).collect();
    assert_eq!(claimed, ["a", "b", "last", "last"]);
    world.run(publish(&[], Some("newer"))).unwrap();
    assert_eq!(claim().unwrap(), "newer");
    assert_eq!(world.run(publish(&[""], None)), Err(StoreError::Invalid));
}

#[test]
fn key_packages_beyond_the_limit_push_out_the_oldest() {
    let world = World::new();
    let account = world.account(1);
    for start in [0, KEY_PACKAGES_MAX as u32] {
        let packages = (start..start + KEY_PACKAGES_MAX as u32).map(|n| n.to_be_bytes().to_vec().into()).collect();
        world.run(PublishKeyPackages { account, device: DeviceId([1; 16]), packages, last_resort: None }).unwrap();
    }
    for n in KEY_PACKAGES_MAX as u32..2 * KEY_PACKAGES_MAX as u32 {
        let claimed = world.run(ClaimKeyPackages { account }).unwrap();
        assert_eq!(claimed.packages[0].key_package, n.to_be_bytes().to_vec());
    }
    assert_eq!(world.run(ClaimKeyPackages { account }), Err(StoreError::NotFound));
}

#[test]
fn a_device_publishes_for_its_own_account_only() {
    let world = World::new();
    let (_, bob) = (world.account(1), world.account(2));
    let verb = PublishKeyPackages { account: bob, device: DeviceId([1; 16]), packages: vec![], last_resort: None };
    assert_eq!(world.run(verb), Err(StoreError::NotFound));
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ahoy.db");
    drop(Store::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 1000).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 1000, .. }), "{error}");
    assert!(error.to_string().contains("newer"));
    std::fs::write(&path, [7; 4096]).unwrap();
    assert!(matches!(Store::open(&path), Err(OpenError::Sqlite(_))));
}

#[test]
fn no_statement_reads_a_whole_table() {
    let folder = TempDir::new().unwrap();
    let connection = schema::open(&folder.path().join("ahoy.db")).unwrap();
    let all = [
        accounts::STATEMENTS,
        commits::STATEMENTS,
        crate::contacts::STATEMENTS,
        crate::conversations::STATEMENTS,
        cursors::STATEMENTS,
        crate::deletion::STATEMENTS,
        devices::STATEMENTS,
        crate::expiry::STATEMENTS,
        inbox::STATEMENTS,
        invites::STATEMENTS,
        key_packages::STATEMENTS,
        lists::STATEMENTS,
        log::STATEMENTS,
        members::STATEMENTS,
        operator::STATEMENTS,
        receipts::STATEMENTS,
        reports::STATEMENTS,
        settings::STATEMENTS,
        crate::supernodes::STATEMENTS,
    ];
    for statement in all.concat() {
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
        let rows = explain.raw_query();
        let steps: Vec<String> = rows.mapped(|row| row.get(3)).collect::<Result<_, _>>().unwrap();
        for step in steps {
            // The roster is only ever read whole, and counted when it grows.
            let whole_table = step.starts_with("SCAN") && step != "SCAN supernodes" && step != "SCAN CONSTANT ROW";
            assert!(!whole_table && !step.contains("TEMP B-TREE"), "{statement}: {step}");
        }
    }
}

/// Every file of this crate that holds statements hands them to the test above.
#[test]
fn no_statement_escapes_the_look_at_its_plan() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let test = std::fs::read_to_string(sources.join("tests.rs")).unwrap();
    for file in std::fs::read_dir(sources).unwrap() {
        let path = file.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap();
        let has_statements = path.is_file()
            && std::fs::read_to_string(&path).unwrap().contains("crate::statements::statements! {")
            && module != "tests";
        assert!(!has_statements || test.contains(&format!("{module}::STATEMENTS")), "{module}");
    }
}
