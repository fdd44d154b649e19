//! How a call sounds: two people talk through a real supernode, one of them over a bad network, and PESQ scores what each recorded.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use crate::harness::{Daemon, Person, Trial, workspace};
use crate::impair::proxy::ProxyConfig;
use crate::impair::{Impairment, Loss, Proxy};

/// A network and what has to be reached on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Condition {
    /// For tables.
    pub name: &'static str,
    /// On the listener's hop, both ways.
    pub impairment: Impairment,
    /// Least median PESQ-WB.
    pub pesq_min: f64,
    /// Largest median playout delay, in milliseconds; infinite where none is asked for.
    pub playout_ms_max: f64,
    /// Largest median rate on the wire in one direction, UDP and IPv4 headers included.
    pub kbit_max: f64,
}

/// Rate on the wire that no condition may exceed, in kbit/s.
const KBIT_MAX: f64 = 75.0;

/// No impairment at all.
pub const CLEAN: Condition = Condition {
    name: "loopback",
    impairment: Impairment { delay: std::time::Duration::ZERO, jitter: std::time::Duration::ZERO, loss: Loss::None },
    pesq_min: 4.2,
    playout_ms_max: f64::INFINITY,
    kbit_max: KBIT_MAX,
};

/// The impaired networks: 40 ms + exponential jitter of mean 10 ms, order kept, and loss.
pub fn impaired() -> [Condition; 3] {
    let condition = |name, loss, pesq_min, playout_ms_max| Condition {
        name,
        impairment: Impairment::measured_wire(loss),
        pesq_min,
        playout_ms_max,
        kbit_max: KBIT_MAX,
    };
    [
        condition("random loss 10 %", Loss::Random(0.1), 3.8, 120.0),
        condition("random loss 20 %", Loss::Random(0.2), 3.5, 120.0),
        condition("bursts of 3, 10 %", Loss::Bursts { share: 0.1, mean_length: 3.0 }, 3.1, 170.0),
    ]
}

/// The voices, by file in `testdata/speech`: the caller's and the listener's.
pub const VOICES: [&str; 2] = ["it-male", "ru-female"];

/// Seconds that a measured call lasts: 12 of speech, and what is under way at its end.
const CALL_SECONDS: u32 = 13;

/// How one person heard the other.
#[derive(Debug, Clone, Serialize)]
pub struct Heard {
    /// Of the [`Condition`].
    pub condition: &'static str,
    /// Of the impairment.
    pub seed: u64,
    /// Who spoke, of [`VOICES`].
    pub voice: &'static str,
    /// PESQ-WB.
    pub pesq: f64,
    /// Mean playout delay of the call, in milliseconds.
    pub playout_ms: f64,
    /// On the wire in this direction; absent where there was no proxy to count.
    pub kbit: Option<f64>,
    /// Largest lateness of the proxy, in milliseconds: above some 10 the machine was too busy to measure anything.
    pub proxy_late_ms: Option<f64>,
}

/// A recording that waits for its score.
#[derive(Debug)]
pub struct Recording {
    heard: Heard,
    file: PathBuf,
}

