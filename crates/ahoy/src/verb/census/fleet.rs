//! What the operator can see: a daemon of the fleet says what all of them carry, by the socket in its data folder.

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ahoy_proto::control::table::{HEAD, short, table};
use ahoy_proto::control::{self, Reply, Request, SOCKET, Sum, exchange};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{Picture, plot};
use crate::failure::{Exit, Failure};
use crate::text::{clean_line, width};
use crate::when::Clock;

/// How long the daemon may take.
const REPLY_WITHIN: Duration = Duration::from_secs(5);

/// Looks as the operator.
pub(super) struct Fleet {
    place: PathBuf,
    plot: Option<PathBuf>,
}

impl Fleet {
    pub(super) fn new(place: &Path, plot: Option<PathBuf>) -> Self {
        Self { place: place.to_owned(), plot }
    }

    pub(super) async fn look(&self) -> Result<Picture, Failure> {
        let fleet = self.ask().await?;
        if let Some(file) = &self.plot {
            let day = Clock::here().stamp();
            std::fs::write(file, plot::svg(&fleet, &day)).map_err(|error| {
                Failure::new(Exit::Other, "plot", format!("can't write {}: {error}", file.display()), "")
            })?;
        }
        Ok(picture(&fleet))
    }

    async fn ask(&self) -> Result<control::Fleet, Failure> {
        let is_socket = self.place.metadata().is_ok_and(|found| found.file_type().is_socket());
        let path = if is_socket { self.place.clone() } else { self.place.join(SOCKET) };
        let asked = path.clone();
        let reply = match timeout(REPLY_WITHIN, spawn_blocking(move || ask(&asked))).await {
            Ok(reply) => reply.unwrap_or_else(|panic| Err(io::Error::other(panic))),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        match reply {
            Ok(Reply::Fleet(fleet)) => Ok(fleet),
            Ok(Reply::Refused { why }) => Err(Failure::new(
                Exit::Refused,
                "refused",
                clean_line(&why),
                "Name the folder of a supernode's daemon.",
            )),
            Err(error) if error.kind() != io::ErrorKind::InvalidData => Err(unheard(&path, &error)),
            Ok(Reply::State(_)) | Err(_) => Err(Failure::new(
                Exit::Other,
                "protocol",
                "the daemon replies what this program does not know",
                "Use an ahoy of the same version.",
            )),
        }
    }
}

fn ask(path: &Path) -> io::Result<Reply> {
    let socket = UnixStream::connect(path)?;
    // Whoever waits for this waits no longer.
    socket.set_read_timeout(Some(REPLY_WITHIN))?;
    socket.set_write_timeout(Some(REPLY_WITHIN))?;
    exchange(&socket, &Request::Fleet)
}

fn unheard(path: &Path, error: &io::Error) -> Failure {
    let text = format!("{} does not answer: {error}", path.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied => Failure::new(
            Exit::Refused,
            "forbidden",
            text,
            "Its folder is for the account that ahoyd runs as: use that one, as with `sudo -u`.",
        ),
        _ => Failure::new(
            Exit::Unreachable,
            "not-reachable",
            text,
            "Is `ahoyd serve` running there? Name its data folder, as its configuration has it.",
        ),
    }
}

fn picture(fleet: &control::Fleet) -> Picture {
    let sum = fleet.sum();
    let text = format!("{}\n\n{}\n\n{}", summary(fleet, &sum), carried(fleet), evidence(fleet));
    Picture { events: fleet.events(), text, verdict: verdict(fleet, &sum) }
}

fn verdict(fleet: &control::Fleet, sum: &Sum) -> Result<(), Failure> {
    let wrong = |code, text: String, advice: &str| Err(Failure::new(Exit::Unreachable, code, text, advice));
    match sum.missing {
        _ if fleet.is_whole() => Ok(()),
        0 => wrong(
            "not-fresh",
            "leases can't be asked for now; this is what was seen last".to_owned(),
            "Valkey is away: start it again; docs/operations.md says what that means.",
        ),
        missing => wrong(
            "supernode-missing",
            format!("{missing} of {} supernodes are missing", missing + sum.supernodes),
            "Start them again, or take them out of the roster with `ahoyd supernodes revoke`.",
        ),
    }
}

fn summary(fleet: &control::Fleet, sum: &Sum) -> String {
    let share = sum.share_draining * 100.0;
    let lines = [
        ("network", clean_line(&fleet.network)),
        (
            "supernodes",
            format!("{}, and {} missing; {} draining ({share:.0} %)", sum.supernodes, sum.missing, sum.draining),
        ),
        (
            "signed in",
            format!(
                "{}: {:.1} on average, {} on one at most; the limit is {}",
                sum.sessions, sum.sessions_mean, sum.sessions_highest, sum.sessions_max
            ),
        ),
        ("calls", sum.calls.to_string()),
        ("hardened", format!("{} of {}", sum.hardened, sum.supernodes)),
    ];
    lines.map(|(what, value)| format!("{what:<11} {value}")).join("\n")
}

fn carried(fleet: &control::Fleet) -> String {
    let rows: Vec<_> = fleet.rows().map(|cells| cells.map(|cell| clean_line(&cell))).collect();
    table(&HEAD, &rows, width)
}

fn evidence(fleet: &control::Fleet) -> String {
    let head =
        ["SUPERNODE", "KERNEL", ">UID", "CAPABILITIES", "SECCOMP", "NO NEW PRIVS", "ROOT", "WEAKER THAN THE UNIT"];
    let rows: Vec<_> = fleet
        .supernodes
        .iter()
        .map(|row| {
            let id = short(&clean_line(&row.supernode)).to_owned();
            let Some(machine) = &row.machine else {
                return vec![id, "does not say".to_owned()];
            };
            let weaknesses = machine.weaknesses();
            vec![
                id,
                clean_line(&machine.kernel),
                machine.uid.to_string(),
                machine.capabilities_word(),
                machine.seccomp_word().to_owned(),
                if machine.no_new_privs { "yes" } else { "no" }.to_owned(),
                if machine.read_only_root { "read-only" } else { "writable" }.to_owned(),
                if weaknesses.is_empty() { "-".to_owned() } else { weaknesses.join(", ") },
            ]
        })
        .collect();
    table(&head, &rows, width)
}

#[cfg(test)]
mod tests {
    use ahoy_proto::control::{Machine, Missing, Supernode};

