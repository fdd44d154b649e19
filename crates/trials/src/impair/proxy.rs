//! The UDP proxy: one thread that waits for sockets and for the next delivery with `ppoll`, whose timeout the kernel keeps to about
//! a tenth of a millisecond. Each client address gets a socket of its own towards the far end.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use serde::Serialize;

use super::{Impairment, Path};

/// UDP and IPv4 headers, counted for each packet.
const HEADERS: u64 = 8 + 20;

/// Client addresses served at once: a client that loses its link takes a new one.
const CLIENTS_MAX: usize = 256;

/// Packets under way at once, over all clients: two seconds of 100 calls. What comes on top is lost.
const UNDER_WAY_MAX: usize = 20_000;

/// Largest UDP payload.
const PACKET_MAX: usize = 65_535;

/// A second with at least this many packets counts as one in which voice ran.
const VOICE_SECOND: u64 = 25;

/// How often the thread looks whether it should end.
const ATTENTION: Duration = Duration::from_millis(50);

/// A running proxy. Dropping it ends it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    asked: Arc<Asked>,
    thread: Option<JoinHandle<io::Result<Report>>>,
}

/// What the thread is to do beside forwarding.
#[derive(Debug, Default)]
struct Asked {
    stop: AtomicBool,
    rebind: AtomicBool,
}

/// What a proxy did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// From clients to the far end.
    pub up: Traffic,
    /// From the far end to clients.
    pub down: Traffic,
}

/// One direction, all clients together. Sizes include UDP and IPv4 headers.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Traffic {
    /// Packets that came in.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of these, packets lost by design.
    pub lost: u64,
    /// Packets lost because too many were under way: the proxy was too slow, and the run counts for nothing.
    pub overrun: u64,
    /// Mean rate of what came in over the seconds in which voice ran.
    pub kbit_per_second: f64,
    /// Largest lateness of a delivery, in milliseconds.
    pub late_ms_max: f64,
    #[serde(skip)]
    seconds: Vec<(u64, u64)>,
}

impl Traffic {
    fn count(&mut self, since_start: Duration, payload: usize) {
        let second = usize::try_from(since_start.as_secs()).expect("a run is shorter than 2^32 s");
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, (0, 0));
        }
        let bytes = payload as u64 + HEADERS;
        self.packets += 1;
        self.bytes += bytes;
        self.seconds[second].0 += 1;
        self.seconds[second].1 += bytes;
    }

    fn finish(&mut self) {
        let voice: Vec<_> = self.seconds.iter().filter(|(packets, _)| *packets >= VOICE_SECOND).collect();
        let bytes: u64 = voice.iter().map(|(_, bytes)| bytes).sum();
        self.kbit_per_second = if voice.is_empty() { 0.0 } else { bytes as f64 * 8e-3 / voice.len() as f64 };
    }
}

/// What to set up.
#[derive(Debug, Clone, Copy)]
pub struct ProxyConfig {
    /// Where clients send to; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The far end.
    pub to: SocketAddr,
    /// From clients to the far end.
    pub up: Impairment,
    /// From the far end to clients.
    pub down: Impairment,
    /// Decides everything random.
    pub seed: u64,
}

impl ProxyConfig {
    /// On a free port of 127.0.0.1, with the same impairment both ways.
    pub fn both_ways(to: SocketAddr, impairment: Impairment, seed: u64) -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, 0).into(), to, up: impairment, down: impairment, seed }
    }
}

impl Proxy {
    /// Starts the proxy's thread.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn start(config: ProxyConfig) -> io::Result<Self> {
        let socket = UdpSocket::bind(config.listen)?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let asked = Arc::new(Asked::default());
        let mut wire = Wire::new(config, socket);
        let told = asked.clone();
        let thread = std::thread::Builder::new().name("impair".to_owned()).spawn(move || wire.run(&told))?;
        Ok(Self { address, asked, thread: Some(thread) })
    }

    /// Where clients send to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives every client another address towards the far end, as when a phone changes its network.
    pub fn rebind(&self) {
        self.asked.rebind.store(true, Ordering::Relaxed);
    }

    /// Ends the proxy.
    ///
    /// # Errors
    /// When its sockets failed.
    pub fn finish(mut self) -> io::Result<Report> {
        self.asked.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("only finish and drop take the thread");
        thread.join().map_err(|_| io::Error::other("the proxy's thread panicked"))?
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.asked.stop.store(true, Ordering::Relaxed);
    }
}

