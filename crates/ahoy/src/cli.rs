//! What can be typed.

use std::path::PathBuf;
use std::time::Duration;

use ahoy_client::account::NetworkUrl;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::tui::Theme;

/// Where a newcomer's network is: what `ahoyd dev` starts.
pub(crate) const DEFAULT_NETWORK: &str = "http://localhost:8080";

const EXAMPLES: &str = "\
Without a command, ahoy opens on the full screen: contacts, conversations, calls. `?` shows its keys.

Examples:
  ahoy sign-up alice                        make an account on the network of this machine
  ahoy --network https://example.org sign-in alice
  ahoy contacts add bob --note \"Alice, from the harbour\"
  ahoy send bob \"Do we sail on Saturday?\"   end-to-end encrypted, kept until it is fetched
  ahoy inbox --follow                       what is unread, and what comes in
  ahoy call echo --for 10s                  hear yourself, sent back by the network
  ahoy call bob --play hi.wav --record back.wav
  ahoy listen                               wait for calls and ask before answering
  ahoy listen --auto-answer --play hi.wav   answer every call: a bot
  ahoy status                               is everything in order, and if not, what is not
  ahoy census                               which supernodes the network has, seen from outside

Exit codes:
  0  done; for a call: it was answered
  1  something else went wrong; the message says what
  2  the command line is not understood
  3  the network can't be reached
  4  refused: wrong password, name taken, signed out elsewhere, a changed key, ...
  5  the call was not answered: busy, declined, no answer, unreachable, no contact yet
  6  nobody is signed in with this profile";

const PIPE: &str = "\
One JSON object a line on standard input is a command: `do` says which, `id` (a number or a text)
stands in its answer. One JSON object a line on standard output is an event, or with `answer` the
answer. Commands are carried out one after the other; the program ends with its input.
docs/command-line.md lists all of them.

Example:
  $ ahoy pipe
  {\"id\":1,\"do\":\"send\",\"to\":\"bob\",\"text\":\"Do we sail?\"}
  {\"event\":\"sent\",\"answer\":1,\"sequence\":12, ...}
  {\"event\":\"message\",\"from\":\"bob\",\"text\":\"At noon.\", ...}";

/// Calls and messages over a network that anyone can host. All that is said is encrypted end to end.
#[derive(Debug, Parser)]
#[command(name = "ahoy", version, after_help = EXAMPLES, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The terminal's background [default: what COLORFGBG and NO_COLOR say]
    #[arg(long, help_heading = "For the full screen")]
    pub(crate) theme: Option<Theme>,
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
}

/// What goes with every verb.
#[derive(Debug, Clone, Args)]
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
    /// What sessions and voice travel by; auto: QUIC, or a WebSocket where no UDP gets through
    #[arg(long, global = true, value_enum, value_name = "BY", default_value_t = Transport::Auto)]
    pub(crate) transport: Transport,
}

/// What links travel by.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Transport {
    Auto,
    Quic,
    #[value(name = "websocket")]
    WebSocket,
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
    /// Wait for calls, messages and contact requests
    Listen(Listen),
    /// Send a message to a contact or a group
    Send(Send),
    /// Unread messages of all conversations
    Inbox(Inbox),
    /// What was said with a contact or in a group
    History(History),
    /// Messages, groups and contacts for a program: JSON commands in, JSON events out
    #[command(after_help = PIPE)]
    Pipe,
    /// Contacts: list, add, accept, decline, remove, block, alias
    #[command(alias = "contact")]
    Contacts(Contacts),
    /// Find names in the directory, or be found there
    Search(Search),
    /// How others see you: availability and mood
    Presence(Presence),
    /// Groups: make, list, invite, remove, leave, rename
    #[command(alias = "groups")]
    Group(Group),
    /// Devices of this account: list, rename, revoke
    #[command(alias = "device")]
    Devices(Devices),
    /// Tell the operator about somebody
    Report(Report),
    /// Check the way to the network, hop by hop
    Status,
    /// Count the supernodes of a network: as anybody sees them, or as their operator
    Census(Census),
    /// Compare keys with somebody, so that nobody can stand in between
    Verify(Verify),
    /// Say who may ring this account
    Rings(Rings),
    /// Say what others are told of the messages that you get
    Receipts(Receipts),
    /// Change the password
    Password(Password),
    /// Get back in with the recovery code, when the password is lost
    Recover(Recover),
    /// Delete the account for good, on all devices
    DeleteAccount(DeleteAccount),
    /// For operators: put a load of thousands of clients on a network, and measure how it fares
    Load(Load),
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
Ctrl-C hangs up. The call ends by itself after --for, or else when the other side hangs up. Who takes calls
from contacts only is asked to become one in place of ringing; the exit code is 5 then.

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
Without --auto-answer each call rings and you are asked. Messages and contact requests are announced, and
messages stay unread. Ctrl-C hangs up a call, or else stops listening.

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
Nobody has to be signed in. Without --operator every supernode of the roster is dialled, as any client would,
and asked for nothing but who it is; how many people are there can't be seen so. The exit code is 3 when one
does not answer, 4 when one shows no good certificate.

With --operator the daemon of that folder tells what its fleet carries; it takes the rights to open the socket
`control` in it, which only the account that ahoyd runs as has. The exit code is 3 when one is missing. From
another machine: ssh -L /tmp/control:/var/lib/ahoy/control HOST, then --operator /tmp/control.

Examples:
  ahoy --network https://example.org census
  ahoy --json census | jq 'select(.state != \"up\")'
  sudo -u ahoy ahoy census --operator /var/lib/ahoy --watch
  sudo -u ahoy ahoy census --operator /var/lib/ahoy --plot /tmp/fleet.svg")]
pub(crate) struct Census {
    /// As the operator: the data folder of a running supernode, or its socket
    #[arg(long, value_name = "DIR")]
    pub(crate) operator: Option<PathBuf>,
    /// Look again and again, this long from look to look, until Ctrl-C
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "5s",
          value_parser = parse_pause)]
    pub(crate) watch: Option<Duration>,
    /// Draw who carries how much into this SVG file
    #[arg(long, value_name = "FILE", requires = "operator")]
    pub(crate) plot: Option<PathBuf>,
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
    /// Accepted contacts, as it is at first: a call of anybody else becomes a contact request
    Contacts,
    /// Everybody with an account: for bots
    Anyone,
    /// Nobody: to callers it looks as if you were away
    Nobody,
}

