//! What a datagram costs across one trunk, beside the same datagrams over a link for each flow.
//!
//! `cargo run --example trunk_cost -- trunk` and `-- links`: two shards on two threads of one process, 500 flows of 50 datagrams
//! a second for ten seconds, sent in steps of a millisecond as they would come in. Prints the processor time of both threads
//! for each datagram that arrived; the handshakes are not in it.

use std::{
    error::Error,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ahoy_net::{LinkEvent, LinkId, QuicShard, ServerTls, ShardConfig, listen};
use bytes::Bytes;
use ed25519_dalek::SigningKey;

const FLOWS: usize = 500;
const PACKETS_PER_SECOND: usize = 50;
/// As long as a voice packet of usual length.
const LENGTH: usize = 130;
const STEP: Duration = Duration::from_millis(1);
const STEPS: usize = 10_000;
const DATAGRAMS_A_STEP: usize = FLOWS * PACKETS_PER_SECOND / 1_000;
/// Links dialled at once, below `limits::DIALS_MAX`.
const AT_ONCE: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let links = match std::env::args().nth(1).as_deref() {
        Some("trunk") => 1,
        Some("links") => FLOWS,
        _ => return Err("say `trunk` or `links`".into()),
    };
    let key = SigningKey::from_bytes(&[4; 32]);
    let (mut sender, _) = shard(&key)?;
    let (receiver, address) = shard(&key)?;
    let arrived = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let waker = receiver.waker();
    let receiving = {
        let (arrived, stop) = (Arc::clone(&arrived), Arc::clone(&stop));
        thread::spawn(move || receive(receiver, &arrived, &stop))
    };
    let open = dial(&mut sender, address, &key, links)?;

    let ours = processor_time()?;
    let before = *sender.counters();
    send(&mut sender, &open)?;
    let ours = processor_time()? - ours;
    stop.store(true, Ordering::SeqCst);
    waker.wake()?;
    let theirs = receiving.join().map_err(|_| "the receiver panicked")??;

    let after = sender.counters();
    let all = (STEPS * DATAGRAMS_A_STEP) as u64;
    let arrived = arrived.load(Ordering::SeqCst);
    println!(
        "{links} links: {arrived} of {all} datagrams arrived, {} displaced, in {} UDP packets",
        after.datagrams_displaced - before.datagrams_displaced,
        after.packets_sent - before.packets_sent
    );
    let each = |time: Duration| time.as_nanos() as f64 / arrived as f64 / 1_000.0;
    println!("processor time for each: sender {:.2} µs, receiver {:.2} µs", each(ours), each(theirs));
    Ok(())
}

fn shard(key: &SigningKey) -> Result<(QuicShard, SocketAddr), Box<dyn Error>> {
    let sockets = listen::bind(&[SocketAddr::from(([127, 0, 0, 1], 0)).into()], 1)?.remove(0);
    let address = sockets[0].local_addr()?;
    let tls = ServerTls::new(key, None, false)?;
    Ok((QuicShard::new(ShardConfig { shard: 0, shards: 1, sockets, tls, reset_key: [5; 32] })?, address))
}

/// Dials and waits until all links are up.
fn dial(
    shard: &mut QuicShard,
    address: SocketAddr,
    key: &SigningKey,
    links: usize,
) -> Result<Vec<LinkId>, Box<dyn Error>> {
    let mut up = Vec::new();
    while up.len() < links {
        let now = AT_ONCE.min(links - up.len());
        for _ in 0..now {
            shard.dial(address, &key.verifying_key())?;
        }
        let wanted = up.len() + now;
        while up.len() < wanted {
            shard.turn(None)?;
            while let Some(event) = shard.poll_event() {
                match event {
                    LinkEvent::Up { link, .. } => up.push(link),
                    LinkEvent::Lost { cause, .. } => return Err(format!("lost: {cause:?}").into()),
                    _ => {}
                }
            }
        }
    }
    Ok(up)
}

/// Sends a step's datagrams each millisecond, those of all flows in turn.
fn send(shard: &mut QuicShard, links: &[LinkId]) -> Result<(), Box<dyn Error>> {
    let datagram = Bytes::from(vec![7; LENGTH]);
    let mut flows = links.iter().cycle();
    let start = Instant::now();
    for step in 0..STEPS {
        for link in flows.by_ref().take(DATAGRAMS_A_STEP) {
            shard.send_datagram(*link, datagram.clone());
        }
        let next = start + STEP * (step as u32 + 1);
        loop {
            shard.turn(Some(next))?;
            while let Some(event) = shard.poll_event() {
                if let LinkEvent::Lost { cause, .. } = event {
                    return Err(format!("lost: {cause:?}").into());
                }
            }
            if Instant::now() >= next {
                break;
            }
        }
    }
    // What is still under way arrives.
    let end = Instant::now() + Duration::from_millis(100);
    while Instant::now() < end {
        shard.turn(Some(end))?;
        while shard.poll_event().is_some() {}
    }
    Ok(())
}

/// Counts what arrives. Gives its processor time since the first datagram.
fn receive(mut shard: QuicShard, arrived: &AtomicU64, stop: &AtomicBool) -> Result<Duration, std::io::Error> {
    let mut since = None;
    while !stop.load(Ordering::SeqCst) {
        shard.turn(None)?;
        while let Some(event) = shard.poll_event() {
            match event {
                LinkEvent::Up { link, .. } => shard.send(link, Bytes::from_static(b"hello")),
                LinkEvent::Datagram { .. } => {
                    if since.is_none() {
                        since = Some(processor_time()?);
                    }
                    arrived.fetch_add(1, Ordering::Relaxed);
                }
                _ => {}
            }
        }
    }
    Ok(processor_time()? - since.unwrap_or_default())
}

/// What this thread has used of a processor, kernel included (Linux).
fn processor_time() -> Result<Duration, std::io::Error> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse().ok());
    nanoseconds.map(Duration::from_nanos).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}
