//! Real `redis-server` processes for tests: started on free ports of loopback, killed, frozen and started again. They end with the
//! values that stand for them. Where there is no `redis-server`, tests fail.

use std::{
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, TcpListener, UdpSocket},
    ops::Range,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering},
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// How long a server may take for anything that a test waits for.
const DEADLINE: Duration = Duration::from_secs(20);

/// How often another port is tried, when somebody has taken the free one in the meantime.
const TRIES: usize = 10;

/// Where tests take their ports from: Linux gives those from 32768 on to whoever asks for any.
const PORTS: Range<u16> = 20_000..32_000;

/// What a server says when it serves.
const READY: &str = "Ready to accept connections";

/// Lines of log that wait to be looked at.
const LINES_MAX: usize = 4_096;

/// A `redis-server` without anything on disk. `kill`ed and `restart`ed, it comes back empty on the same port.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    arguments: Vec<String>,
    folder: TempDir,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    process: Child,
    lines: Receiver<String>,
}

/// A primary and a replica, and the sentinel that makes the one of the other when it dies, within a second or so.
#[derive(Debug)]
pub struct RedisSentinel {
    /// As long as nobody kills it.
    pub primary: RedisServer,
    /// Knows all that the primary knows.
    pub replica: RedisServer,
    sentinel: RedisServer,
    _folder: TempDir,
}

/// Three servers that share the slots between them, without replicas.
#[derive(Debug)]
pub struct RedisCluster {
    /// Each has a third of the slots.
    pub nodes: Vec<RedisServer>,
}

