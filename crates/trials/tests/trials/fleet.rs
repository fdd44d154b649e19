//! A fleet: an authority, three supernodes, PostgreSQL and Redis, all of them real processes, of which some die.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ahoy_fabric::testing::RedisServer;
use ahoy_store::testing::{Durability, Postgres};
use ahoy_trials::bench::relay;
use ahoy_trials::harness::{Child, Event, Machine, Person, Puppet, Trial, Verb, binary, free_port, trial, unix_ms};
use ahoy_trials::quality::{self, CLEAN, VOICES, speech};
use ahoy_trials::wire::NetworkKeys;
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

/// Supernodes, besides the authority's process, which is none.
const SUPERNODES: usize = 3;

/// Between two messages of somebody who writes.
const PACE: Duration = Duration::from_millis(200);

/// A call goes on for this long before anything happens to it.
const CALM: Duration = Duration::from_millis(1500);

/// A daemon with a configuration of its own.
pub(crate) struct Node {
    name: String,
    file: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) port: u16,
    process: Option<Child>,
}

pub(crate) struct Fleet {
    pub(crate) authority: Node,
    pub(crate) supernodes: Vec<Node>,
    pub(crate) redis: RedisServer,
    pub(crate) postgres: Postgres,
}

/// `ahoyd` with a configuration file, for something that ends by itself; gives the objects that it printed.
fn operator(trial: &Trial, node: &Node, words: &[&str]) -> anyhow::Result<Vec<Value>> {
    let mut command = Command::new(binary("ahoyd")?);
    command.args(words).args(["--json", "--config"]).arg(&node.file);
    let mut child = Child::start(trial, &format!("{}-{}", node.name, words[0]), &command)?;
    let mut objects = Vec::new();
    while let Some(line) = child.next_line()? {
        objects.push(serde_json::from_str(&line.text).with_context(|| line.text.clone())?);
    }
    let status = child.wait()?;
    ensure!(status.success(), "ahoyd {words:?} ended with {status}: {}", child.errors());
    Ok(objects)
}

impl Node {
    fn new(trial: &Trial, name: &str, more: &str) -> anyhow::Result<Self> {
        let (port, admin) = (free_port(), free_port());
        let (file, data) = (trial.folder().join(format!("{name}.toml")), trial.folder().join(name));
        let text = format!(
            "name = \"example.org\"\ndata = {data:?}\nlisten = [\"127.0.0.1:{port}\"]\npublic = [\"127.0.0.1:{port}\"]\n\
             admin.listen = [\"127.0.0.1:{admin}\"]\nreconnect_spread_s = 2\nsign_up = \"open\"\n\
             unlimited = [\"127.0.0.1\"]\n{more}"
        );
        std::fs::write(&file, text)?;
        Ok(Self { name: name.to_owned(), file, data, port, process: None })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn start(&mut self, trial: &Trial) -> anyhow::Result<()> {
        let mut command = Command::new(binary("ahoyd")?);
        command.args(["serve", "--config"]).arg(&self.file);
        self.process = Some(Child::start(trial, &self.name, &command)?);
        Ok(())
    }

    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().context("it runs")?.kill()?;
        Ok(())
    }

    /// The fleet as this one sees it.
    fn sees(&self, trial: &Trial) -> anyhow::Result<Vec<Value>> {
        operator(trial, self, &["fleet"])
    }
}

impl Fleet {
    /// Everybody sees everybody.
    pub(crate) fn start(trial: &Trial) -> anyhow::Result<Self> {
        Self::start_with(trial, "")
    }

