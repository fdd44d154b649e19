//! What is written arrives, once and in order, whatever becomes of devices and members meanwhile.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use ahoy_trials::harness::{Answer, Daemon, DaemonOptions, Event, Machine, Person, Puppet, Trial, trial};
use ahoy_trials::kills::{self, Plan};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

/// Messages that one device sends in a round, and rounds: five devices send 500.
const PER_ROUND: usize = 10;
const ROUNDS: usize = 10;

/// A line, as far as it must be the same on all devices: its place, whose it is, and its text; texts only.
type Said = (u64, String, String);

/// Texts of a conversation, in the order of the device's history.
fn said(lines: &[Event]) -> Vec<Said> {
    let texts = lines.iter().filter(|line| line.fields.get("text").is_some());
    let said = |line: &Event| {
        let place = line.fields["sequence"].as_u64().unwrap_or_default();
        (place, line.text("account").to_owned(), line.text("text").to_owned())
    };
    texts.map(said).collect()
}

/// Waits until a device is in a group of this title.
fn is_inside(trial: &Trial, puppet: &mut Puppet, title: &str) -> anyhow::Result<()> {
    let inside = |event: &Event| event.text("group") == title && event.text("standing") == "inside";
    let wanted = |answer: &anyhow::Result<Answer>| answer.as_ref().is_ok_and(|answer| answer.list.iter().any(inside));
    puppet.ask_until(trial, &json!({ "do": "conversations" }), wanted)?;
    Ok(())
}

/// Waits until a device has all these texts.
fn has_heard(trial: &Trial, puppet: &mut Puppet, title: &str, texts: &[String]) -> anyhow::Result<Vec<Said>> {
    let complete = |answer: &anyhow::Result<Answer>| {
        let said = answer.as_ref().map(|answer| said(&answer.list)).unwrap_or_default();
        texts.iter().all(|text| said.iter().any(|(.., heard)| heard == text))
    };
    let answer = puppet.ask_until(trial, &json!({ "do": "history", "with": title }), complete)?;
    Ok(said(&answer.list))
}

/// What changes in the group in one round, done by its owner between his messages.
fn change(round: usize) -> Option<Value> {
    match round {
        1 => Some(json!({ "do": "invite", "group": CREW, "names": ["dora"] })),
        3 => Some(json!({ "do": "invite", "group": CREW, "names": ["erin"] })),
        5 => Some(json!({ "do": "remove", "group": CREW, "name": "dora" })),
        8 => Some(json!({ "do": "rename", "group": CREW, "title": CREW })),
        _ => None,
    }
}

const CREW: &str = "Crew of the Albatross";

/// The five devices send at the same time, each its own messages of a round, the owner's after a change.
fn exchange(senders: &mut [&mut Puppet], round: usize) -> anyhow::Result<Vec<String>> {
    let together = Barrier::new(senders.len());
    std::thread::scope(|scope| {
        let runs: Vec<_> = senders
            .iter_mut()
            .enumerate()
            .map(|(n, puppet)| {
                let together = &together;
                scope.spawn(move || -> anyhow::Result<Vec<String>> {
                    together.wait();
                    if let Some(change) = change(round).filter(|_| n == 0) {
                        puppet.ask(change.clone()).with_context(|| change.to_string())?;
                    }
                    let texts: Vec<String> =
                        (0..PER_ROUND).map(|k| format!("round {round}, device {n}: {k}")).collect();
                    for text in &texts {
                        puppet.send(CREW, text).with_context(|| text.clone())?;
                    }
                    Ok(texts)
                })
            })
            .collect();
        let texts = runs.into_iter().map(|run| run.join().expect("a sender returns its error"));
        Ok(texts.collect::<anyhow::Result<Vec<_>>>()?.concat())
    })
}

/// Whether somebody who came later holds what the others hold: all that is there, in order, and nothing left out from its own words
/// on. What stands between its joining and those may have been sealed before, so that it can't read it.
fn holds_since_joining(heard: &[Said], wanted: &[Said], own: &str) -> bool {
    let mut rest = wanted.iter();
    let in_order = heard.iter().all(|line| rest.any(|other| other == line));
    let Some(at) = heard.iter().position(|(.., text)| text == own) else { return false };
    in_order && wanted.windows(heard.len() - at).any(|part| *part == heard[at..])
}

/// A device is lost: the other device of its owner revokes it, and another one signs in.
fn replace_device(trial: &Trial, kept: &mut Puppet, lost: &mut Puppet) -> anyhow::Result<Puppet> {
    let (person, device) = (kept.person().clone(), lost.device().to_owned());
    lost.child().kill()?;
    // The command line takes the profile meanwhile.
    kept.child().end_input();
    kept.child().wait()?;
    person.run(trial, ["devices", "revoke", &device])?.succeeded()?;
    *kept = Puppet::start(trial, &person)?;
    let person = person.on_device("third");
    person.sign_in(trial)?.succeeded()?;
    let mut puppet = Puppet::start(trial, &person)?;
    is_inside(trial, &mut puppet, CREW)?;
    Ok(puppet)
}

