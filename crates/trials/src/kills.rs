//! The kill loop: clients write to each other while kill -9 hits them and their daemon, and at the end everybody must hold every
//! message that was acknowledged, once, in order, and nothing that nobody sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::{Pid, Signal};
use serde_json::json;

use crate::harness::{Answer, Daemon, DaemonOptions, Event, Person, Puppet, Refused, Trial};

/// How often, and for how many.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Half of them hit the daemon, half a client.
    pub kills: usize,
    /// Devices, each of an account of its own.
    pub clients: usize,
    /// Of everything that is drawn by lot.
    pub seed: u64,
}

/// What happened.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Messages whose `send` was answered.
    pub sent: usize,
    /// Messages whose `post` was answered.
    pub posted: usize,
    /// Messages whose sender was killed before an answer.
    pub unanswered: usize,
    /// Messages that were refused, by the code of the refusal: where there is no conversation yet, it takes a session to make one.
    pub refused: BTreeMap<String, usize>,
    /// Of those two, how many arrived.
    pub arrived_unanswered: usize,
    /// Kills of the daemon.
    pub daemon_kills: usize,
    /// Kills of a client.
    pub client_kills: usize,
    /// From the first message to the last kill.
    pub under_fire: Duration,
    /// From the last kill until everybody had everything.
    pub settled: Duration,
    /// Lines compared.
    pub lines: usize,
    /// Lines that say that something may be missing.
    pub gaps: usize,
}

/// A conversation of some clients.
struct Place {
    members: Vec<usize>,
    /// A title; `None`: of two.
    title: Option<String>,
}

impl Place {
    /// What a member calls it.
    fn name(&self, client: usize) -> String {
        match (&self.title, &self.members[..]) {
            (Some(title), _) => title.clone(),
            (None, [one, other]) => name(if *one == client { *other } else { *one }),
            (None, _) => unreachable!("a pair has two members"),
        }
    }
}

/// What became of a message, as its sender was told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Sent(u64),
    Posted,
    /// By this code.
    Refused(String),
    Unanswered,
}

/// A message that somebody tried to send.
#[derive(Debug, Clone)]
struct Attempt {
    client: usize,
    place: usize,
    number: u64,
    text: String,
    fate: Fate,
}

/// A client's process, for whoever kills it.
#[derive(Default)]
struct Target(Mutex<Option<Pid>>);

impl Target {
    /// Whether there was one to be hit.
    fn hit(&self) -> bool {
        let pid = self.0.lock().expect("nobody panics with it");
        // The process is not reaped while its id stands here.
        pid.is_some_and(|pid| rustix::process::kill_process(pid, Signal::KILL).is_ok())
    }

    fn set(&self, pid: Option<Pid>) {
        *self.0.lock().expect("nobody panics with it") = pid;
    }
}

/// Members of a group.
const GROUP: usize = 4;

/// Between two messages of a client, in milliseconds: three a second on average.
const PAUSE_MS: std::ops::Range<u64> = 100..500;

/// Between two kills, in milliseconds: some hit what is still coming up.
const KILL_MS: std::ops::Range<u64> = 50..1_200;

/// Runs it.
///
/// # Errors
/// When a message is lost, doubled, out of order or made up, or nobody gets anywhere by the trial's deadline.
pub fn run(trial: &Trial, plan: Plan) -> anyhow::Result<Report> {
    let mut daemon = Daemon::start(trial, DaemonOptions::default())?;
    let people = sign_up(trial, &daemon.network(), plan.clients)?;
    let mut puppets = people.iter().map(|person| Puppet::start(trial, person)).collect::<anyhow::Result<Vec<_>>>()?;
    let places = make_places(trial, &mut puppets)?;
    let targets: Vec<Target> = puppets.iter().map(|_| Target::default()).collect();
    let over = AtomicBool::new(false);
    let started = Instant::now();
    let mut report = Report::default();
    let (places, targets, over) = (&places, &targets, &over);
    let attempts = std::thread::scope(|scope| -> anyhow::Result<Vec<Attempt>> {
        let mut running = Vec::new();
        for (client, puppet) in puppets.drain(..).enumerate() {
            let rng = StdRng::seed_from_u64(plan.seed ^ ((client as u64 + 1) << 32));
            let life =
                Life { trial, client, places, target: &targets[client], puppet, rng, number: 0, attempts: vec![] };
            running.push(scope.spawn(move || life.live(over)));
        }
        let shot = shoot(trial, &mut daemon, targets, plan, &mut report);
        report.under_fire = started.elapsed();
        over.store(true, Ordering::Relaxed);
        let lives = running.into_iter().map(|life| life.join().expect("a client returns its error"));
        let attempts = lives.collect::<anyhow::Result<Vec<_>>>();
        shot?;
        Ok(attempts?.concat())
    })?;
    // A process ends with the thread that started it, so everybody is started once more: what counts is what the profiles hold.
    let quiet = Instant::now();
    let mut puppets = people.iter().map(|person| Puppet::start(trial, person)).collect::<anyhow::Result<Vec<_>>>()?;
    compare(trial, places, &mut puppets, &attempts, &mut report)?;
    report.settled = quiet.elapsed();
    Ok(report)
}

