//! A store that moves from SQLite to PostgreSQL: whole, or not yet.

use std::ops::ControlFlow;

use super::on_postgres::World as Moved;
use super::on_sqlite::World;
use super::on_sqlite::conversations::commit;
use super::on_sqlite::messages::{message, pair, sent};
use super::*;
use crate::testing::Database;

/// A store with something in each table.
fn full() -> World {
    let (world, alice, bob) = pair();
    for number in 1..=300 {
        sent(world.run(message(alice, 10, number, 1)));
    }
    world.run(commit(bob, 10, 1, &[(1, b"welcome")])).unwrap();
    let (conversation, device) = (ConversationId([10; 16]), DeviceId([1; 16]));
    world.run(SetReceipt { account: alice, device, conversation, sealed: Bytes::from_static(b"receipt") }).unwrap();
    let packages = vec![Bytes::from_static(b"package"); 3];
    world.run(PublishKeyPackages { account: alice, device, packages, last_resort: None }).unwrap();
    world.run(Report { account: alice, about: bob, sealed: Bytes::new(), at: NOW }).unwrap();
    let carol = world.account(3);
    world.run(Suspend { account: carol, suspended: true, at: NOW }).unwrap();
    let gone = world.account(4);
    world.run(DeleteAccount { account: gone, at: NOW }).unwrap();
    world.run(disk::invite(1)).unwrap();
    let granted = Granted::default();
    world.run(AddEnrolment { hash: [1; 32], granted, expires: UnixTime(NOW.0 + 10), at: NOW }).unwrap();
    world.run(on_sqlite::supernodes::own(1, "here")).unwrap();
    world.run(Publish { list: PublishedList::Roster, serial: 1, token: "token".to_owned() }).unwrap();
    world.behind(|transaction| {
        transaction.execute(
            "INSERT INTO numbers (conversation, device, sent) SELECT conversation, device, 7 FROM cursors",
            &[],
        )?;
        // Who wrote this is long gone; PostgreSQL can't hold it.
        transaction.execute("UPDATE accounts SET mood = 'a' || char(0) || 'b' WHERE name = 'name1'", &[])
    });
    world
}

fn migrate_to(home: &File, to: &Database) -> Result<u64, MoveError> {
    migrate(&home.path(), to.address(), &mut |_| ControlFlow::Continue(()))
}