#[derive(Debug, Args)]
pub(crate) struct Receipts {
    /// What this device tells
    pub(crate) tell: ReceiptsTell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ReceiptsTell {
    /// That messages have arrived, and that you have read them: as it is at first
    Read,
    /// That they have arrived
    Delivered,
    /// Nothing
    Nothing,
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

#[derive(Debug, Args)]
#[command(after_help = "\
TO is the name of a contact, the title of a group, or the first digits of a conversation's id, as
`ahoy group list` shows them. The command ends when the message stands in the network's log: then it
arrives, whatever happens here. Until it is fetched it is kept for 30 days.

Examples:
  ahoy send bob \"Do we sail on Saturday?\"
  ahoy send \"Crew of the Albatross\" \"Coffee is on me\"
  df -h | ahoy send bob -
  ahoy send bob --reply-to 1 \"Yes\"")]
pub(crate) struct Send {
    /// A contact or a group
    pub(crate) to: String,
    /// The text; - reads standard input
    pub(crate) text: String,
    /// Answers a message: 1 is the last one of others in the conversation, 2 the one before it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) reply_to: Option<u32>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Oldest first. What is shown counts as read, also for the others in the conversation, unless --peek.

Examples:
  ahoy inbox
  ahoy inbox --peek
  ahoy --json inbox --follow | jq -r 'select(.event == \"message\") | .text'")]
pub(crate) struct Inbox {
    /// Stay, and show what comes in
    #[arg(long)]
    pub(crate) follow: bool,
    /// Show own messages, too, and what was changed: edits, deletions, reactions
    #[arg(long)]
    pub(crate) all: bool,
    /// Leave everything unread
    #[arg(long)]
    pub(crate) peek: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Read from this device: what was said before it signed in is not there. Nothing is marked read.

Examples:
  ahoy history bob
  ahoy history \"Crew of the Albatross\" --last 200")]