fn name(client: usize) -> String {
    format!("client{client}")
}

fn sign_up(trial: &Trial, network: &str, clients: usize) -> anyhow::Result<Vec<Person>> {
    let names: Vec<String> = (0..clients).map(name).collect();
    std::thread::scope(|scope| {
        let halves: Vec<_> = names
            .chunks(clients.div_ceil(2))
            .map(|names| {
                scope.spawn(move || -> anyhow::Result<Vec<Person>> {
                    let mut people = Vec::new();
                    for name in names {
                        let person = Person::new(trial, name, network)?;
                        person.sign_up(trial)?.succeeded()?;
                        people.push(person);
                    }
                    Ok(people)
                })
            })
            .collect();
        let halves = halves.into_iter().map(|half| half.join().expect("signing up returns its error"));
        Ok(halves.collect::<anyhow::Result<Vec<_>>>()?.concat())
    })
}

/// Groups of neighbours, and a ring of pairs.
fn make_places(trial: &Trial, puppets: &mut [Puppet]) -> anyhow::Result<Vec<Place>> {
    let clients = puppets.len();
    ensure!(clients >= 4 && clients.is_multiple_of(GROUP), "clients come in groups of {GROUP}");
    let groups = (0..clients).step_by(GROUP).map(|first| (first..first + GROUP).collect::<Vec<_>>());
    let mut places = Vec::new();
    let mut friends = BTreeSet::new();
    for (number, members) in groups.enumerate() {
        friends.extend(members[1..].iter().map(|other| (members[0], *other)));
        places.push(Place { members, title: Some(format!("group {number}")) });
    }
    for client in 0..clients {
        let next = (client + 1) % clients;
        friends.insert((client.min(next), client.max(next)));
        places.push(Place { members: vec![client, next], title: None });
    }
    for (one, other) in friends {
        let [one, other] = puppets.get_disjoint_mut([one, other]).context("nobody is his own friend")?;
        one.befriend(trial, other)?;
    }
    for place in &places {
        let Some(title) = &place.title else { continue };
        let (owner, others) = place.members.split_first().context("a group has members")?;
        let names: Vec<String> = others.iter().map(|other| name(*other)).collect();
        puppets[*owner].ask(json!({ "do": "group-create", "title": title, "names": names }))?;
        for other in others {
            let inside = |event: &Event| event.text("group") == title && event.text("standing") == "inside";
            let wanted =
                |answer: &anyhow::Result<Answer>| answer.as_ref().is_ok_and(|answer| answer.list.iter().any(inside));
            puppets[*other].ask_until(trial, &json!({ "do": "conversations" }), wanted)?;
        }
    }
    Ok(places)
}

/// Kills at random instants.
fn shoot(
    trial: &Trial,
    daemon: &mut Daemon,
    targets: &[Target],
    plan: Plan,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut rng = StdRng::seed_from_u64(plan.seed);
    while report.daemon_kills + report.client_kills < plan.kills {
        std::thread::sleep(Duration::from_millis(rng.random_range(KILL_MS)));
        ensure!(Instant::now() < trial.deadline(), "gave up after {report:?}");
        if report.daemon_kills <= report.client_kills {
            ensure!(daemon.child().runs(), "ahoyd ended by itself: {}", daemon.child().errors());
            daemon.kill_and_restart(trial)?;
            report.daemon_kills += 1;
        } else if targets[rng.random_range(0..targets.len())].hit() {
            report.client_kills += 1;
        }
    }
    daemon.wait_until_ready(trial)
}

/// A client through all its processes.
struct Life<'a> {
    trial: &'a Trial,
    client: usize,
    places: &'a [Place],
    target: &'a Target,
    puppet: Puppet,
    rng: StdRng,
    /// Of its last message.
    number: u64,
    attempts: Vec<Attempt>,
}

