//! What a load counts and times, and how it is said.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use ahoy_client::driver::{ClientError, ConnectError};
use ahoy_client::member::SignInError;
use ahoy_client::voice::CallStatistics;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::agenda::LetterCounts;
use crate::failure::{Exit, Failure};

/// The longest time that is told from longer ones, in microseconds: an hour.
const LONGEST_MICROS: u64 = 3_600_000_000;

/// Times to three digits, from a microsecond to an hour.
#[derive(Debug, Clone)]
pub(super) struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_MICROS, 3).expect("the bounds are in order"))
    }
}

impl Times {
    pub(super) fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(LONGEST_MICROS));
    }

    fn reset(&mut self) {
        self.0.reset();
    }

    /// In milliseconds; `None` where nothing was timed.
    fn at(&self, quantile: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile) as f64 / 1e3)
    }

    fn json(&self) -> Value {
        json!({
            "count": self.0.len(),
            "p50_ms": self.at(0.5),
            "p90_ms": self.at(0.9),
            "p99_ms": self.at(0.99),
            "p999_ms": self.at(0.999),
            "max_ms": self.at(1.0),
        })
    }

    fn row(&self, table: &mut String, name: &str) {
        if self.0.is_empty() {
            return;
        }
        let at = |quantile| self.at(quantile).unwrap_or_default();
        let (count, [p50, p90, p99, p999, most]) = (self.0.len(), [0.5, 0.9, 0.99, 0.999, 1.0].map(at));
        line(table, &format!("{name:<34}{count:>9}{p50:>10.1}{p90:>10.1}{p99:>10.1}{p999:>10.1}{most:>10.1}"));
    }
}

fn line(table: &mut String, text: &str) {
    writeln!(table, "{text}").expect("a string takes everything");
}

/// Everything that is counted, but messages.
#[derive(Debug, Clone)]
pub(super) struct Figures {
    began: Instant,
    clients: usize,
    calls: usize,
    pub(super) phase: &'static str,
    /// From due to signed in.
    pub(super) sign_in: Times,
    /// From due to the receiver.
    message: Times,
    /// From due to the log.
    pub(super) acknowledged: Times,
    /// From due to answered and attached.
    pub(super) call_setup: Times,
    /// Without a packet, as heard.
    pub(super) voice_gap: Times,
    /// From the last packet to the first of the two that noticed.
    pub(super) voice_notice: Times,
    /// From there until voice was back.
    pub(super) voice_gap_from_notice: Times,
    /// From noticing that the session is lost until the next one is up.
    pub(super) back: Times,
    pub(super) notice_after_strike: Times,
    pub(super) back_after_strike: Times,
    refused: u64,
    unreachable: u64,
    /// Sessions lost.
    pub(super) lost: u64,
    /// Sessions that went elsewhere without being lost.
    pub(super) moved: u64,
    /// Clients that can't go on.
    pub(super) stopped: u64,
    pub(super) calls_due: u64,
    pub(super) calls_up: u64,
    /// Not answered.
    pub(super) calls_failed: u64,
    /// Ended by themselves.
    pub(super) calls_dropped: u64,
    voice_sent: u64,
    voice_received: u64,
    voice_refused: u64,
    /// Messages that came since the last second was told.
    recent: Times,
    before: Before,
}

/// Totals when the last second was told.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    signed_in: u64,
    letters: LetterCounts,
    voice_received: u64,
    lost: u64,
    back: u64,
}

impl Figures {
    pub(super) fn new(clients: usize, calls: usize) -> Self {
        Self {
            began: Instant::now(),
            clients,
            calls,
            phase: "",
            sign_in: Times::default(),
            message: Times::default(),
            acknowledged: Times::default(),
            call_setup: Times::default(),
            voice_gap: Times::default(),
            voice_notice: Times::default(),
            voice_gap_from_notice: Times::default(),
            back: Times::default(),
            notice_after_strike: Times::default(),
            back_after_strike: Times::default(),
            refused: 0,
            unreachable: 0,
            lost: 0,
            moved: 0,
            stopped: 0,
            calls_due: 0,
            calls_up: 0,
            calls_failed: 0,
            calls_dropped: 0,
            voice_sent: 0,
            voice_received: 0,
            voice_refused: 0,
            recent: Times::default(),
            before: Before::default(),
        }
    }

