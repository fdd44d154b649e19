//! What the operator asks of a running daemon, by the socket in its data folder: one request and one reply a connection, each a
//! JSON object on a line. Whoever can open the socket is the operator; see docs/security.md.

use std::io::{self, BufRead as _, BufReader, Read, Write};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub mod table;

/// The socket's name in the data folder.
pub const SOCKET: &str = "control";

/// A request or a reply, at most, in bytes: of a fleet of 512 supernodes each takes 1 KiB, a quarter of it for the longest address.
pub const LINE_MAX: u64 = 512 * 1024;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// Hand over sessions and calls, then end; or stay, without them.
    Drain {
        /// End at the latest after so many seconds; `None`: stay.
        end_within_s: Option<u32>,
    },
    /// Take sessions and calls again.
    Undrain,
    /// How far a drain is.
    State,
    /// All supernodes that live.
    Fleet,
}

/// What is replied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// To all requests but the last.
    State(State),
    /// To [`Request::Fleet`].
    Fleet(Fleet),
    /// It can't be done.
    Refused {
        /// One sentence for a person.
        why: String,
    },
}

/// Asks a daemon, on a connection of its own.
///
/// # Errors
/// As the socket's; `UnexpectedEof` when the daemon ends before it has replied, `InvalidData` when it replies what is not known here.
pub fn exchange(mut socket: impl Read + Write, request: &Request) -> io::Result<Reply> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    socket.write_all(&line)?;
    let mut reply = Vec::new();
    BufReader::new(socket.take(LINE_MAX)).read_until(b'\n', &mut reply)?;
    if reply.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&reply).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// What the supernode of the daemon still holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Whether it hands over what it has.
    pub draining: bool,
    /// The daemon ends by then, drained or not.
    pub ends_in_s: Option<u64>,
    /// Signed-in links.
    pub sessions: u32,
    /// Calls at home there.
    pub calls: u32,
    /// Supernodes in its view, itself included.
    pub supernodes: u32,
}

/// The fleet as one supernode sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// What people call the network.
    #[serde(default)]
    pub network: String,
    /// False: leases can't be asked for now, and these are the last that were seen.
    pub fresh: bool,
    /// Those that live.
    pub supernodes: Vec<Supernode>,
    /// Those that the roster lists, and that do not live.
    #[serde(default)]
    pub missing: Vec<Missing>,
    /// Further ones of those, which a reply has no room for.
    #[serde(default)]
    pub untold: usize,
}

/// A supernode, as it says itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supernode {
    /// Its id, in hexadecimal.
    pub supernode: String,
    /// It is the one that was asked.
    pub own: bool,
    /// Its first address in the roster.
    #[serde(default)]
    pub address: String,
    /// Where it stands, as the roster has it.
    #[serde(default)]
    pub region: String,
    /// Of its program.
    pub version: String,
    /// Whether it hands over what it has.
    pub draining: bool,
    /// Signed-in links.
    pub sessions: u32,
    /// How many it takes.
    pub sessions_max: u32,
    /// Calls at home there.
    pub calls: u32,
    /// Legs of any call whose links are there.
    pub legs: u32,
    /// Supernodes in its view, itself included.
    pub supernodes: u32,
    /// Processor time, in thousandths of all cores.
    pub load_permille: u32,
    /// How late its clock ticks, in milliseconds.
    pub lag_ms: u32,
    /// What it runs on; `None` where it does not say.
    #[serde(default)]
    pub machine: Option<Machine>,
}

/// A supernode without a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Its id, in hexadecimal.
    pub supernode: String,
    /// Its first address in the roster.
    pub address: String,
    /// Where it stands, as the roster has it.
    pub region: String,
}

/// What a daemon's process runs on and what it may do there, as its kernel tells it. It is evidence, not proof: a supernode that has
/// been taken over says what its new master likes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Release of the kernel, cut to [`KERNEL_BYTES_MAX`].
    pub kernel: String,
    /// Effective user id.
    pub uid: u32,
    /// Effective capabilities, one bit each.
    pub capabilities: u64,
    /// System calls: 0 all are allowed, 2 a filter decides.
    pub seccomp: u32,
    /// Whether no program that it starts can have more rights than itself.
    pub no_new_privs: bool,
    /// Whether the root of its file system can't be written to.
    pub read_only_root: bool,
}

/// Longest release of a kernel that is told, in bytes; usual ones have 15 to 30.
pub const KERNEL_BYTES_MAX: usize = 48;

/// `CAP_NET_BIND_SERVICE`: for ports below 1024.
const CAP_NET_BIND_SERVICE: u64 = 1 << 10;

