//! Two clients in network namespaces of their own, all their traffic captured, opened with their TLS secrets and searched.
//!
//! `ip`, `nft`, `tcpdump` and `tshark` do the work; root is needed. What is searched is everything that tshark shows of a frame: the frame as
//! it was on the wire, and what decryption, reassembly and decompression made of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, bail, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::harness::{Child, Trial};

/// A network namespace. Goes with this value.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

/// Whether this process may make namespaces and capture.
pub fn is_permitted() -> bool {
    rustix::process::geteuid().is_root()
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("can't start {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {} failed: {said}", arguments.join(" "));
    Ok(())
}

impl Namespace {
    /// Makes a namespace with nothing but its loopback.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new(label: &str) -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ahoy-{label}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run("ip", &["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    fn ip(&self, arguments: &[&str]) -> anyhow::Result<()> {
        run("ip", &[&["-netns", &self.name], arguments].concat())
    }

    /// Joins a client's namespace to this one by a wire: our end has the first address, the client's the second, both in one /30.
    /// Nothing joins packets on it, so that a capture shows each.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn join(&self, client: &Self, [ours, theirs]: [Ipv4Addr; 2]) -> anyhow::Result<()> {
        // An interface's name has at most 15 characters: the client's address makes it unique here.
        let wire = format!("w{:08x}", u32::from(theirs));
        self.ip(&["link", "add", &wire, "type", "veth", "peer", "name", INTERFACE, "netns", &client.name])?;
        self.ip(&["address", "add", &format!("{ours}/30"), "dev", &wire])?;
        self.ip(&["link", "set", &wire, "gso_max_segs", "1", "up"])?;
        client.ip(&["address", "add", &format!("{theirs}/30"), "dev", INTERFACE])?;
        client.ip(&["link", "set", INTERFACE, "gso_max_segs", "1", "up"])
    }

    /// Hands what comes for these addresses to a service on our 127.0.0.1, which sees where it comes from: without a certificate,
    /// `ahoyd` listens on loopback only.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn redirect_to_loopback(&self, addresses: &[Ipv4Addr], port: u16) -> anyhow::Result<()> {
        self.inside(|| Ok(std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1")?))?;
        let nft = |rule: &str| {
            let words: Vec<_> = rule.split_whitespace().collect();
            run("ip", &[&["netns", "exec", &self.name, "nft", "add"], words.as_slice()].concat())
        };
        nft("table ip ahoy")?;
        nft("chain ip ahoy in { type nat hook prerouting priority dstnat ; }")?;
        for address in addresses {
            nft(&format!(
                "rule ip ahoy in ip daddr {address} meta l4proto {{ tcp, udp }} th dport {port} dnat to 127.0.0.1"
            ))?;
        }
        Ok(())
    }

    /// What to put in front of a command so that it runs inside.
    pub fn prefix(&self) -> Vec<OsString> {
        ["ip", "netns", "exec", &self.name].map(OsString::from).to_vec()
    }

    /// Runs something inside, on a thread of its own. Threads and sockets that it makes stay inside.
    ///
    /// # Errors
    /// Its own, and when the namespace is gone.
    pub fn inside<T: Send>(&self, body: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        let enter = || -> anyhow::Result<T> {
            let namespace = File::open(Path::new("/run/netns").join(&self.name))?;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            body()
        };
        std::thread::scope(|scope| scope.spawn(enter).join().expect("the body returns its error"))
    }

    /// Forwards TCP connections to a port of the inside's 127.0.0.1: a client speaks plain HTTP to its own machine only.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn forward_loopback(&self, to: SocketAddr) -> anyhow::Result<()> {
        self.inside(|| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, to.port()))?;
            // It ends with the process.
            std::thread::spawn(move || forward(&listener, to));
            Ok(())
        })
    }

    /// Captures everything on this client's wire.
    ///
    /// # Errors
    /// When tcpdump does not start.
    pub fn capture(&self, trial: &Trial) -> anyhow::Result<Capture> {
        let file = trial.folder().join(format!("{}.pcap", self.name));
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "tcpdump", "-i", INTERFACE, "--immediate-mode", "-U", "-Z", "root"]);
        command.args(["-B", "16384", "-w"]).arg(&file);
        let child = Child::start(trial, &format!("{}-tcpdump", self.name), &command)?;
        trial.wait_for("tcpdump", || child.errors().contains("listening on").then_some(()))?;
        Ok(Capture { child, file })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The wire goes with it. What can't be removed has a name that no later run takes.
        let _ = run("ip", &["netns", "delete", &self.name]);
    }
}

