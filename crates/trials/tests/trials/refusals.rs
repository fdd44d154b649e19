//! What people are told when something is wrong, and that nothing is lost by it.

use std::process::Command;
use std::time::{Duration, SystemTime};

use ahoy_client::profile::Profile;
use ahoy_proto::document::{self, Credential};
use ahoy_proto::v1::ErrorCode;
use ahoy_proto::{AccountId, UnixTime};
use ahoy_trials::capture;
use ahoy_trials::harness::{Daemon, DaemonOptions, Machine, Outcome, Person, Trial, free_port, trial};
use ahoy_trials::wire::{self, Identity, Link, NetworkKeys};
use anyhow::{Context as _, ensure};

const LIMIT: Duration = Duration::from_secs(90);

/// Exit codes of `ahoy`, as its help lists them.
pub(crate) const UNREACHABLE: i32 = 3;
pub(crate) const REFUSED: i32 = 4;
const NOT_ANSWERED: i32 = 5;

/// A daemon that nothing has harmed still serves, and keeps the account of everybody here.
fn unharmed(trial: &Trial, daemon: &mut Daemon, people: &[&Person]) -> anyhow::Result<()> {
    ensure!(daemon.child().runs(), "ahoyd has ended: {}", daemon.child().errors());
    for person in people {
        person.run(trial, ["status"])?.succeeded().with_context(|| format!("{}'s status", person.name()))?;
    }
    Ok(())
}

/// An error says what is wrong and what to do, in words, and never in those of a programmer.
pub(crate) fn ensure_clear(outcome: &Outcome, code: i32, words: &[&str]) -> anyhow::Result<()> {
    let error = outcome.event("error")?;
    let said = format!("{} {}", error.text("text"), error.text("advice"));
    ensure!(outcome.code == code, "exit code {} where {code} was due: {said}", outcome.code);
    ensure!(!error.text("advice").is_empty(), "nothing to do is named: {said}");
    for word in words {
        ensure!(said.to_lowercase().contains(word), "{word:?} is not said: {said}");
    }
    for word in ["panicked", "Error {", "Some(", "None"] {
        ensure!(
            !said.contains(word) && !outcome.errors.contains(word),
            "a programmer's words: {said} {}",
            outcome.errors
        );
    }
    Ok(())
}

#[test]
fn a_wrong_password_and_an_unknown_name_can_not_be_told_apart() {
    trial(LIMIT, Machine::Shared, |trial| {
        let mut daemon = Daemon::start(trial, DaemonOptions::default())?;
        let alice = Person::signed_up(trial, "alice", &daemon)?;
        let forgetful = alice.on_another_device();
        forgetful.forget_password()?;
        let wrong = forgetful.sign_in(trial)?;
        ensure_clear(&wrong, REFUSED, &["password"])?;
        let unknown = Person::new(trial, "nemo", &daemon.network())?.sign_in(trial)?;
        ensure_clear(&unknown, REFUSED, &["password"])?;
        let told = |outcome: &Outcome| outcome.event("error").map(|error| error.text("text").replace("nemo", "alice"));
        ensure!(told(&wrong)? == told(&unknown)?, "{wrong:?} differs from {unknown:?}");
        unharmed(trial, &mut daemon, &[&alice])
    });
}

#[test]
fn a_name_is_given_once() {
    trial(LIMIT, Machine::Shared, |trial| {
        let mut daemon = Daemon::start(trial, DaemonOptions::default())?;
        let alice = Person::signed_up(trial, "alice", &daemon)?;
        let second = alice.on_another_device().sign_up(trial)?;
        ensure_clear(&second, REFUSED, &["taken"])?;
        unharmed(trial, &mut daemon, &[&alice])
    });
}

#[test]
fn a_network_that_is_not_running_is_named_with_the_way_to_start_it() {
    trial(LIMIT, Machine::Shared, |trial| {
        let nowhere = format!("http://127.0.0.1:{}", free_port());
        let outcome = Person::new(trial, "alice", &nowhere)?.sign_up(trial)?;
        ensure_clear(&outcome, UNREACHABLE, &["ahoyd dev"])?;
        let mut daemon = Daemon::start(trial, DaemonOptions::default())?;
        let bob = Person::signed_up(trial, "bob", &daemon)?;
        daemon.child().kill()?;
        let call = bob.run(trial, ["call", "echo", "--for", "1s"])?;
        ensure_clear(&call, UNREACHABLE, &["ahoyd dev"])
    });
}

