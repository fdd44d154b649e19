//! What people mistype and liars make up in conversations and the directory: each is refused clearly, and nothing comes of it.

use std::time::Duration;

use ahoy_proto::v1::ErrorCode;
use ahoy_proto::{AccountId, ConversationId, limits, v1};
use ahoy_trials::harness::{Daemon, DaemonOptions, Machine, Person, Puppet, trial};
use ahoy_trials::wire::{self, Identity, Link, NetworkKeys, Request, Response, Session};
use anyhow::{Context as _, bail, ensure};
use serde_json::json;

use crate::hostile_input::run;
use crate::refusals::{REFUSED, SmallDisk, UNREACHABLE, ensure_clear, skipped_for_want_of_root};

const LIMIT: Duration = Duration::from_secs(90);

/// The account of somebody who has signed up.
fn account(person: &Person) -> anyhow::Result<AccountId> {
    Ok(ahoy_client::profile::read_identity(person.profile())?.context("somebody is signed in")?.account)
}

/// A session of a device that its account does not know, made with the authority's own key.
async fn session(daemon: &Daemon, keys: &NetworkKeys, account: AccountId) -> anyhow::Result<Session> {
    let identity = Identity::made(keys.network, account, &keys.signing);
    Link::connect(&wire::endpoint(None)?, daemon.address()).await?.sign_in(&identity).await
}

/// A session of the device that somebody signed up on.
async fn own_session(daemon: &Daemon, keys: &NetworkKeys, person: &Person) -> anyhow::Result<Session> {
    let who = ahoy_client::profile::read_identity(person.profile())?.context("somebody is signed in")?;
    let identity = Identity::made(keys.network, who.account, &keys.signing).on_device(who.device, &keys.signing);
    Link::connect(&wire::endpoint(None)?, daemon.address()).await?.sign_in(&identity).await
}

/// The code with which a request is refused.
async fn code(session: &mut Session, request: Request) -> anyhow::Result<ErrorCode> {
    match session.request(request).await? {
        Response::Error(error) => Ok(error.code()),
        other => bail!("it was granted: {other:?}"),
    }
}

#[test]
fn names_in_other_scripts_and_look_alikes_are_refused_with_what_a_name_may_contain() {
    trial(LIMIT, Machine::Shared, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let alice = Person::signed_up(trial, "alice", &daemon)?;
        // Cyrillic а, full-width letters, a zero-width space, a dotless i, Arabic, and an emoji.
        for name in ["аlice", "ａｌｉｃｅ", "alice\u{200b}", "alıce", "علي", "al⚓ce"] {
            let stranger = Person::new(trial, "stranger", &daemon.network())?;
            ensure_clear(&stranger.run(trial, ["sign-up", name])?, REFUSED, &["letters a to z", "digits"])?;
            ensure_clear(&alice.run(trial, ["contacts", "add", name])?, REFUSED, &["letters a to z", "digits"])?;
        }
        // A name that differs by case only is the same one.
        let second = Person::new(trial, "ALICE", &daemon.network())?.sign_up(trial)?;
        ensure_clear(&second, REFUSED, &["taken"])
    });
}

#[test]
fn a_message_of_a_mebibyte_is_refused_with_the_length_that_fits() {
    trial(LIMIT, Machine::Shared, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let [alice, bob] = Person::signed_up_all(trial, ["alice", "bob"], &daemon)?;
        alice.befriend(trial, &bob)?;
        let text = "ä".repeat(1 << 19);
        ensure_clear(&alice.run_with_input(trial, ["send", "bob", "-"], &text)?, REFUSED, &["16 kib"])?;
        let mut puppet = Puppet::start(trial, &alice)?;
        // A line that is far too long, and one that fits while its text does not.
        puppet.child().write_line(&json!({ "id": 1, "do": "send", "to": "bob", "text": text }).to_string())?;
        let error = puppet.wait_for(|event| event.name == "error")?;
        ensure!(error.text("code") == "line-too-long" && error.text("text").contains("128 KiB"), "{error:?}");
        let text = "x".repeat(limits::TEXT_MAX + 1);
        let error = puppet.refusal(json!({ "do": "send", "to": "bob", "text": text }))?;
        ensure!(error.text("code") == "length" && error.text("advice").contains("16 KiB"), "{error:?}");
        let longest = "x".repeat(limits::TEXT_MAX);
        puppet.send("bob", &longest)?;
        puppet.finish()?;
        let inbox = bob.run(trial, ["inbox"])?.succeeded()?;
        let texts: Vec<_> = inbox.events.iter().filter(|event| event.name == "message").collect();
        ensure!(texts.len() == 1 && texts[0].text("text") == longest, "{} messages arrived", texts.len());
        Ok(())
    });
}