pub(crate) struct History {
    /// A contact or a group
    pub(crate) with: String,
    /// How many lines, counted from the last
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) last: u32,
}

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Contacts see each other's presence and may ring each other. Somebody who is declined or blocked is not told.

Examples:
  ahoy contacts
  ahoy contacts add bob --note \"Alice, from the harbour\"
  ahoy contacts accept carol
  ahoy contacts alias bob \"Bob the mate\""
)]
pub(crate) struct Contacts {
    #[command(subcommand)]
    pub(crate) deed: Option<ContactDeed>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContactDeed {
    /// Contacts, requests both ways, and who is blocked (without a word: this)
    List,
    /// Ask somebody to become a contact; accepts, if they asked first
    Add {
        /// Whom
        name: String,
        /// A few words that only they can read; at most 280 characters
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        note: String,
    },
    /// Say yes to somebody who asks
    Accept(Name),
    /// Say no to somebody who asks; they are not told
    Decline(Name),
    /// End a contact on both sides, or take a request back
    Remove(Name),
    /// Block somebody: to them it looks as if you were never there
    Block(Name),
    /// Block somebody no longer
    Unblock(Name),
    /// Call a contact something else, on this device only
    Alias {
        /// Whom
        name: String,
        /// The other name; leave it away to call them by their own
        alias: Option<String>,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
A search shows at most ten names that begin with these letters, of accounts that wish to be found.
An account learns at most 300 names in an hour; a search counts ten.

Examples:
  ahoy search ali
  ahoy search --listed on")]
pub(crate) struct Search {
    /// The first letters of a name, three at least
    #[arg(required_unless_present = "listed")]
    pub(crate) prefix: Option<String>,
    /// Whether others find this account by a search; off at first
    #[arg(long, value_name = "on|off", conflicts_with = "prefix")]
    pub(crate) listed: Option<Switch>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Only accepted contacts see it. It holds for all devices until it is changed.

Examples:
  ahoy presence
  ahoy presence dnd --mood \"on watch until four\"
  ahoy presence online --mood \"\"")]
pub(crate) struct Presence {
    /// What others see; `show` says what it is
    #[arg(default_value = "show", hide_default_value = true)]
    pub(crate) state: PresenceState,
    /// A few words beside it, at most 140 characters; "" takes them away
    #[arg(long, value_name = "TEXT")]
    pub(crate) mood: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PresenceState {
    /// Say what it is
    Show,
    /// Here while a device is signed in, away while nobody sits at one
    Online,
    /// Away
    Away,
    /// Do not disturb: calls are shown and don't ring aloud
    Dnd,
    /// Others see you offline
    Invisible,
}

#[derive(Debug, Args)]
#[command(after_help = "\
GROUP is the title of a group, if it is the only one called so, or the first digits of its id.
Every member may invite and rename; only the owner, who is the member of longest standing, removes.

Examples:
  ahoy group create \"Crew of the Albatross\" bob carol
  ahoy group invite \"Crew of the Albatross\" dora
  ahoy group members 4f1c")]
pub(crate) struct Group {
    #[command(subcommand)]
    pub(crate) deed: GroupDeed,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GroupDeed {
    /// Groups of this account, with their ids
    List,
    /// Make a group and invite contacts into it
    Create {
        /// Its title, at most 64 characters
        title: String,
        /// Who is to be in it
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Who is in a group
    Members {
        /// Which
        group: String,
    },
    /// Bring others into a group; they read what is said from then on
    Invite {
        /// Which
        group: String,
        /// Whom
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Take somebody out of a group
    Remove {
        /// Which
        group: String,
        /// Whom
        name: String,
    },
    /// Leave a group, with all devices; what was said stays on this one
    Leave {
        /// Which
        group: String,
    },
    /// Give a group another title
    Rename {
        /// Which
        group: String,
        /// The title, at most 64 characters
        title: String,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
DEVICE is the name of a device, if it is the only one called so, or the first digits of its id.
If there is one that you do not know: revoke it, then change the password.

Examples:
  ahoy devices
  ahoy devices rename laptop \"Laptop in the cabin\"
  ahoy devices revoke 07a3")]
pub(crate) struct Devices {
    #[command(subcommand)]
    pub(crate) deed: Option<DeviceDeed>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceDeed {
    /// Devices of this account (without a word: this)
    List,
    /// Call a device otherwise
    Rename {
        /// Which
        device: String,
        /// The name
        name: String,
    },
    /// Sign another device out for good
    Revoke {
        /// Which
        device: String,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
The operator can read nothing that is said here. With --last, the last N messages of your conversation
with this person go with the report, sealed to the operator.

Example:
  ahoy report mallory --reason \"threatens people\" --last 10")]
pub(crate) struct Report {
    /// Whom
    pub(crate) name: String,
    /// What happened
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Reveal this many messages to the operator
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) last: u32,
}

#[derive(Debug, Args)]
#[command(after_help = "\
There is no way back: the name stays taken, contacts lose the account, groups go on without it. Asks for
the name and the password first.")]
pub(crate) struct DeleteAccount {
    /// The account's name, in place of asking for it: to show that it is meant
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Each client is a real one: it signs in, keeps its session, goes elsewhere when asked to, and comes
back by itself when its supernode dies. Nothing of a client is on the disk, and all of them share a
few UDP sockets. Everything falls due by the clock and is timed from then, so that a network that
stands still does not look fast.

The accounts are signed up for the load and deleted after it; if it is killed, by the next one. So
the operator sets `sign_up = \"open\"`, and in `unlimited` the address of the machine that runs the
load: else one address may sign up 20 accounts, and one more each half minute. `ahoyd dev` has no
limits.

Messages go both ways within pairs of clients, one a second for each pair as far as there are pairs.
A call is a packet of the size of voice every 20 ms, both ways, sealed and opened as ever, without a
codec. The exit code is 1 if an acknowledged message did not arrive or came twice, or if --strike
failed, and 3 if nobody could sign in.

Ctrl-C ends a load early and deletes its accounts; once more leaves them to the next load.

Examples:
  ahoy load http://localhost:8080 --clients 1000 --messages 50 --calls 20
  ahoy load http://localhost:8080 --clients 3000 --storm
  ahoy load https://example.org --clients 3000 --calls 200 --messages 100 --for 2m \\
      --strike 'ssh node2 systemctl kill -s KILL ahoyd' --strike-after 30s")]
pub(crate) struct Load {
    /// The network's address
    #[arg(value_name = "NETWORK-URL")]
    pub(crate) target: NetworkUrl,
    /// Clients, each an account with one device
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub(crate) clients: usize,
    /// Sign-ins that fall due each second
    #[arg(long, default_value_t = 100.0, value_name = "PER-SECOND")]
    pub(crate) ramp: f64,
    /// All sign-ins fall due at once
    #[arg(long, conflicts_with = "ramp")]
    pub(crate) storm: bool,
    /// Calls at the same time; each takes two clients
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) calls: usize,
    /// How long each call lasts; the next one of the same two comes a second later [default: to the end]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) call_length: Option<Duration>,
    /// Messages that fall due each second
    #[arg(long, default_value_t = 0.0, value_name = "PER-SECOND")]
    pub(crate) messages: f64,
    /// How long calls and messages go on, once everybody is signed in
    #[arg(long = "for", default_value = "60s", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) length: Duration,
    /// Run this shell command in the middle, such as one that kills a supernode, and time from there
    #[arg(long, value_name = "COMMAND")]
    pub(crate) strike: Option<String>,
    /// When to run it, counted from the beginning of calls and messages
    #[arg(long, default_value = "20s", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) strike_after: Duration,
    /// Where the names of accounts that are to be deleted are kept [default: beside the profile]
    #[arg(long, value_name = "DIR")]
    pub(crate) accounts: Option<PathBuf>,
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
        return Err("a time lies between a moment and a day".to_owned());
    }
    Ok(duration)
}

/// Shortest time from look to look: each dials every supernode.
const PAUSE_MIN: Duration = Duration::from_secs(1);

fn parse_pause(text: &str) -> Result<Duration, String> {
    let pause = parse_duration(text)?;
    if pause < PAUSE_MIN { Err("look once a second at most".to_owned()) } else { Ok(pause) }
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