    pub(super) fn count_failed_sign_in(&mut self, error: &ClientError) {
        match error {
            ClientError::Connect(ConnectError::SignIn(SignInError::Refused { .. })) => self.refused += 1,
            _ => self.unreachable += 1,
        }
    }

    pub(super) fn record_message(&mut self, took: Duration) {
        self.message.record(took);
        self.recent.record(took);
    }

    /// Of one side of a call that is over.
    pub(super) fn count_voice(&mut self, statistics: &CallStatistics) {
        self.voice_sent += statistics.sent;
        self.voice_received += statistics.received;
        self.voice_refused += statistics.refused;
    }

    /// What happened since this was asked last. `sent` and `received`: packets of the calls that go on.
    pub(super) fn second(&mut self, signed_in: usize, letters: LetterCounts, sent: u64, received: u64) -> Second {
        let now = Before {
            signed_in: self.sign_in.0.len(),
            letters,
            voice_received: self.voice_received + received,
            lost: self.lost,
            back: self.back.0.len(),
        };
        let before = std::mem::replace(&mut self.before, now);
        let second = Second {
            elapsed: self.began.elapsed(),
            phase: self.phase,
            clients: self.clients,
            calls: self.calls,
            signed_in,
            sign_ins: now.signed_in - before.signed_in,
            lost: now.lost - before.lost,
            back: now.back - before.back,
            due: letters.due - before.letters.due,
            acknowledged: letters.acknowledged - before.letters.acknowledged,
            received: letters.received - before.letters.received,
            missing: letters.missing,
            message_p50: self.recent.at(0.5),
            message_p99: self.recent.at(0.99),
            calls_up: self.calls_up,
            calls_dropped: self.calls_dropped,
            voice_sent: self.voice_sent + sent,
            voice_received: now.voice_received,
            voice_rate: now.voice_received.saturating_sub(before.voice_received),
        };
        self.recent.reset();
        second
    }
}

/// One second of a load.
#[derive(Debug)]
pub(super) struct Second {
    elapsed: Duration,
    phase: &'static str,
    clients: usize,
    calls: usize,
    signed_in: usize,
    sign_ins: u64,
    lost: u64,
    back: u64,
    due: u64,
    acknowledged: u64,
    received: u64,
    missing: u64,
    message_p50: Option<f64>,
    message_p99: Option<f64>,
    calls_up: u64,
    calls_dropped: u64,
    voice_sent: u64,
    voice_received: u64,
    voice_rate: u64,
}

impl Second {
    /// For a terminal, in its width.
    pub(super) fn line(&self) -> String {
        let message = match self.message_p99 {
            Some(p99) => format!("{}/s, p99 {p99:.0} ms", self.received),
            None => format!("{}/s", self.received),
        };
        format!(
            "{:>4} s {}: {} of {} signed in, {} lost | messages {message} | calls {} of {}, {} packets/s",
            self.elapsed.as_secs(),
            self.phase,
            self.signed_in,
            self.clients,
            self.lost,
            self.calls_up,
            self.calls,
            self.voice_rate,
        )
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "seconds": self.elapsed.as_secs_f64(),
            "phase": self.phase,
            "signed_in": self.signed_in,
            "sign_ins": self.sign_ins,
            "links_lost": self.lost,
            "links_back": self.back,
            "messages_due": self.due,
            "messages_acknowledged": self.acknowledged,
            "messages_received": self.received,
            "messages_missing": self.missing,
            "message_p50_ms": self.message_p50,
            "message_p99_ms": self.message_p99,
            "calls_up": self.calls_up,
            "calls_dropped": self.calls_dropped,
            "voice_sent": self.voice_sent,
            "voice_received": self.voice_received,
            "voice_received_now": self.voice_rate,
        })
    }
}

