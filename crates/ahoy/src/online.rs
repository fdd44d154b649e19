//! Verbs that need a session: the runtime, and the client with its session up.

use std::future::Future;
use std::time::Duration;

use ahoy_client::driver::{Client, ClientOptions, Event, Events, Transport};
use ahoy_client::profile::Profile;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::cli::{self, Common};
use crate::failure::{Exit, Failure};

/// How long taking in what is waiting may take before a verb goes on without it.
const READY_WITHIN: Duration = Duration::from_secs(15);

/// How long what a verb has left behind may take to end.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);

/// Runs a verb that waits for things.
pub(crate) fn run(verb: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = Runtime::new().map_err(|error| Failure::new(Exit::Other, "runtime", error.to_string(), ""))?;
    let result = runtime.block_on(verb);
    // A request that a verb has given up may block for as long as a network is silent.
    runtime.shutdown_timeout(LEAVE_WITHIN);
    result
}

/// A client with its session up and everything that waited taken in.
pub(crate) async fn ready(common: &Common, profile: Profile) -> Result<(Client, Events), Failure> {
    let (client, mut events) = Client::start(profile, options(common)).await?;
    let settled = timeout(READY_WITHIN, async {
        loop {
            match events.next().await {
                Some(Event::Ready) => return Ok(()),
                Some(Event::Stopped(error)) => return Err(error.into()),
                Some(_) => {}
                None => return Err(ahoy_client::driver::ClientError::Stopped.into()),
            }
        }
    });
    match settled.await {
        Ok(Ok(())) => Ok((client, events)),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(Failure::new(
            Exit::Unreachable,
            "not-ready",
            "the supernode takes too long to say what is waiting",
            "The network is overloaded or has a problem of its own. Try again later.",
        )),
    }
}

/// As the command line says.
pub(crate) fn options(common: &Common) -> ClientOptions {
    let key_log = std::env::var_os("SSLKEYLOGFILE").is_some();
    let transport = match common.transport {
        cli::Transport::Auto => Transport::Auto,
        cli::Transport::Quic => Transport::Quic,
        cli::Transport::WebSocket => Transport::WebSocket,
    };
    ClientOptions { supernode: common.supernode.clone(), key_log, transport, ..ClientOptions::default() }
}