    /// The same; `more` are further lines of the supernodes' configurations.
    pub(crate) fn start_with(trial: &Trial, more: &str) -> anyhow::Result<Self> {
        let postgres = Postgres::start(Durability::Synced);
        let redis = RedisServer::start();
        let shared = format!("store = {:?}\nfabric = {:?}\n", postgres.database(), redis.url());
        let mut authority = Node::new(trial, "authority", &format!("roles = [\"authority\"]\n{shared}"))?;
        authority.start(trial)?;
        trial.wait_for("the authority", || is_open(&authority))?;
        let mut supernodes = Vec::new();
        for number in 1..=SUPERNODES {
            let more = format!("roles = [\"supernode\"]\nauthority = {:?}\n{shared}{more}", authority.url());
            let mut node = Node::new(trial, &format!("supernode{number}"), &more)?;
            let made = operator(trial, &authority, &["enrol"])?;
            let token = made.first().and_then(|made| made["token"].as_str()).context("a token")?.to_owned();
            operator(trial, &node, &["join", "--token", &token])?;
            node.start(trial)?;
            supernodes.push(node);
        }
        let fleet = Self { authority, supernodes, redis, postgres };
        fleet.complete(trial, SUPERNODES)?;
        Ok(fleet)
    }

    /// Waits until each supernode that runs sees so many, itself included.
    pub(crate) fn complete(&self, trial: &Trial, size: usize) -> anyhow::Result<()> {
        for node in self.supernodes.iter().filter(|node| node.process.is_some()) {
            trial.wait_for("a whole fleet", || {
                let rows = node.sees(trial).ok()?;
                let own = rows.iter().find(|row| row["own"] == json!(true))?;
                (own["supernodes"] == json!(size)).then_some(())
            })?;
        }
        Ok(())
    }

    /// Tells a supernode to hand over what it has, and to end.
    pub(crate) fn drain(&self, trial: &Trial, index: usize) -> anyhow::Result<()> {
        operator(trial, &self.supernodes[index], &["drain", "--deadline", "30"])?;
        Ok(())
    }

    /// Waits until a supernode that drains has ended, and starts it again. When it ended.
    pub(crate) fn restart_drained(&mut self, trial: &Trial, index: usize) -> anyhow::Result<u64> {
        let mut process = self.supernodes[index].process.take().context("it ran")?;
        let status = process.wait()?;
        ensure!(status.success(), "the drained daemon ended with {status}");
        let ended = unix_ms();
        self.complete(trial, SUPERNODES - 1)?;
        self.supernodes[index].start(trial)?;
        self.complete(trial, SUPERNODES)?;
        Ok(ended)
    }

    /// The census from outside, then the operator's, as people read it.
    pub(crate) fn census(&self, trial: &Trial) -> anyhow::Result<String> {
        let mut said = String::new();
        let data = self.supernodes[0].data.display().to_string();
        for words in [vec![], vec!["--operator", &data]] {
            let mut command = Command::new(binary("ahoy")?);
            command.arg("--profile").arg(trial.folder().join("nobody"));
            command.args(["--network", &self.url(), "census"]).args(words);
            let mut child = Child::start(trial, "census", &command)?;
            while let Some(line) = child.next_line()? {
                said += &(line.text + "\n");
            }
            ensure!(child.wait()?.success(), "a census fails: {}", child.errors());
        }
        Ok(said)
    }

    /// Where the authority is.
    pub(crate) fn url(&self) -> String {
        self.authority.url()
    }

    fn person(&self, trial: &Trial, name: &str) -> anyhow::Result<Person> {
        let person = Person::new(trial, name, &self.authority.url())?;
        person.sign_up(trial)?.succeeded()?;
        Ok(person)
    }

    /// Two people who are contacts.
    pub(crate) fn pair(&self, trial: &Trial, names: [&str; 2]) -> anyhow::Result<[Person; 2]> {
        let [one, other] = [self.person(trial, names[0])?, self.person(trial, names[1])?];
        one.befriend(trial, &other)?;
        Ok([one, other])
    }
}

/// Whether the authority's port is open.
fn is_open(node: &Node) -> Option<()> {
    std::net::TcpStream::connect(("127.0.0.1", node.port)).ok().map(|_| ())
}

/// A call between two people, who speak to each other all the time.
pub(crate) fn call(trial: &Trial, [caller, callee]: &[Person; 2]) -> anyhow::Result<[Verb; 2]> {
    let [mine, theirs] = VOICES.map(|voice| speech(voice).into_os_string());
    let mut listening = callee.start(trial, ["listen".into(), "--auto-answer".into(), "--play".into(), theirs])?;
    listening.wait_for("listening")?;
    let mut calling = caller.start(trial, ["call".into(), callee.name().into(), "--play".into(), mine])?;
    calling.wait_for("voice")?;
    listening.wait_for("voice")?;
    std::thread::sleep(CALM);
    Ok([calling, listening])
}