impl Life<'_> {
    /// Writes until it is over, then a last message to each place.
    fn live(mut self, over: &AtomicBool) -> anyhow::Result<Vec<Attempt>> {
        self.target.set(Some(pid(&mut self.puppet)?));
        let own: Vec<usize> =
            (0..self.places.len()).filter(|n| self.places[*n].members.contains(&self.client)).collect();
        while !over.load(Ordering::Relaxed) {
            let place = own[self.rng.random_range(0..own.len())];
            let post = self.rng.random_ratio(1, 3);
            self.write(place, if post { "post" } else { "send" })?;
            std::thread::sleep(Duration::from_millis(self.rng.random_range(PAUSE_MS)));
        }
        for place in own {
            while !matches!(self.write(place, "send")?, Fate::Sent(_)) {
                ensure!(Instant::now() < self.trial.deadline(), "client {} can't write any more", self.client);
            }
        }
        self.target.set(None);
        Ok(self.attempts)
    }

    fn write(&mut self, place: usize, how: &str) -> anyhow::Result<Fate> {
        self.number += 1;
        let (client, number) = (self.client, self.number);
        let text = format!("{client} writes {number} in {place}");
        let to = self.places[place].name(client);
        let fate = match self.puppet.ask(json!({ "do": how, "to": to, "text": text })) {
            Ok(answer) => match answer.event.fields["sequence"].as_u64() {
                Some(sequence) => Fate::Sent(sequence),
                None => Fate::Posted,
            },
            Err(error) => match error.downcast::<Refused>() {
                Ok(Refused(error)) => Fate::Refused(error.text("code").to_owned()),
                Err(error) => {
                    ensure!(Instant::now() < self.trial.deadline(), error);
                    self.rise()?;
                    Fate::Unanswered
                }
            },
        };
        self.attempts.push(Attempt { client, place, number, text, fate: fate.clone() });
        Ok(fate)
    }

    /// Starts again, as often as it takes: the daemon may be down as well.
    fn rise(&mut self) -> anyhow::Result<()> {
        loop {
            self.target.set(None);
            // The profile is free once the process is reaped.
            let _ = self.puppet.child().kill();
            let mut puppet = Puppet::start_unready(self.trial, &self.puppet.person().clone())?;
            self.target.set(Some(pid(&mut puppet)?));
            match puppet.wait_until_ready() {
                Ok(puppet) => {
                    self.puppet = puppet;
                    return Ok(());
                }
                Err(error) => ensure!(Instant::now() < self.trial.deadline(), error),
            }
        }
    }
}

fn pid(puppet: &mut Puppet) -> anyhow::Result<Pid> {
    Pid::from_raw(i32::try_from(puppet.child().id())?).context("a process has an id")
}

/// Lines of a place, once everything that was acknowledged is there.
fn heard(trial: &Trial, puppet: &mut Puppet, with: &str, due: &BTreeSet<&str>) -> anyhow::Result<Vec<Event>> {
    let history = json!({ "do": "history", "with": with });
    // What is still missing is told, not all that is there.
    let last = std::cell::RefCell::new(Vec::new());
    let complete = |answer: &anyhow::Result<Answer>| {
        let Ok(answer) = answer else { return false };
        let heard: BTreeSet<&str> = answer.list.iter().map(|line| line.text("text")).collect();
        *last.borrow_mut() = due.difference(&heard).map(ToString::to_string).collect::<Vec<_>>();
        due.is_subset(&heard)
    };
    let answer = puppet.ask_until(trial, &history, complete);
    answer.map(|answer| answer.list).map_err(|error| {
        let text: String = format!("{error:#}").chars().take(ERROR_MAX).collect();
        anyhow::anyhow!("{} lacks {:?} in {with}: {text}", puppet.person().name(), last.borrow())
    })
}

/// Characters of an error that are shown: it may quote a whole history.
const ERROR_MAX: usize = 300;