/// One call of 13 s, both talking at once; the listener's hop goes through a proxy unless the condition is [`CLEAN`].
///
/// # Errors
/// When the call does not come about, or one of the two fails.
pub fn call(
    trial: &Trial,
    supernode: SocketAddr,
    [caller, listener]: [&Person; 2],
    condition: &Condition,
    seed: u64,
) -> anyhow::Result<[Recording; 2]> {
    let mut listener = listener.clone();
    let proxy = if condition.impairment == Impairment::default() {
        None
    } else {
        let proxy = Proxy::start(ProxyConfig::both_ways(supernode, condition.impairment, seed))?;
        listener.supernode = Some(proxy.address());
        Some(proxy)
    };
    let recording = |person: &Person| trial.folder().join(format!("{}-{}-{seed}.wav", person.name(), condition.name));
    let files = [recording(caller), recording(&listener)];
    let arguments = |voice: &str, file: &Path| {
        vec!["--play".into(), speech(voice).into_os_string(), "--record".into(), file.as_os_str().to_owned()]
    };
    let mut listen = vec!["listen".into(), "--auto-answer".into()];
    listen.extend(arguments(VOICES[1], &files[1]));
    let mut listening = listener.start(trial, listen)?;
    listening.wait_for("listening")?;
    let mut call = vec!["call".into(), listener.name().into(), "--for".into(), format!("{CALL_SECONDS}s").into()];
    call.extend(arguments(VOICES[0], &files[0]));
    let called = caller.run(trial, call)?.succeeded()?;
    let ended = listening.wait_for("ended")?;
    listening.child().interrupt()?;
    listening.finish()?;
    let report = proxy.map(Proxy::finish).transpose()?;
    if let Some(report) = &report {
        ensure!(report.up.overrun + report.down.overrun == 0, "the proxy was overrun");
    }
    let heard = |voice, playout_ms, traffic: Option<&crate::impair::proxy::Traffic>| Heard {
        condition: condition.name,
        seed,
        voice,
        pesq: 0.0,
        playout_ms,
        kbit: traffic.map(|traffic| traffic.kbit_per_second),
        proxy_late_ms: traffic.map(|traffic| traffic.late_ms_max),
    };
    let [caller_file, listener_file] = files;
    let up = report.as_ref().map(|report| &report.up);
    let down = report.as_ref().map(|report| &report.down);
    let playout = [called.event("ended")?.number("playout_delay_ms")?, ended.number("playout_delay_ms")?];
    Ok([
        Recording { heard: heard(VOICES[1], playout[0], up), file: caller_file },
        Recording { heard: heard(VOICES[0], playout[1], down), file: listener_file },
    ])
}

impl Recording {
    /// Scores it.
    ///
    /// # Errors
    /// When the scorer fails.
    pub fn score(self) -> anyhow::Result<Heard> {
        let pesq = score(&speech(self.heard.voice), &self.file)?;
        Ok(Heard { pesq, ..self.heard })
    }
}

/// Runs calls, several at once, then scores them.
///
/// # Errors
/// When one fails.
pub fn calls(
    trial: &Trial,
    daemon: &Daemon,
    wanted: &[(Condition, u64)],
    at_once: usize,
) -> anyhow::Result<Vec<Heard>> {
    let pairs = (0..at_once.min(wanted.len()))
        .map(|n| {
            let [caller, listener] =
                Person::signed_up_all(trial, [&format!("caller{n}"), &format!("listener{n}")], daemon)?;
            caller.befriend(trial, &listener)?;
            Ok([caller, listener])
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let supernode = daemon.address();
    let next = AtomicUsize::new(0);
    let recordings = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let runs: Vec<_> = pairs
            .iter()
            .map(|[caller, listener]| {
                scope.spawn(|| -> anyhow::Result<()> {
                    while let Some((condition, seed)) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let pair = call(trial, supernode, [caller, listener], condition, *seed)
                            .with_context(|| format!("{}, seed {seed}", condition.name))?;
                        recordings.lock().expect("no other call has panicked").extend(pair);
                    }
                    Ok(())
                })
            })
            .collect();
        runs.into_iter().try_for_each(|run| run.join().expect("a call returns its error"))
    })?;
    let recordings = recordings.into_inner().expect("no call has panicked");
    let mut heard = score_all(recordings)?;
    heard.sort_by(|a, b| (a.condition, a.seed, a.voice).cmp(&(b.condition, b.seed, b.voice)));
    Ok(heard)
}

/// Scores on both cores.
fn score_all(recordings: Vec<Recording>) -> anyhow::Result<Vec<Heard>> {
    let mut odd = recordings;
    let even = odd.split_off(odd.len() / 2);
    std::thread::scope(|scope| {
        let all = |recordings: Vec<Recording>| recordings.into_iter().map(Recording::score).collect::<Result<_, _>>();
        let other = scope.spawn(move || -> anyhow::Result<Vec<Heard>> { all(even) });
        let mut heard: Vec<Heard> = all(odd)?;
        heard.extend(other.join().expect("scoring returns its error")?);
        Ok(heard)
    })
}

/// Medians of one condition.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Of the [`Condition`].
    pub condition: &'static str,
    /// Recordings scored.
    pub recordings: usize,
    /// Median PESQ-WB.
    pub pesq: f64,
    /// Least PESQ-WB.
    pub pesq_least: f64,
    /// Median playout delay, in milliseconds.
    pub playout_ms: f64,
    /// Median rate on the wire in one direction, in kbit/s; 0 where nothing counted it.
    pub kbit: f64,
}