#[test]
fn a_wrong_clock_is_named() {
    trial(LIMIT, Machine::Shared, |trial| {
        let mut daemon = Daemon::start(trial, DaemonOptions::default())?;
        let alice = Person::signed_up(trial, "alice", &daemon)?;
        for (name, skew) in [("past", "-400d"), ("future", "+400d")] {
            let mut skewed = Person::new(trial, name, &daemon.network())?;
            skewed.prefix = ["faketime", "-f", skew].map(Into::into).to_vec();
            ensure_clear(&skewed.sign_up(trial)?, REFUSED, &["clock"])?;
            let mut alice = alice.clone();
            alice.prefix = skewed.prefix;
            let call = alice.run(trial, ["call", "echo", "--for", "1s"])?;
            ensure_clear(&call, REFUSED, &["clock"])?;
        }
        unharmed(trial, &mut daemon, &[&alice])
    });
}

/// Puts another credential into a profile.
fn edit_credential(person: &Person, edit: impl FnOnce(&str) -> String) -> anyhow::Result<()> {
    let profile = Profile::open(person.profile())?;
    let mut identity = profile.identity()?.context("somebody is signed in")?;
    identity.credential = edit(&identity.credential);
    Ok(profile.keep(&identity)?)
}

#[test]
fn a_forged_credential_is_refused_with_a_way_out() {
    trial(LIMIT, Machine::Shared, |trial| {
        let mut daemon = Daemon::start(trial, DaemonOptions::default())?;
        let [alice, mallory] = Person::signed_up_all(trial, ["alice", "mallory"], &daemon)?;
        edit_credential(&mallory, |credential| {
            // The last character of a signature holds four bits of it: the first holds six.
            let (head, signature) = credential.rsplit_once('.').expect("a JWS has three parts");
            let first = if signature.starts_with('A') { "B" } else { "A" };
            format!("{head}.{first}{}", &signature[1..])
        })?;
        let call = mallory.run(trial, ["call", "echo", "--for", "1s"])?;
        ensure_clear(&call, REFUSED, &["sign-in"])?;
        unharmed(trial, &mut daemon, &[&alice])
    });
}

/// Replaces a profile's credential by the authority's word for the same device, expired so many days ago.
fn expire(person: &Person, daemon: &Daemon, days: u64) -> anyhow::Result<()> {
    const DAY: u64 = 86_400;
    let now = UnixTime::from(SystemTime::now());
    let [issued_at, expires] = [days + 7, days].map(|days| UnixTime(now.0 - days * DAY));
    set_validity(person, daemon, issued_at, expires)
}

/// Replaces a profile's credential by the authority's word for the same device, valid from and to these seconds.
fn set_validity(person: &Person, daemon: &Daemon, issued_at: UnixTime, expires: UnixTime) -> anyhow::Result<()> {
    let keys = NetworkKeys::read(daemon.data())?;
    let now = UnixTime::from(SystemTime::now());
    edit_credential(person, |token| {
        let mut claims: Credential = document::verify(token, &[keys.signing.verifying_key()], keys.network, now)
            .expect("the present credential is good");
        (claims.issued_at, claims.expires) = (issued_at, expires);
        document::sign(&claims, &keys.signing)
    })
}

#[test]
fn an_expired_credential_is_renewed_without_a_password_for_a_month() {
    trial(LIMIT, Machine::Shared, |trial| {
        let mut daemon = Daemon::start(trial, DaemonOptions::default())?;
        let [alice, bob] = Person::signed_up_all(trial, ["alice", "bob"], &daemon)?;
        expire(&alice, &daemon, 2)?;
        alice.run(trial, ["call", "echo", "--for", "1s"])?.succeeded()?;
        expire(&bob, &daemon, 40)?;
        let call = bob.run(trial, ["call", "echo", "--for", "1s"])?;
        ensure_clear(&call, REFUSED, &["sign-in"])?;
        unharmed(trial, &mut daemon, &[&alice])
    });
}

#[test]
fn a_session_ends_with_its_credential_and_a_client_goes_on_with_a_newer_one_in_time() {
    trial(LIMIT, Machine::Shared, |trial| {
        let mut daemon = Daemon::start(trial, DaemonOptions::default())?;
        let [alice, bob] = Person::signed_up_all(trial, ["alice", "bob"], &daemon)?;
        alice.befriend(trial, &bob)?;
        let keys = NetworkKeys::read(daemon.data())?;
        let issued_at = UnixTime(UnixTime::from(SystemTime::now()).0 - 86_400);
        let expires = UnixTime::from(SystemTime::now()).plus(Duration::from_secs(8));
        set_validity(&alice, &daemon, issued_at, expires)?;
        let mut listening = alice.start(trial, ["listen", "--auto-answer"])?;
        listening.wait_for("listening")?;
        // Somebody who has nothing newer, and whose credential is good for a little longer.
        let later = expires.max(SystemTime::now().into()).plus(Duration::from_secs(2));
        let other = Identity::made_for(keys.network, AccountId(rand::random()), &keys.signing, [issued_at, later]);
        let closed = tokio::runtime::Runtime::new()?.block_on(async {
            let link = Link::connect(&wire::endpoint(None)?, daemon.address()).await?;
            wire::closing_code(link.sign_in(&other).await?.connection()).await
        })?;
        ensure!(closed == ErrorCode::CredentialExpired, "{closed:?}");
        bob.run(trial, ["call", "alice", "--for", "1s"])?.succeeded()?;
        ensure!(listening.events().iter().all(|event| event.name != "link-lost"), "{:?}", listening.events());
        listening.interrupt_and_finish()?.succeeded()?;
        unharmed(trial, &mut daemon, &[&bob])
    });
}