/// The one who called hangs up, and both hear of it: the call has lived until then.
pub(crate) fn hang_up([calling, mut listening]: [Verb; 2]) -> anyhow::Result<()> {
    calling.interrupt_and_finish()?.event("ended")?;
    listening.wait_for("ended")?;
    Ok(())
}

/// A fleet in which two people talk and two write.
fn busy_fleet(trial: &Trial) -> anyhow::Result<(Fleet, Letters, [Verb; 2])> {
    let fleet = Fleet::start(trial)?;
    let talkers = fleet.pair(trial, ["alice", "bob"])?;
    let writers = fleet.pair(trial, ["carol", "dave"])?;
    let letters = Letters::start(trial, &writers)?;
    let verbs = call(trial, &talkers)?;
    Ok((fleet, letters, verbs))
}

/// How long until each of the two heard the other again, if it had stopped to: voice that goes on says nothing.
fn returns(verbs: &mut [Verb; 2], since_ms: u64) -> Vec<u64> {
    let heard = |event: &Event| (event.name == "voice").then_some(event.at_ms).filter(|at| *at >= since_ms);
    let first = |verb: &mut Verb| verb.events().iter().filter_map(heard).min();
    verbs.iter_mut().filter_map(first).map(|at| at - since_ms).collect()
}

/// Messages that one sends to another, one after the other.
struct Letters {
    sender: Puppet,
    receiver: Puppet,
    sent: u64,
}

impl Letters {
    fn start(trial: &Trial, [from, to]: &[Person; 2]) -> anyhow::Result<Self> {
        let (sender, receiver) = (Puppet::start(trial, from)?, Puppet::start(trial, to)?);
        let mut letters = Self { sender, receiver, sent: 0 };
        // The first one makes the conversation, for which all must be well.
        letters.send()?;
        letters.receiver.wait_for(|event| event.name == "message")?;
        Ok(letters)
    }

    /// Hands one to the sender's device, which keeps it until the network has it.
    fn send(&mut self) -> anyhow::Result<()> {
        self.sent += 1;
        let (to, text) = (self.receiver.person().name().to_owned(), self.sent.to_string());
        self.sender.ask(json!({ "do": "post", "to": to, "text": text }))?;
        Ok(())
    }

    /// All of them have come, once each, in order.
    fn check(self) -> anyhow::Result<()> {
        let mut came = Vec::new();
        while came.last() != Some(&self.sent) {
            let event = self.receiver.wait_for(|event| event.name == "message")?;
            came.push(event.text("text").parse::<u64>().context("a number")?);
        }
        let expected: Vec<u64> = (2..=self.sent).collect();
        ensure!(came == expected, "{came:?} came, of {}", self.sent);
        Ok(())
    }
}

#[test]
fn a_call_and_messages_survive_the_death_of_each_supernode_in_turn() {
    trial(Duration::from_secs(240), Machine::Shared, |trial| {
        let (mut fleet, mut letters, mut verbs) = busy_fleet(trial)?;
        for dies in 0..SUPERNODES {
            letters.send()?;
            let killed = unix_ms();
            fleet.supernodes[dies].kill()?;
            for _ in 0..5 {
                letters.send()?;
            }
            fleet.complete(trial, SUPERNODES - 1)?;
            fleet.supernodes[dies].start(trial)?;
            fleet.complete(trial, SUPERNODES)?;
            letters.send()?;
            println!("supernode {}: voice was back after {:?} ms", dies + 1, returns(&mut verbs, killed));
        }
        for verb in &mut verbs {
            ensure!(verb.child().runs(), "a call has ended: {:?}", verb.events().last());
        }
        hang_up(verbs)?;
        letters.check()
    });
}

