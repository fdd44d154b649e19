//! `ahoyd drain`, `undrain` and `fleet`: what the operator asks of a running daemon, by a socket in its data folder.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use ahoy_proto::control::table::{HEAD, table};
use ahoy_proto::control::{Fleet, Reply, Request, State, exchange};
use anyhow::{Context as _, bail};

use crate::args::{DrainArgs, OperatorArgs};
use crate::config::Config;
use crate::folder;
use crate::operator::{printable, say};

/// How long a daemon may take to reply.
pub(crate) const REPLY_MAX: Duration = Duration::from_secs(3);

/// How often somebody who waits for a drain looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Asks the daemon of a data folder.
///
/// # Errors
/// When none runs there, or it does not reply as it should.
fn ask(data: &Path, request: &Request) -> anyhow::Result<Reply> {
    let path = folder::control(data);
    let socket = UnixStream::connect(&path)
        .with_context(|| format!("no daemon answers at {}: is `ahoyd serve` running there?", path.display()))?;
    socket.set_read_timeout(Some(REPLY_MAX))?;
    socket.set_write_timeout(Some(REPLY_MAX))?;
    match exchange(&socket, request).context("the daemon does not reply")? {
        Reply::Refused { why } => bail!(why),
        reply => Ok(reply),
    }
}

fn state(data: &Path, request: &Request) -> anyhow::Result<State> {
    match ask(data, request)? {
        Reply::State(state) => Ok(state),
        _ => bail!("the daemon replies to something else"),
    }
}

/// Asks for a drain and watches it until the daemon has ended, or with `--stay` until it holds nothing more.
pub(crate) fn drain(config: &Config, args: &DrainArgs) -> anyhow::Result<()> {
    let json = args.operator.json;
    let end_within_s = (!args.stay).then_some(args.deadline);
    let mut now = state(&config.data, &Request::Drain { end_within_s })?;
    if now.supernodes <= 1 {
        eprintln!("ahoyd: no other supernode is in its view: those who are signed in have nowhere to go");
    }
    loop {
        say(json, &serde_json::to_value(&now)?, &progress(&now));
        if args.stay && now.sessions == 0 && now.calls == 0 {
            return Ok(());
        }
        now = match look(&config.data)? {
            Some(now) if !now.draining => bail!("somebody has called the drain off"),
            Some(now) => now,
            None if args.stay => bail!("the daemon has ended"),
            None => return Ok(()),
        };
    }
}

/// How far a drain is, a moment later; `None` once the daemon has ended.
fn look(data: &Path) -> anyhow::Result<Option<State>> {
    loop {
        thread::sleep(LOOK_EVERY);
        let error = match state(data, &Request::State) {
            Ok(now) => return Ok(Some(now)),
            Err(error) => error,
        };
        match silence(&error) {
            Silence::Ended => return Ok(None),
            Silence::Busy => {}
            Silence::Wrong => return Err(error),
        }
    }
}

/// Why a daemon that was there does not reply.
#[derive(Debug, PartialEq, Eq)]
enum Silence {
    /// It is not there any more.
    Ended,
    /// It takes its time, as one does that ends.
    Busy,
    /// Something that asking again does not mend.
    Wrong,
}

fn silence(error: &anyhow::Error) -> Silence {
    use ErrorKind as Kind;
    match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(
            Kind::NotFound | Kind::ConnectionRefused | Kind::ConnectionReset | Kind::BrokenPipe | Kind::UnexpectedEof,
        ) => Silence::Ended,
        Some(Kind::WouldBlock | Kind::TimedOut) => Silence::Busy,
        _ => Silence::Wrong,
    }
}

fn progress(state: &State) -> String {
    let State { sessions, calls, ends_in_s, .. } = state;
    let ends = ends_in_s.map_or_else(String::new, |seconds| format!(", ends within {seconds} s"));
    format!("draining: {sessions} sessions and {calls} calls left{ends}")
}

pub(crate) fn undrain(config: &Config, args: &OperatorArgs) -> anyhow::Result<()> {
    let now = state(&config.data, &Request::Undrain)?;
    let text = format!("takes sessions and calls again; it holds {} and {}", now.sessions, now.calls);
    say(args.json, &serde_json::to_value(&now)?, &text);
    Ok(())
}

pub(crate) fn fleet(config: &Config, args: &OperatorArgs) -> anyhow::Result<()> {
    let Reply::Fleet(fleet) = ask(&config.data, &Request::Fleet)? else {
        bail!("the daemon replies to something else")
    };
    if args.json {
        for (event, mut fields) in fleet.events() {
            fields["event"] = event.into();
            say(true, &fields, "");
        }
    } else {
        say(false, &serde_json::Value::Null, &told(&fleet));
    }
    if !fleet.fresh {
        eprintln!("ahoyd: leases can't be asked for now; this is what was seen last");
    }
    Ok(())
}

fn told(fleet: &Fleet) -> String {
    let clean = |cell: String| printable(&cell).replace('\n', " ");
    let rows: Vec<_> = fleet.rows().map(|cells| cells.map(clean)).collect();
    table(&HEAD, &rows, |text| text.chars().count())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_a_daemon_that_is_gone_has_ended() {
        let data = tempfile::tempdir().unwrap();
        let ask = || silence(&state(data.path(), &Request::State).unwrap_err());
        assert_eq!(ask(), Silence::Ended, "there is no socket");
        let listener = UnixListener::bind(folder::control(data.path())).unwrap();
        let reply = |reply: &'static [u8]| {
            let listener = listener.try_clone().unwrap();
            thread::spawn(move || {
                let (mut socket, _) = listener.accept().unwrap();
                BufReader::new(&socket).read_line(&mut String::new()).unwrap();
                socket.write_all(reply).unwrap();
            })
        };
        let replies = reply(b"");
        assert_eq!(ask(), Silence::Ended, "the connection is closed");
        replies.join().unwrap();
        let replies = reply(b"{\"reply\":\"refused\",\"why\":\"no\"}\n");
        assert_eq!(ask(), Silence::Wrong, "it refuses");
        replies.join().unwrap();
        drop(listener);
        assert_eq!(ask(), Silence::Ended, "nobody listens");
        let late = anyhow::Error::from(io::Error::from(ErrorKind::WouldBlock)).context("the daemon does not reply");
        assert_eq!(silence(&late), Silence::Busy);
    }
}
