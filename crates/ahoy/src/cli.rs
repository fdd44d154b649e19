//! What can be typed.

use std::path::PathBuf;
use std::time::Duration;

use ahoy_client::account::NetworkUrl;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Where a newcomer's network is: what `ahoyd dev` starts.
pub(crate) const DEFAULT_NETWORK: &str = "http://localhost:8080";

const EXAMPLES: &str = "\
Examples:
  ahoy sign-up alice                        make an account on the network of this machine
  ahoy --network https://example.org sign-in alice
  ahoy call echo --for 10s                  hear yourself, sent back by the network
  ahoy call bob --play hi.wav --record back.wav
  ahoy listen                               wait for calls and ask before answering
  ahoy listen --auto-answer --play hi.wav   answer every call: a bot
  ahoy status                               is everything in order, and if not, what is not

Exit codes:
  0  done; for a call: it was answered
  1  something else went wrong; the message says what
  2  the command line is not understood
  3  the network can't be reached
  4  refused: wrong password, name taken, signed out elsewhere, a changed key, ...
  5  the call was not answered: busy, declined, no answer, unreachable
  6  nobody is signed in with this profile";

/// Voice calls over a network that anyone can host. Everything said is encrypted end to end.
#[derive(Debug, Parser)]
#[command(name = "ahoy", version, after_help = EXAMPLES, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What goes with every verb.
#[derive(Debug, Args)]
#[command(next_help_heading = "For every command")]
pub(crate) struct Common {
    /// The network's address [default: the profile's, or http://localhost:8080]
    #[arg(long, global = true, env = "AHOY_NETWORK", hide_env_values = true, value_name = "URL")]
    pub(crate) network: Option<NetworkUrl>,
    /// The folder of this identity; one for each account [default: ahoy/default among your data]
    #[arg(long, global = true, env = "AHOY_PROFILE", hide_env_values = true, value_name = "DIR")]
    pub(crate) profile: Option<PathBuf>,
    /// Print one JSON object a line, for programs: each has "event" and "at_ms" (Unix time)
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Read the password from the first line of this file in place of asking
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Dial the supernode here, whatever the roster says.
    #[arg(long, global = true, hide = true, value_name = "HOST:PORT")]
    pub(crate) supernode: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make an account, and sign this device in
    SignUp(SignUp),
    /// Sign this device in to an account
    SignIn(Name),
    /// Sign this device out and forget its keys
    SignOut(SignOut),
    /// Who is signed in
    Whoami,
    /// Call somebody
    Call(Call),
    /// Wait for calls
    Listen(Listen),
    /// Check the way to the network, hop by hop
    Status,
    /// Compare keys with somebody, so that nobody can stand in between
    Verify(Verify),
    /// Say who may ring this account
    Rings(Rings),
    /// Change the password
    Password(Password),
    /// Get back in with the recovery code, when the password is lost
    Recover(Recover),
}

#[derive(Debug, Args)]
pub(crate) struct Name {
    /// The account's name, such as alice
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct SignUp {
    /// The name wished for: 3 to 32 of a-z, 0-9, dot, underscore, hyphen
    pub(crate) name: String,
    /// For networks where sign-up is by invite
    #[arg(long, value_name = "CODE")]
    pub(crate) invite: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SignOut {
    /// Forget this device's keys even if the network can't be told
    #[arg(long)]
    pub(crate) force: bool,
}

/// Where voice comes from and goes to.
#[derive(Debug, Args)]
pub(crate) struct Audio {
    /// Play this WAV file to the other side in place of the microphone
    #[arg(long, value_name = "FILE")]
    pub(crate) play: Option<PathBuf>,
    /// Record the other side to this WAV file in place of the loudspeaker
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Ctrl-C hangs up. The call ends by itself after --for, or else when the other side hangs up.

Examples:
  ahoy call echo --play question.wav --record back.wav --for 13s
  ahoy --json call bob --for 1m | jq .")]
pub(crate) struct Call {
    /// Whom to call
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) audio: Audio,
    /// Hang up after this long, counted from the answer: 10s, 2m, 500ms
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) length: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Without --auto-answer each call rings and you are asked. Ctrl-C hangs up a call, or else stops listening.

Examples:
  ahoy listen --once
  ahoy --profile ~/bots/menu listen --auto-answer --play menu.wav --record /var/calls")]
pub(crate) struct Listen {
    /// Answer every call at once
    #[arg(long)]
    pub(crate) auto_answer: bool,
    #[command(flatten)]
    pub(crate) audio: Audio,
    /// Stop after the first call that was answered
    #[arg(long)]
    pub(crate) once: bool,
    /// Hang up each call after this long, counted from the answer: 10s, 2m
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) length: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Read the 60 digits to each other, by voice or face to face. If they are the same, nobody stands in
between. When somebody's key has changed, calls with them wait until you accept the new one.")]
pub(crate) struct Verify {
    /// Whose key
    pub(crate) name: String,
    /// Accept this person's new key, after a change was announced
    #[arg(long)]
    pub(crate) accept: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Rings {
    /// Who may make this account's devices ring
    pub(crate) from: RingsFrom,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RingsFrom {
    /// Everybody with an account
    Anyone,
    /// Nobody: to callers it looks as if you were away
    Nobody,
}

#[derive(Debug, Args)]
pub(crate) struct Password {
    /// Read the new password from the first line of this file in place of asking
    #[arg(long, value_name = "FILE")]
    pub(crate) new_password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Asks for the recovery code that was shown at sign-up, and for a new password. The old code is void
afterwards and a new one is shown. --password-file holds the new password here.")]
pub(crate) struct Recover {
    /// The account's name
    pub(crate) name: String,
    /// Read the recovery code from the first line of this file in place of asking
    #[arg(long, value_name = "FILE")]
    pub(crate) code_file: Option<PathBuf>,
}

/// Longest duration taken: a day.
const DURATION_MAX: Duration = Duration::from_secs(86_400);

fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time looks like 10s, 2m or 500ms".to_owned();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let number: f64 = text[..split].parse().map_err(|_| wrong())?;
    let unit = match &text[split..] {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(wrong()),
    };
    let duration = Duration::try_from_secs_f64(number * unit).map_err(|_| wrong())?;
    if duration.is_zero() || duration > DURATION_MAX {
        return Err("a call lasts between a moment and a day".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        for text in ["", "s", "10x", "-1s", "0s", "NaN", "2000h", "1e400s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
