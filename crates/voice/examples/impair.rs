//! Speech through `Sender` and `Receiver` over a modelled path, in virtual time, scored by PESQ-WB.
//!
//!     cargo run -p ahoy-voice --example impair -- PYTHON [SEEDS] [CONDITION] [WAV]...
//!
//! PYTHON is an interpreter that has scripts/requirements.txt; CONDITION a part of a condition's name, empty for all; each WAV speech of mono
//! 16 kHz, 16 bit, in place of the clips in testdata/speech. The path has 40 ms and exponential jitter of mean 10 ms, order kept, and
//! loses packets at random or in bursts (Gilbert, mean length 3), both ways; reports travel back on it. Every call starts cold.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use ahoy_voice::{FRAME_SAMPLES, Origin, Receiver, SAMPLE_RATE, Sender};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const VOICES: [&str; 2] = ["it-male", "ru-female"];
/// Bytes around a payload on the wire; see `payload::PAYLOAD_BYTES`.
const OVERHEAD_BYTES: usize = 80;
/// Calls at a time.
const WORKERS: usize = 2;
const FRAME: Duration = Duration::from_millis(20);
/// Time after the last frame for what is still under way.
const TAIL: Duration = Duration::from_millis(600);

struct Condition {
    name: &'static str,
    loss: f64,
    burst: f64,
}

const CONDITIONS: [Condition; 5] = [
    Condition { name: "clean", loss: 0.0, burst: 1.0 },
    Condition { name: "random 10 %", loss: 0.1, burst: 1.0 },
    Condition { name: "random 20 %", loss: 0.2, burst: 1.0 },
    Condition { name: "bursts 10 %", loss: 0.1, burst: 3.0 },
    Condition { name: "bursts 20 %", loss: 0.2, burst: 3.0 },
];

/// One direction of the path.
struct Direction {
    rng: ChaCha8Rng,
    loss: f64,
    burst: f64,
    losing: bool,
    latest: Duration,
    in_flight: Vec<(Duration, Vec<u8>)>,
}

impl Direction {
    fn new(condition: &Condition, seed: u64) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self {
            rng,
            loss: condition.loss,
            burst: condition.burst,
            losing: false,
            latest: Duration::ZERO,
            in_flight: Vec::new(),
        }
    }

    fn send(&mut self, bytes: Vec<u8>, at: Duration) {
        let jitter = -0.010 * (1.0 - self.rng.random::<f64>()).ln();
        let lost = self.rng.random::<f64>();
        if self.burst > 1.0 {
            let leave = 1.0 / self.burst;
            let enter = leave * self.loss / (1.0 - self.loss);
            self.losing = if self.losing { lost >= leave } else { lost < enter };
        } else {
            self.losing = lost < self.loss;
        }
        if self.losing {
            return;
        }
        self.latest = self.latest.max(at + Duration::from_millis(40) + Duration::from_secs_f64(jitter));
        self.in_flight.push((self.latest, bytes));
    }

    fn arrived(&mut self, by: Duration) -> Vec<(Duration, Vec<u8>)> {
        let count = self.in_flight.iter().take_while(|(at, _)| *at <= by).count();
        self.in_flight.drain(..count).collect()
    }
}

type Failure = Box<dyn Error + Send + Sync>;

/// A clip and its samples at 48 kHz.
struct Voice {
    source: PathBuf,
    speech: Vec<f32>,
}

#[derive(Clone)]
struct Outcome {
    pesq: f64,
    delay_ms: f64,
    concealed: f64,
    kbit: f64,
}