#[test]
fn a_message_of_a_mebibyte_on_the_wire_ends_the_link_or_is_refused() {
    trial(LIMIT, Machine::Shared, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let keys = NetworkKeys::read(daemon.data())?;
        let alice = Person::signed_up(trial, "alice", &daemon)?;
        run(async {
            let mut witness = own_session(&daemon, &keys, &alice).await?;
            let conversation = group(&mut witness).await?;
            let sealed = |length| Request::SendMessage(message(conversation, 1, 1, wire::noise(length)));
            let refused = code(&mut witness, sealed(limits::MESSAGE_SEALED_MAX + 1)).await?;
            ensure!(refused == ErrorCode::InvalidArgument, "{refused:?} where InvalidArgument was due");
            let mut liar = session(&daemon, &keys, account(&alice)?).await?;
            let closed = wire::closing_code_of(&mut liar, sealed(1 << 20)).await?;
            ensure!(closed == ErrorCode::MessageTooLong, "{closed:?} where MessageTooLong was due");
            witness.granted(sealed(limits::MESSAGE_SEALED_MAX)).await.context("the longest that fits")?;
            Ok(())
        })
    });
}

/// Makes a group of the session's account alone, of which the supernode sees what it always sees: sealed bytes.
async fn group(session: &mut Session) -> anyhow::Result<ConversationId> {
    let conversation = ConversationId(rand::random());
    let create = v1::CreateConversation {
        conversation: conversation.to_bytes(),
        epoch: 1,
        group_info: wire::noise(400),
        ..Default::default()
    };
    session.granted(Request::CreateConversation(create)).await?;
    Ok(conversation)
}

fn message(conversation: ConversationId, number: u64, epoch: u64, sealed: bytes::Bytes) -> v1::SendMessage {
    v1::SendMessage { conversation: conversation.to_bytes(), number, generation: 1, epoch, sealed }
}

/// The whole log of a conversation.
async fn log(session: &mut Session, conversation: ConversationId) -> anyhow::Result<Vec<v1::LogEntry>> {
    let fetch = v1::FetchLog { conversation: conversation.to_bytes(), after: 0 };
    match session.granted(Request::FetchLog(fetch)).await? {
        Response::LogEntries(page) if !page.more => Ok(page.entries),
        other => bail!("FetchLog was answered with {other:?}"),
    }
}

#[test]
fn a_commit_for_a_wrong_epoch_a_message_of_a_stranger_and_a_replay_leave_the_log_as_it_is() {
    trial(LIMIT, Machine::Shared, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let keys = NetworkKeys::read(daemon.data())?;
        let [alice, mallory] = Person::signed_up_all(trial, ["alice", "mallory"], &daemon)?;
        run(async {
            let mut own = own_session(&daemon, &keys, &alice).await?;
            let conversation = group(&mut own).await?;
            let send = message(conversation, 1, 1, wire::noise(300));
            let accepted = own.granted(Request::SendMessage(send.clone())).await?;
            let Response::MessageAccepted(accepted) = accepted else { bail!("{accepted:?}") };
            let before = log(&mut own, conversation).await?;
            ensure!(before.len() == 1 && before[0].sequence == accepted.sequence, "{before:?}");
            // The same number again, with other bytes.
            let replay = v1::SendMessage { sealed: wire::noise(300), ..send.clone() };
            let again = own.granted(Request::SendMessage(replay)).await?;
            ensure!(matches!(again, Response::MessageAccepted(again) if again.sequence == 0), "a replay has a place");
            for epoch in [0, 2, u64::MAX >> 1] {
                let (conversation, commit) = (conversation.to_bytes(), wire::noise(500));
                let group_info = wire::noise(400);
                let commit =
                    v1::Commit { conversation, generation: 1, epoch, commit, group_info, ..Default::default() };
                let refused = code(&mut own, Request::Commit(commit)).await?;
                ensure!(refused == ErrorCode::Conflict, "epoch {epoch}: {refused:?} where Conflict was due");
            }
            let mut strange = own_session(&daemon, &keys, &mallory).await?;
            let forged = Request::SendMessage(message(conversation, 1, 1, wire::noise(300)));
            let refused = code(&mut strange, forged).await?;
            ensure!(refused == ErrorCode::NotFound, "{refused:?} where NotFound was due");
            let peek = Request::FetchLog(v1::FetchLog { conversation: conversation.to_bytes(), after: 0 });
            let refused = code(&mut strange, peek).await?;
            ensure!(refused == ErrorCode::NotFound, "{refused:?} where NotFound was due");
            ensure!(log(&mut own, conversation).await? == before, "the log has changed");
            Ok(())
        })
    });
}