/// `SECCOMP_MODE_FILTER`
const SECCOMP_FILTER: u32 = 2;

impl Machine {
    /// What is less than the unit in `deploy/` gives, in words; empty: nothing.
    pub fn weaknesses(&self) -> Vec<&'static str> {
        [
            (self.uid == 0, "runs as root"),
            (self.capabilities & !CAP_NET_BIND_SERVICE != 0, "has capabilities"),
            (self.seccomp != SECCOMP_FILTER, "no filter of system calls"),
            (!self.no_new_privs, "may gain privileges"),
            (!self.read_only_root, "root is writable"),
        ]
        .into_iter()
        .filter_map(|(is_so, what)| is_so.then_some(what))
        .collect()
    }

    /// The capabilities in a word or two.
    pub fn capabilities_word(&self) -> String {
        match self.capabilities {
            0 => "none".to_owned(),
            CAP_NET_BIND_SERVICE => "net_bind".to_owned(),
            many => many.count_ones().to_string(),
        }
    }

    /// The mode of seccomp in a word.
    pub fn seccomp_word(&self) -> &'static str {
        match self.seccomp {
            0 => "off",
            1 => "strict",
            SECCOMP_FILTER => "filter",
            _ => "?",
        }
    }
}

/// A fleet in a few numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Sum {
    /// Supernodes that live.
    pub supernodes: usize,
    /// Listed, and not there.
    pub missing: usize,
    /// Of those that live, those that drain.
    pub draining: usize,
    /// Their share of those that live; 0 where there are none.
    pub share_draining: f64,
    /// Signed-in links, on all.
    pub sessions: u64,
    /// On one of them, on average.
    pub sessions_mean: f64,
    /// On the one that has most.
    pub sessions_highest: u32,
    /// That all take together.
    pub sessions_max: u64,
    /// Calls, on all.
    pub calls: u64,
    /// Supernodes that have no [weakness](Machine::weaknesses).
    pub hardened: usize,
}

impl Fleet {
    /// Whether everything is as it should be.
    pub fn is_whole(&self) -> bool {
        self.fresh && self.sum().missing == 0
    }

    /// For programs: a name and fields for each supernode, and at last for all of them together.
    pub fn events(&self) -> Vec<(&'static str, Value)> {
        let supernode = |row: &Supernode| {
            let mut fields = json!(row);
            fields["weaknesses"] = json!(row.machine.as_ref().map(Machine::weaknesses));
            ("supernode", fields)
        };
        let missing = |missing: &Missing| ("missing", json!(missing));
        let mut whole = json!(self.sum());
        whole["ok"] = json!(self.is_whole());
        whole["fresh"] = json!(self.fresh);
        whole["network"] = json!(self.network);
        let rows = self.supernodes.iter().map(supernode).chain(self.missing.iter().map(missing));
        rows.chain([("census", whole)]).collect()
    }

