//! What only PostgreSQL can do to us: go away, not answer, come back, and let others in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::disk::{hold, invite, is_kept};
use super::on_postgres::World;
use super::on_postgres::conversations::create;
use super::on_postgres::messages::{message, pair, sent};
use super::*;
use crate::testing::{Database, Durability, Postgres};

/// One verb may take five seconds, another attempt to connect two, and a slow machine some more.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// A server that starts has to recover first.
const RETURN_TIME_MAX: Duration = Duration::from_secs(60);

/// Asks again and again, as those do whose requests fail, until the server is back.
fn run_until_it_is_back<V: Verb>(store: &Store, verb: impl Fn() -> V) -> V::Output {
    let begin = Instant::now();
    loop {
        match run(store, verb()) {
            Ok(output) => return output,
            Err(error) => assert!(begin.elapsed() < RETURN_TIME_MAX, "{error}"),
        }
        thread::yield_now();
    }
}

#[test]
fn while_the_server_is_away_verbs_fail_at_once_and_afterwards_all_is_there() {
    let mut server = Postgres::start(Durability::Synced);
    let store = Store::connect(&server.database()).unwrap();
    run(&store, sign_up(1, "alice", Admission::Anyone, None)).unwrap();
    server.kill();
    for number in 0..100 {
        let begin = Instant::now();
        assert_eq!(run(&store, invite(number)), Err(StoreError::Unavailable));
        assert!(begin.elapsed() < Duration::from_secs(1));
    }
    server.start_again();
    assert_eq!(run_until_it_is_back(&store, || AccountOf { account: AccountId([1; 16]) }).opaque_record, [1; 192]);
    run_until_it_is_back(&store, || invite(0));
    assert!(is_kept(&store, 0));
}

#[test]
fn a_connection_that_was_lost_while_idle_is_made_again_unnoticed() {
    let mut server = Postgres::start(Durability::Unsynced);
    let store = Store::connect(&server.database()).unwrap();
    assert_eq!(run(&store, invite(1)), Ok(()));
    server.kill();
    server.start_again();
    assert_eq!(run(&store, invite(2)), Ok(()));
}

#[test]
fn a_server_that_does_not_answer_holds_nobody_up_for_long() {
    let server = Postgres::start(Durability::Unsynced);
    let store = Store::connect(&server.database()).unwrap();
    assert_eq!(run(&store, invite(0)), Ok(()));
    server.halt();
    let (reply, replies) = mpsc::channel();
    let begin = Instant::now();
    for number in 1..=20 {
        let reply = reply.clone();
        store.submit(invite(number), move |result| reply.send(result).unwrap());
    }
    drop(reply);
    assert!(replies.iter().all(|result| result == Err(StoreError::Unavailable)));
    assert!(begin.elapsed() < ANSWER_TIME_MAX);
    server.go_on();
    run_until_it_is_back(&store, || invite(21));
}

#[test]
fn whatever_was_acknowledged_survives_a_kill_9_of_the_server() {
    const ACCOUNTS: usize = 8;
    const UNDER_WAY: usize = 8;
    const ACKNOWLEDGED: usize = 2_000;
    let mut server = Postgres::start(Durability::Synced);
    let store = Store::connect(&server.database()).unwrap();
    let (reply, replies) = mpsc::channel();
    let mut numbers = [0; ACCOUNTS];
    let mut send = |index: usize| {
        let reply = reply.clone();
        numbers[index] += 1;
        let (id, number) = (index as u8, numbers[index]);
        let verb = message(AccountId([id; 16]), id, number, 1);
        store.submit(verb, move |result| reply.send((index, number, result)).unwrap());
    };
    for index in 0..ACCOUNTS {
        let (id, account) = (index as u8, AccountId([index as u8; 16]));
        run(&store, sign_up(id, &format!("name{id}"), Admission::Anyone, None)).unwrap();
        run(&store, CreateConversation { peer: None, ..create(account, account, id, &[]) }).unwrap();
        (0..UNDER_WAY).for_each(|_| send(index));
    }
    let mut acknowledged = [0; ACCOUNTS];
    for (index, number, result) in replies.iter().take(ACKNOWLEDGED) {
        sent(result);
        acknowledged[index] = number;
        send(index);
    }
    server.kill();
    // Some of the rest were committed before the end, and only then they were said to be.
    for (index, number, result) in replies.iter().take(ACCOUNTS * UNDER_WAY) {
        match result {
            Ok(_) => acknowledged[index] = number,
            Err(error) => assert_eq!(error, StoreError::Unavailable),
        }
    }
    server.start_again();
    for (index, (acknowledged, sent)) in acknowledged.into_iter().zip(numbers).enumerate() {
        let (account, device) = (AccountId([index as u8; 16]), DeviceId([index as u8; 16]));
        let list = || ListConversations { account, device, after: None };
        let kept = &run_until_it_is_back(&store, list).conversations[0];
        assert!((acknowledged..=sent).contains(&kept.sent), "{acknowledged} {} {sent}", kept.sent);
        assert_eq!(kept.head, kept.sent, "state and log agree");
    }
}

