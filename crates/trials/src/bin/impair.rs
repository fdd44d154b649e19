//! `impair`: puts a bad network in front of a UDP port, for trying out by hand what the trials measure.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use ahoy_trials::impair::proxy::ProxyConfig;
use ahoy_trials::impair::{Impairment, Loss, Proxy};
use anyhow::ensure;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Forwards UDP through a bad network: delay, jitter (order is kept) and loss, the same for the same seed.
///
/// Point a client at it with `ahoy --supernode`. SIGUSR1 gives every client another address, as a change of network does. At the end (Ctrl-C, or --for) it prints packets, bytes and kbit/s of each
/// direction as JSON; sizes include UDP and IPv4 headers.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where clients send to; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The far end, such as 127.0.0.1:8080.
    #[arg(long)]
    to: SocketAddr,
    /// Least time on the way, in milliseconds.
    #[arg(long, default_value_t = 40.0)]
    delay_ms: f64,
    /// Mean of the exponentially distributed time on top, in milliseconds.
    #[arg(long, default_value_t = 10.0)]
    jitter_ms: f64,
    /// Share of packets lost, 0 to 0.99.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// Mean number of packets lost in a row; 0: each packet is lost or not by itself.
    #[arg(long, default_value_t = 0.0)]
    burst: f64,
    /// Decides everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds to run; absent: until Ctrl-C.
    #[arg(long = "for")]
    seconds: Option<f64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    ensure!((0.0..0.995).contains(&arguments.loss), "--loss is a share, 0 to 0.99");
    ensure!(arguments.burst == 0.0 || arguments.burst >= 1.0, "--burst is a number of packets, 1 or more");
    ensure!(arguments.delay_ms >= 0.0 && arguments.jitter_ms >= 0.0, "--delay-ms and --jitter-ms are not negative");
    let loss = match arguments {
        Arguments { loss: 0.0, .. } => Loss::None,
        Arguments { loss, burst: 0.0, .. } => Loss::Random(loss),
        Arguments { loss, burst, .. } => Loss::Bursts { share: loss, mean_length: burst },
    };
    let milliseconds = |number: f64| Duration::from_secs_f64(number / 1e3);
    let impairment =
        Impairment { delay: milliseconds(arguments.delay_ms), jitter: milliseconds(arguments.jitter_ms), loss };
    let Arguments { listen, to, seed, .. } = arguments;
    let proxy = Proxy::start(ProxyConfig { listen, to, up: impairment, down: impairment, seed })?;
    eprintln!("{} → {to}", proxy.address());
    let mut moves = signal(SignalKind::user_defined1())?;
    let mut end = pin!(async {
        match arguments.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs_f64(seconds)).await,
            None => _ = tokio::signal::ctrl_c().await,
        }
    });
    loop {
        tokio::select! {
            () = &mut end => break,
            Some(()) = moves.recv() => proxy.rebind(),
        }
    }
    println!("{}", serde_json::to_string_pretty(&proxy.finish()?)?);
    Ok(())
}