    /// All of it in a few numbers.
    pub fn sum(&self) -> Sum {
        let supernodes = self.supernodes.len();
        let draining = self.supernodes.iter().filter(|supernode| supernode.draining).count();
        let sessions: u64 = self.supernodes.iter().map(|supernode| u64::from(supernode.sessions)).sum();
        let hardened = |machine: &Machine| machine.weaknesses().is_empty();
        // Of none the mean is 0.
        let each = supernodes.max(1) as f64;
        Sum {
            supernodes,
            missing: self.missing.len() + self.untold,
            draining,
            share_draining: draining as f64 / each,
            sessions,
            sessions_mean: sessions as f64 / each,
            sessions_highest: self.supernodes.iter().map(|supernode| supernode.sessions).max().unwrap_or(0),
            sessions_max: self.supernodes.iter().map(|supernode| u64::from(supernode.sessions_max)).sum(),
            calls: self.supernodes.iter().map(|supernode| u64::from(supernode.calls)).sum(),
            hardened: self
                .supernodes
                .iter()
                .filter_map(|supernode| supernode.machine.as_ref())
                .filter(|m| hardened(m))
                .count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{REGION_MAX, SUPERNODE_ADDRESS_MAX};

    fn hardened() -> Machine {
        let (kernel, capabilities) = ("6.1.0-40-amd64".to_owned(), CAP_NET_BIND_SERVICE);
        Machine { kernel, uid: 998, capabilities, seccomp: 2, no_new_privs: true, read_only_root: true }
    }

    #[test]
    fn each_thing_that_is_missing_from_hardening_is_said() {
        assert!(hardened().weaknesses().is_empty());
        let weaker = [
            Machine { uid: 0, ..hardened() },
            Machine { capabilities: CAP_NET_BIND_SERVICE | 1, ..hardened() },
            Machine { seccomp: 0, ..hardened() },
            Machine { no_new_privs: false, ..hardened() },
            Machine { read_only_root: false, ..hardened() },
        ];
        for machine in weaker {
            assert_eq!(machine.weaknesses().len(), 1, "{machine:?}");
        }
        assert_eq!(Machine::default().weaknesses().len(), 4);
    }

    #[test]
    fn a_fleet_is_summed_and_an_empty_one_too() {
        let of = |sessions, draining, machine| Supernode {
            sessions,
            sessions_max: 100,
            calls: 2,
            draining,
            machine,
            ..Supernode::default()
        };
        let supernodes =
            vec![of(30, false, Some(hardened())), of(0, true, Some(Machine::default())), of(6, false, None)];
        let sum = Fleet { supernodes, ..Fleet::default() }.sum();
        assert_eq!((sum.supernodes, sum.draining, sum.hardened, sum.calls), (3, 1, 1, 6));
        assert_eq!((sum.sessions, sum.sessions_mean, sum.sessions_highest, sum.sessions_max), (36, 12.0, 30, 300));
        assert!((sum.share_draining - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(Fleet::default().sum(), Sum::default());
    }

    #[test]
    fn a_fleet_is_whole_when_nobody_is_missing_and_that_is_known() {
        let whole = || Fleet { fresh: true, ..Fleet::default() };
        assert!(whole().is_whole());
        assert!(!Fleet { fresh: false, ..whole() }.is_whole());
        let missing = Missing { supernode: "ff".to_owned(), address: String::new(), region: String::new() };
        let large = Fleet { missing: vec![missing], untold: 2, ..whole() };
        assert!(!large.is_whole());
        let events = large.events();
        assert_eq!(events.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["missing", "census"]);
        assert_eq!((&events[1].1["missing"], &events[1].1["ok"]), (&json!(3), &json!(false)));
    }

    /// Says what it is to say, and keeps what it is told.
    struct Socket(&'static [u8], Vec<u8>);

    impl Read for Socket {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Socket {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_daemon_that_ends_without_a_reply_is_told_from_one_that_replies_something_else() {
        let ask = |says| {
            let mut socket = Socket(says, Vec::new());
            let reply = exchange(&mut socket, &Request::Fleet);
            assert_eq!(socket.1, b"{\"ask\":\"fleet\"}\n");
            reply.map_err(|error| error.kind())
        };
        let refused = Reply::Refused { why: "no".to_owned() };
        assert_eq!(ask(b"{\"reply\":\"refused\",\"why\":\"no\"}\n"), Ok(refused));
        assert_eq!(ask(b""), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(ask(b"{\"reply\":\"coffee\"}\n"), Err(io::ErrorKind::InvalidData));
    }

    #[test]
    fn the_reply_of_an_earlier_daemon_is_read() {
        let row = r#"{"supernode":"ff","own":true,"version":"0.1.0","draining":false,"sessions":1,"sessions_max":2,"calls":3,
            "legs":4,"supernodes":5,"load_permille":6,"lag_ms":7}"#;
        let reply: Reply =
            serde_json::from_str(&format!(r#"{{"reply":"fleet","fresh":true,"supernodes":[{row}]}}"#)).unwrap();
        let Reply::Fleet(fleet) = reply else { panic!("{reply:?}") };
        assert_eq!((fleet.supernodes[0].sessions, fleet.supernodes[0].machine.as_ref()), (1, None));
    }

    #[test]
    fn the_largest_fleet_fits_into_a_reply() {
        let id = "f".repeat(32);
        let machine =
            Machine { kernel: "k".repeat(KERNEL_BYTES_MAX), uid: u32::MAX, capabilities: u64::MAX, ..hardened() };
        let supernode = Supernode {
            supernode: id.clone(),
            own: false,
            address: "a".repeat(SUPERNODE_ADDRESS_MAX),
            region: "r".repeat(REGION_MAX),
            version: "v".repeat(64),
            draining: false,
            sessions: 1_000_000,
            sessions_max: 1_000_000,
            calls: 100_000,
            legs: 100_000,
            supernodes: 512,
            load_permille: 1_000,
            lag_ms: 60_000,
            machine: Some(machine),
        };
        let fleet =
            Fleet { network: "n".repeat(253), fresh: false, supernodes: vec![supernode; 512], ..Fleet::default() };
        let reply = serde_json::to_string(&Reply::Fleet(fleet)).unwrap();
        assert!((reply.len() as u64) < LINE_MAX, "{} of {LINE_MAX}", reply.len());
    }
}