#[test]
fn a_flood_of_contact_requests_is_slowed_down_and_one_arrives() {
    trial(LIMIT, Machine::Shared, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let keys = NetworkKeys::read(daemon.data())?;
        let [bob, mallory] = Person::signed_up_all(trial, ["bob", "mallory"], &daemon)?;
        let (own, victim) = (account(&mallory)?, account(&bob)?);
        let mut told = Puppet::start(trial, &bob)?;
        let granted = run(async {
            let mut session = session(&daemon, &keys, own).await?;
            let mut granted = 0;
            loop {
                let ask = v1::RequestContact { account: victim.to_bytes(), note: wire::noise(100) };
                match session.request(Request::RequestContact(ask)).await? {
                    Response::Error(error) => {
                        ensure!(error.code() == ErrorCode::RateLimited && error.retry_after_ms > 0, "{error:?}");
                        return Ok(granted);
                    }
                    _ => granted += 1,
                }
                ensure!(granted < 100, "nothing slows a flood down");
            }
        })?;
        println!("{granted} requests were taken, then the session was told to wait");
        let asks = told.ask(json!({ "do": "contacts" }))?.list;
        ensure!(asks.len() == 1 && asks[0].text("state") == "asks", "{asks:?}");
        told.finish()?;
        // The flood costs its victim nothing, who still gets other requests.
        let carol = Person::signed_up(trial, "carol", &daemon)?;
        carol.befriend(trial, &bob)
    });
}

/// Sessions that a scraper opens; each may ask 20 times at once, so a third of them would reach the bound of an hour.
const SESSIONS: usize = 45;

#[test]
fn a_scraper_learns_no_more_names_in_an_hour_by_more_sessions() {
    trial(LIMIT, Machine::Shared, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let keys = NetworkKeys::read(daemon.data())?;
        let [alice, mallory] = Person::signed_up_all(trial, ["alice", "mallory"], &daemon)?;
        alice.run(trial, ["search", "--listed", "on"])?.succeeded()?;
        let own = account(&mallory)?;
        let learnt = run(async {
            let mut learnt = 0;
            for _ in 0..SESSIONS {
                learnt += scrape(&mut session(&daemon, &keys, own).await?).await?;
            }
            Ok(learnt)
        })?;
        println!("{learnt} names of at most {} were learnt by {SESSIONS} sessions", limits::NAMES_PER_HOUR);
        ensure!(learnt <= limits::NAMES_PER_HOUR, "{learnt} names were learnt");
        ensure!(learnt > limits::NAMES_PER_HOUR - limits::SEARCH_RESULTS_MAX, "only {learnt} names were learnt");
        Ok(())
    });
}