#[test]
fn a_device_that_was_signed_out_is_told_so() {
    trial(LIMIT, Machine::Shared, |trial| {
        let mut daemon = Daemon::start(trial, DaemonOptions::default())?;
        let [alice, bob] = Person::signed_up_all(trial, ["alice", "bob"], &daemon)?;
        let copy = bob.on_another_device();
        let copied = Command::new("cp").arg("-r").args([bob.profile(), copy.profile()]).status()?;
        ensure!(copied.success());
        bob.run(trial, ["sign-out"])?.succeeded()?;
        let call = copy.run(trial, ["call", "echo", "--for", "1s"])?;
        ensure_clear(&call, REFUSED, &["sign-in"])?;
        unharmed(trial, &mut daemon, &[&alice])
    });
}

#[test]
fn whoever_talks_is_busy_for_a_third_and_talks_on() {
    trial(LIMIT, Machine::Shared, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let [alice, bob, carol] = Person::signed_up_all(trial, ["alice", "bob", "carol"], &daemon)?;
        alice.befriend(trial, &bob)?;
        carol.befriend(trial, &bob)?;
        let mut listening = bob.start(trial, ["listen", "--auto-answer"])?;
        listening.wait_for("listening")?;
        let mut talking = alice.start(trial, ["call", "bob"])?;
        talking.wait_for("voice")?;
        let refused = carol.run(trial, ["call", "bob"])?;
        ensure_clear(&refused, NOT_ANSWERED, &["another call", "later"])?;
        ensure!(refused.event("ended")?.text("cause") == "busy", "{refused:?}");
        let ended = talking.interrupt_and_finish()?.succeeded()?;
        ensure!(ended.event("ended")?.text("cause") == "hung-up", "{ended:?}");
        listening.wait_for("ended")?;
        // Free again.
        let mut talking = carol.start(trial, ["call", "bob"])?;
        talking.wait_for("voice")?;
        talking.interrupt_and_finish()?.succeeded()?;
        Ok(())
    });
}

/// A file system that can be full.
pub(crate) struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    pub(crate) fn mount(folder: std::path::PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir(&folder)?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m,mode=700", "ahoy-trial"])
            .arg(&folder)
            .status()?;
        ensure!(mounted.success(), "can't mount a small disk");
        Ok(Self(folder))
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    if skipped_for_want_of_root("a_full_disk_is_said_and_loses_nothing") {
        return;
    }
    trial(LIMIT, Machine::Shared, |trial| {
        let disk = SmallDisk::mount(trial.folder().join("disk"))?;
        let options = DaemonOptions { data: Some(disk.0.join("data")), ..DaemonOptions::default() };
        let mut daemon = Daemon::start(trial, options)?;
        let alice = Person::signed_up(trial, "alice", &daemon)?;
        let ballast = disk.0.join("ballast");
        // Written until the disk takes no more, so it ends with an error.
        let _ = std::io::copy(&mut std::io::repeat(1), &mut std::fs::File::create(&ballast)?);
        let refused = Person::new(trial, "bob", &daemon.network())?.sign_up(trial)?;
        // A stranger learns that it is not his fault; the operator learns which.
        ensure_clear(&refused, UNREACHABLE, &["problem of its own", "try again"])?;
        ensure!(
            daemon.child().errors().contains("disk is full"),
            "the log does not name it: {}",
            daemon.child().errors()
        );
        // What needs no store goes on; what is there can be read.
        unharmed(trial, &mut daemon, &[&alice])?;
        std::fs::remove_file(&ballast)?;
        let carol = Person::signed_up(trial, "carol", &daemon)?;
        daemon.kill_and_restart(trial)?;
        daemon.wait_until_ready(trial)?;
        alice.on_another_device().sign_in(trial)?.succeeded()?;
        unharmed(trial, &mut daemon, &[&alice, &carol])?;
        drop(daemon);
        Ok(())
    });
}

/// Some trials need root. CI has it; elsewhere they say so and are left out.
pub(crate) fn skipped_for_want_of_root(name: &str) -> bool {
    let strict = std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    let skipped = !capture::is_permitted() && !strict;
    if skipped {
        eprintln!(
            "\n*** SKIPPED {name}: it needs root (mounts, network namespaces); run the tests as root to include it ***\n"
        );
    }
    skipped
}
