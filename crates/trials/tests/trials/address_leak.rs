//! No client ever learns another client's address.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use ahoy_trials::capture::{self, Capture, Namespace, Opened};
use ahoy_trials::harness::{Daemon, DaemonOptions, Machine, Person, Trial, http_get, trial};
use ahoy_trials::{quality, wire};
use anyhow::ensure;

use crate::refusals::skipped_for_want_of_root;

/// Addresses that no random bytes are likely to hold, and the supernode's end of each wire.
const ALICE: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 183, 97, 213), Ipv4Addr::new(10, 183, 97, 214)];
const BOB: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 66, 142, 57), Ipv4Addr::new(10, 66, 142, 58)];

/// A supernode in the middle, a client on each side.
struct World {
    daemon: Daemon,
    alice: Namespace,
    bob: Namespace,
    port: u16,
}

impl World {
    fn new(trial: &Trial) -> anyhow::Result<Self> {
        let node = Namespace::new("node")?;
        let (alice, bob) = (Namespace::new("alice")?, Namespace::new("bob")?);
        node.join(&alice, ALICE)?;
        node.join(&bob, BOB)?;
        let port = 8080;
        node.redirect_to_loopback(&[ALICE[0], BOB[0]], port)?;
        let options = DaemonOptions { port: Some(port), prefix: node.prefix(), ..DaemonOptions::default() };
        let daemon = Daemon::start_unready(trial, options)?;
        let admin = daemon.admin();
        node.inside(|| {
            let ready = || http_get(admin, "/ready").is_ok_and(|response| response.status == 200).then_some(());
            trial.wait_for("ahoyd to be ready", ready)
        })?;
        alice.forward_loopback((ALICE[0], port).into())?;
        bob.forward_loopback((BOB[0], port).into())?;
        // The namespace of a running process goes when the process does.
        drop(node);
        Ok(Self { daemon, alice, bob, port })
    }

    /// A person inside a namespace, whose traffic can be read.
    fn person(&self, trial: &Trial, name: &str, inside: &Namespace, supernode: Ipv4Addr) -> anyhow::Result<Person> {
        let mut person = Person::new(trial, name, &self.daemon.network())?;
        person.prefix = inside.prefix();
        person.supernode = Some((supernode, self.port).into());
        person.keylog = Some(trial.folder().join(format!("{name}.keys")));
        Ok(person)
    }

    fn open(&self, trial: &Trial, capture: Capture, name: &str) -> anyhow::Result<Opened> {
        capture::open(&capture.finish()?, &trial.folder().join(format!("{name}.keys")), self.port)
    }
}

#[test]
fn no_byte_that_a_client_receives_or_sends_is_the_others_address() {
    if skipped_for_want_of_root("no_byte_that_a_client_receives_or_sends_is_the_others_address") {
        return;
    }
    trial(Duration::from_secs(90), Machine::Shared, |trial| {
        let world = World::new(trial)?;
        let captures = (world.alice.capture(trial)?, world.bob.capture(trial)?);
        let alice = world.person(trial, "alice", &world.alice, ALICE[0])?;
        let bob = world.person(trial, "bob", &world.bob, BOB[0])?;
        alice.sign_up(trial)?.succeeded()?;
        bob.sign_up(trial)?.succeeded()?;
        alice.befriend(trial, &bob)?;
        let voice = quality::speech("ru-female").into_os_string();
        let mut listening = bob
            .start(trial, ["listen".into(), "--auto-answer".into(), "--once".into(), "--play".into(), voice.clone()])?;
        listening.wait_for("listening")?;
        let call = ["call".into(), "bob".into(), "--for".into(), "5s".into(), "--play".into(), voice];
        alice.run(trial, call)?.succeeded()?;
        alice.run(trial, ["verify", "bob"])?.succeeded()?;
        listening.finish()?.succeeded()?;
        for (capture, person, other) in [(captures.0, &alice, BOB[1]), (captures.1, &bob, ALICE[1])] {
            let opened = world.open(trial, capture, person.name())?;
            let name = person.name();
            println!(
                "{name}: {} frames, {} opened, {} sealed",
                opened.frames,
                opened.count("Decrypted"),
                opened.sealed
            );
            // 5 s of voice are 250 packets each way; the name shows that sign-up and signalling have been read.
            ensure!(opened.count("Decrypted QUIC") > 500, "too little of {name}'s traffic could be opened");
            ensure!(opened.sealed == 0, "{} packets of {name} could not be opened", opened.sealed);
            ensure!(opened.holds(name.as_bytes()), "{name}'s own name is not in what was opened");
            let leaks = opened.leaks(other);
            ensure!(leaks.is_empty(), "{name} can see {other}: {leaks:?}");
        }
        Ok(())
    });
}

/// Signs nobody in: says an address in a text field and in a datagram, as a careless client would.
async fn blurt(supernode: SocketAddr, keylog: &Path, address: Ipv4Addr) -> anyhow::Result<()> {
    let endpoint = wire::endpoint(Some(keylog))?;
    let link = wire::Link::connect(&endpoint, supernode).await?;
    link.connection().send_datagram(address.octets().to_vec().into())?;
    let prove = ahoy_proto::v1::Prove { agent: format!("ahoy at {address}"), ..Default::default() };
    let message = ahoy_proto::v1::ClientMessage { request: 1, body: Some(wire::Request::Prove(prove)) };
    ensure!(link.sign_in_with(&message).await.is_err(), "an empty proof was accepted");
    endpoint.wait_idle().await;
    Ok(())
}

#[test]
fn an_address_that_is_said_is_found() {
    if skipped_for_want_of_root("an_address_that_is_said_is_found") {
        return;
    }
    trial(Duration::from_secs(60), Machine::Shared, |trial| {
        let world = World::new(trial)?;
        let capture = world.bob.capture(trial)?;
        let supernode = SocketAddr::from((BOB[0], world.port));
        world.bob.inside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(blurt(supernode, &trial.folder().join("bob.keys"), ALICE[1]))
        })?;
        let opened = world.open(trial, capture, "bob")?;
        let forms: Vec<_> = opened.leaks(ALICE[1]).into_iter().map(|leak| leak.form).collect();
        ensure!(forms.contains(&"text") && forms.contains(&"binary"), "the planted leaks are not found: {forms:?}");
        Ok(())
    });
}