impl RedisServer {
    /// One that answers.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// One with further arguments, such as `--requirepass`; encrypted, if `--tls-cert-file` is one of them.
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::launch(&[arguments, &["--save", ""]].concat(), READY)
    }

    fn launch(arguments: &[&str], ready: &str) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        for _ in 0..TRIES {
            let folder = tempfile::tempdir().expect("a folder for redis-server");
            let mut server = Self { port: free_port(), arguments: arguments.clone(), folder, running: None };
            if server.try_start(ready) {
                return server;
            }
        }
        panic!("redis-server does not start with {arguments:?}: {TRIES} times it said something else than {ready:?}");
    }

    fn try_start(&mut self, ready: &str) -> bool {
        let mut command = Command::new("redis-server");
        let port = self.port.to_string();
        // 0: none in the clear.
        let ports = if self.is_encrypted() {
            ["--port", "0", "--tls-port", &port]
        } else {
            ["--port", &port, "--tls-port", "0"]
        };
        command.args(&self.arguments).args(ports).args(["--bind", "127.0.0.1", "--daemonize", "no"]);
        command.arg("--dir").arg(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("redis-server can't be started: install it (Debian: redis-server)");
        let output = process.stdout.take().expect("its output is piped");
        let (sender, lines) = sync_channel(LINES_MAX);
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // A line for which there is no room is one that no test waits for.
                let _ = sender.try_send(line);
            }
        });
        self.running = Some(Running { process, lines });
        let started = self.says(ready);
        if !started {
            self.kill();
        }
        started
    }

    /// Whether it has a line with this in its log, since the last one that was asked for, before it ends or time is over.
    fn says(&self, wanted: &str) -> bool {
        let Some(running) = &self.running else { return false };
        let until = Instant::now() + DEADLINE;
        loop {
            match running.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(wanted) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    fn expect(&self, wanted: &str) {
        assert!(self.says(wanted), "the redis-server on port {} never said {wanted:?}", self.port);
    }

    /// Whether it has been started with a certificate.
    fn is_encrypted(&self) -> bool {
        self.arguments.iter().any(|argument| argument == "--tls-cert-file")
    }

    /// Where it listens, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address, as a configuration has it.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.way(), self.port)
    }

    /// What an address of it begins with.
    fn way(&self) -> &str {
        if self.is_encrypted() { "rediss" } else { "redis" }
    }

    /// Ends it as a crash would. What it knew is lost.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.process.kill();
            let _ = running.process.wait();
        }
    }

    /// Starts it again on the same port, empty.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.try_start(READY), "redis-server does not come back on port {}", self.port);
    }

    /// Stops it from answering, with its connections open.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let running = self.running.as_ref().expect("a server that runs");
        let status = Command::new("kill").args([signal, &running.process.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill {signal}");
    }

    /// Asks it something, and waits for the answer.
    pub fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> T {
        let client = redis::Client::open(self.url()).expect("an address");
        let mut connection = client.get_connection().expect("a server that answers");
        command.query(&mut connection).unwrap_or_else(|error| panic!("the server on port {}: {error}", self.port))
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

impl RedisSentinel {
    /// All three, when the sentinel knows the other two.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, each with further arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        let start = |own: &[&str]| RedisServer::start_with(&[own, arguments].concat());
        let primary = start(&["--repl-diskless-sync-delay", "0"]);
        let replica = start(&["--replicaof", "127.0.0.1", &primary.port.to_string()]);
        replica.expect("Finished with success");
        // A sentinel keeps what it knows in its configuration.
        let folder = tempfile::tempdir().expect("a folder for the sentinel");
        let file = sentinel_file(folder.path(), primary.port);
        let sentinel = RedisServer::launch(&[&[&file, "--sentinel"], arguments].concat(), "+monitor");
        sentinel.expect("+slave");
        Self { primary, replica, sentinel, _folder: folder }
    }

    /// Its address, as a configuration has it. The first of two sentinels is not there.
    pub fn url(&self) -> String {
        let way = self.sentinel.way();
        format!("{way}-sentinel://127.0.0.1:{},127.0.0.1:{}/ahoy", free_port(), self.sentinel.port)
    }
}

fn sentinel_file(folder: &Path, primary: u16) -> String {
    let file = folder.join("sentinel.conf");
    let text = format!(
        "sentinel monitor ahoy 127.0.0.1 {primary} 1\n\
         sentinel down-after-milliseconds ahoy 500\n\
         sentinel failover-timeout ahoy 3000\n"
    );
    std::fs::write(&file, text).expect("a file for the sentinel");
    file.to_string_lossy().into_owned()
}

impl RedisCluster {
    /// All three, when each says that the cluster is whole.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, each with further arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        let nodes: Vec<_> = (0..3)
            .map(|_| {
                let bus = free_port().to_string();
                let own = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "2000"];
                RedisServer::start_with(&[&own, arguments].concat())
            })
            .collect();
        for ((number, node), slots) in (1..).zip(&nodes).zip([(0, 5_460), (5_461, 10_922), (10_923, 16_383)]) {
            let cluster = |words: &[&str]| -> () { node.ask(redis::cmd("CLUSTER").arg(words)) };
            cluster(&["SET-CONFIG-EPOCH", &number.to_string()]);
            cluster(&["ADDSLOTSRANGE", &slots.0.to_string(), &slots.1.to_string()]);
            for other in nodes.iter().filter(|other| other.port != node.port) {
                let bus = other.arguments[3].as_str();
                cluster(&["MEET", "127.0.0.1", &other.port.to_string(), bus]);
            }
        }
        nodes.iter().for_each(|node| node.expect("Cluster state changed: ok"));
        Self { nodes }
    }

    /// Its address, as a configuration has it.
    pub fn url(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("{}-cluster://{}", self.nodes[0].way(), nodes.join(","))
    }
}

/// A port of loopback that nobody uses, neither for TCP nor for UDP, and that is given once: what a test starts there finds it free,
/// and finds it free again after a kill. It lies below those that the system gives to whoever asks for any.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU16::new(rand::random()));
    let is_free = |port: &u16| {
        let address = (Ipv4Addr::LOCALHOST, *port);
        TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
    };
    let mut ports = PORTS.map(|_| PORTS.start + next.fetch_add(1, Ordering::Relaxed) % PORTS.len() as u16);
    ports.find(is_free).expect("a free port on loopback")
}