/// Asks for names until the session is told to wait; gives how many may have been learnt.
async fn scrape(session: &mut Session) -> anyhow::Result<usize> {
    let mut learnt = 0;
    for turn in 0.. {
        let searches = turn % 10 == 9;
        let request = if searches {
            Request::SearchDirectory(v1::SearchDirectory { prefix: "ali".to_owned() })
        } else {
            Request::FindAccount(v1::FindAccount { name: "alice".to_owned() })
        };
        match session.request(request).await? {
            Response::Error(error) => {
                ensure!(error.code() == ErrorCode::RateLimited && error.retry_after_ms > 0, "{error:?}");
                break;
            }
            Response::AccountsFound(found) if searches => {
                ensure!(found.accounts.len() == 1, "alice is not found: {found:?}");
                learnt += limits::SEARCH_RESULTS_MAX;
            }
            Response::AccountFound(_) => learnt += 1,
            other => bail!("a name was answered with {other:?}"),
        }
    }
    Ok(learnt)
}

const CREW: &str = "Crew of the Albatross";

#[test]
fn who_has_left_a_group_is_told_that_it_is_not_there() {
    trial(LIMIT, Machine::Shared, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let [alice, bob] = Person::signed_up_all(trial, ["alice", "bob"], &daemon)?;
        alice.befriend(trial, &bob)?;
        let made = alice.run(trial, ["group", "create", CREW, "bob"])?.succeeded()?;
        let conversation = made.event("group")?.text("conversation").to_owned();
        bob.run(trial, ["send", CREW, "farewell"])?.succeeded()?;
        bob.run(trial, ["group", "leave", CREW])?.succeeded()?;
        let late = bob.run(trial, ["send", CREW, "am I still here?"])?;
        ensure_clear(&late, REFUSED, &["no conversation", "group list"])?;
        let mut puppet = Puppet::start(trial, &bob)?;
        let error = puppet.refusal(json!({ "do": "send", "to": conversation, "text": "and so?" }))?;
        ensure!(error.text("code") == "no-such-conversation", "{error:?}");
        let kept = puppet.history(&conversation)?;
        ensure!(kept.iter().any(|line| line.text("text") == "farewell"), "what was said is gone: {kept:?}");
        puppet.finish()?;
        let history = alice.run(trial, ["history", CREW])?.succeeded()?;
        let texts: Vec<_> =
            history.events.iter().map(|event| event.text("text")).filter(|text| !text.is_empty()).collect();
        ensure!(texts == ["farewell"], "{texts:?}");
        Ok(())
    });
}

#[test]
fn what_is_written_while_the_disk_is_full_arrives_once_there_is_room() {
    if skipped_for_want_of_root("what_is_written_while_the_disk_is_full_arrives_once_there_is_room") {
        return;
    }
    trial(LIMIT, Machine::Shared, |trial| {
        let disk = SmallDisk::mount(trial.folder().join("disk"))?;
        let options = DaemonOptions { data: Some(disk.folder().join("data")), ..DaemonOptions::default() };
        let mut daemon = Daemon::start(trial, options)?;
        let [alice, bob] = Person::signed_up_all(trial, ["alice", "bob"], &daemon)?;
        alice.befriend(trial, &bob)?;
        alice.run(trial, ["send", "bob", "before"])?.succeeded()?;
        let mut puppet = Puppet::start(trial, &alice)?;
        let ballast = disk.folder().join("ballast");
        // Written until the disk takes no more, so it ends with an error.
        let _ = std::io::copy(&mut std::io::repeat(1), &mut std::fs::File::create(&ballast)?);
        let posted = puppet.ask(json!({ "do": "post", "to": "bob", "text": "meanwhile" }))?.event;
        ensure!(posted.name == "posted", "{posted:?}");
        puppet.finish()?;
        // A device that starts now can't even sign in: it says so, and has sent nothing.
        let refused = alice.run(trial, ["send", "bob", "in between"])?;
        ensure_clear(&refused, UNREACHABLE, &["problem of its own", "again later"])?;
        let log = daemon.child().errors();
        ensure!(log.contains("disk is full"), "the log does not name it: {log}");
        std::fs::remove_file(&ballast)?;
        alice.run(trial, ["send", "bob", "after"])?.succeeded()?;
        let inbox = bob.run(trial, ["inbox"])?.succeeded()?;
        let texts: Vec<_> =
            inbox.events.iter().filter(|event| event.name == "message").map(|event| event.text("text")).collect();
        ensure!(texts == ["before", "meanwhile", "after"], "{texts:?}");
        drop(daemon);
        Ok(())
    });
}