/// The client's end of its wire.
const INTERFACE: &str = "wire";

fn forward(listener: &TcpListener, to: SocketAddr) {
    for inner in listener.incoming().map_while(Result::ok) {
        let Ok(outer) = TcpStream::connect(to) else { continue };
        let (Ok(inner_read), Ok(outer_read)) = (inner.try_clone(), outer.try_clone()) else { continue };
        for (mut from, mut into) in [(inner_read, outer), (outer_read, inner)] {
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut into);
                let _ = into.shutdown(std::net::Shutdown::Write);
            });
        }
    }
}

/// A capture that runs.
#[derive(Debug)]
pub struct Capture {
    child: Child,
    file: PathBuf,
}

impl Capture {
    /// Ends it and gives the file.
    ///
    /// # Errors
    /// When tcpdump dropped packets, or fails.
    pub fn finish(mut self) -> anyhow::Result<PathBuf> {
        self.child.interrupt()?;
        self.child.wait()?;
        let said = self.child.errors();
        ensure!(said.contains("\n0 packets dropped by kernel"), "the capture is not whole: {said}");
        Ok(self.file.clone())
    }
}

/// Everything that a capture holds, opened as far as the secrets go.
#[derive(Debug, Default)]
pub struct Opened {
    /// Frames on the wire.
    pub frames: usize,
    /// QUIC packets that did not open.
    pub sealed: usize,
    /// Pieces of bytes: frames as they were, and what was made of them. By kind, as tshark names it.
    pub pieces: BTreeMap<String, Vec<Vec<u8>>>,
}

/// Opens a capture. `port` is the supernode's.
///
/// # Errors
/// When tshark fails or is too old.
pub fn open(file: &Path, keylog: &Path, port: u16) -> anyhow::Result<Opened> {
    let keys = format!("tls.keylog_file:{}", keylog.display());
    let quic = format!("udp.port=={port},quic");
    let tshark = |more: &[&str]| -> anyhow::Result<String> {
        let mut command = Command::new("tshark");
        command.arg("-r").arg(file).args(["-o", &keys, "-d", &quic]).args(more);
        let output = command.output().context("can't start tshark")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "tshark failed: {said}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let mut opened = parse_dump(&tshark(&["-P", "-x"])?)?;
    opened.sealed = tshark(&["-Y", "quic.decryption_failed || quic.remaining_payload"])?.lines().count();
    Ok(opened)
}

/// Reads `tshark -P -x`: a summary line for each frame, then one hex dump, or several, each under its name.
fn parse_dump(text: &str) -> anyhow::Result<Opened> {
    let mut opened = Opened::default();
    let mut kind = FRAME.to_owned();
    let mut piece: Vec<u8> = Vec::new();
    let close = |kind: &str, piece: &mut Vec<u8>, opened: &mut Opened| {
        if !piece.is_empty() {
            opened.frames += usize::from(kind == FRAME);
            opened.pieces.entry(kind.to_owned()).or_default().push(std::mem::take(piece));
        }
    };
    for line in text.lines() {
        if let Some((offset, bytes)) = dump_line(line) {
            if offset == 0 {
                close(&kind, &mut piece, &mut opened);
            }
            ensure!(offset == piece.len() % (1 << 16), "tshark's dump has a hole at {line}");
            piece.extend(bytes);
            continue;
        }
        close(&kind, &mut piece, &mut opened);
        // "Decrypted QUIC (1162 bytes):"
        kind = match line.strip_suffix(" bytes):").and_then(|line| line.rsplit_once(" (")) {
            Some((name, _)) => name.to_owned(),
            None => FRAME.to_owned(),
        };
    }
    close(&kind, &mut piece, &mut opened);
    if opened.pieces.is_empty() {
        bail!("the capture is empty");
    }
    Ok(opened)
}

/// The kind of a frame as it was on the wire.
const FRAME: &str = "Frame";

/// `0010  de ad be ef …  text`: offset and bytes.
fn dump_line(line: &str) -> Option<(usize, Vec<u8>)> {
    let (offset, rest) = line.split_once("  ")?;
    if offset.len() < 4 || !offset.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let offset = usize::from_str_radix(offset, 16).ok()?;
    let hex = rest.split("   ").next()?.get(..HEX_WIDTH.min(rest.split("   ").next()?.len()))?;
    let bytes: Option<Vec<u8>> = hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes.filter(|bytes| !bytes.is_empty()).map(|bytes| (offset, bytes))
}

/// 16 bytes as two digits and a space each, the last without.
const HEX_WIDTH: usize = 16 * 3 - 1;

/// Where an address was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// The kind of piece, as tshark names it.
    pub piece: String,
    /// How the address was written.
    pub form: &'static str,
}