/// One client address and its socket towards the far end.
struct Client {
    address: SocketAddr,
    socket: UdpSocket,
    up: Path,
    down: Path,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    Up,
    Down,
}

/// A packet under way. Ordered by delivery, then by arrival.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    delivery: Instant,
    arrival: u64,
    client: usize,
    direction: Direction,
    payload: Vec<u8>,
}

struct Wire {
    config: ProxyConfig,
    socket: UdpSocket,
    clients: Vec<Client>,
    by_address: HashMap<SocketAddr, usize>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    arrivals: u64,
    started: Instant,
    report: Report,
}

impl Wire {
    fn new(config: ProxyConfig, socket: UdpSocket) -> Self {
        Self {
            config,
            socket,
            clients: Vec::new(),
            by_address: HashMap::new(),
            under_way: BinaryHeap::new(),
            arrivals: 0,
            started: Instant::now(),
            report: Report::default(),
        }
    }

    fn run(&mut self, asked: &Asked) -> io::Result<Report> {
        let mut buffer = vec![0; PACKET_MAX];
        while !asked.stop.load(Ordering::Relaxed) {
            if asked.rebind.swap(false, Ordering::Relaxed) {
                for client in 0..self.clients.len() {
                    self.clients[client].socket = self.far_socket()?;
                }
            }
            self.wait()?;
            self.receive_up(&mut buffer)?;
            for client in 0..self.clients.len() {
                self.receive_down(client, &mut buffer);
            }
            self.deliver();
        }
        self.report.up.finish();
        self.report.down.finish();
        Ok(std::mem::take(&mut self.report))
    }