/// Checks what everybody holds against what was said.
fn compare(
    trial: &Trial,
    places: &[Place],
    puppets: &mut [Puppet],
    attempts: &[Attempt],
    report: &mut Report,
) -> anyhow::Result<()> {
    let fate = |wanted: fn(&Fate) -> bool| attempts.iter().filter(|attempt| wanted(&attempt.fate)).count();
    report.sent = fate(|fate| matches!(fate, Fate::Sent(_)));
    report.posted = fate(|fate| *fate == Fate::Posted);
    for attempt in attempts {
        if let Fate::Refused(code) = &attempt.fate {
            *report.refused.entry(code.clone()).or_default() += 1;
        }
    }
    report.unanswered = fate(|fate| *fate == Fate::Unanswered);
    let by_text: BTreeMap<&str, &Attempt> = attempts.iter().map(|attempt| (attempt.text.as_str(), attempt)).collect();
    for (number, place) in places.iter().enumerate() {
        let here = attempts.iter().filter(|attempt| attempt.place == number);
        let is_due = |attempt: &&Attempt| matches!(attempt.fate, Fate::Sent(_) | Fate::Posted);
        let due: BTreeSet<&str> = here.filter(is_due).map(|attempt| attempt.text.as_str()).collect();
        let mut first: Option<Vec<(u64, String)>> = None;
        for member in &place.members {
            let lines = heard(trial, &mut puppets[*member], &place.name(*member), &due)?;
            report.gaps += lines.iter().filter(|line| line.fields.get("gap").is_some()).count();
            let texts: Vec<&Event> = lines.iter().filter(|line| line.fields.get("text").is_some()).collect();
            check(number, &texts, &by_text).with_context(|| format!("client {member} in place {number}"))?;
            report.lines += texts.len();
            let held: Vec<(u64, String)> = texts
                .iter()
                .map(|line| (line.fields["sequence"].as_u64().unwrap_or_default(), line.text("text").to_owned()))
                .collect();
            match &first {
                None => {
                    report.arrived_unanswered += held.len() - due.len();
                    first = Some(held);
                }
                Some(first) => {
                    ensure!(
                        *first == held,
                        "client {member} holds another conversation in place {number}: {held:?}\n{first:?}"
                    );
                }
            }
        }
    }
    Ok(())
}

/// Checks one member's lines: nothing made up or doubled, each sender's in order, places as they were acknowledged.
fn check(place: usize, lines: &[&Event], attempts: &BTreeMap<&str, &Attempt>) -> anyhow::Result<()> {
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<usize, u64> = BTreeMap::new();
    for line in lines {
        let text = line.text("text");
        let attempt = attempts.get(text).with_context(|| format!("nobody sent {text:?}"))?;
        ensure!(attempt.place == place, "{text:?} belongs elsewhere");
        ensure!(line.text("from") == name(attempt.client), "{text:?} is said to be of {:?}", line.text("from"));
        ensure!(seen.insert(text), "{text:?} is there twice");
        let before = last.insert(attempt.client, attempt.number);
        ensure!(before.is_none_or(|before| before < attempt.number), "{text:?} comes after {before:?}");
        let sequence = line.fields["sequence"].as_u64().with_context(|| format!("{text:?} still waits"))?;
        if let Fate::Sent(told) = &attempt.fate {
            ensure!(*told == sequence, "{text:?} stands at {sequence}, and its sender was told {told}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(client: usize, number: u64, fate: Fate) -> Attempt {
        Attempt { client, place: 0, number, text: format!("{client} writes {number} in 0"), fate }
    }

    fn line(client: usize, number: u64, sequence: u64) -> Event {
        let text = format!("{client} writes {number} in 0");
        let fields = json!({ "event": "line", "from": name(client), "text": text, "sequence": sequence });
        Event { name: "line".to_owned(), at_ms: 0, fields }
    }

    fn checked(lines: &[Event]) -> anyhow::Result<()> {
        let attempts = [attempt(1, 1, Fate::Sent(4)), attempt(1, 2, Fate::Posted), attempt(2, 1, Fate::Unanswered)];
        let attempts = attempts.iter().map(|attempt| (attempt.text.as_str(), attempt)).collect();
        check(0, &lines.iter().collect::<Vec<_>>(), &attempts)
    }

    #[test]
    fn only_lines_as_they_were_acknowledged_pass() {
        checked(&[line(1, 1, 4), line(2, 1, 5), line(1, 2, 6)]).unwrap();
        let wrong = |lines: &[Event]| checked(lines).unwrap_err().to_string();
        assert!(wrong(&[line(3, 1, 4)]).contains("nobody sent"));
        assert!(wrong(&[line(1, 1, 4), line(1, 1, 5)]).contains("twice"));
        assert!(wrong(&[line(1, 2, 3), line(1, 1, 4)]).contains("comes after"));
        assert!(wrong(&[line(1, 1, 5)]).contains("was told 4"));
        let mut waiting = line(1, 2, 4);
        waiting.fields["sequence"] = serde_json::Value::Null;
        assert!(wrong(&[waiting]).contains("still waits"));
        let mut misattributed = line(1, 2, 4);
        misattributed.fields["from"] = json!(name(2));
        assert!(wrong(&[misattributed]).contains("said to be of"));
    }
}