impl Opened {
    /// All pieces that hold an IPv4 address, as bytes in either order or as text.
    pub fn leaks(&self, address: Ipv4Addr) -> Vec<Leak> {
        let mut backwards = address.octets();
        backwards.reverse();
        let forms: [(&'static str, Vec<u8>); 3] = [
            ("binary", address.octets().to_vec()),
            ("binary, little-endian", backwards.to_vec()),
            ("text", address.to_string().into_bytes()),
        ];
        let mut leaks = Vec::new();
        for (piece, all) in &self.pieces {
            for (form, wanted) in &forms {
                let found = all.iter().filter(|bytes| holds(bytes, wanted)).count();
                leaks.extend(std::iter::repeat_n(Leak { piece: piece.clone(), form }, found));
            }
        }
        leaks
    }

    /// Whether any piece holds these bytes.
    pub fn holds(&self, wanted: &[u8]) -> bool {
        self.pieces.values().flatten().any(|bytes| holds(bytes, wanted))
    }

    /// How many pieces there are of the kinds whose name holds `word`.
    pub fn count(&self, word: &str) -> usize {
        self.pieces.iter().filter(|(kind, _)| kind.contains(word)).map(|(_, all)| all.len()).sum()
    }
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_cut_into_frames_and_what_was_made_of_them() {
        let text = "    1   0.000000 10.0.0.1 → 10.0.0.2     UDP 60 \n\n\
                    Frame (18 bytes):\n\
                    0000  01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10   ................\n\
                    0010  31 32                                             12\n\
                    Decrypted QUIC (2 bytes):\n\
                    0000  b7 d6                                             ..\n\n\
                    \u{20}   2   0.1 10.0.0.1 → 10.0.0.2     UDP 60 \n\n\
                    0000  0a 00                                             ..\n";
        let opened = parse_dump(text).unwrap();
        assert_eq!(opened.frames, 2);
        assert_eq!(opened.pieces["Frame"][0].len(), 18);
        assert_eq!(opened.pieces["Decrypted QUIC"], [vec![0xb7, 0xd6]]);
        assert_eq!(opened.pieces["Frame"][1], [0x0a, 0x00]);
    }

    #[test]
    fn an_address_is_found_in_every_form() {
        let address = Ipv4Addr::new(183, 214, 97, 58);
        let piece =
            |bytes: &[u8]| Opened { pieces: [("x".to_owned(), vec![bytes.to_vec()])].into(), ..Opened::default() };
        assert_eq!(piece(&[0, 183, 214, 97, 58, 9]).leaks(address)[0].form, "binary");
        assert_eq!(piece(&[58, 97, 214, 183]).leaks(address)[0].form, "binary, little-endian");
        assert_eq!(piece(b"at 183.214.97.58:99").leaks(address)[0].form, "text");
        assert!(piece(&[183, 214, 97]).leaks(address).is_empty());
    }
}