    /// Waits for a packet, the next delivery or the time to look at what is asked.
    fn wait(&self) -> io::Result<()> {
        let next = self.under_way.peek().map_or(ATTENTION, |Reverse(packet)| {
            packet.delivery.saturating_duration_since(Instant::now()).min(ATTENTION)
        });
        let timeout = Timespec { tv_sec: 0, tv_nsec: next.subsec_nanos().into() };
        let sockets = std::iter::once(&self.socket).chain(self.clients.iter().map(|client| &client.socket));
        let mut polled: Vec<_> = sockets.map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn receive_up(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        while let Ok((length, from)) = self.socket.recv_from(buffer) {
            if let Some(client) = self.client(from)? {
                self.take_in(client, Direction::Up, &buffer[..length]);
            }
        }
        Ok(())
    }

    fn receive_down(&mut self, client: usize, buffer: &mut [u8]) {
        loop {
            match self.clients[client].socket.recv(buffer) {
                Ok(length) => self.take_in(client, Direction::Down, &buffer[..length]),
                // The far end is down: a real network would stay silent.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => return,
            }
        }
    }

    fn client(&mut self, address: SocketAddr) -> io::Result<Option<usize>> {
        if let Some(client) = self.by_address.get(&address) {
            return Ok(Some(*client));
        }
        let index = self.clients.len();
        if index == CLIENTS_MAX {
            return Ok(None);
        }
        let socket = self.far_socket()?;
        let seed = self.config.seed.wrapping_mul(2 * CLIENTS_MAX as u64).wrapping_add(2 * index as u64);
        let (up, down) = (Path::new(self.config.up, seed), Path::new(self.config.down, seed + 1));
        self.clients.push(Client { address, socket, up, down });
        self.by_address.insert(address, index);
        Ok(Some(index))
    }

    fn far_socket(&self) -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind((self.config.listen.ip(), 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(self.config.to)?;
        Ok(socket)
    }

    fn take_in(&mut self, client: usize, direction: Direction, payload: &[u8]) {
        let now = Instant::now();
        let full = self.under_way.len() == UNDER_WAY_MAX;
        let (path, traffic) = match direction {
            Direction::Up => (&mut self.clients[client].up, &mut self.report.up),
            Direction::Down => (&mut self.clients[client].down, &mut self.report.down),
        };
        traffic.count(now - self.started, payload.len());
        let Some(delivery) = path.fate(now) else {
            traffic.lost += 1;
            return;
        };
        if full {
            traffic.overrun += 1;
            return;
        }
        self.arrivals += 1;
        let arrival = self.arrivals;
        self.under_way.push(Reverse(UnderWay { delivery, arrival, client, direction, payload: payload.to_vec() }));
    }

    fn deliver(&mut self) {
        let now = Instant::now();
        while self.under_way.peek().is_some_and(|Reverse(packet)| packet.delivery <= now) {
            let Some(Reverse(packet)) = self.under_way.pop() else { return };
            let client = &self.clients[packet.client];
            // An error here is a far end that is down, or a full socket buffer: lost, as on a real network.
            let traffic = match packet.direction {
                Direction::Up => {
                    let _ = client.socket.send(&packet.payload);
                    &mut self.report.up
                }
                Direction::Down => {
                    let _ = self.socket.send_to(&packet.payload, client.address);
                    &mut self.report.down
                }
            };
            let late = (now - packet.delivery).as_secs_f64() * 1e3;
            traffic.late_ms_max = traffic.late_ms_max.max(late);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::impair::Loss;

    /// Sends `count` numbered packets through a proxy, one every 2 ms, to an echoing far end; gives numbers, times on the way and the report.
    fn run(impairment: Impairment, count: u32) -> (Vec<(u32, Duration)>, Report) {
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        far.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let proxy = Proxy::start(ProxyConfig::both_ways(far.local_addr().unwrap(), impairment, 5)).unwrap();
        let near = UdpSocket::bind("127.0.0.1:0").unwrap();
        near.connect(proxy.address()).unwrap();
        let start = Instant::now();
        let receiver = std::thread::spawn(move || {
            let mut buffer = [0; 64];
            let mut seen = Vec::new();
            while let Ok((_, from)) = far.recv_from(&mut buffer) {
                let number = u32::from_be_bytes(buffer[..4].try_into().unwrap());
                let sent = Duration::from_nanos(u64::from_be_bytes(buffer[4..12].try_into().unwrap()));
                seen.push((number, start.elapsed() - sent));
                far.send_to(&buffer[..12], from).unwrap();
            }
            seen
        });
        for number in 0..count {
            let sent = u64::try_from(start.elapsed().as_nanos()).unwrap();
            near.send(&[&number.to_be_bytes()[..], &sent.to_be_bytes()].concat()).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        let seen = receiver.join().unwrap();
        (seen, proxy.finish().unwrap())
    }

    #[test]
    fn packets_arrive_in_order_and_on_time() {
        let delay = Duration::from_millis(20);
        let (seen, report) = run(Impairment { delay, ..Impairment::default() }, 200);
        assert_eq!(seen.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
        let mut times: Vec<_> = seen.iter().map(|(_, time)| *time - delay).collect();
        times.sort();
        assert!(times[100] < delay / 2, "half are later than {:?}", times[100]);
        assert_eq!((report.up.packets, report.up.bytes), (200, 200 * (12 + 28)));
        assert_eq!((report.down.packets, report.down.lost), (200, 0));
    }

    #[test]
    fn a_client_that_gets_another_address_goes_on() {
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let proxy = Proxy::start(ProxyConfig::both_ways(far.local_addr().unwrap(), Impairment::default(), 5)).unwrap();
        let near = UdpSocket::bind("127.0.0.1:0").unwrap();
        near.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        near.connect(proxy.address()).unwrap();
        let round = || {
            let mut buffer = [0; 64];
            near.send(b"there").unwrap();
            let (_, from) = far.recv_from(&mut buffer).unwrap();
            far.send_to(b"back", from).unwrap();
            assert_eq!(near.recv(&mut buffer).unwrap(), 4);
            from
        };
        let before = round();
        assert_eq!(round(), before);
        proxy.rebind();
        // The thread looks at what is asked between packets. Nothing is sent back meanwhile: what is under way to the old address is lost.
        let moved = (0..100).any(|_| {
            near.send(b"there").unwrap();
            far.recv_from(&mut [0; 64]).unwrap().1 != before
        });
        assert!(moved);
        assert_ne!(round(), before);
    }

    #[test]
    fn what_is_lost_is_counted_and_does_not_arrive() {
        let (seen, report) = run(Impairment { loss: Loss::Random(0.5), ..Impairment::default() }, 200);
        assert_eq!(seen.len() as u64, 200 - report.up.lost);
        assert!((60..140).contains(&report.up.lost));
    }
}
