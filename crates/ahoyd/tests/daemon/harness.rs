//! Starts the real binary on ports of its own and waits for what it says.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use ahoy_client::account::{self, AccountError, Network, NetworkUrl, NewAccount, contact};
use ahoy_client::driver::{Client, ClientOptions, Events};
use ahoy_client::profile::{Identity, Profile};
pub(crate) use ahoy_fabric::testing::free_port;
use ahoy_proto::{Name, UnixTime};
use rustix::process::{Pid, Signal, kill_process};

/// Longest wait for anything, on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Option<Child>,
    pub(crate) port: u16,
    admin: SocketAddr,
}

/// `ahoyd` with these arguments.
pub(crate) fn ahoyd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ahoyd"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a command says that ends by itself: exit code and standard error.
pub(crate) fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = ahoyd(arguments).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// A configuration file for `ahoyd serve` on loopback, and its port. `more` is further keys.
pub(crate) fn configure(folder: &Path, more: &str) -> (String, u16) {
    let port = free_port();
    let file = folder.join("ahoy.toml");
    let data = folder.join("data");
    let text = format!(
        "name = \"example.org\"\ndata = {data:?}\nlisten = [\"127.0.0.1:{port}\"]\npublic = [\"127.0.0.1:{port}\"]\n{more}"
    );
    std::fs::write(&file, text).unwrap();
    (file.to_str().unwrap().to_owned(), port)
}

/// What a command of the operator's prints, once sure that it succeeded.
pub(crate) fn said(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = ahoyd(arguments).output().unwrap();
    assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// The same with `--json`: an object a line.
pub(crate) fn objects(arguments: &[&str]) -> Vec<serde_json::Value> {
    let said = said(&[arguments, &["--json"]].concat());
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Signs up, at a network that is open to everybody.
pub(crate) fn sign_up(daemon: &Daemon, name: &str) -> Identity {
    let name = Name::parse(name).unwrap();
    let new = NewAccount { name: &name, password: PASSWORD.into(), invite: None, device_name: "test" };
    account::sign_up(&network(daemon), new, now()).unwrap().identity
}

/// Signs in on another device.
pub(crate) fn sign_in(daemon: &Daemon, name: &str) -> Result<Identity, AccountError> {
    account::sign_in(&network(daemon), &Name::parse(name).unwrap(), PASSWORD, "test", now())
}

fn network(daemon: &Daemon) -> Network {
    contact(&NetworkUrl::parse(&daemon.url()).unwrap(), None, now()).unwrap().network
}

fn now() -> UnixTime {
    std::time::SystemTime::now().into()
}

/// Everybody's.
pub(crate) const PASSWORD: &str = "correct horse";

/// A client of this identity, with a profile of its own.
pub(crate) async fn client(identity: &Identity, folder: &Path) -> (Client, Events) {
    let profile = Profile::open(folder).unwrap();
    profile.keep(identity).unwrap();
    Client::start(profile, ClientOptions::default()).await.unwrap()
}

impl Daemon {
    /// `ahoyd serve` by a file in this folder, open to everybody, ready; and the file.
    pub(crate) fn serve(folder: &Path) -> (Self, String) {
        let (file, port) = configure(folder, "sign_up = \"open\"\n");
        (Self::start(&["serve", "--config", &file], port, &[]), file)
    }

    /// `ahoyd dev` on this data folder, ready.
    pub(crate) fn dev(data: &Path, settings: &[&str]) -> Self {
        let port = free_port();
        let (port_text, data) = (port.to_string(), data.to_str().unwrap().to_owned());
        Self::start(&["dev", "--port", &port_text, "--data", &data], port, settings)
    }

    /// With these arguments and settings, ready.
    pub(crate) fn start(arguments: &[&str], port: u16, settings: &[&str]) -> Self {
        Self::spawn(ahoyd(arguments), port, settings)
    }

    /// By this command and settings, ready.
    pub(crate) fn spawn(mut command: Command, port: u16, settings: &[&str]) -> Self {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        command.arg("--set").arg(format!("admin.listen={admin}"));
        for setting in settings {
            command.args(["--set", setting]);
        }
        let mut daemon = Self { child: Some(command.spawn().unwrap()), port, admin };
        let start = Instant::now();
        while get(daemon.admin, "/ready").is_none_or(|(status, _)| status != 200) {
            let ended = daemon.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "ahoyd ended: {}", daemon.end(Signal::TERM).1);
            assert!(start.elapsed() < PATIENCE, "ahoyd does not get ready: {}", daemon.end(Signal::KILL).1);
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon
    }

    /// Status and body of a path of the admin listener.
    pub(crate) fn admin(&self, path: &str) -> (u16, String) {
        get(self.admin, path).unwrap()
    }

    /// Status and body of a path of the authority.
    pub(crate) fn api(&self, path: &str) -> (u16, String) {
        get(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)), path).unwrap()
    }

    /// The network's address for clients.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// Waits until it ends by itself: exit code and standard error.
    pub(crate) fn ended(&mut self) -> (Option<i32>, String) {
        let mut child = self.child.take().unwrap();
        let start = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if start.elapsed() > PATIENCE {
                child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// Sends a signal and waits: exit code and standard error.
    pub(crate) fn end(&mut self, signal: Signal) -> (Option<i32>, String) {
        let child = self.child.take().unwrap();
        // It may have ended by itself, which the exit code tells.
        let _ = kill_process(Pid::from_child(&child), signal);
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.end(Signal::KILL);
        }
    }
}

/// One GET over plain TCP.
fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    let (head, body) = response.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}