/// What came of a load.
#[derive(Debug)]
pub(super) struct Outcome {
    /// It was ended before its time.
    pub(super) interrupted: bool,
    /// Clients that signed in and took in what was waiting.
    pub(super) signed_in: usize,
    pub(super) letters: LetterCounts,
    pub(super) figures: Figures,
    /// The command of `--strike` was run.
    pub(super) struck: bool,
    /// And why that was in vain.
    pub(super) strike_error: Option<String>,
}

impl Outcome {
    fn times(&self) -> [(&'static str, &'static str, &Times); 10] {
        let figures = &self.figures;
        [
            ("sign_in", "sign-in, from due", &figures.sign_in),
            ("message", "message to receiver, from due", &figures.message),
            ("message_acknowledged", "message acknowledged, from due", &figures.acknowledged),
            ("call_setup", "call set up, from due", &figures.call_setup),
            ("back", "back signed in, from noticing", &figures.back),
            ("voice_notice", "broken voice noticed", &figures.voice_notice),
            ("voice_gap_from_notice", "voice back, from noticing", &figures.voice_gap_from_notice),
            ("voice_gap", "voice gap, whole", &figures.voice_gap),
            ("notice_after_strike", "lost session noticed, from strike", &figures.notice_after_strike),
            ("back_after_strike", "back signed in, from strike", &figures.back_after_strike),
        ]
    }

    pub(super) fn json(&self) -> Value {
        let (figures, letters) = (&self.figures, &self.letters);
        let times: serde_json::Map<_, _> =
            self.times().into_iter().map(|(name, _, times)| (name.to_owned(), times.json())).collect();
        json!({
            "interrupted": self.interrupted,
            "struck": self.struck && self.strike_error.is_none(),
            "strike_error": self.strike_error,
            "seconds": figures.began.elapsed().as_secs_f64(),
            "clients": figures.clients,
            "signed_in": self.signed_in,
            "sign_ins_refused": figures.refused,
            "sign_ins_unreachable": figures.unreachable,
            "links_lost": figures.lost,
            "links_moved": figures.moved,
            "clients_stopped": figures.stopped,
            "messages_due": letters.due,
            "messages_not_sent": letters.not_sent,
            "messages_failed": letters.failed,
            "messages_unanswered": letters.unanswered(),
            "messages_acknowledged": letters.acknowledged,
            "messages_received": letters.received,
            "messages_doubled": letters.doubled,
            "messages_lost": letters.missing,
            "calls_due": figures.calls_due,
            "calls_set_up": figures.call_setup.0.len(),
            "calls_failed": figures.calls_failed,
            "calls_dropped": figures.calls_dropped,
            "voice_sent": figures.voice_sent,
            "voice_received": figures.voice_received,
            "voice_refused": figures.voice_refused,
            "times": times,
        })
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let (figures, letters) = (&self.figures, &self.letters);
        let mut table = String::new();
        let header = "milliseconds";
        line(
            &mut table,
            &format!("{header:<34}{:>9}{:>10}{:>10}{:>10}{:>10}{:>10}", "count", "p50", "p90", "p99", "p99.9", "max"),
        );
        for (_, name, times) in self.times() {
            times.row(&mut table, name);
        }
        line(
            &mut table,
            &format!(
                "\nclients   {} of {} signed in; {} sign-ins refused, {} unreachable; {} sessions lost, {} moved; {} stopped",
                self.signed_in,
                figures.clients,
                figures.refused,
                figures.unreachable,
                figures.lost,
                figures.moved,
                figures.stopped
            ),
        );
        if letters.due > 0 {
            line(
                &mut table,
                &format!(
                    "messages  {} due, {} acknowledged, {} received; {} lost, {} doubled, {} failed, {} not sent, {} unanswered",
                    letters.due,
                    letters.acknowledged,
                    letters.received,
                    letters.missing,
                    letters.doubled,
                    letters.failed,
                    letters.not_sent,
                    letters.unanswered()
                ),
            );
        }
        if figures.calls_due > 0 {
            let share = figures.voice_received as f64 / figures.voice_sent.max(1) as f64;
            line(
                &mut table,
                &format!(
                    "calls     {} due, {} set up, {} failed, {} dropped; {} packets sent, {:.2} % received",
                    figures.calls_due,
                    figures.call_setup.0.len(),
                    figures.calls_failed,
                    figures.calls_dropped,
                    figures.voice_sent,
                    share * 100.0
                ),
            );
        }
        if self.interrupted {
            line(&mut table, "ended before its time");
        }
        table.trim_end().to_owned()
    }

