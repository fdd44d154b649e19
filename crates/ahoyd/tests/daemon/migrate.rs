use ahoy_store::testing::{Durability, Postgres};
use rustix::process::Signal;

use crate::harness::{Daemon, objects, refused, sign_in, sign_up};

#[test]
fn a_network_moves_to_postgresql_and_everybody_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (mut daemon, file) = Daemon::serve(folder.path());
    sign_up(&daemon, "alice");
    let postgres = Postgres::start(Durability::Synced);
    let database = postgres.database();
    let migrate = ["migrate", "--config", &file, "--to", &database];
    let (code, why) = refused(&migrate);
    assert!(code == Some(1) && why.contains("runs"), "not under a daemon that runs: {why}");
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
    let told = objects(&migrate);
    assert!(told.last().unwrap()["rows"].as_u64().unwrap() > 5, "{told:?}");
    // SQLite is no store any more: what it says can't have come from there.
    std::fs::remove_file(folder.path().join("data/ahoy.sqlite")).unwrap();
    let moved = std::fs::read_to_string(&file).unwrap() + &format!("store = {database:?}\n");
    std::fs::write(&file, moved).unwrap();
    let daemon = Daemon::start(&["serve", "--config", &file], daemon.port, &[]);
    assert!(sign_in(&daemon, "alice").is_ok());
    assert!(sign_in(&daemon, "bob").is_err());
    let (code, why) = refused(&["migrate", "--config", &file]);
    assert!(code == Some(1) && why.contains("there is no"), "{why}");
}