/// Three people with two devices each, all in one group, and two guests who are not in it yet.
struct Crew {
    /// alice, bob, carol, dora and erin, each on the device that they signed up on.
    first: [Puppet; 5],
    /// The other devices of the first three.
    second: [Puppet; 3],
    /// The group.
    conversation: String,
}

impl Crew {
    fn gather(trial: &Trial, daemon: &Daemon) -> anyhow::Result<Self> {
        let people = Person::signed_up_all(trial, ["alice", "bob", "carol", "dora", "erin"], daemon)?;
        let mut first = Vec::new();
        let mut second = Vec::new();
        for person in &people {
            first.push(Puppet::start(trial, person)?);
        }
        for person in &people[..3] {
            let person = person.on_another_device();
            person.sign_in(trial)?.succeeded()?;
            second.push(Puppet::start(trial, &person)?);
        }
        let (alice, others) = first.split_first_mut().context("five have signed up")?;
        for other in others {
            alice.befriend(trial, other)?;
        }
        let made = alice.ask(json!({ "do": "group-create", "title": CREW, "names": ["bob", "carol"] }))?;
        let conversation = made.event.text("conversation").to_owned();
        for puppet in first[..3].iter_mut().chain(&mut second) {
            is_inside(trial, puppet, CREW)?;
        }
        let first = first.try_into().expect("five have signed up");
        let second = second.try_into().expect("three have signed in twice");
        Ok(Self { first, second, conversation })
    }

    /// All rounds, while members and devices come and go. Gives all texts, and those since the last change of a device.
    fn talk(&mut self, trial: &Trial) -> anyhow::Result<[Vec<String>; 2]> {
        let (mut all, mut since) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let [alice, bob, carol, dora, erin] = &mut self.first;
            let [alice2, bob2, _] = &mut self.second;
            match round {
                // A device is lost, and another one takes its place.
                6 => {
                    *bob2 = replace_device(trial, bob, bob2)?;
                    since.clear();
                }
                7 => {
                    erin.ask(json!({ "do": "leave", "group": CREW }))?;
                }
                _ => {}
            }
            let texts = exchange(&mut [&mut *alice, alice2, bob, bob2, carol], round)?;
            since.extend(texts.iter().cloned());
            all.extend(texts);
            // Guests say something once they are in.
            let guest = match round {
                2 => Some(dora),
                4 => Some(erin),
                _ => None,
            };
            if let Some(guest) = guest {
                is_inside(trial, guest, CREW)?;
                let text = greeting(guest);
                guest.send(CREW, &text)?;
                all.push(text);
            }
        }
        Ok([all, since])
    }
}

/// What a guest says.
fn greeting(guest: &Puppet) -> String {
    format!("{} is here", guest.person().name())
}

#[test]
fn three_people_with_two_devices_hold_the_same_conversation() {
    trial(Duration::from_secs(150), Machine::Shared, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let mut crew = Crew::gather(trial, &daemon)?;
        // From here on one device is off.
        crew.second[2].child().kill()?;
        let started = Instant::now();
        let [texts, since_third] = crew.talk(trial)?;
        println!("{} messages in {:?}", texts.len(), started.elapsed());
        let Crew { first: [alice, bob, carol, dora, erin], second: [alice2, bob3, carol2], conversation } = &mut crew;
        let back = Instant::now();
        *carol2 = Puppet::start(trial, &carol2.person().clone())?;
        let wanted = has_heard(trial, carol2, CREW, &texts)?;
        println!("the device that was off has all of it after {:?}", back.elapsed());
        ensure!(wanted.len() == texts.len(), "{} lines of {} messages", wanted.len(), texts.len());
        ensure!(wanted.is_sorted_by(|one, next| one.0 < next.0), "not in the order of the log: {wanted:?}");
        for puppet in [alice, alice2, bob, carol] {
            let heard = has_heard(trial, puppet, CREW, &texts)?;
            ensure!(heard == wanted, "{} holds another conversation:\n{heard:?}\n{wanted:?}", puppet.person().name());
        }
        let heard = has_heard(trial, bob3, CREW, &since_third)?;
        ensure!(wanted.ends_with(&heard), "the third device holds another end:\n{heard:?}\n{wanted:?}");
        for guest in [dora, erin] {
            let heard = said(&guest.history(conversation)?);
            let holds = holds_since_joining(&heard, &wanted, &greeting(guest));
            ensure!(holds, "{} holds another conversation:\n{heard:?}\n{wanted:?}", guest.person().name());
        }
        Ok(())
    });
}

/// Kills and clients of the short loop; `cargo run -p ahoy-trials --bin kill_loop` has 200 kills and 20 clients.
const SHORT: Plan = Plan { kills: 12, clients: 8, seed: 1 };

#[test]
fn kill_nine_loses_no_message_and_doubles_none() {
    trial(Duration::from_secs(150), Machine::Shared, |trial| {
        let report = kills::run(trial, SHORT)?;
        println!("{report:#?}");
        ensure!(report.sent + report.posted > 4 * SHORT.clients, "too little was said: {report:?}");
        Ok(())
    });
}