#[test]
fn calls_and_messages_go_on_while_redis_is_away_and_while_the_authority_is() {
    trial(Duration::from_secs(180), Machine::Alone, |trial| {
        let (mut fleet, mut letters, mut verbs) = busy_fleet(trial)?;
        let since = unix_ms();
        fleet.redis.kill();
        fleet.authority.kill()?;
        // Longer than a lease lasts.
        let until = since + 5_000;
        while unix_ms() < until {
            letters.send()?;
            std::thread::sleep(PACE);
        }
        fleet.complete(trial, SUPERNODES)?;
        ensure!(returns(&mut verbs, since).is_empty(), "voice has stopped: {:?}", returns(&mut verbs, since));
        fleet.redis.restart();
        fleet.authority.start(trial)?;
        fleet.complete(trial, SUPERNODES)?;
        hang_up(verbs)?;
        letters.check()
    });
}

#[test]
fn calls_go_on_while_postgres_is_away_and_messages_come_afterwards() {
    trial(Duration::from_secs(180), Machine::Alone, |trial| {
        let (mut fleet, mut letters, mut verbs) = busy_fleet(trial)?;
        let since = unix_ms();
        fleet.postgres.kill();
        for _ in 0..20 {
            letters.send()?;
        }
        fleet.postgres.start_again();
        ensure!(returns(&mut verbs, since).is_empty(), "voice has stopped: {:?}", returns(&mut verbs, since));
        hang_up(verbs)?;
        letters.check()
    });
}

#[test]
fn a_supernode_that_drains_hands_over_its_calls_and_ends() {
    trial(Duration::from_secs(240), Machine::Shared, |trial| {
        let (mut fleet, mut letters, mut verbs) = busy_fleet(trial)?;
        for drained in 0..SUPERNODES {
            let since = unix_ms();
            letters.send()?;
            fleet.drain(trial, drained)?;
            letters.send()?;
            let took = fleet.restart_drained(trial, drained)? - since;
            ensure!(took < 25_000, "nobody went before the deadline");
            let gaps = returns(&mut verbs, since);
            println!(
                "supernode {} was empty after {took} ms; voice stopped and was back after {gaps:?} ms",
                drained + 1
            );
        }
        hang_up(verbs)?;
        letters.check()
    });
}

#[test]
#[ignore = "measures, for minutes; see docs/benchmarks.md"]
fn what_a_trunk_adds_to_voice() {
    trial(Duration::from_secs(300), Machine::Alone, |trial| {
        let fleet = Fleet::start(trial)?;
        let keys = NetworkKeys::read(&fleet.authority.data)?;
        let addresses = [0, 1].map(|index| SocketAddr::from(([127, 0, 0, 1], fleet.supernodes[index].port)));
        let processes: Vec<u32> =
            fleet.supernodes.iter().filter_map(|node| Some(node.process.as_ref()?.id())).collect();
        let load = relay::Load { calls: 50, time: Duration::from_secs(10) };
        println!("{:#?}", relay::across(&keys, addresses, &processes, load)?);
        // People whose sessions are on one supernode, and on two.
        let mut homes: BTreeMap<String, Vec<Person>> = BTreeMap::new();
        for number in 0..8 {
            let person = fleet.person(trial, &format!("person{number}"))?;
            let status = person.run(trial, ["status"])?.succeeded()?;
            homes.entry(status.event("status")?.text("supernode_id").to_owned()).or_default().push(person);
        }
        let crowded = homes.values().find(|people| people.len() > 1).context("8 people on 3 supernodes")?;
        let [one, other] = [&crowded[0], &crowded[1]];
        let elsewhere = homes.values().find(|people| people[0].name() != one.name()).context("all are on one")?;
        let far = &elsewhere[0];
        for (what, listener, seed) in [("one", other, 1), ("one", other, 2), ("two", far, 1), ("two", far, 2)] {
            if seed == 1 {
                one.befriend(trial, listener)?;
            }
            for recording in quality::call(trial, addresses[0], [one, listener], &CLEAN, seed)? {
                let heard = recording.score()?;
                println!("on {what}: PESQ-WB {:.2}, playout delay {:.0} ms", heard.pesq, heard.playout_ms);
            }
        }
        Ok(())
    });
}