/// Sums up what was heard on one condition.
///
/// # Errors
/// When nothing was.
pub fn summary(condition: &Condition, heard: &[Heard]) -> anyhow::Result<Summary> {
    let own: Vec<_> = heard.iter().filter(|heard| heard.condition == condition.name).collect();
    ensure!(!own.is_empty(), "nothing was heard on {}", condition.name);
    let column = |value: fn(&Heard) -> f64| own.iter().map(|heard| value(heard)).collect::<Vec<_>>();
    let pesq = column(|heard| heard.pesq);
    Ok(Summary {
        condition: condition.name,
        recordings: own.len(),
        pesq_least: pesq.iter().copied().fold(f64::INFINITY, f64::min),
        pesq: median(pesq),
        playout_ms: median(column(|heard| heard.playout_ms)),
        kbit: median(column(|heard| heard.kbit.unwrap_or_default())),
    })
}

impl Summary {
    /// What of the condition is not met, in words; empty when all is.
    pub fn shortfalls(&self, condition: &Condition) -> Vec<String> {
        let mut shortfalls = Vec::new();
        if self.pesq < condition.pesq_min {
            shortfalls.push(format!("{}: PESQ-WB {:.2}, wanted {:.2}", self.condition, self.pesq, condition.pesq_min));
        }
        if self.playout_ms > condition.playout_ms_max {
            let wanted = condition.playout_ms_max;
            shortfalls.push(format!("{}: playout delay {:.0} ms, wanted {wanted:.0}", self.condition, self.playout_ms));
        }
        if self.kbit > condition.kbit_max {
            shortfalls.push(format!("{}: {:.1} kbit/s, wanted {:.0}", self.condition, self.kbit, condition.kbit_max));
        }
        shortfalls
    }
}

/// A Markdown table of medians.
pub fn table(summaries: &[Summary]) -> String {
    let mut text = "| listener's hop | PESQ-WB, median | least | playout delay, ms | wire, kbit/s | recordings |\n\
                    |---|---|---|---|---|---|\n"
        .to_owned();
    for row in summaries {
        let kbit = if row.kbit > 0.0 { format!("{:.1}", row.kbit) } else { "–".to_owned() };
        text += &format!(
            "| {} | {:.2} | {:.2} | {:.0} | {kbit} | {} |\n",
            row.condition, row.pesq, row.pesq_least, row.playout_ms, row.recordings
        );
    }
    text
}

/// The middle one; the mean of the two middle ones of an even number.
///
/// # Panics
/// When there is none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

/// The file of a voice.
pub fn speech(voice: &str) -> PathBuf {
    workspace().join(format!("testdata/speech/{voice}.wav"))
}

#[derive(Deserialize)]
struct Score {
    pesq_wb: f64,
}

/// PESQ-WB of a recording against what was played, by `scripts/pesq_score.py`.
///
/// # Errors
/// When Python or the scorer's packages are missing, or a file is no WAV.
pub fn score(played: &Path, recorded: &Path) -> anyhow::Result<f64> {
    let own = workspace().join("target/venv/bin/python");
    let python = std::env::var_os("AHOY_PYTHON").map_or(own, PathBuf::from);
    let output = Command::new(&python)
        .arg(workspace().join("scripts/pesq_score.py"))
        .args([played, recorded])
        .arg("--json")
        .output()
        .with_context(|| {
            format!("can't start {}: `cargo xtask test` makes it, or set AHOY_PYTHON", python.display())
        })?;
    ensure!(output.status.success(), "the scorer failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice::<Score>(&output.stdout)?.pesq_wb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 2.5);
    }

    #[test]
    fn every_shortfall_is_named() {
        let condition = impaired()[0];
        let bad = Summary {
            condition: condition.name,
            recordings: 1,
            pesq: 3.7,
            pesq_least: 3.7,
            playout_ms: 121.0,
            kbit: 76.0,
        };
        assert_eq!(bad.shortfalls(&condition).len(), 3);
        let good = Summary { pesq: 3.8, playout_ms: 120.0, kbit: 75.0, ..bad };
        assert!(good.shortfalls(&condition).is_empty());
    }
}