    /// A load that nobody took part in, or that was not what was asked for, has measured nothing. A message that was promised and has not
    /// come, or has come twice, is no matter of speed.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let LetterCounts { missing, doubled, .. } = self.letters;
        if self.interrupted {
            return Ok(());
        }
        if self.signed_in == 0 {
            let text = format!("none of {} clients could sign in", self.figures.clients);
            let advice = "`ahoy status` and `ahoy census` look at the way to the network.";
            return Err(Failure::new(Exit::Unreachable, "nobody-signed-in", text, advice));
        }
        if missing > 0 || doubled > 0 {
            let text = format!("{missing} acknowledged messages have not arrived, and {doubled} came twice");
            let advice = "That must not happen, whatever the load: see the log of `ahoyd`.";
            return Err(Failure::new(Exit::Other, "messages-lost", text, advice));
        }
        match &self.strike_error {
            Some(why) => Err(Failure::new(Exit::Other, "strike-failed", why, "Try the command by itself.")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_tells_only_what_is_new() {
        let mut figures = Figures::new(2, 1);
        figures.sign_in.record(Duration::from_millis(3));
        figures.record_message(Duration::from_millis(40));
        let letters = LetterCounts { due: 2, acknowledged: 1, received: 1, ..LetterCounts::default() };
        let first = figures.second(1, letters, 10, 9);
        assert_eq!((first.sign_ins, first.due, first.received, first.voice_rate), (1, 2, 1, 9));
        assert!(first.message_p99.is_some());
        let next = figures.second(1, letters, 15, 12);
        assert_eq!((next.sign_ins, next.due, next.received, next.voice_rate), (0, 0, 0, 3));
        assert_eq!(next.message_p99, None);
    }

    #[test]
    fn a_load_that_measured_something_else_than_was_asked_for_is_a_failure() {
        let good = || Outcome {
            interrupted: false,
            signed_in: 2,
            letters: LetterCounts::default(),
            figures: Figures::new(2, 1),
            struck: true,
            strike_error: None,
        };
        assert!(good().verdict().is_ok());
        let code = |outcome: Outcome| outcome.verdict().unwrap_err().code;
        assert_eq!(code(Outcome { signed_in: 0, ..good() }), "nobody-signed-in");
        let doubled = LetterCounts { doubled: 1, ..LetterCounts::default() };
        assert_eq!(code(Outcome { letters: doubled, ..good() }), "messages-lost");
        let struck_in_vain = || Outcome { strike_error: Some("exit status: 1".to_owned()), ..good() };
        assert_eq!(struck_in_vain().json()["struck"], false);
        assert_eq!(code(struck_in_vain()), "strike-failed");
        assert!(Outcome { interrupted: true, signed_in: 0, ..good() }.verdict().is_ok(), "nobody asked for more");
    }

    #[test]
    fn times_are_told_in_milliseconds_to_three_digits() {
        let mut times = Times::default();
        for ms in 1..=1000 {
            times.record(Duration::from_millis(ms));
        }
        let p99 = times.at(0.99).unwrap();
        assert!((989.0..=991.5).contains(&p99), "{p99}");
        times.record(Duration::from_secs(100_000));
        assert_eq!(times.0.len(), 1001, "what is longer than an hour counts as an hour");
    }
}