#[test]
fn what_others_disturb_is_done_again_until_it_succeeds() {
    const STORES: usize = 4;
    const EACH: usize = 50;
    let database = Database::new();
    let runs = Arc::new(AtomicU32::new(0));
    let stores = [(); STORES].map(|()| Store::connect(database.address()).unwrap());
    let (reply, replies) = mpsc::channel();
    for store in &stores {
        for _ in 0..EACH {
            let (runs, reply) = (runs.clone(), reply.clone());
            let raise = Behind(move |transaction: &Transaction<'_>| {
                runs.fetch_add(1, Ordering::Relaxed);
                let read = "SELECT serial FROM serials WHERE list = 1";
                let serial: i64 = transaction.one(read, params![], |row| row.get(0))?;
                transaction.execute("UPDATE serials SET serial = ?1 WHERE list = 1", params![serial + 1])
            });
            store.submit(raise, move |result| reply.send(result).unwrap());
        }
    }
    drop(reply);
    assert!(replies.iter().all(|result| result == Ok(1)));
    let raised = run(&stores[0], ListSerials).unwrap().revocations - 1;
    assert_eq!(raised as usize, STORES * EACH, "none was lost");
    assert!(runs.load(Ordering::Relaxed) as usize > STORES * EACH, "nobody was in anybody's way: it proves nothing");
}

#[test]
fn messages_of_one_conversation_keep_their_order_though_nobody_waits() {
    let (world, alice, _) = pair();
    let (reply, replies) = mpsc::channel();
    for number in 1..=200 {
        let reply = reply.clone();
        world.store.submit(message(alice, 10, number, 1), move |result| reply.send(result).unwrap());
    }
    drop(reply);
    let sequences: Vec<u64> = replies.iter().map(|result| sent(result).sequence).collect();
    assert_eq!(sequences, (1..=200).collect::<Vec<_>>());
}

#[test]
fn a_full_queue_refuses_at_once_and_others_go_on() {
    let world = World::new();
    let account = world.account(1);
    let go = hold(&world.store);
    let (reply, replies) = mpsc::channel();
    for _ in 0..=QUEUE_MAX / CONNECTIONS {
        let reply = reply.clone();
        world.store.submit(KeyLogHeadNow, move |result| reply.send(result).unwrap());
    }
    assert_eq!(replies.try_recv().unwrap(), Err(StoreError::Busy), "before the others are done");
    assert!(world.run(AccountOf { account }).is_ok(), "another key");
    go.send(()).unwrap();
    drop(reply);
    assert_eq!(replies.iter().filter(Result::is_ok).count(), QUEUE_MAX / CONNECTIONS);
}

#[test]
fn dropping_the_last_handle_waits_for_what_was_submitted() {
    let World { store, home } = World::new();
    for number in 0..200 {
        store.submit(invite(number), |_| {});
    }
    drop(store);
    assert!(is_kept(&home.open(), 199));
}

#[test]
fn two_that_start_at_the_same_moment_make_one_schema() {
    let database = Database::new();
    thread::scope(|scope| {
        let starts = [(); 4].map(|()| scope.spawn(|| Store::connect(database.address()).map(|_| ())));
        for start in starts {
            start.join().unwrap().unwrap();
        }
    });
    assert_eq!(run(&database.open(), KeyLogHeadNow).unwrap().sequence, 0);
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let world = World::new();
    world.behind(|transaction| transaction.execute("UPDATE ahoy_schema SET version = 1000", params![]));
    let error = Store::connect(world.home.address()).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 1000, .. }), "{error}");
}

#[test]
fn what_can_t_be_connected_to_is_refused_with_the_reason() {
    let ascii = Database::with("ENCODING 'SQL_ASCII' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0");
    let error = Store::connect(ascii.address()).unwrap_err();
    assert!(matches!(&error, OpenError::Encoding(found) if found == "SQL_ASCII"), "{error}");
    let folder = TempDir::new().unwrap();
    let nobody = format!("postgres:///ahoy?user=ahoy&password=secret&host={}", folder.path().display());
    let error = Store::connect(&nobody).unwrap_err();
    assert!(matches!(error, OpenError::Unreachable(_)) && error.to_string().contains("No such file"), "{error}");
    assert!(!format!("{error} {error:?}").contains("secret"));
    let error = Store::connect(&ascii.address().replace("test_", "no_test_")).unwrap_err();
    assert!(matches!(error, OpenError::Postgres(_)) && error.to_string().contains("does not exist"), "{error}");
    assert!(matches!(Store::connect("postgres://host:port"), Err(OpenError::Address(_))));
}

#[test]
fn the_first_messages_of_many_at_the_same_moment_all_arrive() {
    let world = World::new();
    let (reply, replies) = mpsc::channel();
    for id in 1..=64 {
        let account = world.account(id);
        world.run(CreateConversation { peer: None, ..create(account, account, id, &[]) }).unwrap();
    }
    for id in 1..=64 {
        let reply = reply.clone();
        world.store.submit(message(AccountId([id; 16]), id, 1, 1), move |result| reply.send(result).unwrap());
    }
    drop(reply);
    assert_eq!(replies.iter().map(sent).filter(|entry| entry.sequence == 1).count(), 64);
}