fn call(voice: &Voice, condition: &Condition, seed: u64, scorer: &mut Scorer) -> Result<Outcome, Failure> {
    let speech = &voice.speech;
    let (mut there, mut back) = (Direction::new(condition, seed), Direction::new(condition, seed + 1_000));
    let (mut sender, mut receiver) = (Sender::new()?, Receiver::new()?);
    let (mut other_sender, mut other_receiver) = (Sender::new()?, Receiver::new()?);
    let epoch = epoch();
    let phase = Duration::from_micros(seed * 7_919 % 20_000);
    let mut played = Vec::new();
    let (mut bytes, mut packets, mut concealed) = (0, 0, 0);
    let mut frames = speech.chunks_exact(FRAME_SAMPLES);
    let mut at = Duration::ZERO;
    let end = FRAME * (speech.len() / FRAME_SAMPLES) as u32 + TAIL;
    while at < end {
        let silence = [0.0; FRAME_SAMPLES];
        let frame = frames.next().map_or(&silence, |frame| frame.try_into().expect("exact chunks"));
        let payload = sender.push_frame(frame, other_receiver.poll_report(epoch + at))?;
        bytes += payload.len() + OVERHEAD_BYTES;
        packets += 1;
        there.send(payload, at);
        back.send(other_sender.push_frame(&silence, receiver.poll_report(epoch + at))?, at);
        // The two ends' clocks tick at different phases.
        let pull_at = at + phase;
        for (arrival, payload) in there.arrived(pull_at) {
            receiver.handle_payload(&payload, epoch + arrival)?;
        }
        for (arrival, payload) in back.arrived(pull_at) {
            if let Some(report) = other_receiver.handle_payload(&payload, epoch + arrival)? {
                sender.handle_report(&report);
            }
        }
        let frame = receiver.pull_frame(epoch + pull_at);
        concealed += u32::from(matches!(frame.origin, Origin::Concealed));
        played.extend(frame.samples);
        let _ = other_receiver.pull_frame(epoch + pull_at);
        at += FRAME;
    }
    let name = format!("ahoy-impair-{}-{:?}.wav", std::process::id(), std::thread::current().id());
    let recorded = std::env::temp_dir().join(name);
    write(&recorded, &played)?;
    let pesq = scorer.score(&voice.source, &recorded)?;
    std::fs::remove_file(&recorded)?;
    Ok(Outcome {
        pesq,
        delay_ms: receiver.statistics().delay_mean.as_secs_f64() * 1_000.0,
        concealed: f64::from(concealed) / f64::from(packets) * 100.0,
        kbit: bytes as f64 * 8.0 / (f64::from(packets) * 20.0),
    })
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let python = PathBuf::from(arguments.next().ok_or("usage: impair PYTHON [SEEDS] [CONDITION] [WAV]...")?);
    let seeds: u64 = arguments.next().map_or(Ok(3), |seeds| seeds.parse())?;
    let only = arguments.next().unwrap_or_default();
    let mut sources: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    if sources.is_empty() {
        sources = VOICES.map(|voice| testdata().join(format!("{voice}.wav"))).into();
    }
    let voices: Vec<Voice> = sources
        .into_iter()
        .map(|source| Ok(Voice { speech: upsampled(&source)?, source }))
        .collect::<Result<_, hound::Error>>()?;
    println!("| path | PESQ-WB median | lower quartile | lowest | playout delay ms, mean | concealed % | kbit/s |");
    println!("|---|---|---|---|---|---|---|");
    for condition in CONDITIONS.iter().filter(|condition| condition.name.contains(&only)) {
        let calls: Vec<_> = voices.iter().flat_map(|voice| (1..=seeds).map(move |seed| (voice, seed))).collect();
        let outcomes = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..WORKERS)
                .map(|worker| {
                    let (calls, python) = (&calls, &python);
                    scope.spawn(move || {
                        let mut scorer = Scorer::start(python)?;
                        let mine = calls.iter().skip(worker).step_by(WORKERS);
                        mine.map(|(voice, seed)| call(voice, condition, *seed, &mut scorer)).collect()
                    })
                })
                .collect();
            let join = |worker: std::thread::ScopedJoinHandle<'_, _>| worker.join().expect("a worker panicked");
            workers.into_iter().map(join).collect::<Result<Vec<Vec<Outcome>>, Failure>>()
        })?;
        print_row(condition.name, &outcomes.concat());
    }
    Ok(())
}

fn print_row(name: &str, outcomes: &[Outcome]) {
    let mut scores: Vec<f64> = outcomes.iter().map(|outcome| outcome.pesq).collect();
    scores.sort_by(f64::total_cmp);
    let median = f64::midpoint(scores[(scores.len() - 1) / 2], scores[scores.len() / 2]);
    let mean = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / outcomes.len() as f64;
    println!(
        "| {name} | {median:.2} | {:.2} | {:.2} | {:.0} | {:.1} | {:.1} |",
        scores[(scores.len() - 1) / 4],
        scores[0],
        mean(|outcome| outcome.delay_ms),
        mean(|outcome| outcome.concealed),
        mean(|outcome| outcome.kbit),
    );
}

#[expect(clippy::disallowed_methods, reason = "an arbitrary origin for virtual time; `Instant` offers no other")]
fn epoch() -> Instant {
    Instant::now()
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/speech")
}

/// The 16 kHz file at 48 kHz, by a windowed sinc.
fn upsampled(path: &Path) -> Result<Vec<f32>, hound::Error> {
    const REACH: i64 = 16;
    let samples: Result<Vec<i16>, _> = hound::WavReader::open(path)?.samples().collect();
    let samples = samples?;
    let at =
        |index: i64| usize::try_from(index).ok().and_then(|index| samples.get(index)).map_or(0.0, |s| f64::from(*s));
    let output = (0..samples.len() as i64 * 3).map(|out| {
        let (whole, third) = (out / 3, (out % 3) as f64 / 3.0);
        let sum: f64 = (1 - REACH..=REACH)
            .map(|tap| {
                let x = tap as f64 - third;
                let turn = std::f64::consts::PI * x;
                let sinc = if x.abs() < 1e-9 { 1.0 } else { turn.sin() / turn };
                at(whole + tap) * sinc * (turn / (2 * REACH) as f64).cos().powi(2)
            })
            .sum();
        (sum / 32_768.0) as f32
    });
    Ok(output.collect())
}

fn write(path: &Path, samples: &[f32]) -> Result<(), hound::Error> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: SAMPLE_RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec)?;
    for sample in samples {
        writer.write_sample((sample * 32_767.0).clamp(-32_768.0, 32_767.0) as i16)?;
    }
    writer.finalize()
}

/// The scoring script, reading pairs of files until it is dropped: starting Python takes longer than scoring.
struct Scorer {
    script: Child,
    pairs: ChildStdin,
    scores: BufReader<ChildStdout>,
}

impl Scorer {
    fn start(python: &Path) -> Result<Self, Failure> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/pesq_score.py");
        let mut command = Command::new(python);
        command.arg(path).arg("--pairs").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = command.spawn()?;
        let pairs = script.stdin.take().ok_or("no pipe to the script")?;
        let scores = BufReader::new(script.stdout.take().ok_or("no pipe from the script")?);
        Ok(Self { script, pairs, scores })
    }

    fn score(&mut self, played: &Path, recorded: &Path) -> Result<f64, Failure> {
        writeln!(self.pairs, "{}\t{}", played.display(), recorded.display())?;
        self.pairs.flush()?;
        let mut line = String::new();
        self.scores.read_line(&mut line)?;
        Ok(line.trim().parse()?)
    }
}

impl Drop for Scorer {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}