    use super::*;

    fn fleet() -> control::Fleet {
        let machine =
            Machine { kernel: "6.1.0".to_owned(), uid: 998, seccomp: 2, no_new_privs: true, ..Machine::default() };
        let row = Supernode {
            supernode: "00112233445566778899".to_owned(),
            own: true,
            address: "a.example.org:443".to_owned(),
            region: "north\x1b[2J".to_owned(),
            version: "0.1.0".to_owned(),
            sessions: 1_234,
            sessions_max: 100_000,
            calls: 5,
            machine: Some(machine),
            ..Supernode::default()
        };
        control::Fleet {
            network: "example.org".to_owned(),
            fresh: true,
            supernodes: vec![row],
            ..control::Fleet::default()
        }
    }

    #[test]
    fn a_fleet_is_told_with_its_sums_and_its_evidence() {
        let told = picture(&fleet());
        let lines: Vec<_> = told.text.lines().collect();
        assert_eq!(
            lines,
            [
                "network     example.org",
                "supernodes  1, and 0 missing; 0 draining (0 %)",
                "signed in   1234: 1234.0 on average, 1234 on one at most; the limit is 100000",
                "calls       5",
                "hardened    0 of 1",
                "",
                "SUPERNODE      STATE  VERSION  SIGNED IN      OF  CALLS  LEGS  SEES  LOAD   LAG  ADDRESS",
                "001122334455*  up     0.1.0         1234  100000      5     0     0   0 %  0 ms  a.example.org:443 (north[2J)",
                "",
                "SUPERNODE     KERNEL  UID  CAPABILITIES  SECCOMP  NO NEW PRIVS  ROOT      WEAKER THAN THE UNIT",
                "001122334455  6.1.0   998  none          filter   yes           writable  root is writable",
            ]
        );
        assert!(told.verdict.is_ok());
    }

    #[test]
    fn a_supernode_that_is_missing_is_told_and_is_a_failure() {
        let missing = Missing { supernode: "ff".to_owned(), address: "b:1".to_owned(), region: String::new() };
        let told = picture(&control::Fleet { missing: vec![missing], ..fleet() });
        assert!(told.text.contains("ff             missing"), "{}", told.text);
        assert_eq!(told.verdict.unwrap_err().code, "supernode-missing");
        let stale = picture(&control::Fleet { fresh: false, ..fleet() });
        assert_eq!(stale.verdict.unwrap_err().exit, Exit::Unreachable);
    }
}