/// Migrates until so much has been told.
fn migrate_some(home: &File, to: &Database, steps: usize) -> Result<u64, MoveError> {
    let mut told = 0;
    migrate(&home.path(), to.address(), &mut |_| {
        told += 1;
        if told > steps { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
}

#[test]
fn everything_moves_and_the_file_is_no_store_any_more() {
    let World { store, home } = full();
    drop(store);
    let to = Database::new();
    let mut last = Vec::new();
    let rows = migrate(&home.path(), to.address(), &mut |progress| {
        assert!(progress.done <= progress.rows, "{progress:?}");
        last.retain(|(table, _): &(&str, u64)| *table != progress.table);
        last.push((progress.table, progress.done));
        ControlFlow::Continue(())
    });
    assert_eq!(last.iter().map(|(_, done)| done).sum::<u64>(), rows.unwrap());
    assert!(last.iter().all(|(_, done)| *done > 0), "the test would not notice: {last:?}");
    assert!(matches!(Store::open(&home.path()), Err(OpenError::Moved)));
    let again = migrate_to(&home, &to).unwrap_err();
    assert!(matches!(again, MoveError::Source(OpenError::Moved)), "{again}");

    let world = Moved { store: to.open(), home: to };
    let (alice, bob) = (AccountId([1; 16]), AccountId([2; 16]));
    let settings = world.run(ListContacts { account: alice, after: None, today: Day(1) }).unwrap().settings;
    assert_eq!(settings.unwrap().mood, "ab");
    let log = world.run(FetchLog { account: bob, conversation: ConversationId([10; 16]), after: 0 }).unwrap();
    assert_eq!(log.entries.len(), 301);
    sent(world.run(message(alice, 10, 301, 2)));
    // What the database numbers itself goes on.
    let inbox = world.run(commit(alice, 10, 2, &[(2, b"another")])).unwrap().deliveries;
    assert_eq!(inbox.len(), 1);
    let device = DeviceId([1; 16]);
    let packages = vec![Bytes::from_static(b"newer")];
    world.run(PublishKeyPackages { account: alice, device, packages, last_resort: None }).unwrap();
    let arrivals = "SELECT count(DISTINCT arrival) FROM key_packages";
    assert_eq!(world.number(arrivals), 4);
}

#[test]
fn an_interrupted_migration_goes_on_where_it_was_and_nobody_uses_what_is_not_complete() {
    let World { store, home } = full();
    drop(store);
    let to = Database::new();
    for steps in [0, 1, 3, 15, 30] {
        let interrupted = migrate_some(&home, &to, steps).unwrap_err();
        assert!(matches!(interrupted, MoveError::Interrupted), "{interrupted}");
        assert!(matches!(Store::connect(to.address()), Err(OpenError::Unfinished)));
    }
    let mut copied = Vec::new();
    migrate(&home.path(), to.address(), &mut |progress| {
        if progress.step == MoveStep::Copy {
            copied.push((progress.table, progress.done, progress.rows));
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(copied[0], ("accounts", 3, 3), "it was there already");
    assert!(run(&to.open(), AccountOf { account: AccountId([1; 16]) }).is_ok());
}

#[test]
fn a_difference_is_found() {
    let World { store, home } = full();
    drop(store);
    for plant in [
        "UPDATE log SET entry = '\\x00' WHERE sequence = 5",
        "UPDATE accounts SET mood = '' WHERE mood <> ''",
        "DELETE FROM log WHERE sequence = 7",
        "UPDATE conversations SET pair = NULL",
    ] {
        let to = Database::new();
        migrate_some(&home, &to, 40).unwrap_err();
        to.sql(plant);
        let found = migrate_to(&home, &to).unwrap_err();
        assert!(matches!(found, MoveError::Differs { .. }), "{plant}: {found}");
        assert!(matches!(Store::connect(to.address()), Err(OpenError::Unfinished)));
    }
    home.open();
}

#[test]
fn a_copy_is_worth_nothing_once_the_file_was_used_again() {
    let World { store, home } = full();
    drop(store);
    let to = Database::new();
    migrate_some(&home, &to, 10).unwrap_err();
    drop(home.open());
    let refused = migrate_to(&home, &to).unwrap_err();
    assert!(matches!(refused, MoveError::Occupied), "{refused}");
    migrate_to(&home, &Database::new()).unwrap();
}

#[test]
fn neither_a_store_in_use_nor_a_database_with_other_data_takes_part() {
    let world = full();
    let to = Database::new();
    let in_use = migrate_to(&world.home, &to).unwrap_err();
    assert!(matches!(in_use, MoveError::InUse), "{in_use}");
    assert_eq!(world.run(disk::invite(2)), Ok(()), "and it is left in peace");
    let World { store, home } = world;
    drop(store);
    let other = Moved::new();
    other.account(9);
    let occupied = migrate_to(&home, &other.home).unwrap_err();
    assert!(matches!(occupied, MoveError::Occupied), "{occupied}");
    let missing = migrate(Path::new("no such file"), to.address(), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(missing, MoveError::Sqlite(_)), "{missing}");
    migrate_to(&home, &to).unwrap();
}

#[test]
fn no_table_and_no_column_is_forgotten() {
    let (sqlite, postgres) = (World::new(), Moved::new());
    let listed: Vec<String> = crate::migrate::columns().collect();
    let theirs = "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT) FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name NOT LIKE 'ahoy%'";
    let ours = "SELECT tables.name, columns.name FROM sqlite_schema AS tables
        JOIN pragma_table_info(tables.name) AS columns
        WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite%' AND tables.name <> 'migration'";
    let named = |transaction: &Transaction<'_>, query| {
        transaction.all(query, &[], |row| Ok(format!("{}.{}", row.get::<String>(0)?, row.get::<String>(1)?)))
    };
    let mut expected = listed;
    expected.sort_unstable();
    for mut found in [sqlite.behind(move |t| named(t, ours)), postgres.behind(move |t| named(t, theirs))] {
        found.sort_unstable();
        assert_eq!(found, expected);
    }
}
